#include "mirror/seeding.h"

#include "base/clock.h"
#include "mirror/seeder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *seed_state_name(enum seed_state state)
{
    static const char *const names[] = {[SEED_WAITING] = "waiting",
                                        [SEED_RUNNING] = "running",
                                        [SEED_DONE] = "done",
                                        [SEED_FAILED] = "failed",
                                        [SEED_CANCELLED] = "cancelled"};
    return names[state];
}

/* --- under the lock ------------------------------------------------------------------------------------------ */

/* The oldest that has nothing left to do and keeps nothing. */
static struct seed *find_spent(struct seeder *s)
{
    for (struct seed *seed = s->seeds; seed; seed = seed->next)
        if (seed->head.ended_at && !seed->head.next_at && !seed->head.pin && !seed->head.is_configured)
            return seed;
    return NULL;
}

static int make_room(struct seeder *s, const struct seed *seed, struct bundle *b, struct seed_complaint *why)
{
    while (s->seed_count >= SEEDS_MAX || s->image_count + seed->count > SEED_IMAGES_ALL_MAX) {
        struct seed *spent = find_spent(s);
        if (!spent)
            return seed_complain(why, -ENOSPC, "there are too many seeds (%zu, with %zu images): forget some",
                                 s->seed_count, s->image_count);
        seeder_drop(s, spent, b);
    }
    return 0;
}

static int enter(struct seeder *s, struct seed *seed, struct bundle *b, struct seed_complaint *why)
{
    struct seed *old = seed->head.name[0] ? seeder_find_name(s, seed->head.name) : NULL;
    if (s->is_stopping)
        return seed_complain(why, -ECANCELED, "the mirror is shutting down");
    if (old && old->head.is_configured)
        return seed_complain(why, -EINVAL, "the configuration has a seed of that name");
    if (old)
        seeder_drop(s, old, b);
    int r = make_room(s, seed, b, why);
    if (r < 0)
        return r;
    seed->head.id = ++s->last_id;
    seed->head.started_at = seed->head.created_at;
    if (!seed->head.name[0])
        (void)snprintf(seed->head.name, sizeof(seed->head.name), "seed-%llu", (unsigned long long)seed->head.id);
    s->must_pin = s->must_pin || seed->head.pin;
    seeder_put_all(b, seed);
    seeder_link(s, seed);
    (void)pthread_cond_signal(&s->stirred);
    return 0;
}

/* --- the door ------------------------------------------------------------------------------------------------ */

int seeding_add(struct mirror *m, const struct seed_order *order, uint64_t *ret_id, struct seed_complaint *ret_why)
{
    struct seeder *s = m->seeder;
    struct seed *seed;
    int r = seed_create(order, &seed, ret_why);
    if (r < 0)
        return r;
    struct bundle *b = bundle_create();
    if (!b) {
        seed_destroy(seed);
        return -ENOMEM;
    }
    (void)pthread_mutex_lock(&s->lock);
    r = enter(s, seed, b, ret_why);
    uint64_t id = seed->head.id;
    (void)pthread_mutex_unlock(&s->lock);
    if (r < 0)
        seed_destroy(seed);
    int kept = bundle_commit(b, m->keeper);
    if (r == 0 && kept == 0)
        *ret_id = id;
    return r < 0 ? r : kept;
}

int seeding_cancel(struct mirror *m, uint64_t id)
{
    struct seeder *s = m->seeder;
    struct bundle *b = bundle_create();
    if (!b)
        return -ENOMEM;
    int r = 0;
    (void)pthread_mutex_lock(&s->lock);
    struct seed *seed = seeder_find(s, id);
    bool is_open = seed && seed_state_is_open(seed->head.state);
    if (!seed) {
        r = -ENOENT;
    } else if (!is_open && !seed->head.next_at) {
        r = -EALREADY;
    } else {
        for (size_t i = 0; i < seed->count; i++) {
            struct seed_image *image = &seed->images[i];
            if (!seed_state_is_open(image->state))
                continue;
            image->state = SEED_CANCELLED;
            seeder_put_image(b, seed, i);
        }
        if (is_open) {
            seed->head.state = SEED_CANCELLED;
            seed->head.ended_at = clock_real_ms();
        }
        seed->head.next_at = 0;
        seed->is_due = false;
        seeder_put_head(b, seed);
        seeder_note(s, seed);
    }
    (void)pthread_mutex_unlock(&s->lock);
    int kept = bundle_commit(b, m->keeper);
    return r < 0 ? r : kept;
}

