/*
 * The mender: fetches again what a pinned image has lost to damage, without waiting for somebody to ask. What was found
 * damaged, by whomever, comes from the store (blobstore_next_lost()); what no pinned image needs is left to who asks
 * for it. It asks as a client of the mirror, in the class of seeding, under the name under which a manifest of the
 * image was seen: so all rules of accounts, limits and privacy hold. One blob at a time, in small steps on the keeper's
 * thread.
 */
#pragma once

#include "base/auto.h"

#include <stdint.h>

struct mender;
struct mirror;

/* Once all other parts of the mirror are there. */
MUST_CHECK int mender_create(struct mirror *m, struct mender **ret_mender);
/* After the keeper has stopped, before what sessions hold is taken apart. Accepts NULL. */
void mender_destroy(struct mender *mender);
/* Does a little, if it is time; of the keeper's thread. Returns for how long (ms) nothing need be done. */
int64_t mender_step(struct mender *mender);
