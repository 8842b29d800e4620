/*
 * The inside of a store, for the files of blobstore/ only.
 *
 * Locks, in the order in which they are taken: `writers_lock` alone; `names` → a transaction of the index; a touch's
 * lock alone; a ring's alone. No lock is taken inside a transaction. `names` is held while names of blobs change
 * together with what the index says of them: by every removal from its commit to its unlink, by publish from its
 * look-up to its rename, by a packing from its rename to its unlink, by a sealing, by get only where a file is not the
 * one of its record.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "blobstore/catalog.h"
#include "blobstore/digest_ring.h"
#include "blobstore/index.h"
#include "blobstore/place.h"
#include "blobstore/touch.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOST_MAX 256
#define TO_PACK_MAX 1024

struct blobstore {
    /* set at open */
    struct place place;
    struct index *index;
    struct touches *touches;
    int64_t doubted_before; /* 0: nothing is */

    /* any thread */
    atomic_size_t kept;     /* bytes of frames that readers keep */
    atomic_bool untidy;     /* there may be files without a record: to be looked for at the next start */
    atomic_bool batch_open; /* one at a time */

    pthread_mutex_t names;

    pthread_mutex_t writers_lock;
    struct blobstore_writer *writers; /* under writers_lock; by digest */

    struct digest_ring lost;    /* went because they were damaged: somebody may fetch them again */
    struct digest_ring to_pack; /* were published and may be packed */
    struct digest lost_digests[LOST_MAX], to_pack_digests[TO_PACK_MAX]; /* the rings' */
};

/* A blob that is open, and what is known of it. */
struct found_blob {
    struct blob_record record;
    int64_t used_at;
    int fd;
};

MUST_CHECK int store_find(struct blobstore *store, const struct digest *digest, struct blob_record *ret_record,
                          int64_t *ret_used_at);
/* Opens the blob and holds its file against its record. -EBADMSG: it does not fit, is not there, or cannot be
 * read; nothing was done.
 */
MUST_CHECK int store_open_blob(struct blobstore *store, const struct digest *digest, struct found_blob *ret_found);
/* Under `names`: the record goes, then its file, into quarantine. */
int store_condemn(struct blobstore *store, const struct digest *digest);

/* content.c: takes over the descriptor where it succeeds. */
MUST_CHECK int store_content_open(struct blobstore *store, int fd, enum blob_form form,
                                  struct blobstore_content **ret_content);
MUST_CHECK int store_content_size(struct blobstore_content *c, uint64_t *ret_size);
/* pack.c: whether the first look at a file tells that it would not shrink enough. */
bool pack_is_pointless(int fd, uint64_t size);

/* writer.c: makes the bytes durable. After -EIO they can never be relied on. */
MUST_CHECK int writer_sync(struct blobstore_writer *w);
const struct digest *writer_digest(const struct blobstore_writer *w);
struct blobstore *writer_store(const struct blobstore_writer *w);
/* The partial file has got another name, or none. */
void writer_set_published(struct blobstore_writer *w);
bool writer_is_published(const struct blobstore_writer *w);

/* recover.c: looks after partial files, and makes files and index agree in those directories that have changed since
 * `since_ns`; `copied`: the files are not those that the records were made of. Adds what it finds and does to the
 * report. Of the options: whom to tell of its progress. */
#define STORE_ALL INT64_MIN
MUST_CHECK int store_recover(struct blobstore *store, const struct blobstore_options *options, int64_t since_ns,
                             bool copied, struct blobstore_report *report);
