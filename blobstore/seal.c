/*
 * Sealing: the file system itself refuses, from then on, to give other bytes than those that are there now (fs-verity:
 * Linux, Documentation/filesystems/fsverity.rst). A file that is sealed cannot be written any more, only removed.
 */
#include "blobstore/store.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define VERITY_BLOCK 4096

static int enable_verity(int fd)
{
    const struct fsverity_enable_arg arg = {
        .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = VERITY_BLOCK};
    if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) == 0 || errno == EEXIST)
        return 0;
    switch (errno) {
    case ENOTTY:     /* the file system knows nothing of it, */
    case EOPNOTSUPP: /* or the kernel was built without it, or the file system made without it, */
    case EINVAL:     /* or has no such blocks */
        return -EOPNOTSUPP;
    case ETXTBSY:
        return -EBUSY;
    default:
        return -errno;
    }
}

/* The record follows its file, should sealing have changed what the file's inode says. */
static int follow(struct blobstore *store, const struct digest *digest, const struct found_blob *found)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct blob_record record = found->record;
    struct stat st;
    if (fstat(found->fd, &st) < 0)
        return -errno;
    blob_facts_of(&st, &record.file);
    if (blob_facts_equal(&record.file, &found->record.file))
        return 0;
    int r = index_begin_write(store->index, &t);
    if (r < 0)
        return r;
    catalog_put(&t, digest, &record);
    return index_commit(&t);
}

static int seal_locked(struct blobstore *store, const struct digest *digest)
{
    struct found_blob found;
    int r = store_open_blob(store, digest, &found);
    if (r < 0)
        return r;
    if (found.record.file.size > BLOBSTORE_SEAL_MAX)
        r = -EFBIG;
    if (r == 0)
        r = enable_verity(found.fd);
    if (r == 0)
        r = follow(store, digest, &found);
    (void)close(found.fd);
    return r;
}

int blobstore_seal(struct blobstore *store, const struct digest *digest)
{
    (void)pthread_mutex_lock(&store->names);
    int r = seal_locked(store, digest);
    (void)pthread_mutex_unlock(&store->names);
    return r;
}
