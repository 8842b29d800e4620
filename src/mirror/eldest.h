/*
 * The eldest: of any number of blobs that are offered, those that were not used for the longest time, up to a fixed
 * number; a heap. One thread at a time.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#define ELDEST_MAX 512

struct elder {
    struct digest digest;
    int64_t used_at; /* wall clock, ms */
};

struct eldest {
    struct elder heap[ELDEST_MAX]; /* the youngest first */
    size_t count;
};

void eldest_clear(struct eldest *e);
/* Whether one of this age would be taken. */
bool eldest_wants(const struct eldest *e, int64_t used_at);
/* Takes it in, for the youngest where it is full. */
void eldest_offer(struct eldest *e, const struct digest *digest, int64_t used_at);
/* No more offers: from now on heap[0 .. count) is in order, the eldest first. */
void eldest_sort(struct eldest *e);
