/*
 * A round goes through all blobs in the order of their digests, and reads those that are due: not verified for the
 * interval, or since a stop that was not orderly. Between rounds it rests.
 */
#include "mirror/scrubber.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/damage.h"
#include "mirror/digest_key.h"
#include "mirror/jobs.h"
#include "mirror/library.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 64
#define SLICE (1 * MIB)
#define ROUND_REST_MS (10 * CLOCK_MINUTE)
#define ERROR_REST_MS (10 * CLOCK_SECOND)
/* Verified blobs that are written down together; and for how long at most they are not. */
#define VERIFIED_MAX 64
#define VERIFIED_MS (10 * CLOCK_SECOND)

#define RECORD_KEY "scrub"
#define RECORD_VERSION 1

struct verified {
    struct digest digest;
    int64_t when;
};

struct scrubber {
    /* set at create */
    struct blobstore *store;
    struct library *library;
    char *slice;
    pthread_mutex_t lock;
    /* under lock */
    int64_t interval_ms;
    uint64_t rate;
    bool is_stirred, seals;
    unsigned progress; /* percent */
    /* of the keeper's thread */
    int64_t next_at;    /* monotonic ms: nothing before */
    struct digest last; /* that is done with; DIGEST_NONE: a round begins */
    struct blobstore_info page[PAGE];
    size_t page_count, page_at;
    bool page_is_last;
    struct blobstore_content *content; /* of the blob that is being read; NULL: none is */
    struct blobstore_info info;
    struct digest_state *hash;
    uint64_t hashed, owed; /* bytes that were read, and not rested for yet */
    int64_t began;         /* wall clock, ms */
    struct verified verified[VERIFIED_MAX];
    size_t verified_count;
    bool cannot_seal;                       /* the file system has said so */
    int64_t written_at;                     /* monotonic ms */
    int64_t round_began_at;                 /* wall clock, ms */
    uint64_t round_blobs, round_bytes, bad; /* of this round */
};

/* --- how far it has come -------------------------------------------------------------------------------------- */

static int load_position(struct scrubber *s)
{
    AUTO_BUF struct buf value = BUF_INIT(KIB);
    size_t len;
    int r = blobstore_record_get(s->store, BLOBSTORE_JOBS, RECORD_KEY, strlen(RECORD_KEY), &value);
    if (r == -ENOENT)
        return 0;
    if (r == 0 && value.len > 1 && value.data[0] == RECORD_VERSION &&
        digest_key_decode(value.data + 1, value.len - 1, &s->last, &len) < 0)
        s->last = (struct digest){0};
    return r;
}

/* version u8, digest; the version alone: at the start of a round. Where it fails, what was verified is due again. */
static int write_down(struct scrubber *s, const struct job_report *report)
{
    uint8_t value[1 + DIGEST_KEY_MAX] = {RECORD_VERSION};
    size_t count = s->verified_count;
    struct blobstore_batch *batch;
    s->verified_count = 0;
    int r = blobstore_batch_begin(s->store, &batch);
    if (r < 0)
        return r;
    size_t len = 1 + (s->last.algorithm ? digest_key_encode(&s->last, value + 1) : 0);
    for (size_t i = 0; i < count; i++)
        blobstore_batch_verified(batch, &s->verified[i].digest, s->verified[i].when);
    blobstore_batch_put(batch, BLOBSTORE_JOBS, RECORD_KEY, strlen(RECORD_KEY), value, len);
    if (report)
        job_report_put(batch, JOB_SCRUB, report);
    s->written_at = clock_monotonic_ms();
    return blobstore_batch_commit(batch);
}

/* --- one blob ------------------------------------------------------------------------------------------------- */

static void close_blob(struct scrubber *s)
{
    blobstore_content_close(TAKE_PTR(s->content));
    digest_destroy(TAKE_PTR(s->hash));
}

