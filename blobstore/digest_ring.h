/*
 * The last digests that something has happened to, for whoever comes to ask: each is given out once, the eldest first.
 * In memory alone. Under a lock of its own, a leaf.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <pthread.h>
#include <stddef.h>

struct digest_ring {
    pthread_mutex_t lock;
    struct digest *digests; /* under lock, as all that follows: `max` of them */
    size_t max, first, count;
};

/* `digests`, of which there are `max`, are the caller's and outlive it. */
void digest_ring_init(struct digest_ring *r, struct digest *digests, size_t max);
void digest_ring_finish(struct digest_ring *r);
/* In the place of the one that is there for the longest time, where it is full. */
void digest_ring_add(struct digest_ring *r, const struct digest *digest);
/* -ENOENT: none is there. */
MUST_CHECK int digest_ring_take(struct digest_ring *r, struct digest *ret_digest);
