/*
 *   state     waits for                                left by
 *   NEW       attempt_start()                          ask()
 *   TOKEN     a grant that is being fetched            grant_ready() → ask(), or the end
 *   PACED     its turn at a host that is asked slowly  on_turn() → start()
 *   ASKING    its transfer                             transfer_done() → redirected(), challenged(), or the end
 *   (end)     done() has been called; the attempt is freed
 *
 * Every state is left for the end by attempt_drop(), too. The number of redirects, of challenges and of pauses is
 * bounded, so that every way through the table ends.
 *
 * Who sees what: `authorization` belongs to one origin (scheme, host, port), and goes nowhere else. A challenge of
 * another host than the registry's is answered without the account, unless source_trusts() the host. A sibling is shown
 * its account unasked, and no challenge is answered for it.
 */
#include "upstream/attempt.h"

#include "base/clock.h"
#include "base/limits.h"
#include "upstream/grants.h"
#include "upstream/loop.h"
#include "upstream/outcome.h"
#include "upstream/path.h"
#include "upstream/source.h"
#include "upstream/transfer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Every type that clients accept, so that what is asked for does not depend on who asks; no schema 1 (protocol.md §2).
 */
#define ACCEPT_MANIFEST                                                                                                \
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "             \
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
#define ACCEPT_REFERRERS "application/vnd.oci.image.index.v1+json"
#define ACCEPT_TAGS "application/json"

/* "Retry-after: 880µs" (ghcr.io): what asks for no more is asked again by the attempt itself. */
#define PAUSES_MAX 3

enum attempt_state { ATTEMPT_NEW, ATTEMPT_TOKEN, ATTEMPT_PACED, ATTEMPT_ASKING };
enum attempt_login { LOGIN_NONE, LOGIN_BASIC, LOGIN_BEARER };

struct attempt {
    /* set at create */
    struct source *source;
    struct grants *grants;
    struct intent intent;
    char *repository;
    uint64_t offset, length;
    bool spare;
    const struct attempt_owner *owner;
    void *arg;
    struct loop *loop;

    enum attempt_state state;
    struct timer turn;
    struct url url; /* to ask next; the registry's at first */
    struct transfer *transfer;
    unsigned redirects, challenges, pauses, requests;

    /* how to be let in, and by whom */
    enum attempt_login login;
    struct url door; /* whose challenge it was */
    struct grant *grant;
    struct grant_waiter waiter;
    uint64_t serial;          /* of the token that was sent */
    enum attempt_login shown; /* what was sent with the request */
    bool account_shown;       /* and whether that was the account's */
    bool with_account;        /* it was at some time: what a redirect leads to was given to the account, too */
    bool recalled;            /* the challenge is an old one */
    bool fresh;               /* the token was fetched for this attempt */
    bool widened;             /* insufficient_scope was met once */

    bool passing;               /* head() has been called */
    int64_t declared, received; /* bytes of the body */
    int64_t retry_after_ms;
    int status;
    enum standing_word word;
    char message[OUTCOME_MESSAGE];
};

static void ask(struct attempt *at);

/* ------------------------------------------------------------------ create, end */

static void on_turn(struct timer *t);
static void grant_ready(struct grant_waiter *w);

static void destroy(struct attempt *at)
{
    grant_release(at->grant);
    url_finish(&at->url);
    url_finish(&at->door);
    free(at->repository);
    source_unref(at->source);
    free(at);
}

int attempt_create(const struct attempt_request *request, struct source *source, struct loop *loop,
                   const struct attempt_owner *owner, void *arg, struct attempt **ret_attempt)
{
    struct attempt *at = calloc(1, sizeof(*at));
    if (!at)
        return -ENOMEM;
    at->source = source_ref(source);
    at->grants = source->grants[request->intent.anonymous];
    at->loop = loop;
    at->intent = request->intent;
    at->offset = request->intent.head ? 0 : request->offset;
    at->length = request->intent.head ? 0 : request->length;
    at->spare = request->spare;
    at->owner = owner;
    at->arg = arg;
    at->declared = at->retry_after_ms = -1;
    at->word = STANDING_UNKNOWN;
    at->turn.fire = on_turn;
    at->waiter.ready = grant_ready;
    list_init(&at->waiter.link);
    int r = asprintf(&at->repository, "%s%s%s", source->prefix, source->prefix[0] ? "/" : "", request->repository);
    if (r < 0)
        at->repository = NULL;
    r = r < 0 ? -ENOMEM : path_url(request, source, at->repository, &at->url);
    if (r < 0) {
        destroy(at);
        return r;
    }
    *ret_attempt = at;
    return 0;
}

