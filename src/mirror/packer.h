/*
 * The packer: lets the store keep compressed what shrinks. Of the keeper's thread, in steps of a few milliseconds, and
 * it rests for as long as it works: what was published a moment ago first, then whatever else has not been looked at.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "config/config.h"

struct packer;
struct uses;

MUST_CHECK int packer_create(struct blobstore *store, struct uses *uses, struct packer **ret_packer);
void packer_destroy(struct packer *p); /* accepts NULL */
/* Whether to, from now on. Any thread. */
void packer_configure(struct packer *p, const struct config *config);
/* Does a little, if it is time; returns for how long (ms) nothing need be done. */
int64_t packer_step(struct packer *p);
