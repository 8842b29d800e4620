/*
 *   state     waits for                                left by
 *   NEW       job_start()                              → DELAYED, or ask()
 *   DELAYED   delay_ms                                 the timer → ask()
 *   TOKEN     a grant that is being fetched            grant_ready() → ask(), or the end
 *   ASKING    its transfer                             transfer_done() → redirected(), challenged(), or the end
 *   (end)     on_done has been called; the job is freed
 *
 * Every state but NEW is left for the end by job_cancel(), too. The number of redirects and of challenges is bounded,
 * so that every way through the table ends.
 *
 * Who sees what: `authorization` belongs to one origin (scheme, host, port), and goes nowhere else. A challenge of
 * another host than the registry's is answered without the account, unless source_trusts() the host.
 */
#include "upstream/job.h"

#include "base/clock.h"
#include "base/limits.h"
#include "upstream/grants.h"
#include "upstream/loop.h"
#include "upstream/source.h"
#include "upstream/transfer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* on_tick comes within 20 ms of an on_body; poll() sleeps in whole milliseconds. */
#define TICK_MS 15

/* Every type that clients accept, so that what is asked for does not depend on who asks; no schema 1 (protocol.md §2).
 */
#define ACCEPT_MANIFEST                                                                                                \
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "             \
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
#define ACCEPT_REFERRERS "application/vnd.oci.image.index.v1+json"
#define ACCEPT_TAGS "application/json"

enum job_state { JOB_NEW, JOB_DELAYED, JOB_TOKEN, JOB_ASKING };
enum job_login { LOGIN_NONE, LOGIN_BASIC, LOGIN_BEARER };

struct job {
    /* set at create */
    struct source *source;
    char *repository;
    enum upstream_object object;
    bool head;
    uint64_t offset;
    int64_t delay_ms;
    const struct upstream_callbacks *callbacks;
    void *arg;
    struct loop *loop;

    struct list link;
    enum job_state state;
    struct timer delay, tick;
    struct url url; /* to ask next; the registry's at first */
    struct transfer *transfer;
    unsigned redirects, challenges, requests;

    /* how to be let in, and by whom */
    enum job_login login;
    struct url door; /* whose challenge it was */
    struct grant *grant;
    struct grant_waiter waiter;
    uint64_t serial;      /* of the token that was sent */
    enum job_login shown; /* what was sent with the request */
    bool recalled;        /* the challenge is an old one */
    bool fresh;           /* the token was fetched for this job */
    bool widened;         /* insufficient_scope was met once */

    bool passing; /* on_head has been called */
    int64_t length, received;
    int64_t retry_after_ms;
    int status;
    char message[TRANSFER_MESSAGE];
};

static void ask(struct job *job);

/* ------------------------------------------------------------------ create, end */

/* Names come from clients. They are checked elsewhere too; here so that none can become another request. */
static bool is_plain(const char *s)
{
    for (const char *p = s; *p; p += strcspn(p, "/"), p += *p == '/') {
        size_t len = strcspn(p, "/");
        if (len == 0 || (len <= 2 && strspn(p, ".") == len))
            return false;
    }
    return *s && s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-:+=@")] == '\0';
}

static bool is_query(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || *s == '#')
            return false;
    return true;
}

static int registry_url(const struct upstream_job *request, const struct source *s, struct url *ret_url)
{
    static const char *const objects[] = {
        [UPSTREAM_MANIFEST] = "/manifests/",
        [UPSTREAM_BLOB] = "/blobs/",
        [UPSTREAM_TAGS] = "/tags/list",
        [UPSTREAM_REFERRERS] = "/referrers/",
    };
    const char *reference = request->object == UPSTREAM_TAGS ? NULL : request->reference;
    if (!is_plain(request->repository) || (reference && !is_plain(reference)) ||
        (request->query && !is_query(request->query)))
        return -EINVAL;
    size_t base = strlen(s->url.text);
    while (base > 0 && s->url.text[base - 1] == '/')
        base--;
    struct buf text = BUF_INIT(LIMIT_URL);
    int r = buf_add(&text, s->url.text, base);
    if (r == 0)
        r = buf_addf(&text, "/v2/%s%s%s%s%s", request->repository, objects[request->object], reference ? reference : "",
                     request->query ? "?" : "", request->query ? request->query : "");
    if (r == 0)
        r = url_parse(text.data, ret_url);
    buf_finish(&text);
    return r < 0 && r != -ENOMEM ? -EINVAL : r;
}

static void on_delay(struct timer *t);
static void on_tick(struct timer *t);
static void grant_ready(struct grant_waiter *w);

