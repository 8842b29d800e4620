/*
 * A set of digests, in memory; it only grows. Begins as zeroes. One thread at a time.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

struct digest_set {
    struct digest *slots; /* by hash; free ones are of DIGEST_NONE */
    size_t count, capacity;
};

/* -EEXIST: it is there already. -ENOMEM: nothing has changed. */
MUST_CHECK int digest_set_add(struct digest_set *set, const struct digest *digest);
bool digest_set_has(const struct digest_set *set, const struct digest *digest);
/* The next member from *cursor (0 at first) on, or NULL; any change ends the walk. */
const struct digest *digest_set_next(const struct digest_set *set, size_t *cursor);
void digest_set_finish(struct digest_set *set); /* empty again */

#define AUTO_DIGEST_SET AUTO(digest_set_finish)
