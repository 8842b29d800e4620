#include "mirror/keeper.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Most of one commit: it bounds how long the first of it waits for the last. */
#define KEEPER_BATCH 64
#define KEEPER_FLUSH_MS (60 * CLOCK_SECOND)

struct keeper {
    /* set at create */
    struct blobstore *store;
    keeper_checkpoint_fn checkpoint;
    void *checkpoint_arg;
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    /* under lock */
    struct keeping *first, **last;
    bool stopping;
    keeper_spare_fn spare;
    void *spare_arg;
    int64_t spare_at; /* monotonic ms: the next step */
    pthread_t thread;
    /* owned by the thread */
    int64_t flushed_at;
};

static bool ends_batch(const struct keeping *k)
{
    return k->is_alone || (k->next && (k->next->is_alone || (k->comes_first && !k->next->comes_first)));
}

/* Under the lock: takes up to KEEPER_BATCH from the front, as a list. */
static struct keeping *take(struct keeper *k)
{
    struct keeping *taken = k->first, **end = &k->first;
    bool goes_on = true;
    for (unsigned n = 0; *end && goes_on && n < KEEPER_BATCH; n++) {
        goes_on = !ends_batch(*end);
        end = &(*end)->next;
    }
    if (end == &k->first)
        return NULL;
    k->first = *end;
    *end = NULL;
    if (!k->first)
        k->last = &k->first;
    return taken;
}

static void keep(struct keeper *k, struct keeping *taken)
{
    struct blobstore_batch *batch;
    int r = blobstore_batch_begin(k->store, &batch);
    if (r == 0) {
        for (struct keeping *i = taken; i; i = i->next)
            i->add(i, batch);
        r = blobstore_batch_commit(batch);
    }
    if (r < 0)
        log_event(LOG_ERROR, "commit_failed", LOG_S("error", strerrorname_np(-r)));
    for (struct keeping *i = taken, *next; i; i = next) {
        next = i->next;
        i->done(i, r);
    }
}

/* The next one does better: nothing depends on it. */
static void flush(struct keeper *k)
{
    struct blobstore_batch *batch;
    int r = blobstore_flush_touches(k->store);
    if (r == 0)
        r = blobstore_batch_begin(k->store, &batch);
    if (r == 0) {
        if (k->checkpoint)
            k->checkpoint(k->checkpoint_arg, batch);
        r = blobstore_batch_commit(batch);
    }
    if (r < 0)
        log_event(LOG_ERROR, "checkpoint_failed", LOG_S("error", strerrorname_np(-r)));
    k->flushed_at = clock_monotonic_ms();
}

/* Under the lock, which is let go of meanwhile. */
static void spend_time(struct keeper *k)
{
    k->spare_at = INT64_MAX; /* but for who hurries it during the step */
    (void)pthread_mutex_unlock(&k->lock);
    int64_t pause = k->spare(k->spare_arg);
    int64_t next = clock_monotonic_ms() + pause;
    (void)pthread_mutex_lock(&k->lock);
    if (next < k->spare_at)
        k->spare_at = next;
}

/* Under the lock. */
static void wait_for_work(struct keeper *k)
{
    int64_t when = k->flushed_at + KEEPER_FLUSH_MS;
    if (k->spare && k->spare_at < when)
        when = k->spare_at;
    struct timespec until = {.tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000};
    if (when > clock_monotonic_ms())
        (void)pthread_cond_timedwait(&k->stirred, &k->lock, &until);
}

static void *keeper_thread(void *arg)
{
    struct keeper *k = arg;
    (void)pthread_mutex_lock(&k->lock);
    for (;;) {
        struct keeping *taken = take(k);
        if (!taken && k->stopping)
            break;
        bool must_flush = clock_monotonic_ms() - k->flushed_at >= KEEPER_FLUSH_MS;
        if (taken || must_flush) {
            (void)pthread_mutex_unlock(&k->lock);
            if (taken)
                keep(k, taken);
            if (must_flush)
                flush(k);
            (void)pthread_mutex_lock(&k->lock);
        }
        if (k->spare && !k->stopping && clock_monotonic_ms() >= k->spare_at)
            spend_time(k);
        else if (!taken && !must_flush)
            wait_for_work(k);
    }
    (void)pthread_mutex_unlock(&k->lock);
    flush(k);
    return NULL;
}

int keeper_start(struct blobstore *store, keeper_checkpoint_fn checkpoint, void *arg, struct keeper **ret_keeper)
{
    struct keeper *k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    k->store = store;
    k->checkpoint = checkpoint;
    k->checkpoint_arg = arg;
    k->last = &k->first;
    k->flushed_at = clock_monotonic_ms();
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&k->lock, NULL);
    (void)pthread_cond_init(&k->stirred, &attr);
    (void)pthread_condattr_destroy(&attr);
    int r = pthread_create(&k->thread, NULL, keeper_thread, k);
    if (r) {
        (void)pthread_cond_destroy(&k->stirred);
        (void)pthread_mutex_destroy(&k->lock);
        free(k);
        return -r;
    }
    *ret_keeper = k;
    return 0;
}

void keeper_post(struct keeper *k, struct keeping *keeping)
{
    (void)pthread_mutex_lock(&k->lock);
    keeping->next = NULL;
    *k->last = keeping;
    k->last = &keeping->next;
    (void)pthread_cond_signal(&k->stirred);
    (void)pthread_mutex_unlock(&k->lock);
}

void keeper_employ(struct keeper *k, keeper_spare_fn spare, void *arg)
{
    (void)pthread_mutex_lock(&k->lock);
    k->spare = spare;
    k->spare_arg = arg;
    (void)pthread_cond_signal(&k->stirred);
    (void)pthread_mutex_unlock(&k->lock);
}

void keeper_hurry(struct keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->spare_at = 0;
    (void)pthread_cond_signal(&k->stirred);
    (void)pthread_mutex_unlock(&k->lock);
}

/* ------------------------------------------------------------------ errands */

struct errand {
    struct keeping keeping;
    keeper_run_fn run;
    void *arg;
    int result; /* of the run */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_over; /* under lock */
};

static void errand_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct errand *e = (struct errand *)k;
    e->result = e->run(e->arg, batch);
}

static void errand_done(struct keeping *k, int result)
{
    struct errand *e = (struct errand *)k;
    (void)pthread_mutex_lock(&e->lock);
    if (e->result == 0)
        e->result = result;
    e->is_over = true;
    (void)pthread_cond_signal(&e->ended);
    (void)pthread_mutex_unlock(&e->lock);
}

int keeper_run(struct keeper *k, keeper_run_fn run, void *arg)
{
    struct errand e = {
        .keeping = {.add = errand_add, .done = errand_done, .is_alone = true},
        .run = run,
        .arg = arg,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
    };
    keeper_post(k, &e.keeping);
    (void)pthread_mutex_lock(&e.lock);
    while (!e.is_over)
        (void)pthread_cond_wait(&e.ended, &e.lock);
    (void)pthread_mutex_unlock(&e.lock);
    (void)pthread_cond_destroy(&e.ended);
    (void)pthread_mutex_destroy(&e.lock);
    return e.result;
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    (void)pthread_mutex_lock(&k->lock);
    k->stopping = true;
    (void)pthread_cond_signal(&k->stirred);
    (void)pthread_mutex_unlock(&k->lock);
    (void)pthread_join(k->thread, NULL);
    (void)pthread_cond_destroy(&k->stirred);
    (void)pthread_mutex_destroy(&k->lock);
    free(k);
}
