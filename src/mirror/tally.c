#include "mirror/tally.h"

#include "base/clock.h"

#include <string.h>

void tally_init(struct tally *t)
{
    *t = (struct tally){0};
    (void)pthread_mutex_init(&t->lock, NULL);
}

void tally_finish(struct tally *t)
{
    (void)pthread_mutex_destroy(&t->lock);
}

void tally_note(struct tally *t, enum mirror_outcome outcome)
{
    int64_t minute = clock_monotonic_ms() / CLOCK_MINUTE;
    struct tally_minute *m = &t->minutes[minute % TALLY_MINUTES];
    (void)pthread_mutex_lock(&t->lock);
    if (m->minute != minute)
        *m = (struct tally_minute){.minute = minute};
    m->counts[outcome]++;
    t->all[outcome]++;
    (void)pthread_mutex_unlock(&t->lock);
}

void tally_read(struct tally *t, uint64_t *ret_all, uint64_t *ret_last_hour)
{
    int64_t minute = clock_monotonic_ms() / CLOCK_MINUTE;
    memset(ret_last_hour, 0, TALLY_OUTCOMES * sizeof(*ret_last_hour));
    (void)pthread_mutex_lock(&t->lock);
    memcpy(ret_all, t->all, sizeof(t->all));
    for (size_t i = 0; i < TALLY_MINUTES; i++)
        for (size_t k = 0; k < TALLY_OUTCOMES && minute - t->minutes[i].minute < TALLY_MINUTES; k++)
            ret_last_hour[k] += t->minutes[i].counts[k];
    (void)pthread_mutex_unlock(&t->lock);
}