/* Out of whatever it waits for. */
static void leave(struct attempt *at)
{
    timer_clear(&at->loop->timers, &at->turn);
    list_remove(&at->waiter.link);
}

void attempt_drop(struct attempt *at)
{
    if (!at)
        return;
    leave(at);
    if (at->transfer)
        loop_drop(at->loop, TAKE_PTR(at->transfer));
    destroy(at);
}

/* done() may end the whole, so that what it is told lives on the stack. */
static void finish(struct attempt *at, int error)
{
    char message[OUTCOME_MESSAGE];
    leave(at);
    memcpy(message, at->message, sizeof(message));
    const struct attempt_result result = {
        .error = error,
        .status = at->status,
        .retry_after_ms = at->retry_after_ms,
        .requests = at->requests,
        .with_account = at->with_account,
        .word = at->word,
        .message = message,
    };
    const struct attempt_owner *owner = at->owner;
    void *arg = at->arg;
    destroy(at);
    owner->done(arg, &result);
}

static bool is_foreign(const struct attempt *at)
{
    return !url_same_origin(&at->url, &at->source->url);
}

/* "registry-1.docker.io (account ci): ", then what is wrong. */
static void fail(struct attempt *at, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void fail(struct attempt *at, int error, const char *fmt, ...)
{
    bool named = at->source->account[0] && !at->intent.anonymous && !is_foreign(at);
    int n = snprintf(at->message, sizeof(at->message), "%s%s%s%s: ", at->url.authority, named ? " (account " : "",
                     named ? at->source->account : "", named ? ")" : "");
    if (n > 0 && (size_t)n < sizeof(at->message)) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(at->message + n, sizeof(at->message) - (size_t)n, fmt, ap);
        va_end(ap);
    }
    finish(at, error);
}

/* ------------------------------------------------------------------ what the transfer brings */

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

static int pass_head(struct attempt *at, struct transfer *t)
{
    const struct header *h = &t->header;
    if (h->encoded)
        return transfer_fail(t, -EPROTO, "the body is encoded, which was not asked for");
    if (h->status == 206 && ((at->offset == 0 && at->length == 0) || h->range_start < 0))
        return transfer_fail(t, -EREMOTEIO, "a part (206) that was not asked for");
    if (declared_length(h, &at->declared) < 0)
        return transfer_fail(t, -EPROTO, "Content-Length and Content-Range contradict each other");
    struct upstream_head head = {
        .status = h->status,
        .length = at->declared,
        .range_start = h->range_start,
        .total = h->status == 206 ? h->range_total : at->declared,
        .content_type = header_text(&h->content_type),
        .digest = header_text(&h->digest),
        .etag = header_text(&h->etag),
        .link = header_text(&h->link),
        .filters = header_text(&h->filters),
        .with_account = at->with_account,
        .sibling = at->source->sibling,
    };
    if (h->status == 200)
        head.range_start = -1;
    at->passing = true;
    int r = at->owner->head(at->arg, &head);
    return r > 0 ? -ECANCELED : r;
}

/* True: it asks for no more than a pause. */
static bool note_answer(struct attempt *at, const struct transfer *t)
{
    const struct answer answer = {
        .intent = &at->intent,
        .origin = at->url.origin,
        .home = !is_foreign(at),
        .with_account = at->account_shown,
        .header = &t->header,
        .body = t->remark.data,
        .body_len = t->remark.len,
    };
    return standing_note_answer(at->source, &answer, clock_monotonic_ms(), &at->retry_after_ms);
}

/* A captive portal, or a registry's web site. */
static bool is_web_page(const struct attempt *at, const struct header *h)
{
    return (at->intent.object == UPSTREAM_MANIFEST || at->intent.object == UPSTREAM_TAGS) &&
           strcmp(header_text(&h->content_type), "text/html") == 0;
}

static int transfer_header(void *arg, struct transfer *t)
{
    struct attempt *at = arg;
    int status = t->header.status;
    if (status != 200 && status != 206)
        return TRANSFER_IGNORE;
    if (is_web_page(at, &t->header))
        return transfer_fail(t, -EPROTO, "a web page in place of what was asked for");
    (void)note_answer(at, t);
    return pass_head(at, t);
}

