/*
 * Leftovers: partial files that no flight has. The next flight of the blob goes on where they end, if it comes; they
 * take room meanwhile. Of the evictor, which counts them, and lets them go before anything that is stored.
 */
#pragma once

#include "blobstore/blobstore.h"

/* Those that are remembered; more are found by the next look. */
#define LEFTOVERS_MAX 64

struct leftovers {
    uint64_t running;                               /* bytes on the disk of the partial files that flights have */
    uint64_t bytes;                                 /* of those that none has */
    struct blobstore_partial eldest[LEFTOVERS_MAX]; /* of the latter, the one first that was written to longest ago */
    size_t count;
};

/* Reads a directory. */
MUST_CHECK int leftovers_look(struct blobstore *store, struct leftovers *ret_leftovers);
/* Nobody has gone on with it for so long that nobody will. `now`: wall clock, ms. */
bool leftover_is_old(const struct blobstore_partial *partial, int64_t now);
