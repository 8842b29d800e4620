/*
 * The public calls, the inbox and the thread. One lock, held for a few instructions: it guards the inbox, the list of
 * sources and the flag that everything ends. No callback runs under it.
 */
#include "upstream/upstream.h"

#include "upstream/job.h"
#include "upstream/list.h"
#include "upstream/loop.h"
#include "upstream/source.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

struct sources {
    size_t count;
    struct source *items[];
};

struct upstream {
    /* set at start */
    pthread_t thread;

    /* under lock */
    pthread_mutex_t lock;
    struct list inbox;
    struct sources *sources;
    bool stopping;
    bool joined;

    /* owned by the thread */
    struct loop loop;
    struct list jobs;
};

/* ------------------------------------------------------------------ sources */

static void sources_destroy(struct sources *s)
{
    for (size_t i = 0; s && i < s->count; i++)
        source_unref(s->items[i]);
    free(s);
}

AUTO_DEFINE(struct sources, sources_destroy);

static int sources_create(const struct config *config, struct buf *errors, struct sources **ret_sources)
{
    AUTO(auto_sources_destroy)
    struct sources *s = calloc(1, sizeof(*s) + config->registry_count * sizeof(s->items[0]));
    if (!s)
        return -ENOMEM;
    for (; s->count < config->registry_count; s->count++) {
        int r = source_create(config, &config->registries[s->count], config->registries[s->count].sources, errors,
                              &s->items[s->count]);
        if (r < 0)
            return r;
    }
    *ret_sources = TAKE_PTR(s);
    return 0;
}

/* A reference of the caller's own, or NULL. */
static struct source *find_source_locked(const struct upstream *u, const char *registry)
{
    for (size_t i = 0; i < u->sources->count; i++)
        if (strcasecmp(u->sources->items[i]->registry, registry) == 0)
            return source_ref(u->sources->items[i]);
    return NULL;
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
    struct source *found = u->stopping ? NULL : find_source_locked(u, request->registry);
    int r = found ? 0 : u->stopping ? -ECANCELED : -EINVAL;
    (void)pthread_mutex_unlock(&u->lock);
    if (r < 0)
        return r;

    AUTO(auto_source_unref) struct source *source = found;
    struct job *job;
    r = job_create(request, source, &u->loop, &job);
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
    AUTO(auto_sources_destroy) struct sources *sources = NULL;
    int r = sources_create(config, errors, &sources);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&u->lock);
    struct sources *old = u->sources;
    u->sources = sources;
    sources = old; /* jobs that run keep theirs */
    (void)pthread_mutex_unlock(&u->lock);
    return 0;
}

bool upstream_has_accounts(struct upstream *u, const char *registry)
{
    (void)pthread_mutex_lock(&u->lock);
    AUTO(auto_source_unref) struct source *s = find_source_locked(u, registry);
    (void)pthread_mutex_unlock(&u->lock);
    return s && s->basic;
}

int upstream_each_source(struct upstream *u, void (*fn)(void *arg, const struct upstream_source_state *state),
                         void *arg)
{
    (void)u;
    (void)fn;
    (void)arg;
    return 0;
}

void upstream_restore_budget(struct upstream *u, const struct upstream_budget *budget)
{
    (void)u;
    (void)budget;
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
    u->stopping = u->joined = true; /* until the thread is there */
    int r = loop_init(&u->loop);
    if (r == 0)
        r = sources_create(config, errors, &u->sources);
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
    sources_destroy(u->sources);
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
    curl_global_cleanup();
}