static int transfer_body(void *arg, const void *data, size_t len)
{
    struct attempt *at = arg;
    at->received += (int64_t)len;
    if (at->declared >= 0 && at->received > at->declared)
        return transfer_fail(at->transfer, -EPROTO, "more bytes than declared");
    standing_note_bytes(at->source, len);
    return at->owner->body(at->arg, data, len);
}

/* A status that ends the attempt, as an error. */
static void refused(struct attempt *at)
{
    int status = at->status;
    /* A signed URL that was refused, or has expired, says nothing about the blob: the registry has another. */
    if (at->intent.object == UPSTREAM_BLOB && is_foreign(at) &&
        (status == 400 || status == 401 || status == 403 || status == 410)) {
        fail(at, -EREMOTEIO, "the redirect's target answered %d", status);
        return;
    }
    switch (status) {
    case 401:
    case 403:
        fail(at, -EACCES, "access denied (%d)%s", status, at->grant ? grant_remark(at->grant) : "");
        return;
    case 404:
    case 410:
        fail(at, -ENOENT, "not found (%d)", status);
        return;
    case 408:
        fail(at, -ETIMEDOUT, "gave up waiting for us (%d)", status);
        return;
    case 416:
        fail(at, -ERANGE, "no such range (%d)", status);
        return;
    case 429:
        fail(at, -EAGAIN, "too many requests (%d)", status);
        return;
    case 504:
        if (at->source->sibling) {
            fail(at, -ENOENT, "does not have it (%d)", status);
            return;
        }
        break;
    default:
        break;
    }
    fail(at, -EREMOTEIO, "answered %d", status);
}

static void redirected(struct attempt *at, const char *location)
{
    if (!location[0]) {
        fail(at, -EPROTO, "a redirect (%d) to nowhere", at->status);
        return;
    }
    if (at->redirects++ == LIMIT_REDIRECTS) {
        fail(at, -EPROTO, "too many redirects");
        return;
    }
    struct url next;
    int r = url_redirect(&at->url, location, &next);
    if (r < 0) {
        fail(at, r, r == -EPERM ? "a redirect to where it may not lead" : "a redirect to what is no URL");
        return;
    }
    url_finish(&at->url);
    at->url = next;
    ask(at);
}

/* ------------------------------------------------------------------ being let in */

static void set_login(struct attempt *at, enum attempt_login login, struct grant *grant)
{
    grant_release(at->grant);
    at->grant = grant;
    at->login = login;
    at->fresh = false;
}

/* Makes a challenge the one that the next request answers. Negative: it cannot be answered. */
static int adopt(struct attempt *at, const struct challenge *c, const struct url *door)
{
    struct source *s = at->source;
    struct url copy = {0};
    struct grant *grant = NULL;
    int r = 0;
    if (c->scheme == CHALLENGE_BASIC) {
        if (!s->basic || at->intent.anonymous || !url_same_origin(door, &s->url))
            return -EACCES;
    } else {
        r = grants_find(at->grants, s, c, at->repository, !at->intent.anonymous && source_trusts(s, door), &grant);
    }
    if (r == 0)
        r = url_parse(door->text, &copy);
    if (r < 0) {
        grant_release(grant);
        return r;
    }
    url_finish(&at->door);
    at->door = copy;
    set_login(at, c->scheme == CHALLENGE_BASIC ? LOGIN_BASIC : LOGIN_BEARER, grant);
    return 0;
}

static void answer(struct attempt *at, const struct challenge *c)
{
    int r = adopt(at, c, &at->url);
    if (r == -EPERM) {
        fail(at, r, "its token server may not be asked");
    } else if (r == -EPROTO) {
        fail(at, r, "its token server has no URL that makes sense");
    } else if (r < 0) {
        refused(at);
    } else {
        if (!is_foreign(at))
            grants_remember(at->grants, at->repository, c);
        at->recalled = false;
        ask(at);
    }
}

/* The token was not good enough. */
static void token_denied(struct attempt *at, const struct challenge *c)
{
    struct grants *grants = at->grants;
    if (c->scheme == CHALLENGE_BEARER && c->error && strcasecmp(c->error, "insufficient_scope") == 0 && c->scope &&
        !at->widened) {
        at->widened = true;
        answer(at, c);
        return;
    }
    if (at->fresh)
        grants_note_refusal(grants, at->repository);
    if (grants_refused_lately(grants, at->repository)) {
        refused(at);
        return;
    }
    grant_reject(at->grant, at->serial);
    /* It may have expired. The challenge to an expired token can be another one, of no use (nvcr.io): only that to a
     * request without any is believed. */
    set_login(at, LOGIN_NONE, NULL);
    ask(at);
}

