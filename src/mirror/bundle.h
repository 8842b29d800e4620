/*
 * A bundle: changes of records that belong together, gathered by any thread and made durable by the keeper in one
 * commit, in the order in which bundles are posted. One thread at a time until it is posted.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "mirror/keeper.h"

struct bundle;

/* Bytes of all its keys and values. */
#define BUNDLE_MAX (64 * MIB)

/* NULL: no memory. */
struct bundle *bundle_create(void);
void bundle_destroy(struct bundle *b); /* not of one that was posted; accepts NULL */
/* Sticky: where one of them finds no room, posting fails. */
void bundle_put(struct bundle *b, enum blobstore_table table, const struct buf *key, const struct buf *value);
void bundle_delete(struct bundle *b, enum blobstore_table table, const struct buf *key);
/* Takes it. The keeper says in the log what could not be kept. -ENOMEM: nothing of it will be. */
int bundle_post(struct bundle *b, struct keeper *keeper);
/* The same, and waits until it is durable, or is not (negative errno). Not the keeper's thread. */
MUST_CHECK int bundle_commit(struct bundle *b, struct keeper *keeper);
