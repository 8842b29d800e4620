#include "blobstore/store.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_READERS 512
#define MIN_MAP_SIZE (1ULL << 20)
#define FLUSH_AT_ONCE 4096 /* touches in one commit: others wait to write meanwhile */

/* ------------------------------------------------------------------ open */

static void store_destroy(struct blobstore *store)
{
    if (!store)
        return;
    index_close(store->index);
    touches_destroy(store->touches);
    digest_ring_finish(&store->to_pack);
    digest_ring_finish(&store->lost);
    (void)pthread_mutex_destroy(&store->writers_lock);
    (void)pthread_mutex_destroy(&store->names);
    place_close(&store->place); /* and with it the lock */
    free(store);
}
AUTO_DEFINE(struct blobstore, store_destroy);

static int create(struct blobstore **ret_store)
{
    AUTO(auto_store_destroy) struct blobstore *store = calloc(1, sizeof(*store));
    if (!store)
        return -ENOMEM;
    store->place = PLACE_CLOSED;
    digest_ring_init(&store->lost, store->lost_digests, LOST_MAX);
    digest_ring_init(&store->to_pack, store->to_pack_digests, TO_PACK_MAX);
    (void)pthread_mutex_init(&store->names, NULL);
    (void)pthread_mutex_init(&store->writers_lock, NULL);
    int r = touches_create(&store->touches);
    if (r < 0)
        return r;
    *ret_store = TAKE_PTR(store);
    return 0;
}

/* Opens the index; one that is of no use is set aside for a new one, and report->rebuilt_why says why. */
static int open_index(struct blobstore *store, const struct blobstore_options *o, bool empty,
                      struct blobstore_report *report)
{
    static_assert(sizeof(report->rebuilt_why) >= INDEX_WHY_MAX, "room for the reason");
    size_t map_size = o->map_size ? o->map_size : BLOBSTORE_MAP_SIZE;
    unsigned readers = o->max_readers ? o->max_readers : DEFAULT_READERS;
    int r = -EBADMSG;
    if (o->rebuild)
        (void)snprintf(report->rebuilt_why, sizeof(report->rebuilt_why), "asked for");
    else
        r = index_open(o->root, store->place.root, map_size, readers, &store->index, report->rebuilt_why);
    if (r == -EBADMSG) {
        report->rebuilt = true;
        r = place_set_index_aside(&store->place, clock_real_ms());
        if (r == 0)
            r = index_open(o->root, store->place.root, map_size, readers, &store->index, report->rebuilt_why);
    } else if (r == 0 && index_is_new(store->index) && !empty) {
        report->rebuilt = true;
        (void)snprintf(report->rebuilt_why, sizeof(report->rebuilt_why), "the index is missing");
    }
    return r == -EBADMSG ? -EIO : r;
}

static int read_witness(struct blobstore *store, struct witness_record *ret_witness)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    int r = index_begin_read(store->index, &t);
    return r == 0 ? catalog_witness(&t, ret_witness) : r;
}

static int write_witness(struct blobstore *store, const struct witness_record *witness)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    int r = index_begin_write(store->index, &t);
    if (r < 0)
        return r;
    catalog_set_witness(&t, witness);
    return index_commit(&t);
}

/* Makes files and index agree. The witness is written last: a recovery that is cut short is not taken for a whole one.
 */
static int recover(struct blobstore *store, const struct blobstore_options *options, bool empty,
                   const struct place_left *left, struct blobstore_report *report)
{
    struct witness_record witness, known;
    int r = place_witness(&store->place, &witness);
    if (r < 0)
        return r;
    r = read_witness(store, &known);
    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return r;
    bool same = r == 0 && known.inode == witness.inode && known.ctime_ns == witness.ctime_ns;
    bool copied = r == 0 && !same;
    bool unused = r == -ENOENT && empty; /* the last to make the store, if any, did not come to the end */
    report->clean = left->clean || unused;
    r = !report->clean || index_is_suspect(store->index) ? index_check(store->index) : 0;
    if (r < 0)
        return r;
    bool in_order = left->clean && !left->untidy && !report->rebuilt && !copied;
    r = store_recover(store, options, in_order ? left->at_ns : STORE_ALL, copied, report);
    if (r == 0 && !same)
        r = write_witness(store, &witness);
    return r == -ENOSPC && copied ? 0 : r; /* then the next start looks again */
}

