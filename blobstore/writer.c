/*
 * A blob in the making.
 *
 *   state       | append, write … | publish          | close(KEEP)        | close(DISCARD)
 *   ------------+-----------------+------------------+--------------------+---------------
 *   open        | yes             | → published      | file stays         | file removed
 *   spoiled     | -EIO            | -EIO             | file removed       | file removed
 *   published   | programmer error                   | freed, the blob stays stored
 *
 * Spoiled: the file system has failed to write pages back. It forgets about them then, and a second fdatasync() would
 * claim success.
 *
 * Bytes that were written ahead leave a gap behind them, which a file's size does not show, nor its holes where room
 * was reserved. So before the first of them the front is marked: a record behind the last byte of the blob says how
 * many bytes from the start are there, and is kept up with them. A close cuts the file at its length, and the mark off;
 * whoever opens a file that has one was torn from the last writer, and cuts it there.
 */
#include "base/table.h"
#include "blobstore/io.h"
#include "blobstore/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define WRITE_BACK (8ULL << 20) /* of dirty pages at once, so that the sync at the end is short */

struct blobstore_writer {
    /* set at open */
    struct blobstore *store;
    struct digest digest;
    int fd;

    /* its one thread */
    uint64_t length;   /* announced; the file may be longer by what a failed append has left */
    uint64_t reserved; /* room for so much was asked for; 0: it was not */
    uint64_t mark_at;  /* where the front is marked; 0: it is not */
    bool spoiled;
    bool published;

    UT_hash_handle hh; /* under store->writers_lock */
};

/* ------------------------------------------------------------------ the table: one writer a digest */

static bool has_writer_locked(const struct blobstore *store, const struct digest *digest)
{
    const struct blobstore_writer *w;
    HASH_FIND(hh, store->writers, digest, sizeof(*digest), w);
    return w;
}

static int enter(struct blobstore_writer *w)
{
    int r = -EBUSY;
    (void)pthread_mutex_lock(&w->store->writers_lock);
    if (!has_writer_locked(w->store, &w->digest)) {
        HASH_ADD(hh, w->store->writers, digest, sizeof(w->digest), w);
        r = TABLE_HAS(w) ? 0 : -ENOMEM;
    }
    (void)pthread_mutex_unlock(&w->store->writers_lock);
    return r;
}

static void leave(struct blobstore_writer *w)
{
    (void)pthread_mutex_lock(&w->store->writers_lock);
    HASH_DEL(w->store->writers, w);
    (void)pthread_mutex_unlock(&w->store->writers_lock);
}

/* ------------------------------------------------------------------ open, write */

int blobstore_writer_open(struct blobstore *store, const struct digest *digest, struct blobstore_writer **ret_writer,
                          uint64_t *ret_length)
{
    AUTO_FREE struct blobstore_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->store = store;
    w->digest = *digest;
    int r = enter(w);
    if (r < 0)
        return r;
    r = place_open_partial(&store->place, digest, &w->fd, &w->length);
    if (r < 0) {
        leave(w);
        return r == -EDQUOT ? -ENOSPC : r;
    }
    *ret_length = w->length;
    *ret_writer = TAKE_PTR(w);
    return 0;
}

/* Lets go of what is beyond the length: nobody was ever told of it. */
static int trim(struct blobstore_writer *w)
{
    struct stat st;
    if (fstat(w->fd, &st) < 0)
        return -errno;
    if (w->reserved == 0 && (uint64_t)st.st_size == w->length)
        return 0;
    if ((uint64_t)st.st_size < w->length)
        return -EIO; /* somebody else has cut it */
    if (ftruncate(w->fd, (off_t)w->length) < 0)
        return -errno;
    w->reserved = w->mark_at = 0;
    return 0;
}

