#include "mirror/flight_state.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "upstream/upstream.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After the first break it asks again at once, then after a pause that doubles. */
#define RESUME_PAUSE_MS 200
#define RESUME_PAUSE_LAST_MS (5 * CLOCK_SECOND)
/* Where the disk is full: how often and how soon it tries again, and how much more it wants than its own bytes. */
#define ROOM_TRIES 2
#define ROOM_PAUSE_MS 250
#define ROOM_MORE (4 * MIB)

/* --- the end ------------------------------------------------------------------------------------------------ */

static struct flight *flight_of_keeping(struct keeping *k)
{
    return (struct flight *)((char *)k - offsetof(struct flight, keeping));
}

static void keeping_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct flight *f = flight_of_keeping(k);
    if (f->state != FLIGHT_LANDING)
        return;
    int r = blobstore_batch_publish(batch, f->writer);
    if (r == 0)
        metrics_add(METRIC_STORED_BYTES, (int64_t)f->size, LABELS(f->registry));
    if (r < 0) {
        char text[DIGEST_TEXT_MAX];
        log_event(LOG_ERROR, "not_stored", LOG_S("digest", digest_format(&f->digest, text)),
                  LOG_S("error", strerrorname_np(-r)));
        f->keep = r == -ENOSPC ? BLOBSTORE_DISCARD : BLOBSTORE_KEEP;
    }
}

static void keeping_done(struct keeping *k, int result)
{
    struct flight *f = flight_of_keeping(k);
    struct flights *fs = f->all;
    (void)result; /* the keeper has said so; the blob is served as long as somebody reads it, and fetched again then */
    blobstore_writer_close(TAKE_PTR(f->writer), f->keep);
    (void)pthread_mutex_lock(&fs->lock);
    HASH_DEL(fs->flights, f);
    (void)pthread_mutex_unlock(&fs->lock);
    if (f->is_prefetch)
        fs->prefetching--;
    metrics_add(METRIC_FLIGHTS_ACTIVE, -1, NO_LABELS);
    gate_lock(&f->gate);
    f->state = FLIGHT_GONE;
    gate_wake(&f->gate); /* those who found it failed may start another now */
    gate_unlock(&f->gate);
    flight_unref(f);
}

/* Hands the flight to the keeper. */
static void end(struct flight *f, enum flight_state state, enum blobstore_keep keep)
{
    f->keep = keep;
    parts_drop(f);
    f->keeping = (struct keeping){.add = keeping_add, .done = keeping_done};
    gate_lock(&f->gate);
    f->state = state;
    gate_wake(&f->gate);
    gate_unlock(&f->gate);
    keeper_post(f->all->needs.keeper, &f->keeping);
}

void flight_fail(struct flight *f, int error, const struct upstream_result *result, const char *message,
                 enum blobstore_keep keep)
{
    const struct flight_target target = {.registry = f->registry, .repository = f->repository, .digest = &f->digest};
    struct failure failure = {.error = error, .status = result ? result->status : 0};
    char key[RECENT_KEY_MAX], text[DIGEST_TEXT_MAX];
    (void)snprintf(failure.message, sizeof(failure.message), "%s", message);
    flight_key(&target, key);
    if (error != -ECANCELED) {
        recent_note(f->all->needs.recent, key, &failure, result ? result->retry_after_ms : -1);
        metrics_add(METRIC_FLIGHTS_FAILED, 1, LABELS(f->registry));
    }
    log_event(error == -ECANCELED || failure_is_absence(&failure) ? LOG_DEBUG : LOG_WARN, "flight_failed",
              LOG_S("registry", f->registry), LOG_S("repository", f->repository),
              LOG_S("digest", digest_format(&f->digest, text)), LOG_S("error", strerrorname_np(-error)),
              LOG_S("message", message), LOG_U("bytes", f->written));
    gate_lock(&f->gate);
    f->failure = failure;
    gate_unlock(&f->gate);
    end(f, FLIGHT_ENDING, keep);
}

void flight_land(struct flight *f)
{
    const struct flight_target target = {.registry = f->registry, .repository = f->repository, .digest = &f->digest};
    char key[RECENT_KEY_MAX];
    flight_key(&target, key);
    recent_forget(f->all->needs.recent, key);
    /* Not before: until the upstream has shown it under this name, it is none of this repository's. The keeper has the
     * link before the blob. */
    if (!f->is_private) {
        privacy_publish(f->all->needs.privacy, &f->digest);
    } else if (privacy_link(f->all->needs.privacy, &f->digest, f->registry, f->repository) < 0) {
        flight_fail(f, -ENOMEM, NULL, "no memory", BLOBSTORE_KEEP);
        return;
    }
    gate_lock(&f->gate);
    f->verified = f->answerable = true;
    gate_unlock(&f->gate);
    end(f, FLIGHT_LANDING, BLOBSTORE_KEEP);
}

/* --- asking ------------------------------------------------------------------------------------------------- */

