#include "mirror/watch.h"

#include "mirror/digest_key.h"
#include "mirror/flight_state.h"
#include "mirror/state.h"

#include <stdio.h>

size_t watch_flights(struct mirror *m, struct watch_flight *ret_flights, size_t max)
{
    static const char *const states[] = {
        [FLIGHT_SIZING] = "asking",       [FLIGHT_ASKING] = "asking",   [FLIGHT_STREAMING] = "streaming",
        [FLIGHT_VERIFYING] = "verifying", [FLIGHT_LANDING] = "landing", [FLIGHT_ENDING] = "ending",
        [FLIGHT_GONE] = "ending"};
    struct flights *fs = m->flights;
    size_t count = 0;
    (void)pthread_mutex_lock(&fs->lock);
    for (struct flight *f = fs->flights; f; f = f->hh.next, count++) {
        if (count >= max)
            continue;
        struct watch_flight *w = &ret_flights[count];
        gate_lock(&f->gate);
        *w = (struct watch_flight){
            .digest = f->digest,
            .state = states[f->state],
            .began_at = f->began_at,
            .size = f->has_size ? (int64_t)f->size : -1,
            .written = f->written,
            .readers = f->refs - 1, /* the table's own */
            .source = f->source,
        };
        gate_unlock(&f->gate);
        (void)snprintf(w->registry, sizeof(w->registry), "%s", f->registry);
        (void)snprintf(w->repository, sizeof(w->repository), "%s", f->repository);
    }
    (void)pthread_mutex_unlock(&fs->lock);
    return count;
}

void watch_tally(struct mirror *m, uint64_t *ret_all, uint64_t *ret_last_hour)
{
    tally_read(&m->tally, ret_all, ret_last_hour);
}

size_t watch_spenders(struct mirror *m, enum spender_kind kind, struct spender *ret_top, size_t max)
{
    return spenders_top(m->spenders, kind, ret_top, max);
}

size_t watch_events(struct mirror *m, const char *registry, const char *repository, struct event *ret_events,
                    size_t max)
{
    return events_list(m->events, registry, repository, ret_events, max);
}

unsigned watch_scrub(struct mirror *m)
{
    return scrubber_progress(m->scrubber);
}

const char *watch_visibility(struct mirror *m, const char *registry, const char *repository)
{
    static const char *const names[] = {
        [VISIBILITY_UNKNOWN] = "unknown", [VISIBILITY_PUBLIC] = "public", [VISIBILITY_PRIVATE] = "private"};
    bool fresh;
    return names[visibility_get(m->visibilities, registry, repository, &fresh)];
}
