/*
 * Budgets: what is left of the pull limits, kept over restarts (docs/store-format.md, table BUDGETS). A budget that
 * is read back is an observation of its time, which upstream weighs by its age.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "upstream/upstream.h"

/* Hands every record to upstream_restore_budget(). A record that cannot be read is left out. */
MUST_CHECK int budgets_restore(struct blobstore *store, struct upstream *upstream);
/* Puts the present state of every budget that is known. */
void budgets_put(struct upstream *upstream, struct blobstore_batch *batch);

/* The record; keys are origin NUL account NUL. -EINVAL: another version, or damaged; strings of the result point into
 * the key and the value. */
MUST_CHECK int budgets_encode(const struct upstream_budget *b, struct buf *key, struct buf *value);
MUST_CHECK int budgets_decode(const void *key, size_t key_len, const void *value, size_t value_len,
                              struct upstream_budget *ret_budget);
