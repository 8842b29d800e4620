/*
 * Restoring: first the records, so that content that belongs to a private repository is never there without its link;
 * then the blobs, each written, checked and published as one that was fetched, many to one commit. From the first
 * commit to the last there is a mark in the store, and with it the same backup can be restored again: whatever is there
 * is passed over.
 */
#include "backup/backup.h"

#include "backup/chain.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>

#define COMMIT_BLOBS 64
#define COMMIT_BYTES (256 * MIB)
#define COMMIT_RECORDS 1000

/* BLOBSTORE_JOBS: version u8, the id of the last file */
static const char mark_key[] = {'r', 'e', 's', 't', 'o', 'r', 'e'};
#define MARK_VERSION 1
#define MARK_SIZE (1 + BACKUP_ID_MAX - 1)

struct restoration {
    struct blobstore *store;
    struct chain chain;
    struct blobstore_batch *batch;
    size_t batched; /* records and blobs of the batch */
    uint64_t batched_bytes;
    struct blobstore_writer *writer;
};

/* ------------------------------------------------------------------ commits */

static int begin_batch(struct restoration *v)
{
    return v->batch ? 0 : blobstore_batch_begin(v->store, &v->batch);
}

static int commit(struct restoration *v)
{
    v->batched = 0;
    v->batched_bytes = 0;
    return v->batch ? blobstore_batch_commit(TAKE_PTR(v->batch)) : 0;
}

static int commit_if(struct restoration *v, bool is_due)
{
    return is_due ? commit(v) : 0;
}

/* ------------------------------------------------------------------ the mark */

static int read_mark(struct blobstore *store, char id[BACKUP_ID_MAX])
{
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    int r = blobstore_record_get(store, BLOBSTORE_JOBS, mark_key, sizeof(mark_key), &value);
    if (r < 0)
        return r;
    (void)snprintf(id, BACKUP_ID_MAX, "%s", value.len == MARK_SIZE ? value.data + 1 : "");
    return 0;
}

int backup_restore_has_begun(struct blobstore *store)
{
    char id[BACKUP_ID_MAX];
    int r = read_mark(store, id);
    return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int set_mark(struct restoration *v, const char *id)
{
    char value[MARK_SIZE] = {MARK_VERSION};
    memcpy(value + 1, id, MARK_SIZE - 1);
    int r = begin_batch(v);
    if (r < 0)
        return r;
    blobstore_batch_put(v->batch, BLOBSTORE_JOBS, mark_key, sizeof(mark_key), value, sizeof(value));
    return commit(v);
}

static int clear_mark(struct restoration *v)
{
    int r = begin_batch(v);
    if (r < 0)
        return r;
    blobstore_batch_delete(v->batch, BLOBSTORE_JOBS, mark_key, sizeof(mark_key));
    return commit(v);
}

/* ------------------------------------------------------------------ the store as it is */

static int pass(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)arg;
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    return 0;
}

/* 1: the cursor is at the next record. 0: there is none. */
static int find_next(struct blobstore *store, enum blobstore_table table, struct blobstore_cursor *at)
{
    return blobstore_record_step(store, table, at, 1, pass, NULL);
}

/* What a server has written down of repositories before it had any content is no obstacle. */
static int check_empty(struct blobstore *store)
{
    struct blobstore_totals totals;
    struct blobstore_cursor first = {.key_len = 0};
    int r = blobstore_totals(store, &totals);
    if (r == 0 && totals.blobs > 0)
        return -ENOTEMPTY;
    for (size_t i = 0; r == 0 && i < BACKUP_TABLES; i++)
        if (backup_tables[i] != BLOBSTORE_REPOSITORIES)
            r = find_next(store, backup_tables[i], &first);
    return r > 0 ? -ENOTEMPTY : r;
}

static int check_store(struct restoration *v, const char *id)
{
    char begun[BACKUP_ID_MAX];
    int r = read_mark(v->store, begun);
    if (r == 0)
        return strcmp(begun, id) == 0 ? 0 : -EEXIST;
    return r == -ENOENT ? check_empty(v->store) : r;
}

/* Before hours of writing. A blob may need a block more than it is large; a full disk is found when it is met. */
static int check_room(struct restoration *v, const struct backup_header *h)
{
    struct blobstore_totals totals;
    uint64_t size, available;
    int r = blobstore_totals(v->store, &totals);
    if (r == 0)
        r = blobstore_room(v->store, &size, &available);
    if (r < 0)
        return r;
    return h->bytes > totals.bytes && h->bytes - totals.bytes > available ? -ENOSPC : 0;
}

/* ------------------------------------------------------------------ records */

/* Of repositories there is what the backup has, and nothing else: who may see what depends on it. */
static int clear_repositories(struct restoration *v)
{
    struct blobstore_cursor at = {.key_len = 0};
    int r;
    while ((r = find_next(v->store, BLOBSTORE_REPOSITORIES, &at)) > 0) {
        r = begin_batch(v);
        if (r < 0)
            return r;
        blobstore_batch_delete(v->batch, BLOBSTORE_REPOSITORIES, at.key, at.key_len);
        r = commit_if(v, ++v->batched >= COMMIT_RECORDS);
        if (r < 0)
            return r;
    }
    return r == 0 ? commit(v) : r;
}

