#include "mirror/passage.h"

#include "base/clock.h"
#include "base/digest.h"
#include "mirror/flight.h"
#include "upstream/upstream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The client's thread is woken by this much, or by the tick. */
#define WAKE_BYTES (128 * KIB)
/* Breaks without a byte in between. */
#define BREAKS_MAX 5
#define BREAK_PAUSE_MS 200

struct passage {
    struct passages *all;
    atomic_uint refs; /* the session's, and the job's */
    atomic_uint requests;
    /* set at open */
    struct digest digest;
    char *registry, *repository;
    bool as_public;
    int64_t patience_ms;
    char *ring;

    /* of the upstream's thread while a job is under way, else of the session's */
    uint64_t skip; /* bytes of this answer that have been here */
    uint64_t woken_at;
    unsigned breaks;
    int64_t progressed_at; /* monotonic ms */
    bool is_full;          /* this job ended because there was no room */

    /* of the session's thread */
    struct digest_state *hash;
    uint64_t hashed;

    struct gate gate;
    /* under the gate's lock; the ring has [given, come) */
    bool is_running, is_left, has_size, verified;
    uint64_t size, come, given;
    struct failure failure;
};

static const struct upstream_callbacks callbacks;

static void unref(struct passage *p)
{
    if (--p->refs > 0)
        return;
    if (p->gate.all)
        gate_finish(&p->gate);
    digest_destroy(p->hash);
    free(p->ring);
    free(p->registry);
    free(p->repository);
    p->all->count--;
    free(p);
}

/* Nobody runs: asks for what has not come. */
static int ask(struct passage *p, int64_t delay_ms)
{
    char digest[DIGEST_TEXT_MAX];
    const struct upstream_job job = {
        .registry = p->registry,
        .repository = p->repository,
        .object = UPSTREAM_BLOB,
        .reference = digest_format(&p->digest, digest),
        .as_public = p->as_public,
        .offset = p->come,
        .delay_ms = delay_ms,
        .callbacks = &callbacks,
        .arg = p,
    };
    p->skip = 0;
    p->is_full = false;
    p->refs++;
    int r = upstream_submit(p->all->upstream, &job);
    if (r < 0)
        unref(p);
    return r;
}

/* --- bytes come: the upstream's thread ------------------------------------------------------------------------ */

static int on_head(void *arg, const struct upstream_head *head)
{
    struct passage *p = arg;
    bool is_part = head->status == 206;
    int64_t total = is_part ? head->total : head->length;
    if (is_part && (head->range_start < 0 || (uint64_t)head->range_start != p->come))
        return -EPROTO;
    if (total < 0 && !p->has_size)
        return -ENOMSG; /* without a length nothing can be promised to the client */
    if (total >= 0 && ((uint64_t)total > LIMIT_BLOB || (p->has_size && (uint64_t)total != p->size)))
        return -EMSGSIZE;
    p->skip = is_part ? 0 : p->come;
    gate_lock(&p->gate);
    if (total >= 0) {
        p->size = (uint64_t)total;
        p->has_size = true;
    }
    gate_wake(&p->gate);
    gate_unlock(&p->gate);
    return 0;
}

/* Copies into the ring, round its end. */
static void fill(struct passage *p, uint64_t at, const char *data, size_t len)
{
    size_t from = (size_t)(at % PASSAGE_RING), first = PASSAGE_RING - from < len ? PASSAGE_RING - from : len;
    memcpy(p->ring + from, data, first);
    memcpy(p->ring, data + first, len - first);
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct passage *p = arg;
    const char *bytes = data;
    if (p->skip > 0) {
        size_t known = p->skip < len ? (size_t)p->skip : len;
        p->skip -= known;
        bytes += known;
        len -= known;
    }
    gate_lock(&p->gate);
    uint64_t come = p->come, room = PASSAGE_RING - (come - p->given), left = p->size - come;
    bool is_left = p->is_left;
    gate_unlock(&p->gate);
    if (is_left)
        return -ECANCELED;
    if (len > left)
        return -EMSGSIZE;
    size_t n = len < room ? len : (size_t)room;
    fill(p, come, bytes, n); /* where nobody reads */
    gate_lock(&p->gate);
    p->come += n;
    if (p->come - p->woken_at >= WAKE_BYTES) {
        p->woken_at = p->come;
        gate_wake(&p->gate);
    }
    gate_unlock(&p->gate);
    if (n > 0) {
        p->breaks = 0;
        p->progressed_at = clock_monotonic_ms();
    }
    p->is_full = n < len;
    return p->is_full ? -EAGAIN : 0;
}