int blobstore_open(const struct blobstore_options *options, struct blobstore **ret_store,
                   struct blobstore_report *ret_report)
{
    if (!options->root || !*options->root || (options->map_size && options->map_size < MIN_MAP_SIZE))
        return -EINVAL;
    AUTO(auto_store_destroy) struct blobstore *store = NULL;
    struct blobstore_report report;
    struct place_left left;
    bool empty = false;
    int r = create(&store);
    if (r == 0)
        r = place_open(&store->place, options->root, &empty);
    if (r == 0)
        r = place_take_left(&store->place, &left);
    if (r < 0)
        return r;
    /* Damage that is found on the way is marked as such, and the second time the index is set aside. */
    for (int attempt = 0; attempt < 2; attempt++) {
        report = (struct blobstore_report){0};
        r = open_index(store, options, empty, &report);
        if (r == 0)
            r = recover(store, options, empty, &left, &report);
        if (r == 0 || !store->index || !index_has_failed(store->index))
            break;
        index_close(TAKE_PTR(store->index));
    }
    if (r < 0)
        return r;
    store->doubted_before = report.clean ? 0 : clock_real_ms();
    *ret_report = report;
    *ret_store = TAKE_PTR(store);
    return 0;
}

void blobstore_close(struct blobstore *store)
{
    if (!store)
        return;
    assert(!atomic_load(&store->batch_open));
    assert(!store->writers);
    int r = blobstore_flush_touches(store);
    (void)r; /* touches may be lost */
    /* Where this cannot be written, the next start finds an unclean stop, and looks. */
    r = index_has_failed(store->index) ? -EIO : place_leave(&store->place, atomic_load(&store->untidy));
    (void)r;
    store_destroy(store);
}

/* ------------------------------------------------------------------ blobs */

/* What memory knows of the last use is newer than what the index knows, and that is newer than the publish. */
static int64_t last_use(struct blobstore *store, const struct digest *digest, int64_t written, int64_t stored_at)
{
    int64_t known = touches_known(store->touches, digest);
    return known ? known : written ? written : stored_at;
}

static void fill_info(const struct digest *digest, const struct blob_record *record, int64_t used_at,
                      struct blobstore_info *ret_info)
{
    *ret_info = (struct blobstore_info){.digest = *digest,
                                        .size = record->size,
                                        .file_size = record->file.size,
                                        .is_packed = record->form == BLOB_PACKED,
                                        .may_be_packed = record->form == BLOB_PLAIN && !record->stays_plain,
                                        .stored_at = record->stored_at,
                                        .used_at = used_at,
                                        .verified_at = record->verified_at};
}

int store_find(struct blobstore *store, const struct digest *digest, struct blob_record *ret_record,
               int64_t *ret_used_at)
{
    int64_t written = 0;
    {
        AUTO_INDEX_TXN struct index_txn t = {0};
        int r = index_begin_read(store->index, &t);
        if (r == 0)
            r = catalog_find(&t, digest, ret_record);
        if (r < 0)
            return r;
        written = catalog_used_at(&t, digest);
    }
    *ret_used_at = last_use(store, digest, written, ret_record->stored_at);
    return 0;
}

/* Whether a file that cannot be opened is itself the cause: it is gone, or the file system has found its inode damaged.
 */
static bool is_of_file(int error)
{
    return error == -ENOENT || error == -EIO || error == -EUCLEAN;
}

int store_open_blob(struct blobstore *store, const struct digest *digest, struct found_blob *ret_found)
{
    struct found_blob found = {.fd = -1};
    struct blob_facts facts;
    int r = store_find(store, digest, &found.record, &found.used_at);
    if (r < 0)
        return r;
    r = place_open_blob(&store->place, digest, found.record.form, &found.fd, &facts);
    if (r < 0)
        return is_of_file(r) ? -EBADMSG : r;
    if (!blob_facts_equal(&facts, &found.record.file)) {
        (void)close(found.fd);
        return -EBADMSG;
    }
    *ret_found = found;
    return 0;
}

static int delete_record(struct blobstore *store, const struct digest *digest)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    int r = index_begin_write(store->index, &t);
    if (r < 0)
        return r;
    catalog_delete(&t, digest);
    return index_commit(&t);
}

int store_condemn(struct blobstore *store, const struct digest *digest)
{
    struct blob_record record = {.form = BLOB_PLAIN};
    int64_t used_at;
    (void)!store_find(store, digest, &record, &used_at); /* one that cannot be read says nothing */
    int r = delete_record(store, digest);
    if (r < 0)
        return r;
    digest_ring_add(&store->lost, digest);
    r = place_quarantine(&store->place, digest, record.form, clock_real_ms());
    if (r < 0 && r != -ENOENT)
        atomic_store(&store->untidy, true);
    return 0;
}

/* Between the look at the index and the look at the file the blob may have been removed and published again: with names
 * held still it is damaged, or it is not. */
static int look_again(struct blobstore *store, const struct digest *digest, struct found_blob *ret_found)
{
    (void)pthread_mutex_lock(&store->names);
    int r = store_open_blob(store, digest, ret_found);
    if (r == -EBADMSG)
        (void)store_condemn(store, digest); /* where that fails, the next get comes here again */
    (void)pthread_mutex_unlock(&store->names);
    return r;
}

