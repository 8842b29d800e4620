/*
 *   state     waits for                                  left by
 *   NEW       job_start()                                → DELAYED, or go_on()
 *   DELAYED   delay_ms                                   the timer → go_on()
 *   WAITING   another job's look at what an account has  wake() → go_on()
 *   LOOKING   an attempt by HEAD: what is left there?    looked() → go_on()
 *   ASKING    an attempt                                 asked() → go_on(), or the end
 *   (end)     on_done has been called; the job is freed
 *
 * Every state but NEW is left for the end by job_cancel(), too. go_on() chooses the next source; each is behind after
 * at most one look at its account and one attempt, so that every way through the table ends.
 */
#include "upstream/job.h"

#include "base/clock.h"
#include "upstream/attempt.h"
#include "upstream/ledger.h"
#include "upstream/loop.h"
#include "upstream/path.h"
#include "upstream/sources.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* on_tick comes within 20 ms of an on_body; poll() sleeps in whole milliseconds. */
#define TICK_MS 15

enum job_state { JOB_NEW, JOB_DELAYED, JOB_WAITING, JOB_LOOKING, JOB_ASKING };

struct job {
    /* set at create */
    struct sources *sources;
    char *repository, *reference, *query;
    uint64_t offset, length;
    bool spare;
    int64_t delay_ms;
    const struct upstream_callbacks *callbacks;
    void *arg;
    struct loop *loop;

    struct list link;
    enum job_state state;
    struct timer delay, tick;
    struct list waiter; /* at an account */

    struct walk walk;
    unsigned first; /* source that is to be believed */
    unsigned index; /* that is asked */
    struct ticket ticket;
    struct attempt *attempt;
    bool passing;         /* on_head has been called for this attempt */
    struct failure shown; /* a look: who has shown it, without an error */
    unsigned requests;
};

static void go_on(struct job *job);

/* ------------------------------------------------------------------ create, end */

static void on_delay(struct timer *t);
static void on_tick(struct timer *t);

static int duplicate(const char *s, char **ret_copy)
{
    *ret_copy = s ? strdup(s) : NULL;
    return s && !*ret_copy ? -ENOMEM : 0;
}

/* A digest has a colon, and a tag cannot have one. */
static bool is_digest(const char *reference)
{
    return reference && strchr(reference, ':');
}

int job_create(const struct upstream_job *request, struct sources *sources, struct loop *loop, struct job **ret_job)
{
    const char *reference = request->object == UPSTREAM_TAGS ? NULL : request->reference;
    int r = path_check(request->repository, reference, request->query);
    if (r < 0)
        return r;
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->sources = sources_ref(sources);
    job->loop = loop;
    job->offset = request->offset;
    job->length = request->length;
    job->spare = request->spare;
    job->delay_ms = request->delay_ms;
    job->callbacks = request->callbacks;
    job->arg = request->arg;
    job->walk = (struct walk){
        .intent = {.object = request->object,
                   .cause = is_digest(reference) ? UPSTREAM_BY_DIGEST : UPSTREAM_BY_TAG,
                   .class = request->class,
                   .head = request->head,
                   .anonymous = request->look || (request->as_public && sources_have_accounts(sources))},
        .by_digest = request->object == UPSTREAM_BLOB || (request->object == UPSTREAM_MANIFEST && is_digest(reference)),
        .look = request->look,
        .no_sibling = request->spare,
        .behind = request->avoid,
    };
    job->first = sources_first(sources, &job->walk);
    if (job->first == UINT_MAX) { /* nobody else is there: then they, all the same */
        job->walk.behind = 0;
        job->first = sources_first(sources, &job->walk);
    }
    job->index = UINT_MAX;
    job->delay.fire = on_delay;
    job->tick.fire = on_tick;
    list_init(&job->link);
    list_init(&job->waiter);
    r = duplicate(request->repository, &job->repository);
    if (r == 0)
        r = duplicate(reference, &job->reference);
    if (r == 0)
        r = duplicate(request->query, &job->query);
    if (r < 0) {
        job_destroy(job);
        return r;
    }
    *ret_job = job;
    return 0;
}