static void on_tick(void *arg)
{
    struct passage *p = arg;
    gate_lock(&p->gate);
    p->woken_at = p->come;
    gate_wake(&p->gate);
    gate_unlock(&p->gate);
}

static bool may_go_on(struct passage *p, const struct upstream_result *result)
{
    const struct failure failure = {.error = result->error};
    bool is_passing = failure_is_passing(&failure) || (result->error == -EPROTO && p->come > 0) || result->error == 0;
    int64_t pause = result->retry_after_ms > 0 ? result->retry_after_ms : 0;
    return is_passing && p->breaks++ < BREAKS_MAX && clock_monotonic_ms() + pause - p->progressed_at < p->patience_ms;
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct passage *p = arg;
    int r = 0;
    p->requests += result->requests;
    bool is_whole = p->has_size && p->come == p->size;
    gate_lock(&p->gate);
    bool rests = is_whole || p->is_left || (p->is_full && PASSAGE_RING - (p->come - p->given) < PASSAGE_RING / 2);
    p->is_running = !rests;
    gate_unlock(&p->gate);
    if (!rests && p->is_full)
        r = ask(p, 0);
    else if (!rests)
        r = may_go_on(p, result) ? ask(p, result->retry_after_ms > 0 ? result->retry_after_ms : BREAK_PAUSE_MS)
            : result->error      ? result->error
                                 : -ECONNRESET;
    gate_lock(&p->gate);
    if (r < 0) {
        p->is_running = false;
        p->failure = (struct failure){.error = r, .status = result->status, .until = clock_monotonic_ms()};
        (void)snprintf(p->failure.message, sizeof(p->failure.message), "%s", result->message);
    }
    gate_wake(&p->gate);
    gate_unlock(&p->gate);
    unref(p);
}

static const struct upstream_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_tick = on_tick, .on_done = on_done};

/* --- bytes go: the session's thread ---------------------------------------------------------------------------- */

int passage_open(struct passages *all, const struct flight_target *t, struct passage **ret_passage)
{
    if (++all->count > PASSAGES_MAX) {
        all->count--;
        return -EBUSY;
    }
    struct passage *p = calloc(1, sizeof(*p));
    if (!p) {
        all->count--;
        return -ENOMEM;
    }
    p->all = all;
    p->refs = 1;
    p->digest = *t->digest;
    p->as_public = t->as_public;
    p->patience_ms = t->rules.patience_ms;
    p->progressed_at = clock_monotonic_ms();
    p->registry = strdup(t->registry);
    p->repository = strdup(t->repository);
    p->ring = malloc(PASSAGE_RING);
    gate_init(&p->gate, all->gates);
    int r = p->registry && p->repository && p->ring ? digest_begin(t->digest->algorithm, &p->hash) : -ENOMEM;
    p->is_running = true;
    if (r == 0)
        r = ask(p, 0);
    if (r < 0) {
        unref(p);
        return r;
    }
    *ret_passage = p;
    return 0;
}

/* Hashes what has come, at the end against the digest. */
static int hash(struct passage *p, uint64_t come, uint64_t size)
{
    while (p->hashed < come) {
        size_t from = (size_t)(p->hashed % PASSAGE_RING), most = PASSAGE_RING - from;
        size_t n = come - p->hashed < most ? (size_t)(come - p->hashed) : most;
        int r = digest_update(p->hash, p->ring + from, n);
        if (r < 0)
            return r;
        p->hashed += n;
    }
    if (p->hashed < size || p->verified)
        return 0;
    struct digest actual;
    int r = digest_end(p->hash, &actual);
    if (r == 0 && !digest_equal(&actual, &p->digest))
        r = -EBADMSG;
    gate_lock(&p->gate);
    if (r == 0)
        p->verified = true;
    else
        p->failure = (struct failure){.error = r, .message = "the upstream's bytes do not have the digest they should"};
    gate_unlock(&p->gate);
    return r;
}