int blobstore_get(struct blobstore *store, const struct digest *digest, struct blobstore_info *ret_info,
                  struct blobstore_content **ret_content)
{
    struct found_blob found;
    int r = store_open_blob(store, digest, &found);
    if (r == -EBADMSG)
        r = look_again(store, digest, &found);
    if (r < 0)
        return r;
    r = store_content_open(store, found.fd, found.record.form, ret_content);
    if (r < 0) {
        (void)close(found.fd);
        return r;
    }
    fill_info(digest, &found.record, found.used_at, ret_info);
    return 0;
}

int blobstore_stat(struct blobstore *store, const struct digest *digest, struct blobstore_info *ret_info)
{
    struct blob_record record;
    int64_t used_at;
    int r = store_find(store, digest, &record, &used_at);
    if (r == 0)
        fill_info(digest, &record, used_at, ret_info);
    return r;
}

int blobstore_totals(struct blobstore *store, struct blobstore_totals *ret_totals)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct catalog_totals totals;
    int r = index_begin_read(store->index, &t);
    if (r == 0)
        r = catalog_totals(&t, &totals);
    if (r == 0)
        *ret_totals =
            (struct blobstore_totals){.blobs = totals.blobs, .bytes = totals.sum.bytes, .content = totals.sum.content};
    return r;
}

int blobstore_room(struct blobstore *store, uint64_t *ret_size, uint64_t *ret_available)
{
    return place_room(&store->place, ret_size, ret_available);
}

int blobstore_temporary(struct blobstore *store, int *ret_fd)
{
    return place_open_temporary(&store->place, ret_fd);
}

static int list(struct blobstore *store, const struct digest *after, struct blobstore_info *infos, size_t max,
                size_t *count)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    AUTO_INDEX_CURSOR struct index_cursor c = {0};
    uint8_t key[BLOB_KEY_MAX];
    size_t key_len = after ? blob_key_encode(after, key) : 0;
    int r = index_begin_read(store->index, &t);
    if (r == 0)
        r = index_cursor_open(&t, INDEX_BLOBS, &c);
    if (r == 0)
        r = index_cursor_seek(&c, key, key_len);
    if (r == 0 && after && c.key_len == key_len && memcmp(c.key, key, key_len) == 0)
        r = index_cursor_next(&c);
    while (r == 0 && *count < max) {
        struct blob_record record;
        struct digest digest;
        if (blob_key_decode(c.key, c.key_len, &digest) == 0 && blob_record_decode(c.value, c.value_len, &record) == 0)
            fill_info(&digest, &record, catalog_used_at(&t, &digest), &infos[(*count)++]);
        r = index_cursor_next(&c);
    }
    return r == -ENOENT ? 0 : r;
}

int blobstore_list(struct blobstore *store, const struct digest *after, struct blobstore_info *ret_infos, size_t max,
                   size_t *ret_count)
{
    size_t count = 0;
    int r = list(store, after, ret_infos, max, &count);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        struct blobstore_info *info = &ret_infos[i];
        info->used_at = last_use(store, &info->digest, info->used_at, info->stored_at);
    }
    *ret_count = count;
    return 0;
}

int64_t blobstore_doubted_before(const struct blobstore *store)
{
    return store->doubted_before;
}

static int condemn_locked(struct blobstore *store, const struct digest *digest, int fd)
{
    struct blob_record record;
    int64_t used_at;
    struct stat st;
    int r = store_find(store, digest, &record, &used_at);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    return record.file.inode == st.st_ino ? store_condemn(store, digest) : -ENOENT;
}

int blobstore_condemn(struct blobstore *store, const struct digest *digest, int fd)
{
    (void)pthread_mutex_lock(&store->names);
    int r = condemn_locked(store, digest, fd);
    (void)pthread_mutex_unlock(&store->names);
    return r;
}

int blobstore_next_lost(struct blobstore *store, struct digest *ret_digest)
{
    return digest_ring_take(&store->lost, ret_digest);
}

static int remove_locked(struct blobstore *store, const struct digest *digest)
{
    struct blob_record record;
    int64_t used_at;
    int r = store_find(store, digest, &record, &used_at);
    if (r < 0 && r != -EBADMSG)
        return r;
    r = delete_record(store, digest);
    if (r < 0)
        return r;
    r = place_remove_blob(&store->place, digest);
    if (r < 0 && r != -ENOENT)
        atomic_store(&store->untidy, true); /* it is not stored any more, but its bytes still take room */
    return 0;
}

int blobstore_remove(struct blobstore *store, const struct digest *digest)
{
    (void)pthread_mutex_lock(&store->names);
    int r = remove_locked(store, digest);
    (void)pthread_mutex_unlock(&store->names);
    return r;
}

/* ------------------------------------------------------------------ touches */

