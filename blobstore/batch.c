/*
 * Many changes, one commit. What a batch is asked to do is kept in memory, encoded one after the other, and done in one
 * transaction at the commit: so none is open while files are made durable, and the first error can stick.
 *
 * A publish puts the file in its place at once; its record follows with the commit. Until then nobody can see it, since
 * the index decides what is stored.
 */
#include "blobstore/store.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BATCH_BYTES (16ULL << 20) /* some 200,000 publishes, or 4,000 records of the largest size */

enum op_kind { OP_PUBLISH, OP_VERIFIED, OP_DATE, OP_REMOVE, OP_PUT, OP_DELETE };

/* In the buffer, followed by key and value. */
struct op {
    enum op_kind kind;
    enum blobstore_table table;
    size_t key_len, value_len;
};

struct publish {
    struct digest digest;
    struct blob_record record;
};

struct blobstore_batch {
    struct blobstore *store;
    int error; /* the first, which sticks */
    struct buf ops;
    bool published; /* something was put in its place */
    bool removes;
    bool adds;                            /* or changes something: it is more than removals */
    bool fans[DIGEST_SHA512][PLACE_FANS]; /* directories that are not durable yet, by algorithm - 1 */
};

int blobstore_batch_begin(struct blobstore *store, struct blobstore_batch **ret_batch)
{
    if (index_has_failed(store->index))
        return -EIO; /* rather than files that get no record */
    struct blobstore_batch *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    if (atomic_exchange(&store->batch_open, true)) {
        free(b);
        return -EBUSY;
    }
    b->store = store;
    b->ops = BUF_INIT(BATCH_BYTES);
    *ret_batch = b;
    return 0;
}

static int add_op(struct blobstore_batch *b, const struct op *op, const void *key, const void *value)
{
    int r = buf_reserve(&b->ops, sizeof(*op) + op->key_len + op->value_len);
    b->adds |= op->kind != OP_REMOVE && op->kind != OP_DELETE;
    if (r == 0)
        r = buf_add(&b->ops, op, sizeof(*op));
    if (r == 0)
        r = buf_add(&b->ops, key, op->key_len);
    if (r == 0)
        r = buf_add(&b->ops, value, op->value_len);
    return r;
}

/* ------------------------------------------------------------------ publish */

/* Under `names`. -EEXIST: the blob is stored, by a file that fits its record. One that does not fit is taken away. */
static int check_absent_locked(struct blobstore *store, const struct digest *digest)
{
    struct found_blob found;
    int r = store_open_blob(store, digest, &found);
    if (r == 0) {
        (void)close(found.fd);
        return -EEXIST;
    }
    if (r == -EBADMSG)
        r = store_condemn(store, digest);
    return r == -ENOENT ? 0 : r;
}

/* Under `names`. Where the name is taken by a file without a record (left by a batch that was not committed), ours,
 * which is known to be good, takes its place; who reads the other reads on. */
static int move_in_locked(struct blobstore *store, const struct digest *digest, int fd, struct blob_facts *ret_facts)
{
    int r = check_absent_locked(store, digest);
    if (r < 0)
        return r;
    r = place_publish(&store->place, digest, fd, false, ret_facts);
    return r == -EEXIST ? place_publish(&store->place, digest, fd, true, ret_facts) : r;
}

int blobstore_batch_publish(struct blobstore_batch *b, struct blobstore_writer *w)
{
    assert(writer_store(w) == b->store && !writer_is_published(w));
    if (b->error < 0)
        return b->error;
    const struct digest *digest = writer_digest(w);
    struct op op = {.kind = OP_PUBLISH, .value_len = sizeof(struct publish)};
    int r = buf_reserve(&b->ops, sizeof(op) + op.value_len); /* so that nothing can fail once the name is given */
    if (r == 0)
        r = writer_sync(w);
    if (r < 0)
        return r;

    struct blob_facts facts;
    (void)pthread_mutex_lock(&b->store->names);
    r = move_in_locked(b->store, digest, blobstore_writer_fd(w), &facts);
    (void)pthread_mutex_unlock(&b->store->names);
    if (r == -EEXIST) {
        (void)place_remove_partial(&b->store->place, digest);
        writer_set_published(w);
        return 0;
    }
    if (r < 0)
        return r == -EDQUOT ? -ENOSPC : r;
    writer_set_published(w);
    b->published = true;
    b->fans[digest->algorithm - 1][digest->raw[0]] = true;
    int64_t now = clock_real_ms();
    struct publish publish = {
        .digest = *digest,
        .record = {.size = facts.size,
                   .file = facts,
                   .stored_at = now,
                   .verified_at = now,
                   .stays_plain = pack_is_pointless(blobstore_writer_fd(w), facts.size)},
    };
    return add_op(b, &op, NULL, &publish);
}

