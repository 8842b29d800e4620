/*
 * libblobstore: content-addressed files in a directory, with an index in LMDB. It knows no HTTP and no registry.
 *
 * Threads: every call may be made from any thread, but for a writer (one thread at a time) and a batch (one thread; one
 * batch at a time a store). Calls that wait for the disk say so; the others take microseconds. The library starts no
 * thread and does not log: it returns 0 or a negative errno, and what it found at start in a report.
 *
 * Errors with one meaning everywhere: -ENOENT not stored, -EBADMSG damaged, -ENOSPC no room (disk or index), -EBUSY in
 * use by somebody else, -EFBIG over a limit, -EIO the disk or the index failed.
 *
 * On disk: docs/store-format.md. Order to publish: file durable → name in place → index committed. Order to remove:
 * index committed → name gone. A file that somebody may be reading is never truncated.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct blobstore;
struct blobstore_writer;
struct blobstore_batch;
struct blobstore_content;
struct blobstore_packing;

/* ------------------------------------------------------------------ the store */

#define BLOBSTORE_MAP_SIZE (64ULL << 30) /* of the index: sparse, fixed, never grown at run time */

struct blobstore_options {
    const char *root;     /* directory; made with mode 0700 where it does not exist */
    size_t map_size;      /* bytes; 0: BLOBSTORE_MAP_SIZE */
    unsigned max_readers; /* threads that may read the index at once (one more is -EBUSY); 0: 512 */
    bool rebuild;         /* make the index anew from the files, whatever it is like */
    /* Called now and then while files are read. May be NULL. */
    void (*progress)(void *arg, uint64_t files, uint64_t bytes);
    void *progress_arg;
    struct buf *errors; /* gets what is wrong and what to do, where the error alone does not say it. May be NULL */
};

/* What opening found and mended. */
struct blobstore_report {
    bool clean;            /* the last stop was orderly */
    bool rebuilt;          /* the index was lost, unreadable or of another version: made anew from the files */
    char rebuilt_why[128]; /* empty, or the cause in words */
    uint64_t blobs, bytes; /* stored now; of the files */
    uint64_t adopted;      /* files that had no record that fits them and have one now */
    uint64_t dropped;      /* records that had no file, or one with other bytes */
    uint64_t partials, partial_bytes; /* unfinished writes that can be resumed, and how large their files are */
    uint64_t discarded;               /* files that were none of ours, empty, or wrong: removed or set aside */
};

/* Waits for the disk; takes the exclusive lock. -EBUSY: another process has the store. -EINVAL: bad options. -EACCES,
 * -EPERM: there is a file that may not be read, which stays where it is. */
MUST_CHECK int blobstore_open(const struct blobstore_options *options, struct blobstore **ret_store,
                              struct blobstore_report *ret_report);
/* Flushes the touches and marks the stop as orderly. All writers and batches must be closed. Accepts NULL. */
void blobstore_close(struct blobstore *store);

/* ------------------------------------------------------------------ stored blobs */

struct blobstore_info {
    struct digest digest;
    uint64_t size;       /* bytes of the content */
    uint64_t file_size;  /* bytes of the file */
    bool is_packed;      /* the file has the content in zstd frames */
    bool may_be_packed;  /* it has the content as it is, and nobody has found that this is better */
    int64_t stored_at;   /* wall clock, ms */
    int64_t used_at;     /* wall clock, ms; the last touch known */
    int64_t verified_at; /* wall clock, ms; when the bytes were last known to have the digest */
};

struct blobstore_totals {
    uint64_t blobs;   /* stored, as the index has it */
    uint64_t bytes;   /* of their files */
    uint64_t content; /* bytes of what is in them */
};

MUST_CHECK int blobstore_totals(struct blobstore *store, struct blobstore_totals *ret_totals);
/* Of the file system that the store is on: how large it is, and how much of it can still be written. */
MUST_CHECK int blobstore_room(struct blobstore *store, uint64_t *ret_size, uint64_t *ret_available);

/* A file of the caller's own on the same file system, for reading and writing, without a name: gone when it is closed.
 */
MUST_CHECK int blobstore_temporary(struct blobstore *store, int *ret_fd);

