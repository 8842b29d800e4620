/* Content that is open: a descriptor, and a reader of frames where the file is packed. */
#include "blobstore/packed.h"
#include "blobstore/store.h"

#include <errno.h>
#include <sys/stat.h>

struct blobstore_content {
    int fd;
    enum blob_form form;
    atomic_size_t *kept;
    struct packed *packed; /* from the first read on, of a packed file */
};

int store_content_open(struct blobstore *store, int fd, enum blob_form form, struct blobstore_content **ret_content)
{
    struct blobstore_content *c = malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct blobstore_content){.fd = fd, .form = form, .kept = &store->kept};
    *ret_content = c;
    return 0;
}

static int prepare(struct blobstore_content *c)
{
    return c->form == BLOB_PLAIN || c->packed ? 0 : packed_open(c->fd, c->kept, &c->packed);
}

int store_content_size(struct blobstore_content *c, uint64_t *ret_size)
{
    struct stat st;
    int r = prepare(c);
    if (r == 0 && fstat(c->fd, &st) < 0)
        r = -errno;
    if (r == 0)
        *ret_size = c->packed ? packed_size(c->packed) : (uint64_t)st.st_size;
    return r;
}

ssize_t blobstore_content_read(struct blobstore_content *c, uint64_t offset, void *data, size_t len)
{
    ssize_t n = prepare(c);
    if (n < 0)
        return n;
    if (c->packed)
        return offset < packed_size(c->packed) ? packed_read(c->packed, offset, data, len) : -EBADMSG;
    do
        n = pread(c->fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n > 0 ? n : n < 0 ? -errno : -EBADMSG; /* shorter than it was published */
}

int blobstore_content_read_all(struct blobstore_content *c, void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = blobstore_content_read(c, at, (char *)data + at, len - at);
        if (n < 0)
            return (int)n;
        at += (size_t)n;
    }
    return 0;
}

int blobstore_content_fd(const struct blobstore_content *c)
{
    return c->fd;
}

void blobstore_content_close(struct blobstore_content *c)
{
    if (!c)
        return;
    packed_close(c->packed);
    (void)close(c->fd);
    free(c);
}
