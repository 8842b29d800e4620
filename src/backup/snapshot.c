#include "backup/snapshot.h"

#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STEP_BYTES (256 * KIB)
#define STEP_BLOBS 1024

static int spool(struct snapshot *s, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(s->fd, (const char *)data + done, len - done, (off_t)(s->size + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    s->size += len;
    return 0;
}

/* ------------------------------------------------------------------ records */

struct step {
    struct buf bytes;
    struct blobstore_cursor at;
};

static int take_record(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct step *step = arg;
    const struct backup_record record = {.key = key, .key_len = key_len, .value = value, .value_len = value_len};
    if (value_len > BLOBSTORE_VALUE_MAX)
        return -EIO; /* nobody can have put it there */
    if (step->bytes.len + BACKUP_RECORD_MAX > step->bytes.max)
        return 1;
    return backup_record_encode(&record, &step->bytes);
}

static int take_table(struct blobstore *store, struct snapshot *s, size_t index)
{
    struct step step = {.bytes = BUF_INIT(STEP_BYTES)};
    struct snapshot_section *section = &s->tables[index];
    int r;
    section->at = s->size;
    do {
        buf_reset(&step.bytes);
        r = blobstore_record_step(store, backup_tables[index], &step.at, SIZE_MAX, take_record, &step);
        int spooled = r < 0 ? r : spool(s, step.bytes.data, step.bytes.len);
        if (spooled < 0)
            r = spooled;
    } while (r > 0);
    buf_finish(&step.bytes);
    section->size = s->size - section->at;
    return r;
}

/* ------------------------------------------------------------------ the list */

static int take_blobs(struct snapshot *s, const struct blobstore_info *infos, size_t count, int64_t since)
{
    AUTO_BUF struct buf bytes = BUF_INIT(STEP_BLOBS * BACKUP_ITEM_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct blobstore_info *info = &infos[i];
        const struct backup_item item = {.digest = info->digest,
                                         .size = info->size,
                                         .stored_at = info->stored_at,
                                         .used_at = info->used_at,
                                         .is_here = info->stored_at >= since};
        uint8_t encoded[BACKUP_ITEM_MAX];
        int r = buf_add(&bytes, encoded, backup_item_encode(&item, encoded));
        if (r < 0)
            return r;
        s->bytes += info->size;
    }
    s->blobs += count;
    return s->blobs > LIMIT_BACKUP_BLOBS ? -EFBIG : spool(s, bytes.data, bytes.len);
}

static int take_list(struct blobstore *store, struct snapshot *s, int64_t since)
{
    AUTO_FREE struct blobstore_info *infos = calloc(STEP_BLOBS, sizeof(*infos));
    if (!infos)
        return -ENOMEM;
    s->list.at = s->size;
    struct digest after;
    size_t count = 0;
    int r;
    do {
        r = blobstore_list(store, count ? &after : NULL, infos, STEP_BLOBS, &count);
        if (r == 0)
            r = take_blobs(s, infos, count, since);
        if (r == 0 && count > 0)
            after = infos[count - 1].digest;
    } while (r == 0 && count == STEP_BLOBS);
    s->list.size = s->size - s->list.at;
    return r;
}

/* ------------------------------------------------------------------ all of it */

static int take_tables(struct blobstore *store, struct snapshot *s, bool tags)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < BACKUP_TABLES; i++)
        if ((backup_tables[i] == BLOBSTORE_TAGS) == tags)
            r = take_table(store, s, i);
    return r;
}

int snapshot_take(struct blobstore *store, bool is_metadata, int64_t since, struct snapshot *ret_snapshot)
{
    struct snapshot s = SNAPSHOT_NONE;
    int r = blobstore_temporary(store, &s.fd);
    if (r == 0)
        r = take_tables(store, &s, /* tags= */ true);
    if (r == 0 && !is_metadata)
        r = take_list(store, &s, since);
    if (r == 0)
        r = take_tables(store, &s, /* tags= */ false);
    if (r < 0)
        snapshot_finish(&s);
    else
        *ret_snapshot = s;
    return r;
}

void snapshot_finish(struct snapshot *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    *s = SNAPSHOT_NONE;
}
