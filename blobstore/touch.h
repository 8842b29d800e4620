/*
 * When blobs were last used, as far as it is not written down yet: a bounded table in memory. Coarse like relatime: a
 * use is written to the index only where the one that is written there is an hour off, so that a busy blob costs a
 * write an hour and not one a request. Where the table is full of uses that wait to be written, a further one is
 * forgotten.
 *
 * Any thread; locks are held for a few comparisons. Knows no index: blobstore_flush_touches() carries things over.
 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"
#include "base/digest.h"

#define TOUCH_COARSE (60 * CLOCK_MINUTE)

struct touches;

struct touch {
    struct digest digest;
    int64_t used_at; /* wall clock, ms */
};

MUST_CHECK int touches_create(struct touches **ret_touches);
void touches_destroy(struct touches *t);
void touches_note(struct touches *t, const struct digest *digest, int64_t now_ms);
/* The last use in memory, 0 where none is known. */
int64_t touches_known(struct touches *t, const struct digest *digest);
/* Copies up to `max` uses that ought to be written, from *cursor (0 at first) on, and moves it; 0: there are no more.
 */
size_t touches_collect(struct touches *t, size_t *cursor, struct touch *ret_touches, size_t max);
/* The index has this time for the blob. */
void touches_written(struct touches *t, const struct digest *digest, int64_t written_at);

/* Whether a use at `used_at` is worth a write where `written_at` is what the index has (0: nothing). */
bool touch_is_due(int64_t used_at, int64_t written_at);

AUTO_DEFINE(struct touches, touches_destroy);