int job_create(const struct upstream_job *request, struct source *source, struct loop *loop, struct job **ret_job)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->source = source_ref(source);
    job->loop = loop;
    job->object = request->object;
    job->head = request->head;
    job->offset = request->head ? 0 : request->offset;
    job->delay_ms = request->delay_ms;
    job->callbacks = request->callbacks;
    job->arg = request->arg;
    job->length = job->retry_after_ms = -1;
    job->delay.fire = on_delay;
    job->tick.fire = on_tick;
    job->waiter.ready = grant_ready;
    list_init(&job->link);
    list_init(&job->waiter.link);
    job->repository = strdup(request->repository);
    int r = job->repository ? registry_url(request, source, &job->url) : -ENOMEM;
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
    grant_release(job->grant);
    url_finish(&job->url);
    url_finish(&job->door);
    free(job->repository);
    source_unref(job->source);
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

static void finish(struct job *job, int error)
{
    timer_clear(&job->loop->timers, &job->delay);
    timer_clear(&job->loop->timers, &job->tick);
    list_remove(&job->waiter.link);
    list_remove(&job->link);
    struct upstream_result result = {
        .error = error,
        .status = job->status,
        .retry_after_ms = job->retry_after_ms,
        .requests = job->requests,
        .message = job->message,
    };
    job->callbacks->on_done(job->arg, &result);
    job_destroy(job);
}

static void fail(struct job *job, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void fail(struct job *job, int error, const char *fmt, ...)
{
    int n = snprintf(job->message, sizeof(job->message), "%s: ", job->url.authority);
    if (n > 0 && (size_t)n < sizeof(job->message)) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(job->message + n, sizeof(job->message) - (size_t)n, fmt, ap);
        va_end(ap);
    }
    finish(job, error);
}

void job_cancel(struct job *job)
{
    if (job->transfer)
        loop_drop(job->loop, TAKE_PTR(job->transfer));
    fail(job, -ECANCELED, "stopped");
}

/* ------------------------------------------------------------------ what the transfer brings */

static bool is_foreign(const struct job *job)
{
    return !url_same_origin(&job->url, &job->source->url);
}

/* The bytes of the body that the header declares, -1 where it does not. -EPROTO: it contradicts itself. */
static int declared_length(const struct header *h, int64_t *ret_length)
{
    int64_t length = h->content_length;
    if (h->status == 206) {
        int64_t range = h->range_end - h->range_start + 1;
        if (length >= 0 && length != range)
            return -EPROTO;
        length = range;
    }
    *ret_length = length;
    return 0;
}

static int pass_head(struct job *job, struct transfer *t)
{
    const struct header *h = &t->header;
    if (h->encoded)
        return transfer_fail(t, -EPROTO, "the body is encoded, which was not asked for");
    if (h->status == 206 && (job->offset == 0 || h->range_start < 0))
        return transfer_fail(t, -EREMOTEIO, "a part (206) that was not asked for");
    if (declared_length(h, &job->length) < 0)
        return transfer_fail(t, -EPROTO, "Content-Length and Content-Range contradict each other");
    struct upstream_head head = {
        .status = h->status,
        .length = job->length,
        .range_start = h->range_start,
        .total = h->status == 206 ? h->range_total : job->length,
        .content_type = header_text(&h->content_type),
        .digest = header_text(&h->digest),
        .etag = header_text(&h->etag),
        .link = header_text(&h->link),
        .filters = header_text(&h->filters),
    };
    if (h->status == 200)
        head.range_start = -1;
    job->passing = true;
    int r = job->callbacks->on_head(job->arg, &head);
    return r > 0 ? -ECANCELED : r;
}

static int transfer_header(void *arg, struct transfer *t)
{
    struct job *job = arg;
    int status = t->header.status;
    return status == 200 || status == 206 ? pass_head(job, t) : TRANSFER_IGNORE;
}