MUST_CHECK int blobstore_stat(struct blobstore *store, const struct digest *digest, struct blobstore_info *ret_info);
/* Opens the content, which the caller closes. Size, inode, mtime and ctime of its file are held against the record: a
 * file that is not the one that was published is -EBADMSG, and no longer stored from then on. */
MUST_CHECK int blobstore_get(struct blobstore *store, const struct digest *digest, struct blobstore_info *ret_info,
                             struct blobstore_content **ret_content);
/* Up to `max` blobs in the order of their digests, those after `after` (NULL: from the start). */
MUST_CHECK int blobstore_list(struct blobstore *store, const struct digest *after, struct blobstore_info *ret_infos,
                              size_t max, size_t *ret_count);
/* Waits for the disk (a commit). Open descriptors stay good. */
MUST_CHECK int blobstore_remove(struct blobstore *store, const struct digest *digest);
/* What the last stop may have touched, since it was not orderly: blobs verified before this time (wall clock, ms). 0:
 * it was. */
int64_t blobstore_doubted_before(const struct blobstore *store);
/* The bytes that `fd`, of an earlier blobstore_get(), is open on do not have the digest: the record goes, then the
 * file, into quarantine. 0: so it was done. -ENOENT: not stored any more, or by another file. Waits for the disk. */
MUST_CHECK int blobstore_condemn(struct blobstore *store, const struct digest *digest, int fd);
/* A blob that was stored, and whose file was found damaged, or gone, since the start or at it; forgets it. -ENOENT:
 * none is known. The last 256 are remembered. */
MUST_CHECK int blobstore_next_lost(struct blobstore *store, struct digest *ret_digest);
/* Notes that the blob was used now; in memory, cheap, written by the next blobstore_flush_touches(), lossy in a crash.
 */
void blobstore_touch(struct blobstore *store, const struct digest *digest);
MUST_CHECK int blobstore_flush_touches(struct blobstore *store); /* waits for the disk */

/* ------------------------------------------------------------------ content that is open */

/* Whatever form it has on disk, and good for as long as it is open, whatever happens to the blob. One thread at a time;
 * closed before the store is. */
/* > 0: bytes of it at `offset` < size, as many as are cheap to give. -EBADMSG: they are not there, or damaged. */
MUST_CHECK ssize_t blobstore_content_read(struct blobstore_content *c, uint64_t offset, void *data, size_t len);
/* All of its first `len` bytes. */
MUST_CHECK int blobstore_content_read_all(struct blobstore_content *c, void *data, size_t len);
/* The file: the content itself, or, where it is packed, a zstd stream that makes the content. The content's own; dup()
 * it to keep it longer. */
int blobstore_content_fd(const struct blobstore_content *c);
void blobstore_content_close(struct blobstore_content *c); /* accepts NULL */
AUTO_DEFINE(struct blobstore_content, blobstore_content_close);

/* ------------------------------------------------------------------ sealing */

/* A larger file is not sealed: for as long as it takes nothing is published or removed. */
#define BLOBSTORE_SEAL_MAX (1ULL << 30)

/* Has the file system refuse, for ever, to give other bytes than those of now (fs-verity), which the caller has just
 * seen to have the digest. Reads the file, and waits for the disk. 0: it is sealed, by now or before. -EOPNOTSUPP: the
 * file system cannot. -EBUSY: it is still open for writing; another time. -EFBIG. -EBADMSG: it is not the published
 * one. */
MUST_CHECK int blobstore_seal(struct blobstore *store, const struct digest *digest);

/* ------------------------------------------------------------------ packing */

/*
 * Puts a packed file in the place of a plain one, in steps, if the content shrinks enough. Who reads the plain one
 * reads on. Of any thread, one at a time for a packing, one packing at a time for a blob. A crash or an error at any
 * point leaves the blob as it was, or packed.
 *
 *   begin ──step──► > 0: go on ──step──► 0: packed, or known to stay as it is (saved: 0) ──close──►
 *                                        < 0: as it was, and may be tried again
 */
#define BLOBSTORE_PACK_STEP (1u << 20) /* bytes of content that a step packs at most */

/* A blob that was published since the start and may be packed; forgets it. -ENOENT: none is known. The last thousand
 * are remembered; blobstore_list() finds the others. */
