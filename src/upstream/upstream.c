/*
 * The public calls, the inbox and the thread. One lock, held for a few instructions: it guards the inbox, the table of
 * registries and the flag that everything ends. No callback runs under it. The ledger has a lock of its own, taken
 * under none or after this one.
 */
#include "upstream/upstream.h"

#include "base/clock.h"
#include "upstream/job.h"
#include "upstream/ledger.h"
#include "upstream/list.h"
#include "upstream/loop.h"
#include "upstream/sources.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

struct registries {
    size_t count;
    struct sources *items[];
};

struct upstream {
    /* set at start */
    pthread_t thread;
    char hop[33]; /* who we are to siblings: another one each time */

    /* under lock */
    pthread_mutex_t lock;
    struct list inbox;
    struct registries *registries;
    bool stopping;
    bool joined;

    /* under its own lock */
    struct ledger ledger;

    /* owned by the thread */
    struct loop loop;
    struct list jobs;
};

/* ------------------------------------------------------------------ registries */

static void registries_destroy(struct registries *t)
{
    for (size_t i = 0; t && i < t->count; i++)
        sources_unref(t->items[i]);
    free(t);
}

AUTO_DEFINE(struct registries, registries_destroy);

static int registries_create(struct upstream *u, const struct config *config, struct buf *errors,
                             struct registries **ret_registries)
{
    const struct source_needs needs = {.config = config, .ledger = &u->ledger, .hop = u->hop, .errors = errors};
    AUTO(auto_registries_destroy)
    struct registries *t = calloc(1, sizeof(*t) + config->registry_count * sizeof(t->items[0]));
    if (!t)
        return -ENOMEM;
    for (; t->count < config->registry_count; t->count++) {
        int r = sources_create(&needs, &config->registries[t->count], &t->items[t->count]);
        if (r < 0)
            return r;
    }
    *ret_registries = TAKE_PTR(t);
    return 0;
}

/* A reference of the caller's own, or NULL. */
static struct sources *find_locked(const struct upstream *u, const char *registry)
{
    for (size_t i = 0; i < u->registries->count; i++)
        if (strcasecmp(u->registries->items[i]->registry, registry) == 0)
            return sources_ref(u->registries->items[i]);
    return NULL;
}

/* References to all of them. */
static int copy_registries(struct upstream *u, struct registries **ret_copy)
{
    int r = -ENOMEM;
    (void)pthread_mutex_lock(&u->lock);
    const struct registries *t = u->registries;
    struct registries *copy = calloc(1, sizeof(*copy) + t->count * sizeof(copy->items[0]));
    if (copy) {
        for (; copy->count < t->count; copy->count++)
            copy->items[copy->count] = sources_ref(t->items[copy->count]);
        *ret_copy = copy;
        r = 0;
    }
    (void)pthread_mutex_unlock(&u->lock);
    return r;
}

/* ------------------------------------------------------------------ the thread */

static void cancel_all(struct list *jobs)
{
    for (struct list *i; (i = list_take_first(jobs));)
        job_cancel(job_of_link(i));
}

static bool take_inbox(struct upstream *u, struct list *fresh)
{
    (void)pthread_mutex_lock(&u->lock);
    list_splice(fresh, &u->inbox);
    bool stopping = u->stopping;
    (void)pthread_mutex_unlock(&u->lock);
    return stopping;
}

static bool inbox_is_empty(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    bool empty = list_empty(&u->inbox) && !u->stopping;
    (void)pthread_mutex_unlock(&u->lock);
    return empty;
}

static void *run(void *arg)
{
    struct upstream *u = arg;
    struct list fresh;
    list_init(&fresh);
    while (!take_inbox(u, &fresh)) {
        for (struct list *i; (i = list_take_first(&fresh));) {
            list_append(&u->jobs, i);
            job_start(job_of_link(i));
        }
        loop_turn(&u->loop);
        /* libcurl may have used up a wake-up in loop_turn() (pitfalls.md 2): look before sleeping */
        if (inbox_is_empty(u))
            loop_wait(&u->loop);
    }
    u->loop.stopping = true;
    cancel_all(&fresh);
    cancel_all(&u->jobs);
    loop_stop(&u->loop);
    return NULL;
}

/* ------------------------------------------------------------------ public calls */

