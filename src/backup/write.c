/* Making a backup: a snapshot, then the blobs that it lists, in a tar in zstd, to a sink. */
#include "backup/backup.h"

#include "backup/format.h"
#include "backup/snapshot.h"
#include "base/clock.h"
#include "base/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#define COPY_SIZE (1 * MIB)
#define SINK_SIZE (256 * KIB)
/* Most content is compressed already, and the file is to be written as fast as the disk reads. */
#define ZSTD_LEVEL "1"
/* How long a blob that says when it was stored may have taken to be seen, or a clock be wrong. */
#define SINCE_MARGIN_MS (60 * CLOCK_MINUTE)

struct writing {
    const struct backup_options *options;
    struct archive *archive;
    struct archive_entry *entry;
    struct digest_state *head; /* of the contents of the entries so far; NULL behind the head */
    struct snapshot snapshot;
    struct backup_header header;
    struct backup_end end;
    int error; /* of the sink, sticky */
    char *data;
};

static void writing_finish(struct writing *w)
{
    archive_entry_free(w->entry);
    (void)archive_write_free(w->archive); /* which closes it; after an error to_sink() takes no orderly end */
    digest_destroy(w->head);
    snapshot_finish(&w->snapshot);
    free(w->data);
}

/* ------------------------------------------------------------------ the tar */

static la_ssize_t to_sink(struct archive *a, void *arg, const void *data, size_t len)
{
    struct writing *w = arg;
    (void)a;
    if (w->error == 0)
        w->error = w->options->sink(w->options->arg, data, len);
    return w->error < 0 ? -1 : (la_ssize_t)len;
}

static int failed(struct writing *w, int rc)
{
    if (rc >= ARCHIVE_WARN)
        return 0;
    if (w->error == 0)
        w->error = archive_errno(w->archive) == ENOMEM ? -ENOMEM : -EIO;
    return w->error;
}

static int open_archive(struct writing *w)
{
    w->archive = archive_write_new();
    w->entry = archive_entry_new();
    if (!w->archive || !w->entry)
        return w->error = -ENOMEM;
    int rc = archive_write_set_format_pax_restricted(w->archive);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_add_filter_zstd(w->archive);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_set_filter_option(w->archive, "zstd", "compression-level", ZSTD_LEVEL);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_set_bytes_per_block(w->archive, (int)SINK_SIZE);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_set_bytes_in_last_block(w->archive, 1);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_open2(w->archive, w, NULL, to_sink, NULL, NULL);
    return failed(w, rc);
}

static int begin_entry(struct writing *w, const struct backup_name *name, uint64_t size, int64_t time_ms)
{
    char text[BACKUP_NAME_MAX];
    backup_name_format(name, text);
    archive_entry_clear(w->entry);
    archive_entry_set_pathname(w->entry, text);
    archive_entry_set_filetype(w->entry, AE_IFREG);
    archive_entry_set_perm(w->entry, 0400);
    archive_entry_set_size(w->entry, (la_int64_t)size);
    archive_entry_set_mtime(w->entry, time_ms / 1000, 0);
    return failed(w, archive_write_header(w->archive, w->entry));
}

static int add_data(struct writing *w, const void *data, size_t len)
{
    if (w->head) {
        int r = digest_update(w->head, data, len);
        if (r < 0)
            return r;
    }
    for (size_t done = 0; done < len;) {
        la_ssize_t n = archive_write_data(w->archive, (const char *)data + done, len - done);
        if (n <= 0)
            return failed(w, ARCHIVE_FATAL);
        done += (size_t)n;
    }
    return 0;
}

static int end_entry(struct writing *w)
{
    return failed(w, archive_write_finish_entry(w->archive));
}

static int add_small(struct writing *w, enum backup_kind kind, const struct buf *bytes)
{
    int r = begin_entry(w, &(struct backup_name){.kind = kind}, bytes->len, w->header.created_at);
    if (r == 0)
        r = add_data(w, bytes->data, bytes->len);
    return r == 0 ? end_entry(w) : r;
}

/* ------------------------------------------------------------------ what the snapshot has */

