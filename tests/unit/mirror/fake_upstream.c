#include "fake_upstream.h"

#include "scratch.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct order {
    enum { ORDER_HEAD, ORDER_BODY, ORDER_TICK, ORDER_DONE } what;
    struct fake_job *job;
    const struct upstream_head *head;
    const void *data;
    size_t len;
    struct upstream_result result;
    int answer;
    bool is_carried_out;
};

struct upstream {
    atomic_bool has_accounts;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    /* under lock */
    struct fake_job *jobs; /* open, in the order they came */
    unsigned count;
    struct order *order;
    fake_play *play;
    void *play_arg;
    bool stopping;
};

/* --- the thread --------------------------------------------------------------------------------------------- */

/* Under the lock. */
static void unlink_job(struct upstream *u, struct fake_job *j)
{
    struct fake_job **at = &u->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
}

static void free_job(struct fake_job *j)
{
    free((char *)(uintptr_t)j->job.registry);
    free((char *)(uintptr_t)j->job.repository);
    free((char *)(uintptr_t)j->job.reference);
    free((char *)(uintptr_t)j->job.query);
    free(j);
}

static int note_end(struct fake_job *j, int r)
{
    if (j->ended == 0)
        j->ended = r;
    return r;
}

void fake_await_idle(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    while (u->jobs)
        (void)pthread_cond_wait(&u->stirred, &u->lock);
    (void)pthread_mutex_unlock(&u->lock);
}

int fake_play_head(struct fake_job *j, const struct upstream_head *head)
{
    struct upstream_head h = *head;
    h.source = j->source;
    j->has_head = true;
    return j->ended ? j->ended : note_end(j, j->job.callbacks->on_head(j->job.arg, &h));
}

int fake_play_body(struct fake_job *j, const void *data, size_t len)
{
    /* Exact and short-lived, as what libcurl hands out. */
    AUTO_FREE char *copy = malloc(len ? len : 1);
    if (j->ended || !copy)
        return j->ended;
    memcpy(copy, data, len);
    return note_end(j, j->job.callbacks->on_body(j->job.arg, copy, len));
}

static void play_done(struct fake_job *j, struct upstream_result *result)
{
    struct upstream *u = j->upstream;
    if (j->ended)
        result->error = j->ended;
    if (result->source == 0)
        result->source = j->source;
    result->unsure = j->unsure;
    j->job.callbacks->on_done(j->job.arg, result);
    (void)pthread_mutex_lock(&u->lock);
    unlink_job(u, j); /* after what it has led to was submitted: fake_await_idle() */
    (void)pthread_cond_broadcast(&u->stirred);
    (void)pthread_mutex_unlock(&u->lock);
    free_job(j);
}

void fake_play_done(struct fake_job *j, int error, int status)
{
    struct upstream_result result = {
        .error = error, .status = status, .retry_after_ms = -1, .requests = 1, .message = "as the test has it"};
    play_done(j, &result);
}

static void carry_out(struct order *o)
{
    switch (o->what) {
    case ORDER_HEAD:
        o->answer = fake_play_head(o->job, o->head);
        break;
    case ORDER_BODY:
        o->answer = fake_play_body(o->job, o->data, o->len);
        break;
    case ORDER_TICK:
        if (o->job->job.callbacks->on_tick)
            o->job->job.callbacks->on_tick(o->job->job.arg);
        break;
    case ORDER_DONE:
        play_done(o->job, &o->result);
        break;
    }
}

/* Every open job has its turn. Under the lock, which is given away for it. */
static bool play_jobs(struct upstream *u)
{
    bool played = false;
    for (struct fake_job *j = u->play ? u->jobs : NULL, *next; j && !u->stopping; j = next) {
        fake_play *play = u->play;
        void *arg = u->play_arg;
        next = j->next; /* only this thread takes jobs out; new ones come at the end, and have their turn next time */
        (void)pthread_mutex_unlock(&u->lock);
        play(j, arg);
        (void)pthread_mutex_lock(&u->lock);
        played = true;
    }
    return played;
}