static int put_record(void *arg, enum blobstore_table table, const struct backup_record *record)
{
    struct restoration *v = arg;
    int r = begin_batch(v);
    if (r < 0)
        return r;
    blobstore_batch_put(v->batch, table, record->key, record->key_len, record->value, record->value_len);
    v->chain.report.records++;
    return commit_if(v, ++v->batched >= COMMIT_RECORDS);
}

/* ------------------------------------------------------------------ blobs */

/* Whatever was written of it before is written anew: nobody knows what of it is durable. */
static int open_writer(struct restoration *v, const struct backup_item *item)
{
    uint64_t length;
    int r = blobstore_writer_open(v->store, &item->digest, &v->writer, &length);
    if (r == 0)
        r = blobstore_writer_restart(v->writer);
    return r == 0 ? blobstore_writer_reserve(v->writer, item->size) : r;
}

/* It is stored, or is about to be. */
static int note_stored(struct restoration *v, const struct backup_item *item)
{
    int r = begin_batch(v);
    if (r < 0)
        return r;
    blobstore_batch_date(v->batch, &item->digest, item->stored_at, item->used_at);
    chain_note(&v->chain, item, CHAIN_GOOD);
    v->batched++;
    return 0;
}

static int begin_blob(void *arg, const struct backup_item *found)
{
    struct restoration *v = arg;
    const struct backup_item *item = chain_find(&v->chain, &found->digest);
    struct blobstore_info info;
    if (!item || chain_state(&v->chain, item) == CHAIN_GOOD)
        return 0;
    int r = blobstore_stat(v->store, &item->digest, &info);
    if (r == 0) {
        v->chain.report.there++;
        r = note_stored(v, item);
        return r == 0 ? commit_if(v, v->batched >= COMMIT_RECORDS) : r;
    }
    if (r != -ENOENT)
        return r;
    r = open_writer(v, item);
    return r == 0 ? 1 : r;
}

static int write_blob(void *arg, const void *data, size_t len)
{
    struct restoration *v = arg;
    return blobstore_writer_append(v->writer, data, len);
}

static int end_blob(void *arg, const struct backup_item *found, bool good)
{
    struct restoration *v = arg;
    const struct backup_item *item = chain_find(&v->chain, &found->digest);
    int r = begin_batch(v);
    if (r == 0 && good)
        r = blobstore_batch_publish(v->batch, v->writer);
    blobstore_writer_close(TAKE_PTR(v->writer), BLOBSTORE_DISCARD);
    if (r < 0 || !good) {
        chain_note(&v->chain, item, CHAIN_WRONG);
        return r;
    }
    r = note_stored(v, item);
    v->batched_bytes += item->size;
    return r == 0 ? commit_if(v, v->batched >= COMMIT_BLOBS || v->batched_bytes >= COMMIT_BYTES) : r;
}

/* ------------------------------------------------------------------ all of it */

static void restoration_finish(struct restoration *v)
{
    blobstore_writer_close(TAKE_PTR(v->writer), BLOBSTORE_DISCARD);
    blobstore_batch_abort(TAKE_PTR(v->batch));
    chain_finish(&v->chain);
}

/* All that can be known to be wrong before anything is written. */
static int check_all(struct restoration *v, const struct backup_chain *in, struct buf *problems)
{
    static const struct unpacker_visitor nobody;
    AUTO(chain_finish) struct chain c = {0};
    int r = chain_check(in, /* whole= */ true, problems);
    if (r == 0)
        r = chain_begin(&c, in, &nobody, problems);
    if (r == 0)
        r = check_store(v, c.report.header.id);
    if (r == 0)
        r = check_room(v, &c.report.header);
    return r == 0 ? set_mark(v, c.report.header.id) : r;
}

int backup_restore(const struct backup_chain *in, struct blobstore *store, struct backup_report *ret_report,
                   struct buf *problems)
{
    AUTO(restoration_finish) struct restoration v = {.store = store};
    const struct unpacker_visitor visitor = {
        .record = put_record, .blob = begin_blob, .data = write_blob, .blob_end = end_blob, .arg = &v};
    int r = check_all(&v, in, problems);
    if (r == 0)
        r = clear_repositories(&v);
    if (r == 0)
        r = chain_begin(&v.chain, in, &visitor, problems);
    if (r == 0)
        r = commit(&v);
    if (r == 0)
        r = chain_read_blobs(&v.chain, &visitor);
    if (r == 0)
        r = commit(&v);
    if (r == 0)
        r = clear_mark(&v);
    if (r < 0)
        return r;
    chain_conclude(&v.chain);
    *ret_report = v.chain.report;
    return 0;
}
