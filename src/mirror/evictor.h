/*
 * The evictor: keeps the store within its bounds. Where it has outgrown them, what was not used for the longest time
 * goes, an image as a whole (mirror/image.h), until there is room again. Works in small steps on the keeper's thread,
 * between its commits; nobody waits for it.
 *
 * Leftovers of broken flights go first (mirror/leftovers.h), and when they are old. Then what goes next is the root, or
 * the blob that no stored manifest names, whose last use is the longest ago. Every hit of a tag is a use of its root;
 * blobs that a stored manifest names do not age, and a use that is still to come, by a clock that was wrong then, is
 * longer ago than any other. A manifest that was used much later than the index that names it stays when that goes,
 * with what it names. Neither what a client is reading goes, nor what is pinned (mirror/pins.h).
 */
#pragma once

#include "blobstore/blobstore.h"
#include "config/config.h"

struct evictor;
struct library;
struct uses;

MUST_CHECK int evictor_create(struct blobstore *store, struct library *library, struct uses *uses,
                              struct evictor **ret_evictor);
void evictor_destroy(struct evictor *e); /* accepts NULL */
/* The bounds, from now on. Any thread. */
void evictor_configure(struct evictor *e, const struct config *config);
/* Room for so many bytes is wanted now, whatever the bounds: it is made at the next steps, unless it cannot be had even
 * by giving up everything. Any thread. */
void evictor_ask(struct evictor *e, uint64_t bytes);
/* Until then (monotonic ms; 0: from now on) the store may be larger than its bound, and what goes, goes only since the
 * disk is full. Any thread. */
void evictor_hold(struct evictor *e, int64_t until);
/* Something was taken away by somebody else: its records are swept at the next steps. Any thread. */
void evictor_sweep(struct evictor *e);
/* Does a little, if it is time; of the keeper's thread. Returns for how long (ms) nothing need be done. */
int64_t evictor_step(struct evictor *e);
