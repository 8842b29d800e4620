/*
 * The two clocks: one that never jumps, for every deadline and duration, and the wall clock, for what is written down
 * or compared with a time that somebody else wrote. Milliseconds, or microseconds where a duration is counted, since an
 * arbitrary point, or since 1970. Any thread.
 */
#pragma once

#include <stdint.h>

#define CLOCK_SECOND 1000LL
#define CLOCK_MINUTE (60 * CLOCK_SECOND)

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_real_ms(void);
