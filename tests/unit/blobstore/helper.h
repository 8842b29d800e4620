/*
 * What the tests of the store share: a directory of their own for each test, and stores and blobs in it. Everything is
 * checked: a helper that fails fails the test.
 */
#pragma once

#include "blobstore/blobstore.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A fresh directory, removed by helper_cleanup(). A checked fixture: it runs in the process of the test. */
void helper_setup(void);
void helper_cleanup(void);
const char *helper_root(void);                                   /* <directory>/store, which does not exist at first */
const char *helper_path(const char *fmt, ...) PRINTF_LIKE(1, 2); /* below the root; good until the eighth call after */

struct blobstore *helper_open(struct blobstore_report *ret_report); /* ret_report may be NULL */

/* Content number n: some bytes that differ from those of every other, and their digest. */
#define HELPER_CONTENT_MAX 4096
size_t helper_content(unsigned n, uint8_t bytes[HELPER_CONTENT_MAX]);
struct digest helper_digest(unsigned n);

/* A writer for content number n, of which so many bytes are there already. */
struct blobstore_writer *helper_open_writer(struct blobstore *store, unsigned n, uint64_t length);
/* One with content number n, appended but not published. */
struct blobstore_writer *helper_writer(struct blobstore *store, unsigned n);
/* Stores content number n, in a batch of its own. */
struct digest helper_store(struct blobstore *store, unsigned n);
/* Whether content number n can be got; if so, it must be right. */
bool helper_has(struct blobstore *store, unsigned n);

/* "sha256/ab/<hex>" of the root's blobs/, as an absolute path */
const char *helper_blob_path(const struct digest *digest);
void helper_write_file(const char *path, const void *data, size_t len);
bool helper_exists(const char *path);
unsigned helper_count(const char *path); /* entries of a directory */
/* Puts a copy in the place of the root, with the same times: another lock file, other inodes. */
void helper_copy_root(void);
/* So many bytes that shrink, those of another `seed` being others; to be freed. */
char *helper_text(size_t len, unsigned seed);
struct digest helper_store_bytes(struct blobstore *store, const void *data, size_t len); /* of sha256 */
/* As a blob of that digest, which nobody looks at: with other bytes it is one that has rotted. */
void helper_store_as(struct blobstore *store, const struct digest *digest, const void *data, size_t len);
/* That the content is there, read in pieces of so many bytes. */
void helper_check_content(struct blobstore *store, const struct digest *digest, const void *data, size_t len,
                          size_t piece);
#define HELPER_PACK_LEVEL 3
/* What the last step of a packing, or its begin, returned. */
int helper_pack(struct blobstore *store, const struct digest *digest, uint64_t *ret_saved);
const char *helper_packed_path(const struct digest *digest);
/* As a crash leaves it: the child opens the store, does `work`, and is gone without closing. */
void helper_crash_after(void (*work)(struct blobstore *store));

int helper_run(Suite *suite);

#define ck_ok(expr) ck_assert_int_eq((expr), 0)