int flight_set_size(struct flight *f, uint64_t size, enum size_source source)
{
    if (size > LIMIT_BLOB)
        return -EFBIG;
    f->size_source = source;
    gate_lock(&f->gate);
    f->has_size = true;
    f->size = size;
    gate_unlock(&f->gate);
    return 0;
}

/* False: it has failed, and is the keeper's. */
static bool ask(struct flight *f, enum flight_state state, int64_t delay_ms)
{
    gate_lock(&f->gate);
    f->state = state;
    gate_unlock(&f->gate);
    int r = part_ask(f->front, state == FLIGHT_SIZING, delay_ms);
    if (r < 0)
        flight_fail(f, r, NULL, r == -ECANCELED ? "shutting down" : "the upstream could not be asked", BLOBSTORE_KEEP);
    return r == 0;
}

/* Every byte is in the file: the worker that hashes the last of them goes on. */
static void complete(struct flight *f)
{
    parts_drop(f);
    gate_lock(&f->gate);
    f->state = FLIGHT_VERIFYING;
    f->complete = true;
    int broken = f->broken;
    bool post = flight_wants_hash(f);
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    else if (broken)
        flight_fail(f, broken, NULL, "the partial file could not be read", BLOBSTORE_KEEP);
}

static void ask_for_bytes(struct flight *f)
{
    if (f->has_size && f->written == f->size && f->vouched) {
        complete(f);
    } else if (f->has_size && f->written > f->size) {
        flight_fail(f, -EMSGSIZE, NULL, "the partial file is longer than the blob", BLOBSTORE_DISCARD);
    } else {
        parts_plan(f);
        (void)ask(f, FLIGHT_ASKING, 0);
    }
}

/* Nothing is missing of the front. */
static void go_on(struct flight *f)
{
    if (!parts_go_on(f))
        complete(f);
    else if (f->front->is_busy || ask(f, FLIGHT_ASKING, 0))
        parts_feed(f);
}

/* Whether it is worth another attempt. An upstream that has sent part of the blob is forgiven a nonsense in between. */
static bool is_passing(const struct flight *f, int error)
{
    const struct failure failure = {.error = error};
    return failure_is_passing(&failure) || (f->written > 0 && error == -EPROTO);
}

/* Twice without a byte in between: others may do better, and after them it may again. Where nobody else was left to be
 * asked, wrong bytes are no reason any more. */
static void turn_elsewhere(struct flight *f, unsigned source)
{
    bool is_known = source < 32;
    if (!is_known)
        f->shunned = 0;
    f->avoid = f->has_others && is_known && !f->avoid ? 1U << source : 0;
}

/* Asks again for what is missing, unless that has been tried for too long. */
static void resume(struct flight *f, int error, const struct upstream_result *result)
{
    int64_t pause = 0;
    if (f->breaks > 0) {
        pause = RESUME_PAUSE_MS << (f->breaks < 6 ? f->breaks - 1 : 5);
        pause = pause > RESUME_PAUSE_LAST_MS ? RESUME_PAUSE_LAST_MS : pause;
        pause = pause / 2 + (int64_t)(digest_hash(&f->digest) >> 8) % (pause / 2); /* flights do not march in step */
    }
    if (pause < result->retry_after_ms)
        pause = result->retry_after_ms;
    if (f->breaks++ > 0)
        turn_elsewhere(f, result->source);
    int64_t now = clock_monotonic_ms();
    gate_lock(&f->gate);
    f->trouble = (struct failure){.error = error, .status = result->status, .until = now + pause};
    (void)snprintf(f->trouble.message, sizeof(f->trouble.message), "%s", result->message);
    gate_unlock(&f->gate);
    if (now + pause - f->progressed_at > f->rules.patience_ms) {
        flight_fail(f, error, result, result->message, BLOBSTORE_KEEP);
        return;
    }
    metrics_add(METRIC_FLIGHTS_RESUMED, 1, LABELS(f->registry));
    (void)ask(f, f->state == FLIGHT_SIZING ? FLIGHT_SIZING : FLIGHT_ASKING, pause);
}

/* The blob is of another length than it should be: others may have it right. */
static void fail_by_length(struct flight *f, const struct upstream_result *result, const char *message)
{
    uint32_t last = result->source < 32 ? 1U << result->source : 0;
    if (f->has_others)
        flights_shun(f->all, &f->digest, f->givers | last);
    flight_fail(f, -EPROTO, result, message, BLOBSTORE_DISCARD);
}

/* What has not been used for long goes for it; then it tries again. False: it has tried often enough. */
static bool wait_for_room(struct flight *f)
{
    if (f->full == ROOM_TRIES)
        return false;
    evictor_ask(f->all->needs.evictor, (f->has_size ? f->size - f->written : 0) + ROOM_MORE);
    keeper_hurry(f->all->needs.keeper);
    (void)ask(f, FLIGHT_ASKING, ROOM_PAUSE_MS << f->full++);
    return true;
}