int seeding_forget(struct mirror *m, uint64_t id)
{
    struct seeder *s = m->seeder;
    struct bundle *b = bundle_create();
    if (!b)
        return -ENOMEM;
    (void)pthread_mutex_lock(&s->lock);
    struct seed *seed = seeder_find(s, id);
    int r = !seed ? -ENOENT : seed->head.is_configured ? -EBUSY : 0;
    if (r == 0) {
        seeder_drop(s, seed, b);
        (void)pthread_cond_signal(&s->stirred);
    }
    (void)pthread_mutex_unlock(&s->lock);
    int kept = bundle_commit(b, m->keeper);
    return r < 0 ? r : kept;
}

/* --- looking ------------------------------------------------------------------------------------------------- */

static const char *advice(int error)
{
    switch (-error) {
    case 0:
        return "";
    case ENOENT:
        return "check the name and the tag: the registry has no such image";
    case EACCES:
        return "check the name, the credentials (registries.NAME.credentials), and whether the repository is to be "
               "open "
               "(registries.NAME.open)";
    case ENXIO:
        return "name the registry under `registries` in the configuration";
    case EAGAIN:
        return "nothing: it goes on when pulls are left again; another account (registries.NAME.sources) is faster";
    case ENOSPC:
        return "give the store more room (store.max_size), or unpin something";
    case ENODATA:
        return "choose another platform, or another image";
    case ENOTSUP:
        return "push the image anew with a tool of today: Docker's schema 1 cannot be mirrored";
    case EPERM:
        return "the registry leads to a private address; where that is right: registries.NAME.allow_private";
    case EBADMSG:
    case EPROTO:
    case EFBIG:
        return "something between here and the registry changes answers, a proxy or a login page: look at its log";
    case E2BIG:
        return "make the pattern narrower, or more than one seed of it";
    case EINVAL:
        return "check how the image is written";
    default:
        return "see whether the registry can be reached from here, then seed again: what has come is kept";
    }
}

static void fill_image(const struct seed_image *i, struct seed_image_status *out)
{
    *out = (struct seed_image_status){
        .image = i->image,
        .platforms = i->platforms ? i->platforms : "",
        .pattern = i->pattern ? i->pattern : "",
        .origin = i->origin ? i->origin : "",
        .state = i->state,
        .is_match = i->is_match,
        .attempts = i->attempts,
        .bytes = i->bytes,
        .cause = i->cause ? i->cause : "",
        .advice = advice(i->error),
    };
}

static int64_t to_wall(int64_t monotonic)
{
    return monotonic ? clock_real_ms() + monotonic - clock_monotonic_ms() : 0;
}

/* The first that is not done, with what keeps it. */
static const struct seed_image *next_image(const struct seed *seed)
{
    for (size_t i = 0; i < seed->count; i++)
        if (seed_state_is_open(seed->images[i].state))
            return &seed->images[i];
    return NULL;
}

static void fill_wait(struct seeder *s, const struct seed *seed, struct seed_status *out)
{
    int64_t now = clock_monotonic_ms(), first = INT64_MAX;
    for (size_t i = 0; !*out->current && i < seed->count; i++) {
        const struct seed_image *image = &seed->images[i];
        if (image->state != SEED_WAITING)
            continue;
        const struct seeder_pause *pause;
        int64_t until = seeder_due(s, image, now, &pause);
        if (until <= now) { /* it is the next, behind another seed's perhaps */
            out->waits_for = "";
            out->waits_until = 0;
            return;
        }
        if (until < first) {
            first = until;
            out->waits_for = pause ? pause->why : image->cause ? image->cause : "";
            out->waits_until = to_wall(until);
        }
    }
}