static int transfer_body(void *arg, const void *data, size_t len)
{
    struct job *job = arg;
    job->received += (int64_t)len;
    if (job->length >= 0 && job->received > job->length)
        return transfer_fail(job->transfer, -EPROTO, "more bytes than declared");
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

/* A status that ends the job, as an error. */
static void refused(struct job *job)
{
    int status = job->status;
    /* A signed URL that was refused, or has expired, says nothing about the blob: the registry has another. */
    if (job->object == UPSTREAM_BLOB && is_foreign(job) &&
        (status == 400 || status == 401 || status == 403 || status == 410)) {
        fail(job, -EREMOTEIO, "the redirect's target answered %d", status);
        return;
    }
    switch (status) {
    case 401:
    case 403:
        fail(job, -EACCES, "access denied (%d)%s", status, job->grant ? grant_remark(job->grant) : "");
        return;
    case 404:
    case 410:
        fail(job, -ENOENT, "not found (%d)", status);
        return;
    case 408:
        fail(job, -ETIMEDOUT, "gave up waiting for us (%d)", status);
        return;
    case 416:
        fail(job, -ERANGE, "no such range (%d)", status);
        return;
    case 429:
        fail(job, -EAGAIN, "too many requests (%d)", status);
        return;
    default:
        fail(job, -EREMOTEIO, "answered %d", status);
    }
}

static void redirected(struct job *job, const char *location)
{
    if (!location[0]) {
        fail(job, -EPROTO, "a redirect (%d) to nowhere", job->status);
        return;
    }
    if (job->redirects++ == LIMIT_REDIRECTS) {
        fail(job, -EPROTO, "too many redirects");
        return;
    }
    struct url next;
    int r = url_redirect(&job->url, location, &next);
    if (r < 0) {
        fail(job, r, r == -EPERM ? "a redirect to where it may not lead" : "a redirect to what is no URL");
        return;
    }
    url_finish(&job->url);
    job->url = next;
    ask(job);
}

/* ------------------------------------------------------------------ being let in */

static void set_login(struct job *job, enum job_login login, struct grant *grant)
{
    grant_release(job->grant);
    job->grant = grant;
    job->login = login;
    job->fresh = false;
}

/* Makes a challenge the one that the next request answers. Negative: it cannot be answered. */
static int adopt(struct job *job, const struct challenge *c, const struct url *door)
{
    struct source *s = job->source;
    struct url copy = {0};
    struct grant *grant = NULL;
    int r = 0;
    if (c->scheme == CHALLENGE_BASIC) {
        if (!s->basic || !url_same_origin(door, &s->url))
            return -EACCES;
    } else {
        r = grants_find(s->grants, s, c, job->repository, source_trusts(s, door), &grant);
    }
    if (r == 0)
        r = url_parse(door->text, &copy);
    if (r < 0) {
        grant_release(grant);
        return r;
    }
    url_finish(&job->door);
    job->door = copy;
    set_login(job, c->scheme == CHALLENGE_BASIC ? LOGIN_BASIC : LOGIN_BEARER, grant);
    return 0;
}

static void answer(struct job *job, const struct challenge *c)
{
    int r = adopt(job, c, &job->url);
    if (r == -EPERM) {
        fail(job, r, "its token server may not be asked");
    } else if (r == -EPROTO) {
        fail(job, r, "its token server has no URL that makes sense");
    } else if (r < 0) {
        refused(job);
    } else {
        if (!is_foreign(job))
            grants_remember(job->source->grants, job->repository, c);
        job->recalled = false;
        ask(job);
    }
}

/* The token was not good enough. */
static void token_denied(struct job *job, const struct challenge *c)
{
    struct grants *grants = job->source->grants;
    if (c->scheme == CHALLENGE_BEARER && c->error && strcasecmp(c->error, "insufficient_scope") == 0 && c->scope &&
        !job->widened) {
        job->widened = true;
        answer(job, c);
        return;
    }
    if (job->fresh)
        grants_note_refusal(grants, job->repository);
    if (grants_refused_lately(grants, job->repository)) {
        refused(job);
        return;
    }
    grant_reject(job->grant, job->serial);
    /* It may have expired. The challenge to an expired token can be another one, of no use (nvcr.io): only that to a
     * request without any is believed. */
    set_login(job, LOGIN_NONE, NULL);
    ask(job);
}

static bool may_log_in(struct job *job)
{
    struct grants *grants = job->source->grants;
    return grants_login_allowed(grants) && !grants_refused_lately(grants, job->repository);
}

static void challenged(struct job *job, struct transfer *t)
{
    struct grants *grants = job->source->grants;
    struct challenge c;
    if (job->challenges++ == LIMIT_CHALLENGES) {
        refused(job);
        return;
    }
    const struct buf *text = &t->header.challenges;
    int r = challenge_parse(header_text(text), text->len, &c);
    if (r < 0) {
        fail(job, r, "no memory");
        return;
    }
    if (job->shown == LOGIN_BEARER) {
        token_denied(job, &c);
    } else if (job->shown == LOGIN_BASIC) {
        grants_note_refusal(grants, job->repository);
        fail(job, -EACCES, "login refused (%d)", job->status);
    } else if (c.scheme == CHALLENGE_NONE) {
        refused(job);
    } else if (c.scheme == CHALLENGE_BASIC && !may_log_in(job)) {
        fail(job, -EACCES, "login refused a moment ago (%d)", job->status);
    } else {
        answer(job, &c);
    }
    challenge_finish(&c);
}

/* No token is to be had. Where the challenge was an old one, the registry may want another, or none, by now. */
static void token_failed(struct job *job, int error)
{
    if (job->recalled && error != -EAGAIN && error != -ECANCELED && error != -ENOMEM) {
        job->recalled = false;
        grants_forget(job->source->grants, job->repository);
        set_login(job, LOGIN_NONE, NULL);
        ask(job);
        return;
    }
    if (job->grant->message[0]) {
        memcpy(job->message, job->grant->message, sizeof(job->message));
        job->retry_after_ms = job->grant->retry_after_ms;
        finish(job, error);
    } else {
        fail(job, error, error == -ECANCELED ? "stopped" : "no token can be asked for");
    }
}

static void grant_ready(struct grant_waiter *w)
{
    struct job *job = CONTAINER_OF(w, struct job, waiter);
    assert(job->state == JOB_TOKEN);
    ask(job);
}

/* ------------------------------------------------------------------ asking */

static void transfer_done(void *arg, struct transfer *t)
{
    struct job *job = arg;
    assert(job->state == JOB_ASKING);
    job->transfer = NULL;
    int status = t->header.complete ? t->header.status : 0;
    if (status > 0)
        job->status = status;
    job->retry_after_ms = header_parse_retry_after(header_text(&t->header.retry_after), clock_real_ms());
    if (job->passing && t->error == 0 && !job->head && job->length >= 0 && job->received < job->length)
        (void)transfer_fail(t, -ECONNRESET, "the answer broke off");
    if (job->shown == LOGIN_BASIC && status > 0)
        grants_note_login(job->source->grants, status != 401);
    if (!t->ignore) {
        memcpy(job->message, t->message, sizeof(job->message));
        finish(job, t->error);
    } else if (status == 401) {
        challenged(job, t);
    } else if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
        redirected(job, header_text(&t->header.location));
    } else {
        refused(job);
    }
}

