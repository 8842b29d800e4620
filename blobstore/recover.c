/*
 * Making files and index agree at start.
 *
 * The tree is listed and held against the index, one directory at a time and both in the order of the digests, so that
 * a million blobs take about a second: names and inodes come from the directories, no file is asked for its size, and
 * none is read but those whose record is missing or names another inode. What was published before its record could be
 * committed is one of these; after the loss of the index it is all of them. A file gets a record after its bytes have
 * been found to have the digest.
 *
 * After a stop in order only those directories are listed in which names have changed since: that is none, where nobody
 * put files there or took them away by hand.
 *
 * A store that was copied as a whole (restored from a backup, put on another disk) has records that fit no file any
 * more. The lock file, which nobody ever changes, gives that away by its inode and ctime; every file is then asked for
 * its facts, and read where they differ.
 */
#include "blobstore/store.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE (1u << 20)

/* What is to become of the record of one digest. */
struct change {
    struct digest digest;
    bool files[BLOB_FORMS];    /* that are there */
    bool put;                  /* else delete */
    bool had;                  /* there is a record that can be read, */
    struct blob_record record; /* and this is it; once judged: the new one */
    bool adopted, dropped;     /* for the report */
};

struct recovery {
    struct blobstore *store;
    const struct blobstore_options *options;
    struct blobstore_report *report;
    bool copied;
    int64_t since_ns; /* directories that have not changed since then are left out */
    bool synced;      /* the bytes of all files are durable */
    bool full;        /* there was no room for all changes */
    int64_t now;
    struct totals_record sum;        /* of the records that are right */
    uint64_t files_read, bytes_read; /* for who wants to know */

    struct place_list files; /* of one directory */
    struct change *changes;  /* of one directory; at most one a file and one a record */
    size_t count, capacity;
};

/* ------------------------------------------------------------------ one file */

static int hash_content(struct blobstore_content *content, uint64_t size, enum digest_algorithm algorithm,
                        struct digest *ret_digest)
{
    AUTO(auto_digest_destroy) struct digest_state *state = NULL;
    AUTO_FREE char *data = malloc(READ_SIZE);
    if (!data)
        return -ENOMEM;
    int r = digest_begin(algorithm, &state);
    for (uint64_t at = 0; r == 0 && at < size;) {
        size_t left = size - at < READ_SIZE ? (size_t)(size - at) : READ_SIZE;
        ssize_t n = blobstore_content_read(content, at, data, left);
        if (n < 0)
            return (int)n;
        r = digest_update(state, data, (size_t)n);
        at += (uint64_t)n;
    }
    return r == 0 ? digest_end(state, ret_digest) : r;
}

/* Reads the file through. -EBADMSG: it does not have the blob. */
static int check_content(struct blobstore_content *content, const struct digest *digest, uint64_t *ret_size)
{
    struct digest actual;
    uint64_t size = 0;
    (void)posix_fadvise(blobstore_content_fd(content), 0, 0, POSIX_FADV_SEQUENTIAL);
    int r = store_content_size(content, &size);
    if (r == 0)
        r = hash_content(content, size, digest->algorithm, &actual);
    if (r == 0 && !digest_equal(&actual, digest))
        r = -EBADMSG;
    if (r == 0)
        *ret_size = size;
    return r;
}

static void note_read(struct recovery *v, uint64_t bytes)
{
    v->files_read++;
    v->bytes_read += bytes;
    if (v->options->progress)
        v->options->progress(v->options->progress_arg, v->files_read, v->bytes_read);
}

/* Owner or mode of the files were changed, of this one and most likely of all: that says nothing of their bytes, and
 * quarantine does not keep everything. Nor can it be passed over: its name is in the way of the same blob anew. */
static int refuse(const struct recovery *v, const struct digest *digest, enum blob_form form, int error)
{
    char name[BLOB_NAME_MAX];
    const char *root = v->options->root;
    if (v->options->errors)
        (void)!buf_addf(
            v->options->errors,
            "blobs/%s: %s; it stays as it is. All of the store must be readable for user %u, who runs this: "
            "chown -R %u %s && chmod -R u+rX %s",
            blob_name(digest, form, name), strerror(-error), (unsigned)geteuid(), (unsigned)geteuid(), root, root);
    return error;
}

/* The record that the file deserves; `old` is the one that the blob had, or NULL. -EBADMSG: none, its bytes are wrong.
 */