static void fill(struct seeder *s, const struct seed *seed, struct seed_status *out)
{
    const struct seeder_current *c = &s->current;
    *out = (struct seed_status){
        .id = seed->head.id,
        .sequence = seed->sequence,
        .name = seed->head.name,
        .platforms = seed->head.platforms,
        .pin = seed->head.pin,
        .is_configured = seed->head.is_configured,
        .every_ms = seed->head.every_ms,
        .state = seed->head.state,
        .created_at = seed->head.created_at,
        .started_at = seed->head.started_at,
        .ended_at = seed->head.ended_at,
        .next_at = seed->head.next_at,
        .images = seed->count,
        .fetched = seed->fetched,
        .pulls = seed->pulls,
        .current = "",
        .waits_for = "",
        .pulls_left = -1,
    };
    for (size_t i = 0; i < seed->count; i++) {
        const struct seed_image *image = &seed->images[i];
        out->bytes += image->bytes;
        out->done += image->state == SEED_DONE;
        out->failed += image->state == SEED_FAILED;
        out->waiting += seed_state_is_open(image->state);
    }
    if (c->seed == seed && c->at < seed->count && seed->images[c->at].state == SEED_RUNNING) {
        out->current = seed->images[c->at].image;
        out->current_bytes = c->bytes;
        out->current_fetched = c->fetched;
        out->current_missing = c->missing;
        out->fetched += c->fetched;
        if (c->bytes > seed->images[c->at].bytes)
            out->bytes += c->bytes - seed->images[c->at].bytes;
    }
    fill_wait(s, seed, out);
}

/* When it will be done if it goes on as so far: the time for the rest of the images, and for the limits. */
static int64_t estimate_end(const struct seed *seed, const struct seed_status *status,
                            const struct seeder_budget *budget)
{
    if (status->waiting == 0 || seed->worked == 0)
        return 0;
    int64_t left = (int64_t)status->waiting, worked = (int64_t)seed->worked;
    int64_t ms = seed->busy_ms * left / worked;
    left -= status->current_bytes > 0; /* whose manifests have been pulled */
    int64_t pulls = ((int64_t)seed->pulls * left + worked - 1) / worked;
    int64_t wait_ms = seeder_budget_wait_ms(budget, (uint64_t)pulls);
    return wait_ms < 0 ? 0 : clock_real_ms() + ms + wait_ms;
}

void seeding_cut(struct mirror *m)
{
    struct seeder *s = m->seeder;
    (void)pthread_mutex_lock(&s->lock);
    s->is_cut = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

int seeding_each(struct mirror *m, seed_status_fn fn, void *arg)
{
    struct seeder *s = m->seeder;
    int r = 0;
    (void)pthread_mutex_lock(&s->lock);
    for (const struct seed *seed = s->seeds; seed && r == 0; seed = seed->next) {
        struct seed_status status;
        fill(s, seed, &status);
        r = fn(arg, &status);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

/* Under the lock. */
static struct seed *await_change(struct seeder *s, uint64_t id, uint64_t after, int64_t wait_ms)
{
    int64_t when = clock_monotonic_ms() + (wait_ms < SEED_WAIT_MAX_MS ? wait_ms : SEED_WAIT_MAX_MS);
    const struct timespec until = {.tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000};
    for (;;) {
        struct seed *seed = seeder_find(s, id);
        if (!seed || seed->sequence > after || s->is_cut || wait_ms <= 0 ||
            pthread_cond_timedwait(&s->changed, &s->lock, &until) == ETIMEDOUT)
            return seed;
    }
}

int seeding_look(struct mirror *m, uint64_t id, uint64_t after, int64_t wait_ms, seed_status_fn fn, void *arg)
{
    struct seeder *s = m->seeder;
    struct seeder_budget budget = {.left = -1};
    char registry[LIMIT_NAME + 1] = "";
    (void)pthread_mutex_lock(&s->lock);
    const struct seed *seed = await_change(s, id, after, wait_ms);
    const struct seed_image *next = seed ? next_image(seed) : NULL;
    if (next)
        (void)snprintf(registry, sizeof(registry), "%.*s", (int)strcspn(next->image, "/"), next->image);
    (void)pthread_mutex_unlock(&s->lock);
    if (registry[0])
        seeder_budget(m, registry, &budget); /* takes locks of its own */

    (void)pthread_mutex_lock(&s->lock);
    int r = -ENOENT;
    seed = seeder_find(s, id);
    struct seed_image_status *list = seed ? calloc(seed->count + 1, sizeof(*list)) : NULL;
    if (seed && list) {
        struct seed_status status;
        fill(s, seed, &status);
        for (size_t i = 0; i < seed->count; i++)
            fill_image(&seed->images[i], &list[i]);
        status.list = list;
        status.pulls_left = budget.left;
        status.ends_at = estimate_end(seed, &status, &budget);
        r = fn(arg, &status);
    } else if (seed) {
        r = -ENOMEM;
    }
    free(list);
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}