/* What has come by now has been hashed, and *ret_most bytes from the start may be given to the client. */
static int look(struct passage *p, uint64_t *ret_most)
{
    gate_lock(&p->gate);
    uint64_t come = p->come, size = p->size;
    bool has_size = p->has_size;
    gate_unlock(&p->gate);
    int r = has_size ? hash(p, come, size) : 0;
    *ret_most = p->verified                                                  ? size
                : size > FLIGHT_WHOLE && p->hashed < size - FLIGHT_HOLD_BACK ? p->hashed
                : size > FLIGHT_WHOLE                                        ? size - FLIGHT_HOLD_BACK
                                                                             : 0;
    return r;
}

/* The client has them: there is room for more. */
static void give(struct passage *p, uint64_t given)
{
    gate_lock(&p->gate);
    p->given = given;
    bool resumes = !p->is_running && p->failure.error == 0 && p->come < p->size &&
                   PASSAGE_RING - (p->come - given) >= PASSAGE_RING / 2;
    p->is_running = p->is_running || resumes;
    gate_unlock(&p->gate);
    if (resumes)
        p->progressed_at = clock_monotonic_ms(); /* the rest was the client's, and not the upstream's */
    int r = resumes ? ask(p, 0) : 0;
    if (r < 0) {
        gate_lock(&p->gate);
        p->is_running = false;
        p->failure = (struct failure){.error = r, .message = "the upstream could not be asked"};
        gate_unlock(&p->gate);
    }
}

int passage_wait(struct passage *p, struct waiter *w, int64_t due, uint64_t *ret_size, struct failure *ret_failure)
{
    uint64_t most;
    for (;;) {
        (void)look(p, &most); /* its failure is below */
        gate_lock(&p->gate);
        int r = MIRROR_WAIT;
        bool has_more = p->come > p->hashed;
        if (p->has_size && (p->verified || p->size > FLIGHT_WHOLE)) {
            *ret_size = p->size;
            r = 0;
        } else if (p->failure.error) {
            *ret_failure = p->failure;
            r = p->failure.error;
        } else if (!has_more && w && !gate_wait(&p->gate, w, due)) {
            r = -ECANCELED;
        }
        gate_unlock(&p->gate);
        if (r != MIRROR_WAIT || !has_more)
            return r;
    }
}

static void take(const struct passage *p, uint64_t at, char *data, size_t len)
{
    size_t from = (size_t)(at % PASSAGE_RING), first = PASSAGE_RING - from < len ? PASSAGE_RING - from : len;
    memcpy(data, p->ring + from, first);
    memcpy(data + first, p->ring, len - first);
}

ssize_t passage_read(struct passage *p, struct waiter *w, uint64_t offset, void *data, size_t len)
{
    uint64_t most;
    if (offset < p->given)
        return -EIO; /* it has gone by */
    for (;;) {
        if (look(p, &most) < 0)
            return -EIO;
        if (most > offset) {
            size_t n = len < most - offset ? len : (size_t)(most - offset);
            take(p, offset, data, n);
            give(p, offset + n);
            return (ssize_t)n;
        }
        if (most > p->given)
            give(p, most); /* what is before the part that is wanted */
        gate_lock(&p->gate);
        bool has_more = p->come > p->hashed;
        ssize_t r = 0;
        if (!has_more)
            r = p->failure.error ? -EIO : gate_wait(&p->gate, w, INT64_MAX) ? 0 : -ECANCELED;
        gate_unlock(&p->gate);
        if (!has_more)
            return r;
    }
}

unsigned passage_requests(const struct passage *p)
{
    return p->requests;
}

void passage_close(struct passage *p)
{
    if (!p)
        return;
    gate_lock(&p->gate);
    p->is_left = true;
    gate_unlock(&p->gate);
    unref(p);
}
