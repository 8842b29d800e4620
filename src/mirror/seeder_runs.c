#include "mirror/seeder.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* --- pauses -------------------------------------------------------------------------------------------------- */

/* "docker.io" of "docker.io/library/alpine:3.20". */
static size_t registry_len(const char *image)
{
    return strcspn(image, "/");
}

static const struct seeder_pause *pause_of(const struct seeder *s, const char *image, int64_t now)
{
    size_t len = registry_len(image);
    for (size_t i = 0; i < SEEDER_PAUSES_MAX; i++) {
        const struct seeder_pause *p = &s->pauses[i];
        if (p->until > now && strlen(p->registry) == len && strncmp(p->registry, image, len) == 0)
            return p;
    }
    return NULL;
}

int64_t seeder_due(const struct seeder *s, const struct seed_image *image, int64_t now,
                   const struct seeder_pause **ret_pause)
{
    const struct seeder_pause *p = pause_of(s, image->image, now);
    *ret_pause = p && p->until >= image->retry_at ? p : NULL;
    return *ret_pause ? p->until : image->retry_at;
}

/* In the place of one that is over, or of the one that is over first. */
void seeder_pause(struct seeder *s, const char *image, int64_t until, const char *why)
{
    struct seeder_pause *p = &s->pauses[0];
    for (size_t i = 1; i < SEEDER_PAUSES_MAX; i++)
        if (s->pauses[i].until < p->until)
            p = &s->pauses[i];
    size_t len = registry_len(image);
    *p = (struct seeder_pause){.until = until};
    (void)snprintf(p->registry, sizeof(p->registry), "%.*s", (int)len, image);
    (void)snprintf(p->why, sizeof(p->why), "%s", why);
}

/* --- runs ---------------------------------------------------------------------------------------------------- */

static void forget_matches(struct seed *seed)
{
    size_t kept = 0;
    for (size_t i = 0; i < seed->count; i++) {
        if (seed->images[i].is_match)
            seed_image_finish(&seed->images[i]);
        else
            seed->images[kept++] = seed->images[i];
    }
    seed->count = kept;
}

/* Under the lock, which is let go of where lists are read. */
static void begin_run(struct seeder *s, struct seed *seed)
{
    struct seed *fresh = NULL;
    if (seed->head.is_configured) {
        s->current.seed = seed; /* so that nobody frees it */
        (void)pthread_mutex_unlock(&s->lock);
        fresh = seeder_read_lists(s, seed->head.name);
        (void)pthread_mutex_lock(&s->lock);
        s->current.seed = NULL;
        if (seed->is_gone) {
            seed_destroy(seed);
            seed_destroy(fresh);
            return;
        }
    }
    struct bundle *b = bundle_create();
    if (b)
        seeder_delete_images(b, seed);
    s->image_count -= seed->count;
    if (fresh) { /* else those that were there are tried again */
        for (size_t i = 0; i < seed->count; i++)
            seed_image_finish(&seed->images[i]);
        free(seed->images);
        seed->images = TAKE_PTR(fresh->images);
        seed->count = fresh->count;
        fresh->count = 0;
        seed_destroy(fresh);
    }
    forget_matches(seed);
    s->image_count += seed->count;
    for (size_t i = 0; i < seed->count; i++) {
        struct seed_image *image = &seed->images[i];
        *image = (struct seed_image){.state = SEED_WAITING,
                                     .image = image->image,
                                     .platforms = image->platforms,
                                     .pattern = image->pattern,
                                     .origin = image->origin};
    }
    seed->is_due = false;
    seed->fetched = seed->pulls = seed->worked = 0;
    seed->busy_ms = 0;
    seed->head.state = SEED_WAITING;
    seed->head.started_at = clock_real_ms();
    seed->head.ended_at = seed->head.next_at = 0;
    if (b) {
        seeder_put_all(b, seed);
        (void)bundle_post(b, s->mirror->keeper);
    }
    s->must_pin = s->must_pin || seed->head.pin;
    seeder_note(s, seed);
}

static void end_run(struct seeder *s, struct seed *seed)
{
    size_t failed = 0;
    for (size_t i = 0; i < seed->count; i++)
        failed += seed->images[i].state == SEED_FAILED;
    seed->head.state = failed ? SEED_FAILED : SEED_DONE;
    seed->head.ended_at = clock_real_ms();
    seed->head.next_at = seed->head.every_ms ? seed->head.ended_at + seed->head.every_ms : 0;
    log_event(failed ? LOG_WARN : LOG_INFO, "seeded", LOG_S("seed", seed->head.name), LOG_U("images", seed->count),
              LOG_U("failed", failed), LOG_U("bytes", seed->fetched), LOG_U("pulls", seed->pulls));
    seeder_post(s, seed, SIZE_MAX);
    seeder_note(s, seed);
}

bool seeder_choose(struct seeder *s, struct seed **ret_seed, size_t *ret_at, int64_t *when)
{
    int64_t now = clock_monotonic_ms();
    for (struct seed *seed = s->seeds; seed; seed = seed->next) {
        for (size_t i = 0; seed_state_is_open(seed->head.state) && i < seed->count; i++) {
            const struct seed_image *image = &seed->images[i];
            if (image->state != SEED_WAITING)
                continue;
            const struct seeder_pause *pause;
            int64_t at = seeder_due(s, image, now, &pause);
            if (at <= now) {
                *ret_seed = seed;
                *ret_at = i;
                return true;
            }
            *when = at < *when ? at : *when;
        }
    }
    return false;
}

bool seeder_tend(struct seeder *s, int64_t *when)
{
    int64_t now = clock_real_ms();
    if (s->pins_lapse_at && s->pins_lapse_at <= now) {
        s->pins_lapse_at = 0;
        return s->must_pin = true;
    }
    if (s->pins_lapse_at)
        *when = clock_monotonic_ms() + s->pins_lapse_at - now;
    for (struct seed *seed = s->seeds; seed; seed = seed->next) {
        int64_t next = seed->head.next_at;
        if (seed->is_due || (next && next <= now)) {
            begin_run(s, seed);
            return true;
        }
        if (next && clock_monotonic_ms() + next - now < *when)
            *when = clock_monotonic_ms() + next - now;
        size_t left = 0;
        for (size_t i = 0; seed_state_is_open(seed->head.state) && i < seed->count; i++)
            left += seed->images[i].state == SEED_WAITING;
        if (seed_state_is_open(seed->head.state) && left == 0) {
            end_run(s, seed);
            return true;
        }
    }
    return false;
}