/* A mirror that takes tokens as well would have us show its password to their server, which is no sibling. */
static bool logs_in_unasked(const struct attempt *at)
{
    return at->source->sibling && at->source->basic && !at->intent.anonymous;
}

static bool may_log_in(struct attempt *at)
{
    struct grants *grants = at->grants;
    return grants_login_allowed(grants) && !grants_refused_lately(grants, at->repository);
}

static void challenged(struct attempt *at, struct transfer *t)
{
    struct grants *grants = at->grants;
    struct challenge c;
    if (at->challenges++ == LIMIT_CHALLENGES) {
        refused(at);
        return;
    }
    const struct buf *text = &t->header.challenges;
    int r = challenge_parse(header_text(text), text->len, &c);
    if (r < 0) {
        fail(at, r, "no memory");
        return;
    }
    if (at->shown == LOGIN_BEARER) {
        token_denied(at, &c);
    } else if (at->shown == LOGIN_BASIC) {
        grants_note_refusal(grants, at->repository);
        fail(at, -EACCES, "login refused (%d)", at->status);
    } else if (c.scheme == CHALLENGE_NONE || logs_in_unasked(at)) {
        refused(at);
    } else if (c.scheme == CHALLENGE_BASIC && !may_log_in(at)) {
        fail(at, -EACCES, "login refused a moment ago (%d)", at->status);
    } else {
        answer(at, &c);
    }
    challenge_finish(&c);
}

/* What such a failure says of the registry, or its token server. */
static enum standing_word word_of(int error)
{
    switch (error) {
    case -ECONNREFUSED:
        return STANDING_GONE;
    case -EHOSTUNREACH:
    case -ECONNRESET:
    case -ETIMEDOUT:
    case -EPROTO:
    case -EREMOTEIO:
    case -EFBIG:
        return STANDING_DEAD;
    default:
        return STANDING_UNKNOWN;
    }
}

/* No token is to be had. Where the challenge was an old one, the registry may want another, or none, by now. */
static void token_failed(struct attempt *at, int error)
{
    if (at->recalled && error != -EAGAIN && error != -ECANCELED && error != -ENOMEM) {
        at->recalled = false;
        grants_forget(at->grants, at->repository);
        set_login(at, LOGIN_NONE, NULL);
        ask(at);
        return;
    }
    at->word = word_of(error);
    at->retry_after_ms = at->grant->retry_after_ms;
    if (at->grant->message[0]) {
        (void)snprintf(at->message, sizeof(at->message), "%s", at->grant->message);
        finish(at, error);
    } else {
        fail(at, error, error == -ECANCELED ? "stopped" : "no token can be asked for");
    }
}

static void grant_ready(struct grant_waiter *w)
{
    struct attempt *at = CONTAINER_OF(w, struct attempt, waiter);
    assert(at->state == ATTEMPT_TOKEN);
    ask(at);
}

/* ------------------------------------------------------------------ asking */

/* What it says of the source as a whole: that one object is broken says nothing. */
static enum standing_word word_of_answer(const struct attempt *at, const struct transfer *t, int status)
{
    if (is_foreign(at))
        return STANDING_ALIVE; /* it sent us on, whatever came of that */
    if (status == 0)
        return word_of(t->error);
    bool dead = status >= 500 || (status < 300 && is_web_page(at, &t->header));
    return dead && !at->source->sibling ? STANDING_DEAD : STANDING_ALIVE;
}

static void transfer_done(void *arg, struct transfer *t)
{
    struct attempt *at = arg;
    assert(at->state == ATTEMPT_ASKING);
    at->transfer = NULL;
    int status = t->header.complete ? t->header.status : 0;
    if (status > 0)
        at->status = status;
    bool pause = status > 0 && t->ignore && note_answer(at, t);
    at->word = t->phase == TRANSFER_QUEUED ? STANDING_UNKNOWN : word_of_answer(at, t, status);
    if (at->passing && t->error == 0 && !at->intent.head && at->declared >= 0 && at->received < at->declared)
        (void)transfer_fail(t, -ECONNRESET, "the answer broke off");
    if (at->shown == LOGIN_BASIC && status > 0)
        grants_note_login(at->grants, status != 401);
    if (!t->ignore) {
        (void)snprintf(at->message, sizeof(at->message), "%s", t->message);
        finish(at, t->error);
    } else if (pause && at->pauses++ < PAUSES_MAX) {
        ask(at); /* when its turn has come */
    } else if (status == 401) {
        challenged(at, t);
    } else if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
        redirected(at, header_text(&t->header.location));
    } else {
        refused(at);
    }
}

