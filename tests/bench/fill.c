/*
 * fill STORE COUNT: a store of COUNT small blobs, each with its record, as fast as it can be made: nothing is waited
 * for to reach the disk, and the last thing is one sync of the whole file system. For the bench: how long a start
 * takes where much is stored.
 */
#include "blobstore/blobstore.h"

#include "base/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A_BATCH 5000

/* In the place of the C library's. */
__attribute__((visibility("default"))) int fdatasync(int fd);
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

__attribute__((visibility("default"))) int fsync(int fd);
__attribute__((visibility("default"))) int fsync(int fd)
{
    (void)fd;
    return 0;
}

static int add(struct blobstore *store, struct blobstore_batch *batch, unsigned long n)
{
    char bytes[32];
    struct digest digest;
    struct blobstore_writer *w;
    uint64_t length;
    size_t len = (size_t)snprintf(bytes, sizeof(bytes), "blob %lu\n", n);
    int r = digest_of(DIGEST_SHA256, bytes, len, &digest);
    if (r == 0)
        r = blobstore_writer_open(store, &digest, &w, &length);
    if (r < 0)
        return r;
    r = blobstore_writer_append(w, bytes, len);
    if (r == 0)
        r = blobstore_batch_publish(batch, w);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    return r;
}

static int fill(struct blobstore *store, unsigned long count)
{
    for (unsigned long n = 0; n < count;) {
        struct blobstore_batch *batch;
        int r = blobstore_batch_begin(store, &batch);
        if (r < 0)
            return r;
        for (unsigned i = 0; r == 0 && i < A_BATCH && n < count; i++)
            r = add(store, batch, n++);
        int committed = blobstore_batch_commit(batch);
        if (r < 0 || committed < 0)
            return r < 0 ? r : committed;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct blobstore *store;
    struct blobstore_report report;
    if (argc != 3)
        return 2;
    const struct blobstore_options options = {.root = argv[1]};
    int r = blobstore_open(&options, &store, &report);
    if (r == 0) {
        r = fill(store, strtoul(argv[2], NULL, 10));
        blobstore_close(store);
        sync();
    }
    if (r < 0)
        fprintf(stderr, "fill: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