int upstream_submit(struct upstream *u, const struct upstream_job *request)
{
    (void)pthread_mutex_lock(&u->lock);
    struct sources *found = u->stopping ? NULL : find_locked(u, request->registry);
    int r = found ? 0 : u->stopping ? -ECANCELED : -EINVAL;
    (void)pthread_mutex_unlock(&u->lock);
    if (r < 0)
        return r;

    AUTO(auto_sources_unref) struct sources *sources = found;
    struct job *job;
    if (request->login) {
        r = sources_with_login(found, request->login, &sources);
        if (r < 0)
            return r;
        sources_unref(found);
    }
    r = job_create(request, sources, &u->loop, &job);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&u->lock);
    bool stopping = u->stopping, first = list_empty(&u->inbox);
    if (!stopping)
        list_append(&u->inbox, job_link(job));
    (void)pthread_mutex_unlock(&u->lock);
    if (stopping)
        job_destroy(job);
    else if (first)
        loop_wake(&u->loop);
    return stopping ? -ECANCELED : 0;
}

int upstream_reload(struct upstream *u, const struct config *config, struct buf *errors)
{
    AUTO(auto_registries_destroy) struct registries *registries = NULL;
    int r = registries_create(u, config, errors, &registries);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&u->lock);
    struct registries *old = u->registries;
    u->registries = registries;
    registries = old; /* jobs that run keep theirs */
    (void)pthread_mutex_unlock(&u->lock);
    return 0;
}

const char *upstream_hop(const struct upstream *u)
{
    return u->hop;
}

bool upstream_has_accounts(struct upstream *u, const char *registry)
{
    (void)pthread_mutex_lock(&u->lock);
    AUTO(auto_sources_unref) struct sources *s = find_locked(u, registry);
    (void)pthread_mutex_unlock(&u->lock);
    return s && sources_have_accounts(s);
}

int upstream_each_source(struct upstream *u, void (*fn)(void *arg, const struct upstream_source_state *state),
                         void *arg)
{
    AUTO(auto_registries_destroy) struct registries *t = NULL;
    int r = copy_registries(u, &t);
    if (r < 0)
        return r;
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->items[i]->count; k++) {
            struct upstream_source_state state;
            struct standing_texts texts;
            standing_show(t->items[i]->items[k], &texts, &state);
            fn(arg, &state);
        }
    }
    return 0;
}

void upstream_restore_budget(struct upstream *u, const struct upstream_budget *budget)
{
    int64_t now = clock_monotonic_ms(), wall = clock_real_ms();
    ledger_lock(&u->ledger);
    struct account *a = ledger_find_account(&u->ledger, budget->origin, budget->account);
    if (a && !a->budget.known)
        budget_restore(&a->budget, budget, now, wall);
    ledger_unlock(&u->ledger);
}

/* The thread takes no signal: they are the main thread's. */
static int start_thread(struct upstream *u)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&u->thread, NULL, run, u);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

static int name_hop(struct upstream *u)
{
    uint8_t random[16];
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        (void)snprintf(u->hop + 2 * i, 3, "%02x", random[i]);
    return 0;
}

int upstream_start(const struct config *config, struct buf *errors, struct upstream **ret_upstream)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    struct upstream *u = calloc(1, sizeof(*u));
    if (!u) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&u->lock, NULL);
    list_init(&u->inbox);
    list_init(&u->jobs);
    ledger_init(&u->ledger);
    u->stopping = u->joined = true; /* until the thread is there */
    int r = loop_init(&u->loop);
    if (r == 0)
        r = name_hop(u);
    if (r == 0)
        r = registries_create(u, config, errors, &u->registries);
    if (r == 0) {
        u->stopping = u->joined = false;
        r = start_thread(u);
        if (r < 0)
            u->stopping = u->joined = true;
    }
    if (r < 0) {
        upstream_destroy(u);
        return r;
    }
    *ret_upstream = u;
    return 0;
}

void upstream_stop(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    bool joined = u->joined;
    u->stopping = u->joined = true;
    (void)pthread_mutex_unlock(&u->lock);
    if (joined)
        return;
    loop_wake(&u->loop);
    (void)pthread_join(u->thread, NULL);
}

void upstream_destroy(struct upstream *u)
{
    if (!u)
        return;
    upstream_stop(u);
    loop_finish(&u->loop);
    registries_destroy(u->registries);
    ledger_finish(&u->ledger);
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
    curl_global_cleanup();
}