void job_destroy(struct job *job)
{
    if (!job)
        return;
    free(job->repository);
    free(job->reference);
    free(job->query);
    sources_unref(job->sources);
    free(job);
}

struct list *job_link(struct job *job)
{
    return &job->link;
}

struct job *job_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct job, link);
}

static void finish(struct job *job, const struct failure *f)
{
    timer_clear(&job->loop->timers, &job->delay);
    timer_clear(&job->loop->timers, &job->tick);
    list_remove(&job->waiter);
    list_remove(&job->link);
    const struct upstream_result result = {
        .error = f->error,
        .status = f->status,
        .retry_after_ms = f->retry_after_ms,
        .requests = job->requests,
        .message = f->message,
        .source = f->asked ? f->source : UINT_MAX,
        .with_account = f->with_account,
        .unsure = job->walk.look && f->error == 0 && !sources_agree(job->sources, &job->walk),
    };
    job->callbacks->on_done(job->arg, &result);
    job_destroy(job);
}

static void finish_with(struct job *job, int error, const char *message)
{
    struct failure f = {.error = error, .retry_after_ms = -1};
    (void)snprintf(f.message, sizeof(f.message), "%s: %s", job->sources->registry, message);
    finish(job, &f);
}

/* Who waited for the look looks for himself: he may go to the same source, or to another. */
static void wake(struct source *s, bool anonymous)
{
    struct list waiters;
    list_init(&waiters);
    list_splice(&waiters, &s->accounts[anonymous]->waiters);
    for (struct list *i; (i = list_take_first(&waiters));)
        go_on(CONTAINER_OF(i, struct job, waiter));
}

void job_cancel(struct job *job)
{
    if (job->attempt) {
        const struct source *s = job->sources->items[job->index];
        attempt_drop(TAKE_PTR(job->attempt));
        standing_end(s, &job->walk.intent, &job->ticket, STANDING_UNKNOWN, 0, "", clock_monotonic_ms());
    }
    finish_with(job, -ECANCELED, "stopped");
}

/* ------------------------------------------------------------------ what an attempt brings */

static int attempt_head(void *arg, const struct upstream_head *head)
{
    struct job *job = arg;
    if (job->state == JOB_LOOKING)
        return 0;
    const struct source *s = job->sources->items[job->index];
    standing_end(s, &job->walk.intent, &job->ticket, STANDING_ALIVE, 0, "", clock_monotonic_ms());
    struct upstream_head copy = *head;
    copy.source = job->index;
    job->passing = true;
    return job->callbacks->on_head(job->arg, &copy);
}

static int attempt_body(void *arg, const void *data, size_t len)
{
    struct job *job = arg;
    if (job->state == JOB_LOOKING)
        return 0;
    int r = job->callbacks->on_body(job->arg, data, len);
    if (r == 0 && job->callbacks->on_tick && !job->tick.set)
        timer_set(&job->loop->timers, &job->tick, clock_monotonic_ms() + TICK_MS);
    return r;
}

static void on_tick(struct timer *t)
{
    struct job *job = CONTAINER_OF(t, struct job, tick);
    job->callbacks->on_tick(job->arg);
}

static struct failure failure_of(const struct job *job, const struct attempt_result *r)
{
    struct failure f = {
        .error = r->error,
        .status = r->status,
        .retry_after_ms = r->retry_after_ms,
        .source = job->index,
        .asked = true,
        .first = job->index == job->first,
        .sibling = job->sources->items[job->index]->sibling,
        .with_account = r->with_account,
    };
    (void)snprintf(f.message, sizeof(f.message), "%s", r->message);
    return f;
}

/* Another source would say the same, or nobody wants to know. In a look others have their say. */
static bool is_final(const struct job *job, const struct attempt_result *r)
{
    bool has_answered = job->passing || (r->error == 0 && job->state == JOB_ASKING);
    return (has_answered && !job->walk.look) || r->error == -ECANCELED || r->error == -ENOMEM || r->error == -ERANGE ||
           r->error == -EBUSY;
}

