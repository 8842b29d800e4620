/*
 * How requests went: hits, misses and so on, since the start and within the last hour, by the minute. Any thread.
 */
#pragma once

#include "mirror/mirror.h"

#include <pthread.h>

#define TALLY_OUTCOMES (MIRROR_ERROR + 1)
#define TALLY_MINUTES 60

struct tally_minute {
    int64_t minute; /* of the monotonic clock */
    uint32_t counts[TALLY_OUTCOMES];
};

struct tally {
    pthread_mutex_t lock;
    /* under lock */
    uint64_t all[TALLY_OUTCOMES];
    struct tally_minute minutes[TALLY_MINUTES];
};

void tally_init(struct tally *t);
void tally_finish(struct tally *t);
void tally_note(struct tally *t, enum mirror_outcome outcome);
/* Arrays of TALLY_OUTCOMES. */
void tally_read(struct tally *t, uint64_t *ret_all, uint64_t *ret_last_hour);