/* ------------------------------------------------------------------ remove */

void blobstore_batch_remove(struct blobstore_batch *b, const struct digest *digest)
{
    const struct op op = {.kind = OP_REMOVE, .value_len = sizeof(*digest)};
    b->removes = true;
    if (b->error == 0)
        b->error = add_op(b, &op, NULL, digest);
}

/* ------------------------------------------------------------------ verified */

struct verified {
    struct digest digest;
    int64_t when;
};

void blobstore_batch_verified(struct blobstore_batch *b, const struct digest *digest, int64_t when)
{
    const struct op op = {.kind = OP_VERIFIED, .value_len = sizeof(struct verified)};
    if (b->error == 0)
        b->error = add_op(b, &op, NULL, &(struct verified){.digest = *digest, .when = when});
}

static void apply_verified(struct index_txn *t, const struct verified *v)
{
    struct blob_record record;
    if (catalog_find(t, &v->digest, &record) < 0 || record.verified_at >= v->when)
        return;
    record.verified_at = v->when;
    catalog_put(t, &v->digest, &record);
}

/* ------------------------------------------------------------------ dates */

struct dates {
    struct digest digest;
    int64_t stored_at, used_at;
};

void blobstore_batch_date(struct blobstore_batch *b, const struct digest *digest, int64_t stored_at, int64_t used_at)
{
    const struct op op = {.kind = OP_DATE, .value_len = sizeof(struct dates)};
    const struct dates dates = {.digest = *digest, .stored_at = stored_at, .used_at = used_at};
    if (b->error == 0)
        b->error = add_op(b, &op, NULL, &dates);
}

static void apply_dates(struct index_txn *t, const struct dates *d)
{
    struct blob_record record;
    if (catalog_find(t, &d->digest, &record) < 0)
        return;
    record.stored_at = d->stored_at;
    catalog_put(t, &d->digest, &record);
    catalog_put_used_at(t, &d->digest, d->used_at);
}

/* ------------------------------------------------------------------ records */

static int check_lengths(size_t key_len, size_t value_len)
{
    if (key_len == 0)
        return -EINVAL;
    return key_len > BLOBSTORE_KEY_MAX || value_len > BLOBSTORE_VALUE_MAX ? -EFBIG : 0;
}

static void change(struct blobstore_batch *b, const struct op *op, const void *key, const void *value)
{
    assert(op->table >= BLOBSTORE_TAGS && op->table < BLOBSTORE_TABLES);
    if (b->error == 0)
        b->error = check_lengths(op->key_len, op->value_len);
    if (b->error == 0)
        b->error = add_op(b, op, key, value);
}

void blobstore_batch_put(struct blobstore_batch *b, enum blobstore_table table, const void *key, size_t key_len,
                         const void *value, size_t value_len)
{
    struct op op = {.kind = OP_PUT, .table = table, .key_len = key_len, .value_len = value_len};
    change(b, &op, key, value);
}

void blobstore_batch_delete(struct blobstore_batch *b, enum blobstore_table table, const void *key, size_t key_len)
{
    struct op op = {.kind = OP_DELETE, .table = table, .key_len = key_len};
    change(b, &op, key, NULL);
}

/* ------------------------------------------------------------------ the end */

static void destroy(struct blobstore_batch *b)
{
    buf_finish(&b->ops);
    atomic_store(&b->store->batch_open, false);
    free(b);
}

static int sync_fans(struct blobstore_batch *b)
{
    for (int a = DIGEST_SHA256; a <= DIGEST_SHA512; a++)
        for (int fan = 0; fan < PLACE_FANS; fan++) {
            int r = b->fans[a - 1][fan] ? place_sync_fan(&b->store->place, (enum digest_algorithm)a, (uint8_t)fan) : 0;
            if (r < 0)
                return r;
        }
    return 0;
}

/* The op at *at, which moves behind it; false at the end. */
static bool next_op(const struct buf *ops, size_t *at, struct op *ret_op, const char **ret_key)
{
    if (*at >= ops->len)
        return false;
    memcpy(ret_op, ops->data + *at, sizeof(*ret_op));
    *ret_key = ops->data + *at + sizeof(*ret_op);
    *at += sizeof(*ret_op) + ret_op->key_len + ret_op->value_len;
    return true;
}

