/*
 * What the tests of this floor share: a directory of the test's own with a store in it, bytes that are different for
 * every number. A helper that fails fails the test.
 */
#pragma once

#include "suite.h"

#include "base/digest.h"
#include "blobstore/blobstore.h"

#include <check.h>

#define ck_ok(expr) ck_assert_int_eq((expr), 0)

/* Nothing that is waited for takes so long; a test that waits longer has failed. */
#define PATIENCE_MS 10000

/* A checked fixture: a fresh directory. */
void scratch_setup(void);
void scratch_cleanup(void);
const char *scratch_path(void);
/* Opens the store of that directory. */
struct blobstore *scratch_store(void);

/* Bytes of a blob number `n`, which the caller frees, and their digest. */
char *scratch_bytes(unsigned n, size_t len, struct digest *ret_digest);
/* How many directory entries there are in <store>/<folder>. */
unsigned scratch_count(const char *folder);
/* How many records whose keys begin with `prefix` are in a table. */
unsigned scratch_records(struct blobstore *store, enum blobstore_table table, const void *prefix, size_t len);
/* Removes <store>/<folder> with all that is in it. */
void scratch_remove(const char *folder);
/* Writes `data` over the bytes of a stored blob, and keeps its size and times: damage that only its digest shows. */
void scratch_damage(const struct digest *digest);
