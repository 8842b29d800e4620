#include "backup/content.h"

#include <errno.h>
#include <fcntl.h>

int content_open(struct blobstore *store, const struct digest *digest, struct content *ret_content)
{
    struct blobstore_info info;
    int fd;
    int r = blobstore_get(store, digest, &info, &fd);
    if (r < 0)
        return r;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret_content = (struct content){.fd = fd, .size = info.size};
    return 0;
}

ssize_t content_read(struct content *c, void *data, size_t len)
{
    ssize_t n;
    do {
        n = pread(c->fd, data, len, (off_t)c->at);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    c->at += (uint64_t)n;
    return n;
}

void content_close(struct content *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}