static const struct transfer_owner owner = {transfer_header, transfer_body, transfer_done};

static void start(struct attempt *at)
{
    static const char *const accept[] = {
        [UPSTREAM_MANIFEST] = ACCEPT_MANIFEST,
        [UPSTREAM_BLOB] = NULL,
        [UPSTREAM_TAGS] = ACCEPT_TAGS,
        [UPSTREAM_REFERRERS] = ACCEPT_REFERRERS,
    };
    enum upstream_object object = at->intent.object;
    struct transfer_request request = {
        .source = at->source,
        .url = &at->url,
        .authorization = at->shown == LOGIN_BASIC    ? at->source->basic
                         : at->shown == LOGIN_BEARER ? at->grant->authorization
                                                     : NULL,
        .accept = accept[object],
        .hop = at->source->sibling ? at->source->hop : NULL,
        .offset = at->offset,
        .length = at->length,
        .head = at->intent.head,
        .bulk = object == UPSTREAM_BLOB && !at->intent.head,
        .spare = at->spare,
    };
    struct transfer *t;
    int r = transfer_create(at->loop, &request, &owner, at, &t);
    if (r == 0) {
        r = loop_start(at->loop, t);
        if (r < 0)
            transfer_destroy(t);
    }
    if (r == -EPERM) {
        fail(at, r, "a private address, to which it may not lead");
    } else if (r < 0) {
        fail(at, r, r == -ECANCELED ? "stopped" : r == -EBUSY ? "no connection can be spared" : "cannot be asked");
    } else {
        at->state = ATTEMPT_ASKING;
        at->transfer = t;
        at->requests++;
    }
}

/* When its turn has come at the host. */
static void take_turn(struct attempt *at)
{
    int64_t now = clock_monotonic_ms(), wait;
    if (standing_take_turn(at->source, at->url.origin, now, &wait) < 0) {
        at->status = 0;
        at->retry_after_ms = wait;
        fail(at, -EAGAIN, "is asked too much; again in %lld s", (long long)((wait + 999) / 1000));
    } else if (wait > 0) {
        at->state = ATTEMPT_PACED;
        timer_set(&at->loop->timers, &at->turn, now + wait);
    } else {
        start(at);
    }
}

static void on_turn(struct timer *t)
{
    struct attempt *at = CONTAINER_OF(t, struct attempt, turn);
    assert(at->state == ATTEMPT_PACED);
    if (at->shown == LOGIN_BEARER && !at->grant->authorization)
        ask(at); /* it was rejected meanwhile */
    else
        start(at);
}

/* Asks at->url, with what is meant for it; or first for a token. */
static void ask(struct attempt *at)
{
    at->shown = LOGIN_NONE;
    at->account_shown = false;
    if (at->login == LOGIN_NONE || !url_same_origin(&at->url, &at->door)) {
        take_turn(at);
        return;
    }
    if (at->login == LOGIN_BASIC) {
        at->shown = LOGIN_BASIC;
        at->account_shown = at->with_account = true;
        take_turn(at);
        return;
    }
    bool asked;
    int r = grant_take(at->grant, at->loop, at->source, &asked);
    at->requests += asked;
    if (r == -EINPROGRESS) {
        at->state = ATTEMPT_TOKEN;
        at->fresh = true;
        grant_wait(at->grant, &at->waiter);
    } else if (r < 0) {
        token_failed(at, r);
    } else {
        at->shown = LOGIN_BEARER;
        at->account_shown = at->grant->with_account;
        at->with_account = at->with_account || at->account_shown;
        at->serial = at->grant->serial;
        take_turn(at);
    }
}

void attempt_start(struct attempt *at)
{
    assert(at->state == ATTEMPT_NEW);
    struct challenge c;
    if (logs_in_unasked(at)) {
        c = (struct challenge){.scheme = CHALLENGE_BASIC};
        if (may_log_in(at))
            (void)adopt(at, &c, &at->url); /* without memory it is not shown, and refused */
    } else if (grants_recall(at->grants, at->repository, &c) == 0) {
        if (c.scheme != CHALLENGE_BASIC || may_log_in(at))
            at->recalled = adopt(at, &c, &at->url) == 0;
        challenge_finish(&c);
    }
    ask(at);
}
