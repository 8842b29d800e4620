#include "backup/content.h"

#include <fcntl.h>

int content_open(struct blobstore *store, const struct digest *digest, struct content *ret_content)
{
    struct blobstore_info info;
    struct blobstore_content *blob;
    int r = blobstore_get(store, digest, &info, &blob);
    if (r < 0)
        return r;
    (void)posix_fadvise(blobstore_content_fd(blob), 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret_content = (struct content){.blob = blob, .size = info.size};
    return 0;
}

ssize_t content_read(struct content *c, void *data, size_t len)
{
    if (c->at == c->size)
        return 0;
    ssize_t n = blobstore_content_read(c->blob, c->at, data, len < c->size - c->at ? len : (size_t)(c->size - c->at));
    if (n > 0)
        c->at += (uint64_t)n;
    return n;
}

void content_close(struct content *c)
{
    blobstore_content_close(TAKE_PTR(c->blob));
}