static int open_blob(struct scrubber *s, const struct digest *digest)
{
    int r = blobstore_get(s->store, digest, &s->info, &s->content);
    if (r < 0) {
        if (r == -EBADMSG) {
            s->bad++;
            damage_note(digest, "scrub");
            library_forget(s->library, digest);
        }
        s->last = *digest;
        return r == -ENOENT || r == -EBADMSG ? 0 : r;
    }
    s->hashed = 0;
    s->began = clock_real_ms();
    r = digest_begin(digest->algorithm, &s->hash);
    if (r < 0)
        close_blob(s);
    return r;
}

/* What fails at it is no damage: another round tries again. */
static void seal(struct scrubber *s)
{
    char text[DIGEST_TEXT_MAX];
    (void)pthread_mutex_lock(&s->lock);
    bool seals = s->seals && !s->cannot_seal;
    (void)pthread_mutex_unlock(&s->lock);
    int r = seals ? blobstore_seal(s->store, &s->info.digest) : 0;
    if (r == -EOPNOTSUPP) {
        s->cannot_seal = true;
        log_event(LOG_WARN, "fs_verity", LOG_S("error", "the file system of the store does not have it"));
    } else if (r < 0 && r != -EBUSY && r != -EFBIG) {
        log_event(LOG_WARN, "fs_verity", LOG_S("digest", digest_format(&s->info.digest, text)),
                  LOG_S("error", strerrorname_np(-r)));
    }
}

static int end_blob(struct scrubber *s, bool is_read)
{
    struct digest actual;
    int r = is_read ? digest_end(s->hash, &actual) : 0;
    if (r < 0) {
        close_blob(s); /* nobody knows: the next round */
        return r;
    }
    if (is_read && digest_equal(&actual, &s->info.digest)) {
        s->verified[s->verified_count++] = (struct verified){s->info.digest, s->began};
        s->round_blobs++;
        seal(s);
    } else if (damage_condemn(s->store, &s->info.digest, blobstore_content_fd(s->content), "scrub") == 0) {
        library_forget(s->library, &s->info.digest);
        s->bad++;
    }
    s->last = s->info.digest;
    close_blob(s);
    bool must_write = s->verified_count == VERIFIED_MAX || clock_monotonic_ms() - s->written_at >= VERIFIED_MS;
    return must_write ? write_down(s, NULL) : 0;
}

static int read_slice(struct scrubber *s)
{
    uint64_t left = s->info.size - s->hashed;
    size_t want = left < SLICE ? (size_t)left : SLICE;
    ssize_t n = want ? blobstore_content_read(s->content, s->hashed, s->slice, want) : 0;
    if (n < 0 && n != -ENOMEM)
        return end_blob(s, /* is_read= */ false);
    int r = n < 0 ? (int)n : digest_update(s->hash, s->slice, (size_t)n);
    if (r < 0) {
        close_blob(s);
        return r;
    }
    s->hashed += (uint64_t)n;
    s->owed += (uint64_t)n;
    s->round_bytes += (uint64_t)n;
    metrics_add(METRIC_SCRUBBED_BYTES, n, NO_LABELS);
    return s->hashed == s->info.size ? end_blob(s, /* is_read= */ true) : 0;
}

/* --- rounds --------------------------------------------------------------------------------------------------- */

static bool is_due(const struct scrubber *s, const struct blobstore_info *info, int64_t interval_ms)
{
    int64_t age = clock_real_ms() - info->verified_at;
    return age >= interval_ms || age < 0 /* the clock was set back */ ||
           info->verified_at < blobstore_doubted_before(s->store);
}

