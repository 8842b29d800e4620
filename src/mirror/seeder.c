#include "mirror/seeder.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The wall clock may be set while the thread sleeps: it looks again after this. */
#define SLEEP_MAX_MS (30 * CLOCK_SECOND)
/* After a failure that may pass: 15 s, a minute, four. */
#define RETRY_FIRST_MS (15 * CLOCK_SECOND)
#define RETRY_FACTOR 4
/* Progress in bytes is told so often. */
#define PROGRESS_MS 200

/* --- one image ----------------------------------------------------------------------------------------------- */

static bool may_pass(int error)
{
    const struct failure f = {.error = error};
    return failure_is_passing(&f) || error == -ENOSPC || error == -EBUSY || error == -ENOMEM || error == -EBADMSG ||
           error == -EPROTO || error == -EIO || error == -ECANCELED;
}

static void settle(struct seeder *s, struct seed *seed, size_t at, const struct seeder_result *result)
{
    struct seed_image *image = &seed->images[at];
    int64_t now = clock_monotonic_ms();
    seed->fetched += result->fetched;
    seed->pulls += result->pulls;
    seed->busy_ms += now - s->current.began;
    if (image->state != SEED_RUNNING) /* it was cancelled */
        return;
    image->state = SEED_WAITING;
    if (s->is_stopping)
        return;
    image->error = result->error;
    image->bytes = result->bytes > image->bytes ? result->bytes : image->bytes;
    seed_set_text(&image->cause, result->cause);
    if (result->error == 0) {
        image->state = SEED_DONE;
        seed->worked++;
    } else if (result->error == -EAGAIN) {
        seeder_pause(s, image->image, result->until > now ? result->until : now + CLOCK_SECOND, result->cause);
    } else if (may_pass(result->error) && image->attempts + 1 < SEED_ATTEMPTS) {
        int64_t pause = RETRY_FIRST_MS;
        for (unsigned i = 0; i < image->attempts; i++)
            pause *= RETRY_FACTOR;
        image->attempts++;
        image->retry_at = now + pause;
    } else {
        image->attempts++;
        image->state = SEED_FAILED;
        log_event(LOG_WARN, "seed_failed", LOG_S("seed", seed->head.name), LOG_S("image", image->image),
                  LOG_S("origin", image->origin), LOG_S("cause", result->cause));
    }
    seeder_post(s, seed, at);
    seeder_note(s, seed);
}

/* A task that the lock does not protect. */
struct task {
    struct image_name name;
    char *platforms, *pattern;
    char fallback[SEED_PLATFORMS_TEXT_MAX + 1];
};

static void task_finish(struct task *t)
{
    free(t->platforms);
    free(t->pattern);
}

static int take_task(const struct seed *seed, const struct seed_image *image, struct task *t)
{
    const char *wrong;
    *t = (struct task){.platforms = strdup(image->platforms ? image->platforms : "default")};
    (void)stpcpy(t->fallback, seed->head.platforms);
    if (!t->platforms || (image->pattern && !(t->pattern = strdup(image->pattern))))
        return -ENOMEM;
    return image_name_parse(image->image, strlen(image->image), &t->name, &wrong);
}

static void fetch(struct seeder *s, const struct task *t, struct seeder_result *result)
{
    struct platform platforms[SEED_PLATFORMS_MAX];
    size_t count = 0;
    int r = seeder_platforms(s, t->platforms, t->fallback, platforms, &count);
    if (r < 0) {
        *result = (struct seeder_result){.error = r, .cause = "its platforms cannot be read"};
        return;
    }
    seeder_fetch(s, &t->name, platforms, count, result);
}