int blobstore_writer_reserve(struct blobstore_writer *w, uint64_t size)
{
    assert(!w->published);
    if (size <= w->length)
        return 0;
    if (size > INT64_MAX)
        return -EFBIG;
    int r;
    do {
        r = fallocate(w->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 ? -errno : 0;
    } while (r == -EINTR);
    w->reserved = size;
    switch (r) {
    case -EOPNOTSUPP:
    case -ENOSYS:
        return 0;
    case -ENOSPC:
    case -EDQUOT:
        if (w->mark_at == 0)
            (void)trim(w); /* some of it may have been given */
        return -ENOSPC;
    default:
        return r;
    }
}

static int mark_front(const struct blobstore_writer *w, uint64_t at)
{
    uint8_t bytes[FRONT_RECORD_SIZE];
    front_record_encode(&(struct front_record){.at = at, .length = w->length}, bytes);
    return io_write(w->fd, at, bytes, sizeof(bytes));
}

int blobstore_writer_write(struct blobstore_writer *w, uint64_t offset, const void *data, size_t len)
{
    assert(!w->published && offset >= w->length);
    if (w->spoiled)
        return -EIO;
    int r = 0;
    if (offset > w->length && w->mark_at == 0) {
        assert(offset + len <= w->reserved);
        r = mark_front(w, w->reserved);
        if (r < 0)
            return r;
        w->mark_at = w->reserved;
    }
    r = io_write(w->fd, offset, data, len);
    uint64_t before = offset / WRITE_BACK * WRITE_BACK, after = (offset + len) / WRITE_BACK * WRITE_BACK;
    if (r == 0 && after > before)
        (void)sync_file_range(w->fd, (off_t)before, (off_t)(after - before), SYNC_FILE_RANGE_WRITE);
    return r;
}

int blobstore_writer_extend(struct blobstore_writer *w, uint64_t length)
{
    assert(!w->published && length >= w->length);
    w->length = length;
    return w->mark_at > 0 ? mark_front(w, w->mark_at) : 0;
}

int blobstore_writer_append(struct blobstore_writer *w, const void *data, size_t len)
{
    int r = blobstore_writer_write(w, w->length, data, len);
    return r == 0 ? blobstore_writer_extend(w, w->length + len) : r;
}

int blobstore_writer_restart(struct blobstore_writer *w)
{
    assert(!w->published);
    w->length = 0;
    return w->spoiled ? -EIO : trim(w);
}

uint64_t blobstore_writer_length(const struct blobstore_writer *w)
{
    return w->length;
}

int blobstore_writer_fd(const struct blobstore_writer *w)
{
    return w->fd;
}

/* ------------------------------------------------------------------ the end */

int writer_sync(struct blobstore_writer *w)
{
    if (w->spoiled)
        return -EIO;
    int r = trim(w);
    if (r < 0)
        return r;
    if (fdatasync(w->fd) < 0) {
        w->spoiled = true;
        return errno == EDQUOT ? -ENOSPC : -errno;
    }
    return 0;
}

const struct digest *writer_digest(const struct blobstore_writer *w)
{
    return &w->digest;
}

struct blobstore *writer_store(const struct blobstore_writer *w)
{
    return w->store;
}

void writer_set_published(struct blobstore_writer *w)
{
    w->published = true;
}

bool writer_is_published(const struct blobstore_writer *w)
{
    return w->published;
}

void blobstore_writer_close(struct blobstore_writer *w, enum blobstore_keep keep)
{
    if (!w)
        return;
    if (!w->published) {
        bool stays = keep == BLOBSTORE_KEEP && !w->spoiled && w->length > 0 && trim(w) == 0;
        if (!stays)
            (void)place_remove_partial(&w->store->place, &w->digest);
    }
    (void)close(w->fd);
    leave(w);
    free(w);
}

/* ------------------------------------------------------------------ leftovers */

struct partial_walk {
    struct blobstore *store;
    blobstore_partial_fn each;
    void *arg;
};

static int give_partial(void *arg, const struct digest *digest, uint64_t size, int64_t written_at)
{
    const struct partial_walk *walk = arg;
    struct blobstore_partial p = {.digest = *digest, .size = size, .written_at = written_at};
    (void)pthread_mutex_lock(&walk->store->writers_lock);
    p.is_open = has_writer_locked(walk->store, digest);
    (void)pthread_mutex_unlock(&walk->store->writers_lock);
    return walk->each(walk->arg, &p);
}

int blobstore_each_partial(struct blobstore *store, blobstore_partial_fn each, void *arg)
{
    struct partial_walk walk = {store, each, arg};
    return place_each_partial(&store->place, give_partial, &walk);
}

/* As a writer, so that there is no other. */
int blobstore_discard_partial(struct blobstore *store, const struct digest *digest)
{
    struct blobstore_writer w = {.store = store, .digest = *digest, .fd = -1};
    int r = enter(&w);
    if (r < 0)
        return r;
    r = place_remove_partial(&store->place, digest);
    leave(&w);
    return r;
}

int blobstore_quarantine(struct blobstore *store, bool remove, uint64_t *ret_files, uint64_t *ret_bytes)
{
    return place_empty_quarantine(&store->place, remove, ret_files, ret_bytes);
}