static void *upstream_thread(void *arg)
{
    struct upstream *u = arg;
    (void)pthread_mutex_lock(&u->lock);
    while (!u->stopping) {
        struct order *o = u->order;
        if (o) {
            (void)pthread_mutex_unlock(&u->lock);
            carry_out(o);
            (void)pthread_mutex_lock(&u->lock);
            o->is_carried_out = true;
            u->order = NULL;
            (void)pthread_cond_broadcast(&u->stirred);
        } else if (!play_jobs(u)) {
            (void)pthread_cond_wait(&u->stirred, &u->lock);
        }
    }
    while (u->jobs) {
        struct fake_job *j = u->jobs;
        (void)pthread_mutex_unlock(&u->lock);
        j->ended = 0;
        fake_play_done(j, -ECANCELED, 0);
        (void)pthread_mutex_lock(&u->lock);
    }
    (void)pthread_mutex_unlock(&u->lock);
    return NULL;
}

/* --- upstream.h --------------------------------------------------------------------------------------------- */

int upstream_start(const struct config *config, struct buf *errors, struct upstream **ret_upstream)
{
    (void)config;
    (void)errors;
    *ret_upstream = fake_start();
    return 0;
}

static char *copy(const char *s)
{
    return s ? strdup(s) : NULL;
}

int upstream_submit(struct upstream *u, const struct upstream_job *job)
{
    struct fake_job *j = calloc(1, sizeof(*j)), **at;
    if (!j)
        return -ENOMEM;
    j->upstream = u;
    j->job = *job;
    j->job.registry = copy(job->registry);
    j->job.repository = copy(job->repository);
    j->job.reference = copy(job->reference);
    j->job.query = copy(job->query);
    (void)pthread_mutex_lock(&u->lock);
    bool is_late = u->stopping;
    for (at = &u->jobs; *at;)
        at = &(*at)->next;
    if (!is_late) {
        *at = j;
        j->number = u->count++;
        (void)pthread_cond_broadcast(&u->stirred);
    }
    (void)pthread_mutex_unlock(&u->lock);
    if (is_late)
        free_job(j);
    return is_late ? -ECANCELED : 0;
}

int upstream_reload(struct upstream *u, const struct config *config, struct buf *errors)
{
    (void)u;
    (void)config;
    (void)errors;
    return 0;
}

const char *upstream_hop(const struct upstream *u)
{
    (void)u;
    return FAKE_HOP;
}

bool upstream_has_accounts(struct upstream *u, const char *registry)
{
    (void)registry;
    return u->has_accounts;
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

void upstream_stop(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    u->stopping = true;
    (void)pthread_cond_broadcast(&u->stirred);
    (void)pthread_mutex_unlock(&u->lock);
    (void)pthread_join(u->thread, NULL);
}

void upstream_destroy(struct upstream *u)
{
    if (!u)
        return;
    (void)pthread_cond_destroy(&u->stirred);
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
}

/* --- the test's side ---------------------------------------------------------------------------------------- */

struct upstream *fake_start(void)
{
    struct upstream *u = calloc(1, sizeof(*u));
    ck_assert_ptr_nonnull(u);
    (void)pthread_mutex_init(&u->lock, NULL);
    (void)pthread_cond_init(&u->stirred, NULL);
    ck_ok(pthread_create(&u->thread, NULL, upstream_thread, u));
    return u;
}

void fake_has_accounts(struct upstream *u, bool has_accounts)
{
    u->has_accounts = has_accounts;
}

unsigned fake_count(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    unsigned count = u->count;
    (void)pthread_mutex_unlock(&u->lock);
    return count;
}

static struct fake_job *first_untaken(struct upstream *u)
{
    struct fake_job *j = u->jobs;
    while (j && j->is_taken)
        j = j->next;
    return j;
}

bool fake_is_asked(struct upstream *u)
{
    (void)pthread_mutex_lock(&u->lock);
    bool is_asked = first_untaken(u) != NULL;
    (void)pthread_mutex_unlock(&u->lock);
    return is_asked;
}

struct fake_job *fake_take(struct upstream *u)
{
    struct timespec until;
    struct fake_job *j;
    int r = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    (void)pthread_mutex_lock(&u->lock);
    while (!(j = first_untaken(u)) && r == 0)
        r = pthread_cond_timedwait(&u->stirred, &u->lock, &until);
    if (j)
        j->is_taken = true;
    (void)pthread_mutex_unlock(&u->lock);
    ck_assert_msg(j != NULL, "nothing is asked of the upstream");
    return j;
}

struct fake_job *fake_expect(struct upstream *u, enum upstream_object object, bool head, const char *reference)
{
    struct fake_job *j = fake_take(u);
    ck_assert_int_eq(j->job.object, object);
    ck_assert(j->job.head == head);
    if (reference)
        ck_assert_str_eq(j->job.reference, reference);
    return j;
}

static int give_order(struct upstream *u, struct order *o)
{
    (void)pthread_mutex_lock(&u->lock);
    u->order = o;
    (void)pthread_cond_broadcast(&u->stirred);
    while (!o->is_carried_out)
        (void)pthread_cond_wait(&u->stirred, &u->lock);
    (void)pthread_mutex_unlock(&u->lock);
    return o->answer;
}

int fake_head(struct fake_job *j, const struct upstream_head *head)
{
    struct order o = {.what = ORDER_HEAD, .job = j, .head = head};
    return give_order(j->upstream, &o);
}

#define PIECE 16384 /* as libcurl has it */

int fake_body(struct fake_job *j, const void *data, size_t len)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < len; at += PIECE) {
        struct order o = {
            .what = ORDER_BODY, .job = j, .data = (const char *)data + at, .len = len - at < PIECE ? len - at : PIECE};
        r = give_order(j->upstream, &o);
    }
    return r;
}

