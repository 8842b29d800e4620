/*
 * How fast a host may be asked, after it said that it is asked too much: first not at all, for a time that grows with
 * each such answer; then one request at a time, with distance between them; then as ever, when enough of them were
 * answered. Takes the time as an argument and keeps no lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PACE_FIRST_MS 1000LL
#define PACE_MAX_MS (5 * 60000LL)
#define PACE_HINT_MAX_MS (3600 * 1000LL) /* of a host's own word */
#define PACE_INTERVAL_FIRST_MS 50LL
#define PACE_INTERVAL_MAX_MS 2000LL
#define PACE_GOOD 8 /* answers after which the distance is halved */
/* Who would have to wait for longer is told so. */
#define PACE_WAIT_MAX_MS 2000LL

/* Zeroed memory is one without limits. */
struct pace {
    int64_t until;       /* nobody before */
    int64_t next;        /* the next one not before */
    int64_t interval_ms; /* between two */
    unsigned step;       /* refusals in a row */
    unsigned good;       /* answers since */
};

/* When the next request may go out, in milliseconds from now. */
int64_t pace_wait_ms(const struct pace *p, int64_t now);
/* The same, and it goes out then. */
int64_t pace_take(struct pace *p, int64_t now);
/* A refusal; `retry_after_ms` is the host's word, -1 where it said none. One that answers a request which went out
 * before the last refusal counts once with it. */
void pace_refused(struct pace *p, int64_t retry_after_ms, int64_t now, uint64_t random);
/* A refusal for a moment only: no more than a pause. */
void pace_pause(struct pace *p, int64_t ms, int64_t now, uint64_t random);
void pace_answered(struct pace *p, int64_t now);
/* Nothing is left of any refusal. */
bool pace_is_free(const struct pace *p, int64_t now);