/* Reads of the snapshot, all of it. */
static int read_snapshot(const struct writing *w, void *data, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(w->snapshot.fd, (char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int add_section(struct writing *w, const struct backup_name *name, const struct snapshot_section *section)
{
    int r = begin_entry(w, name, section->size, w->header.created_at);
    for (uint64_t at = 0; r == 0 && at < section->size;) {
        size_t n = section->size - at < COPY_SIZE ? (size_t)(section->size - at) : COPY_SIZE;
        r = read_snapshot(w, w->data, n, section->at + at);
        if (r == 0)
            r = add_data(w, w->data, n);
        at += n;
    }
    return r == 0 ? end_entry(w) : r;
}

static int add_head(struct writing *w)
{
    AUTO_BUF struct buf small = BUF_INIT(BACKUP_SMALL_MAX);
    char text[DIGEST_TEXT_MAX];
    struct digest digest;
    int r = backup_header_encode(&w->header, &small);
    if (r == 0)
        r = digest_begin(DIGEST_SHA256, &w->head);
    if (r == 0)
        r = add_small(w, BACKUP_HEADER, &small);
    if (r == 0)
        r = add_section(w, &(struct backup_name){.kind = BACKUP_LIST}, &w->snapshot.list);
    for (size_t i = 0; r == 0 && i < BACKUP_TABLES; i++)
        r = add_section(w, &(struct backup_name){.kind = BACKUP_RECORDS, .index = i}, &w->snapshot.tables[i]);
    if (r == 0)
        r = digest_end(w->head, &digest);
    digest_destroy(TAKE_PTR(w->head));
    buf_reset(&small);
    if (r == 0)
        r = buf_addf(&small, "%s\n", digest_format(&digest, text));
    return r == 0 ? add_small(w, BACKUP_HEAD, &small) : r;
}

/* ------------------------------------------------------------------ blobs */

/* The tar wants as many bytes as were announced: what cannot be read becomes zeros, and has another digest. */
static int copy(struct writing *w, const struct backup_item *item, struct blobstore_content *content, bool *ret_good)
{
    AUTO(auto_digest_destroy) struct digest_state *state = NULL;
    struct digest actual;
    int r = digest_begin(item->digest.algorithm, &state);
    (void)posix_fadvise(blobstore_content_fd(content), 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t at = 0; r == 0 && at < item->size;) {
        size_t left = item->size - at < COPY_SIZE ? (size_t)(item->size - at) : COPY_SIZE;
        ssize_t n = blobstore_content_read(content, at, w->data, left);
        if (n == -ENOMEM)
            return -ENOMEM; /* which says nothing of the blob */
        if (n < 0)
            break;
        r = digest_update(state, w->data, (size_t)n);
        if (r == 0)
            r = add_data(w, w->data, (size_t)n);
        at += (uint64_t)n;
    }
    if (r == 0)
        r = end_entry(w);
    if (r == 0)
        r = digest_end(state, &actual);
    if (r == 0)
        *ret_good = digest_equal(&actual, &item->digest);
    return r;
}

static int add_blob(struct writing *w, const struct backup_item *item)
{
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    const struct backup_name name = {.kind = BACKUP_BLOB, .digest = item->digest};
    struct blobstore_info info;
    bool good = false;
    int r = blobstore_get(w->options->store, &item->digest, &info, &content);
    if (r == -ENOENT || r == -EBADMSG) {
        if (r == -EBADMSG && w->options->damaged)
            w->options->damaged(w->options->arg, &item->digest, -1);
        w->end.missing++;
        return 0;
    }
    if (r == 0 && info.size != item->size)
        r = -EIO; /* the same digest, another size: the index is wrong */
    if (r == 0)
        r = begin_entry(w, &name, item->size, item->stored_at);
    if (r == 0)
        r = copy(w, item, content, &good);
    if (r < 0)
        return r;
    w->end.blobs++;
    w->end.bytes += item->size;
    w->end.damaged += !good;
    if (!good && w->options->damaged)
        w->options->damaged(w->options->arg, &item->digest, blobstore_content_fd(content));
    return 0;
}

static int add_blobs(struct writing *w)
{
    const struct snapshot_section *list = &w->snapshot.list;
    struct backup_item item;
    size_t used;
    int r = 0;
    for (uint64_t at = 0; r == 0 && at < list->size; at += used) {
        uint8_t bytes[BACKUP_ITEM_MAX];
        size_t n = list->size - at < sizeof(bytes) ? (size_t)(list->size - at) : sizeof(bytes);
        r = read_snapshot(w, bytes, n, list->at + at);
        if (r == 0)
            r = backup_item_decode(bytes, n, &item, &used);
        if (r < 0)
            return r == -ENOMEM ? r : -EIO;
        if (item.is_here)
            r = add_blob(w, &item);
    }
    return r;
}

/* ------------------------------------------------------------------ all of it */

static int make_id(char id[BACKUP_ID_MAX])
{
    uint8_t random[(BACKUP_ID_MAX - 1) / 2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        (void)snprintf(id + 2 * i, 3, "%02x", random[i]);
    return 0;
}

static int begin(struct writing *w)
{
    const struct backup_options *o = w->options;
    w->header = (struct backup_header){.created_at = clock_real_ms(), .is_metadata = o->is_metadata};
    if (o->base)
        (void)snprintf(w->header.base, sizeof(w->header.base), "%s", o->base);
    w->data = malloc(COPY_SIZE);
    if (!w->data)
        return -ENOMEM;
    int r = make_id(w->header.id);
    if (r == 0)
        r = snapshot_take(o->store, o->is_metadata, o->base ? o->base_at - SINCE_MARGIN_MS : INT64_MIN, &w->snapshot);
    w->header.blobs = w->snapshot.blobs;
    w->header.bytes = w->snapshot.bytes;
    return r;
}

static int write_all(struct writing *w)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    int r = begin(w);
    if (r == 0)
        r = open_archive(w);
    if (r == 0)
        r = add_head(w);
    if (r == 0)
        r = add_blobs(w);
    if (r == 0)
        r = backup_end_encode(&w->end, &json);
    if (r == 0)
        r = add_small(w, BACKUP_END, &json);
    if (r == 0)
        r = failed(w, archive_write_close(w->archive));
    if (r < 0 && w->error == 0)
        w->error = r;
    return w->error;
}

int backup_write(const struct backup_options *options, struct backup_header *ret_header, struct backup_end *ret_end)
{
    if (options->base && (options->is_metadata || !backup_id_is_valid(options->base)))
        return -EINVAL;
    AUTO(writing_finish) struct writing w = {.options = options, .snapshot = SNAPSHOT_NONE};
    int r = write_all(&w);
    if (r == 0) {
        *ret_header = w.header;
        *ret_end = w.end;
    }
    return r;
}