void blobstore_touch(struct blobstore *store, const struct digest *digest)
{
    touches_note(store->touches, digest, clock_real_ms());
}

/* Sets used_at of each touch to what the index has afterwards. */
static int write_touches(struct blobstore *store, struct touch *touches, size_t count)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    bool wrote = false;
    int r = index_begin_write(store->index, &t);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        struct blob_record record;
        if (catalog_find(&t, &touches[i].digest, &record) < 0)
            continue; /* removed meanwhile; an access time of its own would stay for ever */
        int64_t written = catalog_used_at(&t, &touches[i].digest);
        if (!written)
            written = record.stored_at;
        if (touch_is_due(touches[i].used_at, written)) {
            catalog_put_used_at(&t, &touches[i].digest, touches[i].used_at);
            wrote = true;
        } else {
            touches[i].used_at = written;
        }
    }
    return wrote ? index_commit(&t) : 0;
}

int blobstore_flush_touches(struct blobstore *store)
{
    AUTO_FREE struct touch *touches = malloc(FLUSH_AT_ONCE * sizeof(*touches));
    if (!touches)
        return -ENOMEM;
    size_t cursor = 0, count;
    while ((count = touches_collect(store->touches, &cursor, touches, FLUSH_AT_ONCE)) > 0) {
        int r = write_touches(store, touches, count);
        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i++)
            touches_written(store->touches, &touches[i].digest, touches[i].used_at);
    }
    return 0;
}

/* ------------------------------------------------------------------ records */

int blobstore_record_get(struct blobstore *store, enum blobstore_table table, const void *key, size_t key_len,
                         struct buf *value)
{
    assert(table >= BLOBSTORE_TAGS && table < BLOBSTORE_TABLES);
    AUTO_INDEX_TXN struct index_txn t = {0};
    const void *found;
    size_t len;
    if (key_len == 0 || key_len > BLOBSTORE_KEY_MAX)
        return key_len == 0 ? -EINVAL : -EFBIG;
    int r = index_begin_read(store->index, &t);
    if (r == 0)
        r = index_find(&t, index_record_table(table), key, key_len, &found, &len);
    if (r == 0 && len > value->max)
        r = -EFBIG;
    if (r < 0)
        return r;
    buf_reset(value);
    return buf_add(value, found, len);
}

/* From the first record whose key is not below `key`, those whose key begins with `prefix`. */
static int scan(struct blobstore *store, enum blobstore_table table, const void *key, size_t key_len, size_t prefix_len,
                blobstore_record_fn each, void *arg)
{
    assert(table >= BLOBSTORE_TAGS && table < BLOBSTORE_TABLES);
    AUTO_INDEX_TXN struct index_txn t = {0};
    AUTO_INDEX_CURSOR struct index_cursor c = {0};
    if (key_len > BLOBSTORE_KEY_MAX)
        return -EFBIG;
    int r = index_begin_read(store->index, &t);
    if (r == 0)
        r = index_cursor_open(&t, index_record_table(table), &c);
    if (r == 0)
        r = index_cursor_seek(&c, key, key_len);
    bool is_after = prefix_len == 0 && key_len > 0;
    if (r == 0 && is_after && c.key_len == key_len && memcmp(c.key, key, key_len) == 0)
        r = index_cursor_next(&c);
    while (r == 0) {
        if (c.key_len < prefix_len || (prefix_len && memcmp(c.key, key, prefix_len) != 0))
            return 0;
        r = each(arg, c.key, c.key_len, c.value, c.value_len);
        if (r != 0)
            return r;
        r = index_cursor_next(&c);
    }
    return r == -ENOENT ? 0 : r;
}

int blobstore_record_scan(struct blobstore *store, enum blobstore_table table, const void *prefix, size_t prefix_len,
                          blobstore_record_fn each, void *arg)
{
    return scan(store, table, prefix, prefix_len, prefix_len, each, arg);
}

struct step {
    struct blobstore_cursor *at;
    size_t left;
    blobstore_record_fn each;
    void *arg;
};

static int take_step(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct step *s = arg;
    if (key_len > BLOBSTORE_KEY_MAX)
        return -EIO; /* nobody can have put it there */
    int r = s->each(s->arg, key, key_len, value, value_len);
    if (r != 0)
        return r;
    memcpy(s->at->key, key, key_len);
    s->at->key_len = key_len;
    return --s->left == 0;
}

int blobstore_record_step(struct blobstore *store, enum blobstore_table table, struct blobstore_cursor *at, size_t max,
                          blobstore_record_fn each, void *arg)
{
    const struct blobstore_cursor from = *at;
    struct step step = {.at = at, .left = max, .each = each, .arg = arg};
    int r = scan(store, table, from.key, from.key_len, /* prefix_len= */ 0, take_step, &step);
    return r > 0 ? 1 : r;
}