static int end_round(struct scrubber *s)
{
    const struct job_report report = {.began_at = s->round_began_at,
                                      .ended_at = clock_real_ms(),
                                      .blobs = s->round_blobs,
                                      .bytes = s->round_bytes,
                                      .failures = s->bad};
    if (s->round_blobs || s->bad)
        log_event(s->bad ? LOG_WARN : LOG_INFO, "scrubbed", LOG_U("blobs", s->round_blobs),
                  LOG_U("bytes", s->round_bytes), LOG_U("damaged", s->bad));
    bool has_news = s->verified_count > 0 || s->round_blobs || s->bad;
    s->round_blobs = s->round_bytes = s->bad = 0;
    s->last = (struct digest){0};
    s->next_at = clock_monotonic_ms() + ROUND_REST_MS;
    return has_news ? write_down(s, &report) : 0;
}

/* Goes on to the next blob that is due. */
static int look(struct scrubber *s, int64_t interval_ms)
{
    if (s->last.algorithm == DIGEST_NONE || s->round_began_at == 0)
        s->round_began_at = clock_real_ms();
    while (s->page_at < s->page_count) {
        const struct blobstore_info *info = &s->page[s->page_at++];
        if (is_due(s, info, interval_ms))
            return open_blob(s, &info->digest);
        s->last = info->digest;
    }
    if (s->page_is_last) {
        s->page_is_last = false;
        return end_round(s);
    }
    s->page_at = 0;
    int r = blobstore_list(s->store, s->last.algorithm ? &s->last : NULL, s->page, PAGE, &s->page_count);
    if (r < 0)
        s->page_count = 0;
    s->page_is_last = r == 0 && s->page_count < PAGE;
    return r;
}

int scrubber_create(struct blobstore *store, struct library *library, struct scrubber **ret_scrubber)
{
    struct scrubber *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->store = store;
    s->library = library;
    s->written_at = clock_monotonic_ms();
    (void)pthread_mutex_init(&s->lock, NULL);
    s->slice = malloc(SLICE);
    int r = s->slice ? load_position(s) : -ENOMEM;
    if (r < 0) {
        scrubber_destroy(s);
        return r;
    }
    *ret_scrubber = s;
    return 0;
}

void scrubber_destroy(struct scrubber *s)
{
    if (!s)
        return;
    close_blob(s);
    free(s->slice);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void scrubber_configure(struct scrubber *s, const struct config *config)
{
    (void)pthread_mutex_lock(&s->lock);
    s->interval_ms = config->store.scrub_interval_ms;
    s->rate = config->store.scrub_rate;
    s->seals = config->store.fs_verity;
    s->is_stirred = true;
    (void)pthread_mutex_unlock(&s->lock);
}

unsigned scrubber_progress(struct scrubber *s)
{
    (void)pthread_mutex_lock(&s->lock);
    unsigned progress = s->progress;
    (void)pthread_mutex_unlock(&s->lock);
    return progress;
}

/* For how long it must rest for what it has read. */
static int64_t pay(struct scrubber *s, uint64_t rate)
{
    uint64_t ms = s->owed / rate * 1000 + s->owed % rate * 1000 / rate;
    s->owed -= ms / 1000 * rate + ms % 1000 * rate / 1000;
    return (int64_t)ms;
}

int64_t scrubber_step(struct scrubber *s)
{
    int64_t now = clock_monotonic_ms();
    (void)pthread_mutex_lock(&s->lock);
    int64_t interval_ms = s->interval_ms;
    uint64_t rate = s->rate;
    if (s->is_stirred)
        s->next_at = now;
    s->is_stirred = false;
    s->progress = s->last.algorithm ? s->last.raw[0] * 100U / 255 : 0; /* digests are as even as can be */
    (void)pthread_mutex_unlock(&s->lock);
    if (interval_ms == 0 || rate == 0)
        return ROUND_REST_MS;
    if (now < s->next_at)
        return s->next_at - now;
    s->next_at = now;
    int r = s->content ? read_slice(s) : look(s, interval_ms);
    if (r < 0) {
        log_event(LOG_ERROR, "scrub_failed", LOG_S("error", strerrorname_np(-r)));
        s->next_at = now + ERROR_REST_MS;
    } else if (s->next_at == now) {
        s->next_at += pay(s, rate);
    }
    return s->next_at - now;
}
