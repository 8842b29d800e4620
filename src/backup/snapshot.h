/*
 * What a store has in it at one moment, gathered into a file without a name in short steps: no transaction of the index
 * stays open for longer than a step, and nobody waits. One thread.
 *
 * Steps make a moment of some seconds, and the order of them makes it consistent: the tags first, then the list of
 * blobs, then the rest. Whatever a tag stands for was stored before the tag was, so it is in the list. Where content
 * belongs to a private repository, that was written down before the content was stored, so it is in the records. What
 * the records say beyond the list means nothing.
 */
#pragma once

#include "backup/format.h"

struct snapshot_section {
    uint64_t at, size; /* in the file */
};

struct snapshot {
    int fd; /* -1: none */
    uint64_t size;
    struct snapshot_section tables[BACKUP_TABLES], list;
    uint64_t blobs, bytes; /* of the list */
};

#define SNAPSHOT_NONE ((struct snapshot){.fd = -1})

/* Blobs that were stored before `since` (wall clock, ms; INT64_MIN: none were) are in an earlier file. The list is
 * empty where only metadata is wanted. -EFBIG: more blobs than a backup can have. */
MUST_CHECK int snapshot_take(struct blobstore *store, bool is_metadata, int64_t since, struct snapshot *ret_snapshot);
void snapshot_finish(struct snapshot *s);
