/*
 * Passages: what does not fit into the store goes by it, from the upstream to one client, through a small ring in
 * memory. Not shared, not kept. Where the client is slower than the upstream, the fetch is broken off when the ring is
 * full, and goes on by Range when there is room: an upstream is never told to wait (pitfalls.md 2). The bytes are
 * hashed on their way, from the first on whatever part of them is wanted, and the last ones are held back until the
 * digest is right.
 *
 * The upstream's thread fills the ring; the session's thread, which alone may call what is below, hashes and empties
 * it.
 */
#pragma once

#include "base/limits.h"
#include "mirror/gate.h"
#include "mirror/recent.h"

#include <sys/types.h>

/* At once; and what each of them has in memory. */
#define PASSAGES_MAX 32
#define PASSAGE_RING (4 * MIB)

struct upstream;
struct passage;
struct flight_target;

/* What all of them share; zeroes and the first two to begin with. */
struct passages {
    struct upstream *upstream;
    struct gates *gates;
    atomic_uint count;
};

/* What a flight would fetch. -EBUSY: there are too many. -ENOMEM, -ECANCELED. */
MUST_CHECK int passage_open(struct passages *all, const struct flight_target *t, struct passage **ret_passage);
/* As flight_wait(). */
MUST_CHECK int passage_wait(struct passage *p, struct waiter *w, int64_t due, uint64_t *ret_size,
                            struct failure *ret_failure);
/* As mirror_read(); offsets only grow. */
MUST_CHECK ssize_t passage_read(struct passage *p, struct waiter *w, uint64_t offset, void *data, size_t len);
unsigned passage_requests(const struct passage *p);
/* The waiter has been forgotten. Accepts NULL. */
void passage_close(struct passage *p);
