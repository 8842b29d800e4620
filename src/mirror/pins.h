/*
 * Pins: what is not to be evicted, whenever it was used last (docs/store-format.md, table PINS). Here is their form,
 * and what they come to; who makes them is elsewhere. A pin of a tag is of what the tag stands for now. Reads records
 * only; any thread.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "mirror/digest_set.h"

enum pin_kind {
    PIN_TAG = 'i',     /* the key of a pointer: one image by its tag */
    PIN_DIGEST = 'd',  /* the key of a digest: one image by its digest */
    PIN_PATTERN = 'p', /* a glob on "registry/repository:tag" and "registry/repository@digest" */
};

/* Further patterns have no effect. */
#define PIN_PATTERNS_MAX 256

/* The text may stand for anything and has no end but its length; `origin`: whose it is, a seed list for example. */
struct pin {
    enum pin_kind kind;
    const void *what;
    size_t what_len;
    int64_t expires_at; /* wall clock, ms; 0: never */
    const char *origin;
    size_t origin_len;
};

/* The record; keys are the kind and what is pinned. -EINVAL: another version, or damaged; the pointers of the result
 * lead into the key and the value. */
MUST_CHECK int pin_encode(const struct pin *pin, struct buf *key, struct buf *value);
MUST_CHECK int pin_decode(const void *key, size_t key_len, const void *value, size_t value_len, struct pin *ret_pin);

/* Adds to `pinned` the digests of all that is pinned at the time `now` (wall clock, ms). */
MUST_CHECK int pins_resolve(struct blobstore *store, int64_t now, struct digest_set *pinned);
