/*
 * A blob in the making.
 *
 *   state       | append, reserve | publish          | close(KEEP)        | close(DISCARD)
 *   ------------+-----------------+------------------+--------------------+---------------
 *   open        | yes             | → published      | file stays         | file removed
 *   spoiled     | -EIO            | -EIO             | file removed       | file removed
 *   published   | programmer error                   | freed, the blob stays stored
 *
 * Spoiled: the file system has failed to write pages back. It forgets about them then, and a second fdatasync() would
 * claim success.
 */
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
    uint64_t length; /* announced; the file may be longer by what a failed append has left */
    uint64_t pushed; /* handed to write-back up to here */
    bool stretched;  /* room was reserved beyond the length */
    bool spoiled;
    bool published;

    struct blobstore_writer *next; /* under store->writers_lock */
};

/* ------------------------------------------------------------------ the table: one writer a digest */

static struct blobstore_writer **bucket_of(struct blobstore *store, const struct digest *digest)
{
    return &store->writers[digest_hash(digest) % WRITER_BUCKETS];
}

static int enter(struct blobstore_writer *w)
{
    struct blobstore_writer **head = bucket_of(w->store, &w->digest);
    int r = 0;
    (void)pthread_mutex_lock(&w->store->writers_lock);
    for (struct blobstore_writer *other = *head; other; other = other->next)
        if (digest_equal(&other->digest, &w->digest))
            r = -EBUSY;
    if (r == 0) {
        w->next = *head;
        *head = w;
    }
    (void)pthread_mutex_unlock(&w->store->writers_lock);
    return r;
}

static void leave(struct blobstore_writer *w)
{
    (void)pthread_mutex_lock(&w->store->writers_lock);
    struct blobstore_writer **at = bucket_of(w->store, &w->digest);
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
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
    w->pushed = w->length;
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
    if (!w->stretched && (uint64_t)st.st_size == w->length)
        return 0;
    if ((uint64_t)st.st_size < w->length)
        return -EIO; /* somebody else has cut it */
    if (ftruncate(w->fd, (off_t)w->length) < 0)
        return -errno;
    w->stretched = false;
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
    w->stretched = true;
    switch (r) {
    case -EOPNOTSUPP:
    case -ENOSYS:
        return 0;
    case -ENOSPC:
    case -EDQUOT:
        (void)trim(w); /* some of it may have been given */
        return -ENOSPC;
    default:
        return r;
    }
}

int blobstore_writer_append(struct blobstore_writer *w, const void *data, size_t len)
{
    assert(!w->published);
    if (w->spoiled)
        return -EIO;
    const char *from = data;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(w->fd, from + done, len - done, (off_t)(w->length + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EDQUOT ? -ENOSPC : -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    w->length += len;
    if (w->length - w->pushed >= WRITE_BACK) {
        (void)sync_file_range(w->fd, (off_t)w->pushed, (off_t)(w->length - w->pushed), SYNC_FILE_RANGE_WRITE);
        w->pushed = w->length;
    }
    return 0;
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
