/* What the tests of backups share: stores with content in them, backups of them in files, and tars that are none. */
#pragma once

#include "backup/format.h"
#include "helper.h"

#include <archive.h>

/* A second store: its root is "<directory>/other", the first one's is helper_root(). */
struct blobstore *world_open_other(void);
const char *world_file(const char *name); /* a path beside the stores; good until the eighth call after */

/* Content number n, and records that speak of it: a tag, its manifest, a private link. */
void world_fill(struct blobstore *store, unsigned from, unsigned to);
/* Everything that world_fill() has put in, and nothing else. */
void world_check(struct blobstore *store, unsigned from, unsigned to);
void world_put(struct blobstore *store, enum blobstore_table table, const char *key, const char *value);
bool world_has_record(struct blobstore *store, enum blobstore_table table, const char *key, const char *value);

struct world_backup {
    struct backup_header header;
    struct backup_end end;
};
struct world_backup world_backup(struct blobstore *store, const char *file, const struct world_backup *base);

struct world_backup world_backup_metadata(struct blobstore *store, const char *file);

/* 0 or the error; problems are kept for world_problem(). */
int world_restore(struct blobstore *store, struct backup_report *ret_report, const char *const *files);
int world_verify(struct backup_report *ret_report, const char *const *files);
/* Whether the last of them has said so. */
bool world_problem(const char *words);
#define FILES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The entries of a backup, to be put together wrongly: each is added to a tar without compression. */
struct archive *world_tar(const char *file);
void world_add(struct archive *a, const char *name, const void *data, size_t len);
void world_add_header(struct archive *a, const struct backup_header *h);
/* An empty list and no records, as `h` has to say; or these bytes of a list, or of the first table. */
void world_add_head(struct archive *a, const struct backup_header *h, const struct buf *list,
                    const struct buf *records);
/* The item of content number n, for a list, and in what the header says of it. */
void world_list(struct backup_header *h, struct buf *list, unsigned n, bool is_here);
/* Content number n; or what has become of it, a bit of it being another. */
void world_add_blob(struct archive *a, unsigned n, bool is_good);
/* The head of a backup that has the contents 0 and 2, in the order that is said, and what belongs to its end. */
struct archive *world_begin_two(const char *file, struct backup_header *h, unsigned ret_order[2],
                                struct backup_end *ret_end);
void world_add_end(struct archive *a, const struct backup_end *e);
void world_end(struct archive *a);