static int judge(struct recovery *v, const struct digest *digest, enum blob_form form, const struct blob_record *old,
                 struct blob_record *ret_record)
{
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    AUTO_CLOSE int fd = -1;
    struct blob_facts facts;
    uint64_t size = 0;
    int r = place_open_blob(&v->store->place, digest, form, &fd, &facts);
    if (r == -EACCES || r == -EPERM)
        return refuse(v, digest, form, r);
    if (r < 0) /* of the right name, but no file, or damaged as the file system has it */
        return r == -ENOENT || r == -EIO || r == -EUCLEAN ? -EBADMSG : r;
    if (old && old->form == form && blob_facts_equal(&facts, &old->file)) {
        *ret_record = *old;
        return 0;
    }
    r = store_content_open(v->store, fd, form, &content);
    if (r < 0)
        return r;
    (void)TAKE_FD(fd); /* the content's now */
    r = check_content(content, digest, &size);
    note_read(v, facts.size);
    if (r < 0)
        return r == -EIO ? -EBADMSG : r;
    const int file = blobstore_content_fd(content);
    (void)fchmod(file, PLACE_BLOB_MODE); /* where the file is somebody else's, its bytes are good all the same */
    struct stat st;
    if (fstat(file, &st) < 0)
        return -errno;
    blob_facts_of(&st, &facts);
    *ret_record = (struct blob_record){
        .size = size,
        .file = facts,
        .stored_at = old ? old->stored_at : facts.mtime_ns / 1000000,
        .verified_at = v->now,
        .form = form,
        .stays_plain = form == BLOB_PLAIN && pack_is_pointless(file, size),
    };
    return 0;
}

/* The same for a blob whose packing was cut short, and that may have a file in both forms: either will do. */
static int judge_forms(struct recovery *v, const struct change *c, struct blob_record *ret_record)
{
    const struct blob_record *old = c->had ? &c->record : NULL;
    enum blob_form first = old ? old->form : BLOB_PLAIN;
    int r = c->files[first] ? judge(v, &c->digest, first, old, ret_record) : -EBADMSG;
    if (r == -EBADMSG && c->files[!first])
        r = judge(v, &c->digest, (enum blob_form) !first, old, ret_record);
    return r;
}

/* ------------------------------------------------------------------ one directory */

/* The files of one blob. */
struct group {
    const struct digest *digest;
    bool files[BLOB_FORMS];
    uint64_t inodes[BLOB_FORMS];
};

/* The one that begins at *i, which moves behind it. */
static void next_group(const struct place_list *files, size_t *i, struct group *ret_group)
{
    struct group g = {.digest = &files->entries[*i].digest};
    do {
        const struct place_entry *e = &files->entries[(*i)++];
        g.files[e->form] = true;
        g.inodes[e->form] = e->inode;
    } while (*i < files->count && digest_equal(&files->entries[*i].digest, g.digest));
    *ret_group = g;
}

/* `g` is NULL where there is a record alone. */
static int add_change(struct recovery *v, const struct digest *digest, const struct group *g,
                      const struct blob_record *record)
{
    if (v->count == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 64;
        struct change *changes = reallocarray(v->changes, capacity, sizeof(*changes));
        if (!changes)
            return -ENOMEM;
        v->changes = changes;
        v->capacity = capacity;
    }
    struct change *c = &v->changes[v->count++];
    *c = (struct change){.digest = *digest, .put = g, .had = record};
    if (g)
        memcpy(c->files, g->files, sizeof(c->files));
    if (record)
        c->record = *record;
    return 0;
}

static void count(struct recovery *v, const struct blob_record *record)
{
    v->sum.bytes += record->file.size;
    v->sum.content += record->size;
}

/* The next files, and the record of their blob or NULL. To be looked at later: not within the transaction. */
static int compare(struct recovery *v, size_t *i, const struct blob_record *record)
{
    struct group g;
    next_group(&v->files, i, &g);
    if (record && !v->copied && g.files[record->form] && !g.files[!record->form] &&
        record->file.inode == g.inodes[record->form]) {
        count(v, record);
        return 0;
    }
    return add_change(v, g.digest, &g, record);
}

/* Compares the directory's files with the records of its part of the index. */
static int merge(struct recovery *v, enum digest_algorithm algorithm, uint8_t fan)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    AUTO_INDEX_CURSOR struct index_cursor c = {0};
    const uint8_t prefix[2] = {(uint8_t)algorithm, fan};
    size_t i = 0;
    int r = index_begin_read(v->store->index, &t);
    if (r == 0)
        r = index_cursor_open(&t, INDEX_BLOBS, &c);
    if (r == 0)
        r = index_cursor_seek(&c, prefix, sizeof(prefix));
    while (r == 0 && c.key_len >= sizeof(prefix) && memcmp(c.key, prefix, sizeof(prefix)) == 0) {
        struct digest digest;
        struct blob_record record;
        if (blob_key_decode(c.key, c.key_len, &digest) < 0)
            return index_condemn(v->store->index);
        bool readable = blob_record_decode(c.value, c.value_len, &record) == 0;
        int order = -1; /* of the next file beside this record */
        while (r == 0 && i < v->files.count &&
               (order = memcmp(v->files.entries[i].digest.raw, digest.raw, sizeof(digest.raw))) < 0)
            r = compare(v, &i, NULL);
        if (r == 0 && i < v->files.count && order == 0)
            r = compare(v, &i, readable ? &record : NULL);
        else if (r == 0)
            r = add_change(v, &digest, NULL, NULL);
        if (r == 0)
            r = index_cursor_next(&c);
    }
    if (r == -ENOENT)
        r = 0;
    while (r == 0 && i < v->files.count)
        r = compare(v, &i, NULL);
    return r;
}

