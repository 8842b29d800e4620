/*
 * Backups: what a store has in it, in one file that outlives it (docs/store-format.md, "The format of a backup"). A tar
 * in zstd: what it is, the list of all blobs, records, contents, and an end by which a file that was cut is known.
 *
 * An incremental backup has the records and the list of everything, but the contents only of what its base may lack; it
 * is of use together with its base, and with that one's, down to a whole one: a chain, the whole one first.
 *
 * Neither credentials are in it nor anything that was derived from them: the tables of budgets and jobs stay out.
 *
 * Threads: any; each call is one thread's and takes as long as the bytes do. Does not log: what is wrong with a file is
 * told in lines, "FILE: ENTRY: what".
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "base/digest.h"
#include "blobstore/blobstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKUP_ID_MAX 33 /* 32 hexadecimal digits and NUL */
#define BACKUP_FILES_MAX 1024

/* The first entry. */
struct backup_header {
    char id[BACKUP_ID_MAX];
    char base[BACKUP_ID_MAX]; /* "": none; all contents are here */
    int64_t created_at;       /* wall clock, ms: no blob that was stored later is in it */
    bool is_metadata;         /* records only: no list, no contents */
    uint64_t blobs, bytes;    /* of the list: all that was stored then */
};

/* The last entry: of the contents that are in this file. */
struct backup_end {
    uint64_t blobs, bytes;
    uint64_t missing; /* of the list: gone from the store before their turn came */
    uint64_t damaged; /* in the file, but not what their names say: they had rotted in the store */
};

MUST_CHECK bool backup_id_is_valid(const char *id);

/* ------------------------------------------------------------------ making one */

struct backup_options {
    struct blobstore *store;
    bool is_metadata;
    const char *base; /* its id; NULL: none */
    int64_t base_at;  /* its created_at */
    /* A blob that is stored has other bytes than its digest says; `fd` is open on it. -1: its file was not the one that
     * was published, and has been taken away already; it is in ret_end->missing. May be NULL. */
    void (*damaged)(void *arg, const struct digest *digest, int fd);
    /* Takes all of it, or ends the backup with its negative errno. */
    int (*sink)(void *arg, const void *data, size_t len);
    void *arg;
};

/*
 * Pulls go on meanwhile. In the file is what is stored when it begins; a blob that is gone when its turn comes is
 * counted as missing, and what names it means nothing. So nothing should be evicted meanwhile without need.
 */
MUST_CHECK int backup_write(const struct backup_options *options, struct backup_header *ret_header,
                            struct backup_end *ret_end);

/* ------------------------------------------------------------------ reading one */

/* -EBADMSG: it is none, or wrong; `problems` says how. */
MUST_CHECK int backup_read_header(const char *file, struct backup_header *ret_header, struct buf *problems);

/* Whether `file`, which is incremental, leaves out nothing but what is listed in `base`. Reads the beginnings of both.
 * -EBADMSG: it does. */
MUST_CHECK int backup_fits(const char *file, const char *base, struct buf *problems);

struct backup_progress {
    uint64_t blobs, bytes; /* gone through so far */
    uint64_t all_blobs, all_bytes;
};
typedef void (*backup_progress_fn)(void *arg, const struct backup_progress *progress);

struct backup_report {
    struct backup_header header; /* of the last file */
    uint64_t blobs, bytes;       /* that are right */
    uint64_t there;              /* restore: of them were in the store already */
    uint64_t wrong;              /* contents that are not what their name says */
    uint64_t missing;            /* listed, and in no file: left the store while the backup was made */
    uint64_t elsewhere;          /* verify: listed, and in a base that was not named */
    uint64_t records;
};

struct backup_chain {
    const char *const *files; /* the whole one first, each the base of the next */
    size_t count;
    backup_progress_fn progress; /* may be NULL */
    void *arg;
};

/* Reads all of the files, and compares every digest. -EBADMSG: a file is cut, or is no backup, or the files do not
 * belong together. 0: ret_report->wrong says whether all is right. */
MUST_CHECK int backup_verify(const struct backup_chain *chain, struct backup_report *ret_report, struct buf *problems);

/*
 * Writes it into a store that is empty, or in which the restore of the same backup was cut: then it goes on, and does
 * not write again what is there. What is wrong is left out, and the rest is restored.
 * -ENOTEMPTY: the store has something in it. -EEXIST: the restore of another backup has begun in it. -ENOSPC. Where it
 * fails the store is one in which a restore has begun.
 */
MUST_CHECK int backup_restore(const struct backup_chain *chain, struct blobstore *store,
                              struct backup_report *ret_report, struct buf *problems);
/* 1: a restore has begun and has not come to its end; nobody should be served from this store. */
MUST_CHECK int backup_restore_has_begun(struct blobstore *store);