static const struct transfer_owner owner = {transfer_header, transfer_body, transfer_done};

static void start(struct job *job, const char *authorization)
{
    static const char *const accept[] = {
        [UPSTREAM_MANIFEST] = ACCEPT_MANIFEST,
        [UPSTREAM_BLOB] = NULL,
        [UPSTREAM_TAGS] = ACCEPT_TAGS,
        [UPSTREAM_REFERRERS] = ACCEPT_REFERRERS,
    };
    struct transfer_request request = {
        .source = job->source,
        .url = &job->url,
        .authorization = authorization,
        .accept = accept[job->object],
        .offset = job->offset,
        .head = job->head,
        .bulk = job->object == UPSTREAM_BLOB && !job->head,
    };
    struct transfer *t;
    int r = transfer_create(job->loop, &request, &owner, job, &t);
    if (r == 0) {
        r = loop_start(job->loop, t);
        if (r < 0)
            transfer_destroy(t);
    }
    if (r == -EPERM) {
        fail(job, r, "a private address, to which it may not lead");
    } else if (r < 0) {
        fail(job, r, r == -ECANCELED ? "stopped" : "cannot be asked");
    } else {
        job->state = JOB_ASKING;
        job->transfer = t;
        job->requests++;
    }
}

/* Asks job->url, with what is meant for it; or first for a token. */
static void ask(struct job *job)
{
    job->shown = LOGIN_NONE;
    if (job->login == LOGIN_NONE || !url_same_origin(&job->url, &job->door)) {
        start(job, NULL);
        return;
    }
    if (job->login == LOGIN_BASIC) {
        job->shown = LOGIN_BASIC;
        start(job, job->source->basic);
        return;
    }
    bool asked;
    int r = grant_take(job->grant, job->loop, job->source, &asked);
    job->requests += asked;
    if (r == -EINPROGRESS) {
        job->state = JOB_TOKEN;
        job->fresh = true;
        grant_wait(job->grant, &job->waiter);
    } else if (r < 0) {
        token_failed(job, r);
    } else {
        job->shown = LOGIN_BEARER;
        job->serial = job->grant->serial;
        start(job, job->grant->authorization);
    }
}

static void begin(struct job *job)
{
    struct challenge c;
    if (grants_recall(job->source->grants, job->repository, &c) == 0) {
        if (c.scheme != CHALLENGE_BASIC || may_log_in(job))
            job->recalled = adopt(job, &c, &job->url) == 0;
        challenge_finish(&c);
    }
    ask(job);
}

static void on_delay(struct timer *t)
{
    struct job *job = CONTAINER_OF(t, struct job, delay);
    assert(job->state == JOB_DELAYED);
    begin(job);
}

void job_start(struct job *job)
{
    assert(job->state == JOB_NEW);
    if (job->delay_ms <= 0) {
        begin(job);
        return;
    }
    job->state = JOB_DELAYED;
    timer_set(&job->loop->timers, &job->delay, clock_monotonic_ms() + job->delay_ms);
}
