/*
 * The content of a stored blob, read from its beginning to its end, however the store keeps it. One thread.
 */
#pragma once

#include "blobstore/blobstore.h"

#include <sys/types.h>

struct content {
    struct blobstore_content *blob; /* NULL: not open */
    uint64_t size, at;
};

/* -ENOENT, -EBADMSG: not stored, or not what was stored. */
MUST_CHECK int content_open(struct blobstore *store, const struct digest *digest, struct content *ret_content);
/* Up to `len` bytes; 0: the end. */
MUST_CHECK ssize_t content_read(struct content *c, void *data, size_t len);
void content_close(struct content *c);