void fake_tick(struct fake_job *j)
{
    struct order o = {.what = ORDER_TICK, .job = j};
    (void)give_order(j->upstream, &o);
}

void fake_done_after(struct fake_job *j, int error, int status, int64_t retry_after_ms)
{
    struct order o = {.what = ORDER_DONE,
                      .job = j,
                      .result = {.error = error,
                                 .status = status,
                                 .retry_after_ms = retry_after_ms,
                                 .requests = 1,
                                 .message = "as the test has it"}};
    (void)give_order(j->upstream, &o);
}

void fake_done_unasked(struct fake_job *j)
{
    struct order o = {
        .what = ORDER_DONE,
        .job = j,
        .result = {.error = -EAGAIN, .retry_after_ms = -1, .message = "no other source is left", .source = UINT_MAX}};
    (void)give_order(j->upstream, &o);
}

void fake_done(struct fake_job *j, int error, int status)
{
    fake_done_after(j, error, status, -1);
}

void fake_serve(struct upstream *u, fake_play *play, void *arg)
{
    (void)pthread_mutex_lock(&u->lock);
    u->play = play;
    u->play_arg = arg;
    (void)pthread_cond_broadcast(&u->stirred);
    (void)pthread_mutex_unlock(&u->lock);
}

struct upstream_head fake_header(int status, int64_t length)
{
    return (struct upstream_head){.status = status,
                                  .length = length,
                                  .range_start = -1,
                                  .total = length,
                                  .content_type = "",
                                  .digest = "",
                                  .etag = "",
                                  .link = "",
                                  .filters = ""};
}

void fake_give(struct fake_job *j, const char *content_type, const void *data, size_t len)
{
    struct upstream_head head = fake_header(200, (int64_t)len);
    head.content_type = content_type;
    if (fake_head(j, &head) == 0)
        (void)fake_body(j, data, len);
    fake_done(j, 0, 200);
}

void fake_give_head(struct fake_job *j, const char *content_type, const char *digest, int64_t length)
{
    struct upstream_head head = fake_header(200, length);
    head.content_type = content_type;
    head.digest = digest;
    (void)fake_head(j, &head);
    fake_done(j, 0, 200);
}

struct upstream_head fake_blob_header(const struct fake_job *j, uint64_t size)
{
    bool is_part = j->job.offset > 0 || j->job.length > 0;
    uint64_t length = j->job.length > 0 ? j->job.length : size - j->job.offset;
    struct upstream_head head = fake_header(is_part ? 206 : 200, (int64_t)length);
    if (is_part) {
        head.range_start = (int64_t)j->job.offset;
        head.total = (int64_t)size;
    }
    head.content_type = "application/octet-stream";
    return head;
}