MUST_CHECK int blobstore_next_to_pack(struct blobstore *store, struct digest *ret_digest);
/* `level` is zstd's. -ENOENT: not stored. -EALREADY: it is packed, or known to stay as it is. */
MUST_CHECK int blobstore_pack_begin(struct blobstore *store, const struct digest *digest, int level,
                                    struct blobstore_packing **ret_packing);
/* Waits for the disk, but for a commit no longer than a read and a write of a step. -EBADMSG: what came out
 * did not have the digest; the blob counts as never verified now. -ESTALE: the blob has been removed, or has another
 * file. -ENOSPC. */
MUST_CHECK int blobstore_pack_step(struct blobstore_packing *p);
/* After 0: bytes that the file is smaller now. */
uint64_t blobstore_pack_saved(const struct blobstore_packing *p);
void blobstore_pack_close(struct blobstore_packing *p); /* accepts NULL */
AUTO_DEFINE(struct blobstore_packing, blobstore_pack_close);

/* ------------------------------------------------------------------ leftovers */

/* An unfinished write. */
struct blobstore_partial {
    struct digest digest;
    uint64_t size;      /* bytes that its file takes on the disk, those that are only reserved among them */
    int64_t written_at; /* wall clock, ms */
    bool is_open;       /* a writer has it */
};

/* Calls `each` for all of them, until it returns other than 0, which is then returned. Reads a directory. */
typedef int (*blobstore_partial_fn)(void *arg, const struct blobstore_partial *partial);
MUST_CHECK int blobstore_each_partial(struct blobstore *store, blobstore_partial_fn each, void *arg);
/* Removes one. -EBUSY: a writer has it. -ENOENT: it is gone. */
MUST_CHECK int blobstore_discard_partial(struct blobstore *store, const struct digest *digest);
/* What is in quarantine of damaged blobs; with `remove` it is removed. What is none of ours stays, and is not counted.
 */
MUST_CHECK int blobstore_quarantine(struct blobstore *store, bool remove, uint64_t *ret_files, uint64_t *ret_bytes);

/* ------------------------------------------------------------------ writing */

/*
 * A writer is one blob in the making: `partial/<algorithm>-<hex>`.
 *
 *   open ──append, write, extend*──► open ──blobstore_batch_publish()──► published ──close──► gone; the blob is stored
 *     │                 └─────close(KEEP)──► the file stays, and the next open goes on where it ended
 *     └───────────────────────close(DISCARD)──► the file is removed
 *
 * One writer a digest at a time: a second open is -EBUSY. The bytes are not checked here: who writes hashes.
 */
enum blobstore_keep { BLOBSTORE_DISCARD, BLOBSTORE_KEEP };

/* *ret_length: bytes that are there already from an earlier attempt (to be hashed by the caller before it relies on
 * them). */
MUST_CHECK int blobstore_writer_open(struct blobstore *store, const struct digest *digest,
                                     struct blobstore_writer **ret_writer, uint64_t *ret_length);
/* Asks the file system for room for `size` bytes in all; the length stays. -ENOSPC; 0 where it cannot tell. */
MUST_CHECK int blobstore_writer_reserve(struct blobstore_writer *w, uint64_t size);
/* Appends everything or fails; after a failure the length is what it was before the call. */
MUST_CHECK int blobstore_writer_append(struct blobstore_writer *w, const void *data, size_t len);
/*
 * The same in pieces of any order, within the size that was reserved: writes at an offset, at the length or beyond it.
 * The bytes do not count before blobstore_writer_extend() says that everything up to a new length has been written;
 * what is beyond the length when the writer is closed or the process ends is thrown away.
 */
MUST_CHECK int blobstore_writer_write(struct blobstore_writer *w, uint64_t offset, const void *data, size_t len);
MUST_CHECK int blobstore_writer_extend(struct blobstore_writer *w, uint64_t length);
/* Back to no bytes at all: they were the wrong ones. */
MUST_CHECK int blobstore_writer_restart(struct blobstore_writer *w);
uint64_t blobstore_writer_length(const struct blobstore_writer *w);
/* For pread() by any thread; the writer's own, good until it is closed; dup() it to keep it longer. */
int blobstore_writer_fd(const struct blobstore_writer *w);
/* Frees the writer in every state; after a publish `keep` does not matter. Accepts NULL. */
void blobstore_writer_close(struct blobstore_writer *w, enum blobstore_keep keep);

