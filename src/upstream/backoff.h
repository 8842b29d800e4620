/* Exponential back-off with full jitter: who waits does not come back in step with the others. Pure; any thread. */
#pragma once

#include <stdint.h>

/* The wait after `step` earlier ones (0: the first): anything up to `first_ms` doubled `step` times, at most `max_ms`,
 * at least BACKOFF_MIN_MS. `random` is any number; 0 gives the shortest, UINT64_MAX the longest. */
int64_t backoff_ms(unsigned step, int64_t first_ms, int64_t max_ms, uint64_t random);

#define BACKOFF_MIN_MS 20
