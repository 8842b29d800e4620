/*
 * Where content is: the directory tree of a store. The rest of the library reaches content through these calls alone,
 * so that another kind of place (an object store) can stand beside this one. Knows no index: which file may be believed
 * is the caller's business.
 *
 * Threads: any. Calls that change names are serialized by the caller (`names` of struct blobstore), but for those of
 * partial files, each of which belongs to one writer. Everything is done relative to descriptors that stay open.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"
#include "blobstore/records.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
    int root, lock, blobs, partial, quarantine; /* -1: not open */
};

#define PLACE_CLOSED ((struct place){-1, -1, -1, -1, -1})

/* What is put away in quarantine/ at most; the oldest goes first. Enough to look into, too little to fill a disk. */
#define QUARANTINE_BYTES (1ULL << 30)
#define QUARANTINE_FILES 64

/* Makes the tree where it is not there, and locks it. *ret_empty: there is no blob in it. -EBUSY: another process has
 * it. */
MUST_CHECK int place_open(struct place *p, const char *root, bool *ret_empty);
void place_close(struct place *p);
/* Of the file system: its size, and what can still be written by whoever is not root. */
MUST_CHECK int place_room(const struct place *p, uint64_t *ret_size, uint64_t *ret_available);
/* Of the lock file. */
MUST_CHECK int place_witness(const struct place *p, struct witness_record *ret_witness);

/* How the store was left. */
struct place_left {
    bool clean;    /* stopped in order */
    bool untidy;   /* in order, but there may be files without a record */
    int64_t at_ns; /* then, by the clock of the file system */
};

/* Writes it down: the last that is done to a store. */
MUST_CHECK int place_leave(const struct place *p, bool untidy);
/* Reads it and takes it away, so that it says the truth whatever happens next. Needs no room on the disk. */
MUST_CHECK int place_take_left(const struct place *p, struct place_left *ret_left);

/* ------------------------------------------------------------------ blobs */

/* -ENOENT: no such name, or not a file. */
MUST_CHECK int place_open_blob(const struct place *p, const struct digest *digest, enum blob_form form, int *ret_fd,
                               struct blob_facts *ret_facts);
/* Gives the partial file, which `fd` is open on, the name of its blob. Its bytes must be durable; the name is when
 * place_sync_fan() has returned. -EEXIST: the name is taken and `replace` is not set. On failure it is still partial.
 */
MUST_CHECK int place_publish(const struct place *p, const struct digest *digest, int fd, bool replace,
                             struct blob_facts *ret_facts);
/* Blobs are spread over directories by the first byte of their digest. */
#define PLACE_FANS 256
MUST_CHECK int place_sync_fan(const struct place *p, enum digest_algorithm algorithm, uint8_t fan);
/* In every form. -ENOENT: there is none. */
MUST_CHECK int place_remove_blob(const struct place *p, const struct digest *digest);
MUST_CHECK int place_remove_form(const struct place *p, const struct digest *digest, enum blob_form form);

/* ------------------------------------------------------------------ what does not belong among the blobs */

/* Puts a blob whose bytes are not what they should be into quarantine, at the expense of older ones. */
MUST_CHECK int place_quarantine(const struct place *p, const struct digest *digest, enum blob_form form,
                                int64_t now_ms);
/* Puts `name` of the directory `at`, which is none of ours, beside them; it is never deleted. */
MUST_CHECK int place_set_aside(const struct place *p, int at, const char *name, int64_t now_ms);
/* What is in quarantine of blobs; with `remove` it goes. */
MUST_CHECK int place_empty_quarantine(const struct place *p, bool remove, uint64_t *ret_files, uint64_t *ret_bytes);
/* <root>/index, if there is one, becomes index.bad-<time>; an earlier one is removed. */
MUST_CHECK int place_set_index_aside(const struct place *p, int64_t now_ms);

/* ------------------------------------------------------------------ partial files */

/* Opens it for reading and writing, and makes it where it is not there. What its writer had ahead of a gap when it was
 * torn from it is cut off. */
MUST_CHECK int place_open_partial(const struct place *p, const struct digest *digest, int *ret_fd,
                                  uint64_t *ret_length);
int place_remove_partial(const struct place *p, const struct digest *digest);
/* A file without a name. */
MUST_CHECK int place_open_temporary(const struct place *p, int *ret_fd);

/* ------------------------------------------------------------------ packed files in the making */

/* A fresh one, for reading and writing; one that was left there loses its bytes. */
MUST_CHECK int place_open_packing(const struct place *p, const struct digest *digest, int *ret_fd);
/* Gives it its name, beside that of the plain file. Bytes and name are as durable as with place_publish(). */
MUST_CHECK int place_publish_packing(const struct place *p, const struct digest *digest, int fd,
                                     struct blob_facts *ret_facts);
int place_remove_packing(const struct place *p, const struct digest *digest);

/* ------------------------------------------------------------------ walks, for recovery */

struct place_entry {
    struct digest digest;
    enum blob_form form;
    uint64_t inode; /* as the directory has it */
};

struct place_list {
    struct place_entry *entries; /* in the order of their digests, and of their forms */
    size_t count, capacity;
};

void place_list_finish(struct place_list *l);
/* The blobs of one directory, in place of what the list had. Whatever else is in it is set aside and counted. */
MUST_CHECK int place_list_fan(const struct place *p, enum digest_algorithm algorithm, uint8_t fan, int64_t now_ms,
                              struct place_list *list, uint64_t *foreign);
/* When names in the directory last changed, by the clock of the file system; later than all where it is not there. */
int64_t place_fan_changed_at(const struct place *p, enum digest_algorithm algorithm, uint8_t fan);
/* Sets aside what is above those directories and none of ours. */
MUST_CHECK int place_sweep(const struct place *p, int64_t now_ms, uint64_t *foreign);
/* Calls `each` for every partial file; what is empty or not named like one is removed and counted. `each` returns other
 * than 0 to have the file removed and counted as well. */
typedef int (*place_partial_fn)(void *arg, const struct digest *digest, uint64_t size);
MUST_CHECK int place_walk_partial(const struct place *p, place_partial_fn each, void *arg, uint64_t *removed);

/* Calls `each` for every partial file, with the room that it takes and when it was last written to (ms). Removes
 * nothing. */
typedef int (*place_partial_seen_fn)(void *arg, const struct digest *digest, uint64_t size, int64_t written_at);
MUST_CHECK int place_each_partial(const struct place *p, place_partial_seen_fn each, void *arg);

struct stat;
void blob_facts_of(const struct stat *st, struct blob_facts *ret_facts);

/* ------------------------------------------------------------------ shared by place*.c */

#define PLACE_PARTIAL_MODE 0600
#define PLACE_BLOB_MODE 0444 /* nobody writes to it again */
#define BLOB_NAME_MAX 160    /* "sha512/ab/" + 128 + ".zst" + NUL */
#define PACKED_SUFFIX ".zst"

/* A rename that fails with -EEXIST instead of replacing, on file systems that have none too. */
MUST_CHECK int rename_noreplace(int from_at, const char *from, int to_at, const char *to);
const char *fan_name(enum digest_algorithm algorithm, uint8_t fan, char name[BLOB_NAME_MAX]); /* "sha256/ab" */
/* "sha256/ab/<hex>", and the suffix of its form */
const char *blob_name(const struct digest *digest, enum blob_form form, char name[BLOB_NAME_MAX]);
MUST_CHECK int open_listing(int at, const char *name, DIR **ret_dir);

static inline void auto_closedir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}
#define AUTO_CLOSEDIR AUTO(auto_closedir)
