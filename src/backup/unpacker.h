/*
 * Reading a backup from its beginning to its end, with everything checked that can be: the entries and their order,
 * sizes against what the list says, each digest. Nothing that a file claims takes more memory than its limit
 * (base/limits.h). What is wrong is told in `problems` by entry; -EBADMSG where it is wrong with the file as a whole.
 * One thread.
 */
#pragma once

#include "backup/format.h"

struct unpacker;

/* NULL: of no interest. A negative errno ends the reading, and is returned. */
struct unpacker_visitor {
    int (*record)(void *arg, enum blobstore_table table, const struct backup_record *record);
    /* Before the content; 0: it need not be read. NULL: all is read. */
    int (*blob)(void *arg, const struct backup_item *item);
    int (*data)(void *arg, const void *data, size_t len);
    /* After what was read; `good`: it has its digest. */
    int (*blob_end)(void *arg, const struct backup_item *item, bool good);
    void *arg;
};

/* Reads the first entry. `file` names the file in problems too. */
MUST_CHECK int unpacker_open(const char *file, struct buf *problems, struct unpacker **ret_unpacker);
/* The same of bytes in memory, which stay the caller's. */
MUST_CHECK int unpacker_open_memory(const void *data, size_t len, struct buf *problems, struct unpacker **ret_unpacker);
void unpacker_close(struct unpacker *r); /* accepts NULL */
const struct backup_header *unpacker_header(const struct unpacker *r);

/* Then the rest of the head; all of it is known to be right when this returns 0, but not before. */
MUST_CHECK int unpacker_read_head(struct unpacker *r, const struct unpacker_visitor *visitor);
/* Then the list is there, in the order of the digests. */
const struct backup_item *unpacker_list(const struct unpacker *r, size_t *ret_count);
/* NULL: not in it. */
const struct backup_item *unpacker_find(const struct unpacker *r, const struct digest *digest);

/* Then the blobs and the end. A blob that is not good is a problem, and no reason to stop. */
MUST_CHECK int unpacker_read_blobs(struct unpacker *r, const struct unpacker_visitor *visitor);

/* Adds a line; returns -EBADMSG. `entry` may be NULL. */
int unpacker_problem(const struct unpacker *r, const char *entry, const char *fmt, ...) PRINTF_LIKE(3, 4);

AUTO_DEFINE(struct unpacker, unpacker_close);
