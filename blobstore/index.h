/*
 * The index: tables of byte strings in LMDB. index.c is the one file that knows LMDB; what is in the tables is the
 * business of catalog.c and of the store's callers. An error of LMDB becomes a negative errno in one place.
 *
 * Threads: any, several read transactions at once and one write transaction; a transaction belongs to one thread, and a
 * second writer waits. Nobody waits for a disk, a network or a lock inside a read transaction: pages that it can see
 * are not reused, and the file would grow. The index must not be used after fork().
 */
#pragma once

#include "base/auto.h"
#include "blobstore/blobstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index;

enum index_table {
    INDEX_META = 0,   /* "schema", "witness", "totals" */
    INDEX_BLOBS = 1,  /* key of a blob → its record */
    INDEX_ACCESS = 2, /* key of a blob → when it was last used: apart, because it changes so often */
    INDEX_TABLES = INDEX_ACCESS + BLOBSTORE_TABLES,
};

static inline enum index_table index_record_table(enum blobstore_table table)
{
    return (enum index_table)(INDEX_ACCESS + (int)table);
}

#define INDEX_DIRECTORY "index"
#define INDEX_WHY_MAX 128

/* Opens <root>/index and makes it where it is not there. -EBADMSG: it is there and cannot be used (of another format or
 * schema, or damaged): `why` says so in words, and the caller sets it aside. Waits for the disk. */
MUST_CHECK int index_open(const char *root, int root_fd, size_t map_size, unsigned max_readers,
                          struct index **ret_index, char why[INDEX_WHY_MAX]);
/* All transactions must have ended. Accepts NULL. */
void index_close(struct index *x);
bool index_is_new(const struct index *x);     /* it was missing, or had nothing in it */
bool index_is_suspect(const struct index *x); /* found shorter than it says: to be read through before it is trusted */
bool index_has_failed(
    const struct index *x); /* damaged, or a write failed that leaves LMDB unusable: every call is -EIO */
/* Something is in it that nobody can have put there: as if LMDB had met damage. Returns -EIO. */
int index_condemn(struct index *x);
/* Reads every record of every table. -EBADMSG: damaged. */
MUST_CHECK int index_check(struct index *x);

/* ------------------------------------------------------------------ transactions */

/* Sticky: after a put or delete has failed the later ones do nothing, and the commit returns the first error. */
struct index_txn {
    struct index *index;
    void *handle;
    int error;
    bool writes;
};

MUST_CHECK int index_begin_read(struct index *x, struct index_txn *ret_txn);
MUST_CHECK int index_begin_write(struct index *x, struct index_txn *ret_txn);
/* Ends a write transaction, whatever it returns. Waits for the disk. */
MUST_CHECK int index_commit(struct index_txn *t);
/* Ends a read transaction, or forgets what a write transaction did. Nothing where it has ended already. */
void index_end(struct index_txn *t);

/* The value is good until the transaction ends, or writes. -ENOENT. */
MUST_CHECK int index_find(struct index_txn *t, enum index_table table, const void *key, size_t key_len,
                          const void **ret_value, size_t *ret_value_len);
void index_put(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *value,
               size_t value_len);
/* What is not there need not be deleted. */
void index_delete(struct index_txn *t, enum index_table table, const void *key, size_t key_len);
MUST_CHECK int index_count(struct index_txn *t, enum index_table table, uint64_t *ret_count);

/* ------------------------------------------------------------------ cursors */

/* Key and value are those of the last seek or step that returned 0, good as long as a value of index_find(). */
struct index_cursor {
    struct index_txn *txn;
    void *handle;
    const void *key, *value;
    size_t key_len, value_len;
};

MUST_CHECK int index_cursor_open(struct index_txn *t, enum index_table table, struct index_cursor *ret_cursor);
/* To the first record whose key is not below `key`. -ENOENT: there is none. */
MUST_CHECK int index_cursor_seek(struct index_cursor *c, const void *key, size_t key_len);
MUST_CHECK int index_cursor_next(struct index_cursor *c);
/* Before the transaction ends. */
void index_cursor_close(struct index_cursor *c);

#define AUTO_INDEX_TXN AUTO(index_end)
#define AUTO_INDEX_CURSOR AUTO(index_cursor_close)
