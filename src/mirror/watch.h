/*
 * What the mirror is doing, for who looks on: flights, how requests went, who spends, what went wrong. A public header
 * beside mirror.h. Any thread; what is given is a copy, and no pull waits for who looks.
 */
#pragma once

#include "mirror/events.h"
#include "mirror/spenders.h"
#include "mirror/tally.h"

struct watch_flight {
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1];
    struct digest digest;
    const char *state; /* "asking", "streaming", "verifying", "landing", "ending" */
    int64_t began_at;  /* wall clock, ms */
    int64_t size;      /* -1: not known */
    uint64_t written;
    unsigned readers;
    int source; /* that gave bytes last, as the configuration has it; -1: none has */
};

#define WATCH_FLIGHTS_MAX 1024

/* How many there are, `max` copied at the most. */
size_t watch_flights(struct mirror *m, struct watch_flight *ret_flights, size_t max);
/* Arrays of TALLY_OUTCOMES. */
void watch_tally(struct mirror *m, uint64_t *ret_all, uint64_t *ret_last_hour);
size_t watch_spenders(struct mirror *m, enum spender_kind kind, struct spender *ret_top, size_t max);
size_t watch_events(struct mirror *m, const char *registry, const char *repository, struct event *ret_events,
                    size_t max);
/* "public", "private", or "unknown": whether everybody may see the repository, as the upstream said last. */
const char *watch_visibility(struct mirror *m, const char *registry, const char *repository);
/* How far the scrub's round has come, in percent. */
unsigned watch_scrub(struct mirror *m);
