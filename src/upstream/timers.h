/*
 * Timers of the upstream's thread: a pairing heap by due time, so that neither setting nor clearing one can fail.
 * Times are clock_monotonic_ms(). A timer lives in its owner; it must be clear when the owner goes. Not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct timer {
    int64_t due;
    void (*fire)(struct timer *t);     /* may set and clear any timer, this one too, but not to a time that is past */
    struct timer *child, *next, *prev; /* prev: the sibling before, or the parent */
    bool set;
};

struct timers {
    struct timer *root;
};

/* Sets it anew where it is set already. */
void timer_set(struct timers *h, struct timer *t, int64_t due);
void timer_clear(struct timers *h, struct timer *t);
int64_t timers_next(const struct timers *h); /* INT64_MAX where there is none */
void timers_run(struct timers *h, int64_t now);