static void apply_op(struct index_txn *t, const struct op *op, const char *key)
{
    const char *value = key + op->key_len;
    struct publish publish;
    struct verified verified;
    struct dates dates;
    struct digest digest;
    switch (op->kind) {
    case OP_PUBLISH:
        memcpy(&publish, value, sizeof(publish));
        catalog_put(t, &publish.digest, &publish.record);
        break;
    case OP_VERIFIED:
        memcpy(&verified, value, sizeof(verified));
        apply_verified(t, &verified);
        break;
    case OP_DATE:
        memcpy(&dates, value, sizeof(dates));
        apply_dates(t, &dates);
        break;
    case OP_REMOVE:
        memcpy(&digest, value, sizeof(digest));
        catalog_delete(t, &digest);
        break;
    case OP_PUT:
        index_put(t, index_record_table(op->table), key, op->key_len, value, op->value_len);
        break;
    case OP_DELETE:
        index_delete(t, index_record_table(op->table), key, op->key_len);
        break;
    }
}

static int commit_ops(struct blobstore_batch *b)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct op op;
    const char *key;
    int r = index_begin_write(b->store->index, &t);
    if (r < 0)
        return r;
    for (size_t at = 0; next_op(&b->ops, &at, &op, &key);)
        apply_op(&t, &op, key);
    return index_commit(&t);
}

/* Under `names`: the record is gone, now the file. */
static void unlink_locked(struct blobstore_batch *b, const struct op *op, const char *key)
{
    struct digest digest;
    if (op->kind != OP_REMOVE)
        return;
    memcpy(&digest, key + op->key_len, sizeof(digest));
    int r = place_remove_blob(&b->store->place, &digest);
    if (r < 0 && r != -ENOENT)
        atomic_store(&b->store->untidy, true); /* it is not stored any more, but its bytes still take room */
}

static void unlink_removed_locked(struct blobstore_batch *b)
{
    struct op op;
    const char *key;
    for (size_t at = 0; next_op(&b->ops, &at, &op, &key);)
        unlink_locked(b, &op, key);
}

/* Under `names`. A commit copies each page of the index that it changes, and many removals change many: a disk that is
 * full to the last block has no room for that, and could never be cleared. One removal changes a few pages, for which
 * those do that earlier commits have let go of; and its file makes room for the next. */
static int remove_singly_locked(struct blobstore_batch *b)
{
    struct op op;
    const char *key;
    for (size_t at = 0; next_op(&b->ops, &at, &op, &key);) {
        AUTO_INDEX_TXN struct index_txn t = {0};
        int r = index_begin_write(b->store->index, &t);
        if (r == 0) {
            apply_op(&t, &op, key);
            r = index_commit(&t);
        }
        if (r < 0)
            return r;
        unlink_locked(b, &op, key);
    }
    return 0;
}

static void note_published(struct blobstore_batch *b)
{
    struct op op;
    const char *key;
    for (size_t at = 0; next_op(&b->ops, &at, &op, &key);) {
        struct publish publish;
        if (op.kind != OP_PUBLISH)
            continue;
        memcpy(&publish, key + op.key_len, sizeof(publish));
        if (!publish.record.stays_plain)
            digest_ring_add(&b->store->to_pack, &publish.digest);
    }
}

static int commit(struct blobstore_batch *b)
{
    int r = b->error;
    if (r == 0)
        r = sync_fans(b);
    if (r < 0 || b->ops.len == 0)
        return r;
    if (!b->removes && b->adds)
        return commit_ops(b);
    (void)pthread_mutex_lock(&b->store->names);
    r = commit_ops(b);
    if (r == 0)
        unlink_removed_locked(b);
    else if (r == -ENOSPC && !b->adds)
        r = remove_singly_locked(b);
    (void)pthread_mutex_unlock(&b->store->names);
    return r;
}

/* Files that have got no record would take room that nobody knows of, until the next start. */
static void take_back(struct blobstore_batch *b)
{
    struct blobstore *store = b->store;
    struct op op;
    const char *key;
    for (size_t at = 0; next_op(&b->ops, &at, &op, &key);) {
        struct publish publish;
        struct blob_record record;
        int64_t used_at;
        if (op.kind != OP_PUBLISH)
            continue;
        memcpy(&publish, key + op.key_len, sizeof(publish));
        (void)pthread_mutex_lock(&store->names);
        if (store_find(store, &publish.digest, &record, &used_at) != -ENOENT ||
            place_remove_form(&store->place, &publish.digest, BLOB_PLAIN) < 0)
            atomic_store(&store->untidy, true);
        (void)pthread_mutex_unlock(&store->names);
    }
}

int blobstore_batch_commit(struct blobstore_batch *b)
{
    int r = commit(b);
    if (r == 0)
        note_published(b);
    else if (b->published)
        take_back(b);
    destroy(b);
    return r;
}

void blobstore_batch_abort(struct blobstore_batch *b)
{
    if (!b)
        return;
    if (b->published)
        atomic_store(&b->store->untidy, true);
    destroy(b);
}
