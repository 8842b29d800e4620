/*
 * A breaker: whether a source is worth asking. It takes the time as an argument and keeps no lock.
 *
 *   state      asks                            left by
 *   CLOSED     everybody                       BREAKER_FAILURES failures in a row, or one that says it all → OPEN
 *   OPEN       nobody                          its time is over, and somebody asks → HALF_OPEN
 *   HALF_OPEN  who made it so, the probe       the probe's success → CLOSED; its failure → OPEN, for longer;
 *                                              its end without a verdict → OPEN, and the next may probe at once
 *
 * Any success closes it, whoever had begun when.
 */
#pragma once

#include "upstream/upstream.h"

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 3
#define BREAKER_FIRST_MS 1000LL
#define BREAKER_MAX_MS 60000LL
#define BREAKER_PROBE_WAIT_MS 500LL /* what those are told who come while the probe runs */

/* Zeroed memory is a closed one. */
struct breaker {
    enum upstream_breaker state;
    unsigned failures; /* in a row */
    unsigned trips;    /* in a row */
    int64_t open_until;
};

/* 0: it may be asked. Otherwise so many milliseconds from now on it may, perhaps. */
int64_t breaker_wait_ms(const struct breaker *b, int64_t now);
/* Somebody asks, who may. True: he is the probe. */
bool breaker_begin(struct breaker *b);
void breaker_succeeded(struct breaker *b);
/* `at_once`: no second failure is needed to believe it. `probe`: what breaker_begin() returned. */
void breaker_failed(struct breaker *b, bool probe, bool at_once, int64_t now, uint64_t random);
/* It ended, and nothing is known. */
void breaker_abandoned(struct breaker *b, bool probe, int64_t now);