/* Decides on each change that begins as a file: it stays a put, or the file goes and the record with it. */
static int judge_files(struct recovery *v)
{
    for (size_t i = 0; i < v->count; i++) {
        struct change *c = &v->changes[i];
        if (!c->put) {
            c->dropped = true;
            continue;
        }
        struct blob_record record;
        int r = judge_forms(v, c, &record);
        if (r == 0) {
            c->adopted = !c->had || !blob_facts_equal(&record.file, &c->record.file);
            c->record = record;
        } else if (r == -EBADMSG) {
            c->put = false;
            c->dropped = c->had;
        } else {
            return r;
        }
    }
    return 0;
}

static int write_changes(struct recovery *v)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    int r = index_begin_write(v->store->index, &t);
    if (r < 0)
        return r;
    for (size_t i = 0; i < v->count; i++)
        if (v->changes[i].put)
            catalog_put(&t, &v->changes[i].digest, &v->changes[i].record);
        else
            catalog_delete(&t, &v->changes[i].digest);
    return index_commit(&t);
}

/* What does not count goes: the second file of a blob, or one with wrong bytes. */
static bool clear_file(struct recovery *v, const struct change *c, enum blob_form form)
{
    if (c->put)
        return c->record.form != form && place_remove_form(&v->store->place, &c->digest, form) == 0;
    return place_quarantine(&v->store->place, &c->digest, form, v->now) == 0;
}

/* Index committed → name gone, as ever. */
static void conclude(struct recovery *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct change *c = &v->changes[i];
        v->report->adopted += c->adopted;
        v->report->dropped += c->dropped;
        if (c->dropped)
            digest_ring_add(&v->store->lost, &c->digest);
        if (c->put)
            count(v, &c->record);
        for (enum blob_form form = BLOB_PLAIN; form < BLOB_FORMS; form++)
            if (c->files[form])
                v->report->discarded += clear_file(v, c, form);
    }
}

static int recover_fan(struct recovery *v, enum digest_algorithm algorithm, uint8_t fan)
{
    v->count = 0;
    int r = place_list_fan(&v->store->place, algorithm, fan, v->now, &v->files, &v->report->discarded);
    if (r == 0)
        r = merge(v, algorithm, fan);
    if (r == 0)
        r = judge_files(v);
    if (r < 0 || v->count == 0)
        return r;
    /* What came here by other hands than ours (a restore) may not be durable yet; nothing more comes now. */
    if (!v->synced && syncfs(v->store->place.blobs) < 0)
        return -errno;
    v->synced = true;
    r = write_changes(v);
    if (r == 0)
        conclude(v);
    if (r != -ENOSPC)
        return r;
    /* A full disk is no reason not to start: what has a record that fits can be served. */
    v->full = true;
    atomic_store(&v->store->untidy, true);
    return 0;
}

static int correct_total(struct recovery *v)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct catalog_totals totals = {0};
    int r = index_begin_write(v->store->index, &t);
    if (r == 0)
        r = catalog_totals(&t, &totals);
    if (r < 0 || (totals.sum.bytes == v->sum.bytes && totals.sum.content == v->sum.content))
        return r;
    catalog_set_sum(&t, &v->sum);
    return index_commit(&t);
}

static int recover_blobs(struct recovery *v)
{
    int r = place_sweep(&v->store->place, v->now, &v->report->discarded);
    for (int a = DIGEST_SHA256; a <= DIGEST_SHA512; a++)
        for (int fan = 0; r == 0 && fan < PLACE_FANS; fan++)
            if (place_fan_changed_at(&v->store->place, (enum digest_algorithm)a, (uint8_t)fan) >= v->since_ns)
                r = recover_fan(v, (enum digest_algorithm)a, (uint8_t)fan);
    place_list_finish(&v->files);
    free(v->changes);
    bool counted_all = v->since_ns == STORE_ALL && !v->full;
    return r == 0 && counted_all ? correct_total(v) : r;
}

/* ------------------------------------------------------------------ all of it */

static int count_partial(void *arg, const struct digest *digest, uint64_t size)
{
    struct recovery *v = arg;
    struct blob_record record;
    int64_t used_at;
    if (store_find(v->store, digest, &record, &used_at) == 0)
        return 1; /* stored already: of no use */
    v->report->partials++;
    v->report->partial_bytes += size;
    return 0;
}

static int count_blobs(struct recovery *v)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct catalog_totals totals;
    int r = index_begin_read(v->store->index, &t);
    if (r == 0)
        r = catalog_totals(&t, &totals);
    if (r == 0) {
        v->report->blobs = totals.blobs;
        v->report->bytes = totals.sum.bytes;
    }
    return r;
}

int store_recover(struct blobstore *store, const struct blobstore_options *options, int64_t since_ns, bool copied,
                  struct blobstore_report *report)
{
    struct recovery v = {.store = store,
                         .options = options,
                         .report = report,
                         .copied = copied,
                         .since_ns = since_ns,
                         .now = clock_real_ms()};
    /* Partial files first: where one is a second name of a blob, taking that away changes the blob's ctime. */
    int r = place_walk_partial(&store->place, count_partial, &v, &report->discarded);
    if (r == 0)
        r = recover_blobs(&v);
    if (r == 0)
        r = count_blobs(&v);
    return r;
}