/* Under the lock, which is let go of meanwhile. */
static void work_on(struct seeder *s, struct seed *seed, size_t at)
{
    AUTO(task_finish) struct task task;
    AUTO(seeder_matches_finish) struct seeder_matches matches = {.count = 0};
    struct seeder_result result = {.error = take_task(seed, &seed->images[at], &task), .cause = "no memory"};
    bool is_pattern = task.pattern != NULL;
    seed->images[at].state = SEED_RUNNING;
    seed->head.state = SEED_RUNNING;
    s->current = (struct seeder_current){.seed = seed, .at = at, .began = clock_monotonic_ms()};
    seeder_note(s, seed);
    (void)pthread_mutex_unlock(&s->lock);
    uint64_t counted = seeder_counted(s->mirror);
    if (result.error == 0) {
        if (is_pattern)
            seeder_match(s, &task.name, task.pattern, &matches, &result);
        else
            fetch(s, &task, &result);
    }
    result.pulls = seeder_counted(s->mirror) - counted;
    (void)pthread_mutex_lock(&s->lock);
    if (seed->is_gone) {
        s->current.seed = NULL;
        seed_destroy(seed);
        return;
    }
    if (is_pattern && result.error == 0 && seed->images[at].state == SEED_RUNNING)
        seeder_add_matches(s, seed, at, &matches, &result);
    settle(s, seed, at, &result);
    s->current.seed = NULL;
}

/* --- the thread ---------------------------------------------------------------------------------------------- */

static void sleep_until(struct seeder *s, int64_t when)
{
    int64_t latest = clock_monotonic_ms() + SLEEP_MAX_MS;
    if (when > latest)
        when = latest;
    struct timespec until = {.tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000};
    (void)pthread_cond_timedwait(&s->stirred, &s->lock, &until);
}

/* What takes the lock itself. Whether anything was to be done. */
static bool catch_up(struct seeder *s)
{
    bool reads = s->is_reconfigured, pins = s->must_pin;
    s->is_reconfigured = s->must_pin = false;
    (void)pthread_mutex_unlock(&s->lock);
    if (reads)
        seeder_read_configuration(s);
    if (pins)
        seeder_pin(s);
    (void)pthread_mutex_lock(&s->lock);
    return reads || pins;
}

static void *seeder_thread(void *arg)
{
    struct seeder *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->is_stopping) {
        struct seed *seed;
        size_t at;
        int64_t when = INT64_MAX;
        if (catch_up(s) || seeder_tend(s, &when))
            continue;
        if (seeder_choose(s, &seed, &at, &when))
            work_on(s, seed, at);
        else
            sleep_until(s, when);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

bool seeder_is_interrupted(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct seeder_current *c = &s->current;
    bool is = s->is_stopping || c->seed->is_gone || c->seed->images[c->at].state != SEED_RUNNING;
    (void)pthread_mutex_unlock(&s->lock);
    return is;
}

void seeder_note_progress(struct seeder *s, uint64_t bytes, uint64_t missing, uint64_t fetched)
{
    int64_t now = clock_monotonic_ms();
    (void)pthread_mutex_lock(&s->lock);
    s->current.bytes = bytes;
    s->current.missing = missing;
    s->current.fetched = fetched;
    if (now - s->progress_told >= PROGRESS_MS) {
        s->progress_told = now;
        seeder_note(s, s->current.seed);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void init(struct seeder *s, struct mirror *m)
{
    pthread_condattr_t attr;
    s->mirror = m;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->stirred, &attr);
    (void)pthread_cond_init(&s->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    s->is_reconfigured = s->must_pin = true;
}

int seeder_start(struct mirror *m, struct seeder **ret_seeder)
{
    struct seeder *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    init(s, m);
    int r = seeder_load(s);
    if (r == 0)
        r = -pthread_create(&s->thread, NULL, seeder_thread, s);
    s->is_running = r == 0;
    if (r < 0) {
        seeder_stop(s);
        return r;
    }
    *ret_seeder = s;
    return 0;
}

void seeder_configure(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_reconfigured = true;
    memset(s->pauses, 0, sizeof(s->pauses));
    for (struct seed *seed = s->seeds; seed; seed = seed->next)
        for (size_t i = 0; i < seed->count; i++)
            seed->images[i].retry_at = 0;
    (void)pthread_cond_signal(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
}

void seeder_note_pin(struct seeder *s)
{
    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->must_pin = true;
    (void)pthread_cond_signal(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
}

void seeder_cut(struct seeder *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_stopping = s->is_cut = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_cond_signal(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
}

void seeder_stop(struct seeder *s)
{
    if (!s)
        return;
    if (s->is_running) {
        seeder_cut(s);
        (void)pthread_join(s->thread, NULL);
    }
    for (struct seed *seed = s->seeds, *next; seed; seed = next) {
        next = seed->next;
        seed_destroy(seed);
    }
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_cond_destroy(&s->stirred);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