/* ------------------------------------------------------------------ records */

#define BLOBSTORE_KEY_MAX 400
#define BLOBSTORE_VALUE_MAX 4096

/* Small facts of the caller's own, kept beside the blobs and committed with them. Longer keys or values are -EFBIG,
 * empty keys -EINVAL. What a rebuild from the files cannot bring back. The numbers are on disk. */
enum blobstore_table {
    BLOBSTORE_TAGS = 1,
    BLOBSTORE_MANIFESTS = 2,
    BLOBSTORE_REPOSITORIES = 3,
    BLOBSTORE_REFERENCES = 4,
    BLOBSTORE_PINS = 5,
    BLOBSTORE_BUDGETS = 6,
    BLOBSTORE_JOBS = 7,
    BLOBSTORE_TABLES
};

/* Replaces the contents of `value`. */
MUST_CHECK int blobstore_record_get(struct blobstore *store, enum blobstore_table table, const void *key,
                                    size_t key_len, struct buf *value);
/* Calls `each` for the records whose key begins with `prefix`, in the order of their keys, until it returns other than
 * 0, which is then returned. `each` runs inside a read transaction: it copies what it needs and calls nothing of the
 * store. */
typedef int (*blobstore_record_fn)(void *arg, const void *key, size_t key_len, const void *value, size_t value_len);
MUST_CHECK int blobstore_record_scan(struct blobstore *store, enum blobstore_table table, const void *prefix,
                                     size_t prefix_len, blobstore_record_fn each, void *arg);
/* Where a long walk in steps is: behind this key; of no length, at the start. */
struct blobstore_cursor {
    uint8_t key[BLOBSTORE_KEY_MAX];
    size_t key_len;
};
/* One step: `each` for the next `max` records at the most. Where it returns other than 0 the step has ended, and that
 * record is the first of the next one. 1: there may be more. 0: that was all. */
MUST_CHECK int blobstore_record_step(struct blobstore *store, enum blobstore_table table, struct blobstore_cursor *at,
                                     size_t max, blobstore_record_fn each, void *arg);

/* ------------------------------------------------------------------ batches: many changes, one commit */

/*
 * begin → publish | remove | put | delete … → commit (or abort). Nothing of a batch can be seen before its commit, and
 * all of it afterwards. Sticky: after a call has failed the later ones do nothing, and the commit returns the first
 * error. A publish that fails does not poison the batch (the blob is left out): its result is its own.
 */
MUST_CHECK int blobstore_batch_begin(struct blobstore *store, struct blobstore_batch **ret_batch);
/* Makes the writer's file durable and puts it in its place (waits for the disk, with no transaction open). The caller
 * has verified the digest. Where the blob is stored already, the new file is dropped and the call succeeds. */
MUST_CHECK int blobstore_batch_publish(struct blobstore_batch *b, struct blobstore_writer *w);
void blobstore_batch_put(struct blobstore_batch *b, enum blobstore_table table, const void *key, size_t key_len,
                         const void *value, size_t value_len);
void blobstore_batch_delete(struct blobstore_batch *b, enum blobstore_table table, const void *key, size_t key_len);
/* Removes a blob (not one that this batch publishes): the record goes with the commit, the file right after. Open
 * descriptors stay good. What is not stored need not be removed. */
void blobstore_batch_remove(struct blobstore_batch *b, const struct digest *digest);
/* The bytes of the stored blob were seen to have the digest, by a reading that began at `when` (wall clock, ms). */
void blobstore_batch_verified(struct blobstore_batch *b, const struct digest *digest, int64_t when);
/* The blob, which is stored or published by this batch, was stored and used then (wall clock, ms): in another store, of
 * which this one is a restored copy. */
void blobstore_batch_date(struct blobstore_batch *b, const struct digest *digest, int64_t stored_at, int64_t used_at);
/* Waits for the disk; frees the batch whatever it returns. On a full disk a batch that does nothing but remove and
 * delete is done one by one, in order: where that ends in -ENOSPC the first of it may be done. What was published in a
 * batch that fails is unlinked. */
MUST_CHECK int blobstore_batch_commit(struct blobstore_batch *b);
/* Frees the batch; what was published in it stays as a file without a record, found by the next start. Accepts NULL. */
void blobstore_batch_abort(struct blobstore_batch *b);