/* A registry without HEAD has not said that it does not have it. */
static bool is_blind(const struct attempt_result *r)
{
    return r->status == 400 || r->status == 405 || r->status == 501;
}

/* The first is told. */
static void show(struct job *job, const struct failure *f)
{
    if (!job->walk.shown)
        job->shown = *f;
    sources_show(job->sources, &job->walk, job->index);
}

static void attempt_done(void *arg, const struct attempt_result *r)
{
    struct job *job = arg;
    struct source *s = job->sources->items[job->index];
    bool looked = job->state == JOB_LOOKING;
    job->attempt = NULL;
    job->requests += r->requests;
    standing_note_requests(s, r->requests);
    if (!job->passing)
        standing_end(s, &job->walk.intent, &job->ticket, r->word, r->error, r->message, clock_monotonic_ms());
    struct failure f = failure_of(job, r);
    bool anonymous = job->walk.intent.anonymous;
    AUTO(auto_source_unref) struct source *kept = looked ? source_ref(s) : NULL; /* its waiters outlive this job */
    if (is_final(job, r)) {
        finish(job, &f);
    } else {
        if (r->error == 0 && !looked)
            show(job, &f);
        else if (r->error < 0 && !(looked && is_blind(r)))
            sources_pass(job->sources, &job->walk, job->index, &f);
        else
            job->walk.surveyed |= 1U << job->index;
        go_on(job);
    }
    if (kept)
        wake(kept, anonymous);
}

static const struct attempt_owner owner = {attempt_head, attempt_body, attempt_done};

/* ------------------------------------------------------------------ from source to source */

static void try(struct job *job, bool survey)
{
    struct source *s = job->sources->items[job->index];
    struct attempt_request request = {
        .intent = job->walk.intent,
        .repository = job->repository,
        .reference = job->reference,
        .query = job->query,
        .offset = job->offset,
        .length = job->length,
        .spare = job->spare,
    };
    request.intent.head = survey || request.intent.head;
    int r = attempt_create(&request, s, job->loop, &owner, job, &job->attempt);
    if (r < 0) {
        finish_with(job, r, r == -ENOMEM ? "no memory" : "the URL is too long");
        return;
    }
    job->passing = false;
    standing_begin(s, &job->walk.intent, survey, &job->ticket);
    job->state = survey ? JOB_LOOKING : JOB_ASKING;
    if (job->callbacks->on_source)
        job->callbacks->on_source(job->arg, s->sibling);
    attempt_start(job->attempt);
}

static void give_up(struct job *job)
{
    if (job->walk.shown)
        finish(job, &job->shown);
    else if (job->walk.outcome.rank > 0)
        finish(job, &job->walk.outcome.told);
    else
        finish_with(job, -EAGAIN, "no other source is left");
}

static void go_on(struct job *job)
{
    switch (sources_choose(job->sources, &job->walk, job->first, clock_monotonic_ms(), &job->index)) {
    case BUDGET_GO:
        try(job, false);
        return;
    case BUDGET_PROBE:
        try(job, true);
        return;
    case BUDGET_WAIT: {
        const struct source *s = job->sources->items[job->index];
        job->state = JOB_WAITING;
        list_append(&s->accounts[job->walk.intent.anonymous]->waiters, &job->waiter);
        return;
    }
    case BUDGET_NO:
        give_up(job);
        return;
    }
}

static void on_delay(struct timer *t)
{
    struct job *job = CONTAINER_OF(t, struct job, delay);
    assert(job->state == JOB_DELAYED);
    go_on(job);
}

void job_start(struct job *job)
{
    assert(job->state == JOB_NEW);
    if (job->delay_ms <= 0) {
        go_on(job);
        return;
    }
    job->state = JOB_DELAYED;
    timer_set(&job->loop->timers, &job->delay, clock_monotonic_ms() + job->delay_ms);
}