static void fail_by_job(struct flight *f, const struct upstream_result *result)
{
    switch (f->front->job_error) {
    case -EMSGSIZE:
    case -EBADE:
        fail_by_length(f, result, "the upstream's blob is longer or shorter than it should be");
        break;
    case -EPROTO:
        flight_fail(f, -EPROTO, result, "the upstream sent another range than was asked for", BLOBSTORE_KEEP);
        break;
    case -EFBIG:
        flight_fail(f, -EFBIG, result, "the blob is larger than any blob may be", BLOBSTORE_DISCARD);
        break;
    case -ENOSPC:
        if (wait_for_room(f))
            break;
        flight_fail(f, -ENOSPC, result, "the store is full", BLOBSTORE_DISCARD);
        break;
    default:
        flight_fail(f, f->front->job_error, result, "the blob could not be written", BLOBSTORE_KEEP);
    }
}

/* The HEAD has ended, whatever it said but that there is no such blob: the GET will show. */
static void after_sizing(struct flight *f, const struct upstream_result *result)
{
    if (result->error == -ENOENT || result->error == -EACCES || result->error == -EPERM || result->error == -ECANCELED)
        flight_fail(f, result->error, result, result->message, BLOBSTORE_KEEP);
    else if (is_passing(f, result->error) && result->status == 0)
        resume(f, result->error, result);
    else if (!f->vouched && f->has_size && f->written == f->size)
        flight_fail(f, result->error ? result->error : -EPROTO, result,
                    result->error ? result->message : "the upstream answered with a page instead of a blob",
                    BLOBSTORE_KEEP);
    else
        ask_for_bytes(f);
}

void flight_advance(struct flight *f, const struct upstream_result *result)
{
    struct part *front = f->front;
    if (f->state == FLIGHT_SIZING) {
        after_sizing(f, result);
    } else if (front->job_error == -EDOM) {
        f->size_source = SIZE_UNKNOWN;
        gate_lock(&f->gate);
        f->has_size = false;
        gate_unlock(&f->gate);
        (void)ask(f, FLIGHT_SIZING, 0);
    } else if (front->job_error == -EBADE && f->written > 0) {
        resume(f, -EPROTO, result);
    } else if (front->job_error) {
        fail_by_job(f, result);
    } else if (result->error == 0 && !f->has_size) {
        int r = flight_set_size(f, f->written, SIZE_OF_GET);
        assert(r == 0); /* on_body has kept it below LIMIT_BLOB */
        complete(f);
    } else if (result->error != -ECANCELED && front->at == front->end) {
        go_on(f);
    } else if (result->error == -EBUSY) { /* it was ahead when no connection could be spared, and is the front now */
        (void)ask(f, FLIGHT_ASKING, 0);
    } else if (result->error == 0) { /* a whole answer, but not the whole blob: a length was not declared, or was odd */
        fail_by_length(f, result, "the upstream's blob is longer or shorter than it should be");
    } else if (is_passing(f, result->error)) {
        resume(f, result->error, result);
    } else if (result->error == -ERANGE) {
        fail_by_length(f, result, "the upstream's blob is shorter than what is here");
    } else {
        flight_fail(f, result->error, result, result->message, BLOBSTORE_KEEP);
    }
}

void flight_restart(struct flight *f)
{
    char text[DIGEST_TEXT_MAX];
    log_event(LOG_WARN, "flight_restarted", LOG_S("registry", f->registry), LOG_S("repository", f->repository),
              LOG_S("digest", digest_format(&f->digest, text)), LOG_U("bytes", f->written),
              LOG_S("cause", f->inherited > 0 ? "the partial file was wrong" : "the upstream's bytes were wrong"));
    metrics_add(METRIC_FLIGHTS_RESUMED, 1, LABELS(f->registry));
    gate_lock(&f->gate);
    f->round++; /* before the bytes go: who reads looks afterwards whether they were still these */
    f->written = 0;
    f->complete = false;
    if (!f->is_told && f->size_source > SIZE_OF_MANIFEST) {
        f->has_size = f->answerable = false; /* it was of what was wrong */
        f->size_source = SIZE_UNKNOWN;
    }
    gate_unlock(&f->gate);
    f->hashed = f->inherited = 0;
    f->givers = 0;
    f->in_parts = false;
    f->breaks = 0;
    f->progressed_at = clock_monotonic_ms();
    digest_destroy(TAKE_PTR(f->hash));
    int r = digest_begin(f->digest.algorithm, &f->hash);
    if (r == 0)
        r = blobstore_writer_restart(f->writer);
    if (r == 0)
        r = parts_begin(f);
    if (r < 0)
        flight_fail(f, r, NULL, "the partial file could not be begun anew", BLOBSTORE_DISCARD);
    else
        flight_start(f);
}

void flight_start(struct flight *f)
{
    gate_lock(&f->gate);
    bool post = f->written > 0 && flight_wants_hash(f); /* what an earlier attempt left */
    gate_unlock(&f->gate);
    if (post)
        workers_post(f->all->needs.workers, &f->work);
    if (f->has_size && (f->vouched || f->written < f->size))
        ask_for_bytes(f);
    else
        (void)ask(f, FLIGHT_SIZING, 0);
}
