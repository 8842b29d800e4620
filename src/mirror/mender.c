/*
 *   a lost blob    not needed by a pinned image, or nobody knows where it was seen  → forgotten
 *                  asked for: a session                                             → it is looked after again later
 *                  stored by then                                                   → mended
 *                  not stored                                                       → asked for again, ATTEMPTS times
 */
#include "mirror/mender.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/digest_key.h"
#include "mirror/digest_set.h"
#include "mirror/image.h"
#include "mirror/pins.h"
#include "mirror/place_key.h"
#include "mirror/state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* What is waited for at once; more are left to who asks for them. */
#define LOST_MAX 256
/* After an attempt, and after each further one twice as long. */
#define RETRY_FIRST_MS (10 * CLOCK_SECOND)
#define RETRY_LAST_MS (60 * CLOCK_MINUTE)
#define ATTEMPTS 14
#define IDLE_MS CLOCK_SECOND

struct loss {
    struct digest digest;
    unsigned attempts;
    int64_t due; /* monotonic ms */
};

/* Where it is asked for. */
struct place {
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1];
};

struct mender {
    struct mirror *mirror; /* set at create */
    atomic_bool is_awake;  /* any thread: the session may go on */
    /* of the keeper's thread */
    struct loss losses[LOST_MAX];
    size_t count;
    struct mirror_session *session; /* NULL: nothing is being asked for */
};

static void suspend(void *arg)
{
    (void)arg; /* the next step looks whether it is awake */
}

static void wake(void *arg)
{
    struct mender *mender = arg;
    atomic_store(&mender->is_awake, true);
    keeper_hurry(mender->mirror->keeper);
}

int mender_create(struct mirror *m, struct mender **ret_mender)
{
    struct mender *mender = calloc(1, sizeof(*mender));
    if (!mender)
        return -ENOMEM;
    mender->mirror = m;
    *ret_mender = mender;
    return 0;
}

void mender_destroy(struct mender *mender)
{
    if (!mender)
        return;
    mirror_close(mender->session);
    free(mender);
}

/* --- where it belongs --------------------------------------------------------------------------------------- */

struct search {
    const struct digest_set *images, *pinned;
    struct place place;
    bool is_found;
};

/* A manifest that was seen there (library.c). One that is pinned itself is the best to go by. */
static int look_at_place(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct search *s = arg;
    struct place_key place;
    struct digest digest;
    (void)value;
    (void)value_len;
    if (!place_key_read_sighting(key, key_len, &place, &digest) || !digest_set_has(s->images, &digest))
        return 0;
    bool is_best = digest_set_has(s->pinned, &digest);
    if (is_best || !s->is_found) {
        (void)stpcpy(s->place.registry, place.registry);
        (void)stpcpy(s->place.repository, place.repository);
        s->is_found = true;
    }
    return is_best;
}

/* 1: a pinned image needs it, and that was seen in *ret_place. 0: none does, or nobody knows where. */
static int find_place(struct mirror *m, const struct digest *digest, struct place *ret_place)
{
    AUTO_DIGEST_SET struct digest_set pinned = {0}, images = {0};
    struct search search = {.images = &images, .pinned = &pinned};
    const struct digest *d;
    bool is_pinned = false;
    int r = pins_resolve(m->store, clock_real_ms(), &pinned);
    if (r < 0 || pinned.count == 0)
        return r;
    r = image_namers(m->store, digest, &images);
    for (size_t at = 0; r == 0 && !is_pinned && (d = digest_set_next(&images, &at));)
        is_pinned = digest_set_has(&pinned, d);
    if (r < 0 || !is_pinned)
        return r;
    r = blobstore_record_scan(m->store, BLOBSTORE_REPOSITORIES, NULL, 0, look_at_place, &search);
    *ret_place = search.place;
    return r < 0 ? r : search.is_found;
}

/* --- asking ------------------------------------------------------------------------------------------------- */

static bool is_manifest(struct mirror *m, const struct digest *digest)
{
    AUTO_BUF struct buf type = BUF_INIT(BLOBSTORE_VALUE_MAX);
    uint8_t key[DIGEST_KEY_MAX];
    return blobstore_record_get(m->store, BLOBSTORE_MANIFESTS, key, digest_key_encode(digest, key), &type) == 0;
}

static int ask(struct mender *mender, const struct digest *digest, const struct place *place)
{
    char text[DIGEST_TEXT_MAX];
    const struct mirror_request request = {
        .object = is_manifest(mender->mirror, digest) ? MIRROR_MANIFEST : MIRROR_BLOB,
        .ns = place->registry,
        .name = place->repository,
        .reference = digest_format(digest, text),
        .page_size = -1,
        .is_seeding = true,
        .waiter = {.suspend = suspend, .wake = wake, .arg = mender},
    };
    log_event(LOG_INFO, "mending", LOG_S("digest", text), LOG_S("registry", place->registry),
              LOG_S("repository", place->repository));
    atomic_store(&mender->is_awake, true);
    return mirror_open(mender->mirror, &request, &mender->session);
}

/* A flight outlives the session: once it is answered there is nothing to wait for. */
static void go_on(struct mender *mender)
{
    struct mirror_answer answer;
    while (atomic_exchange(&mender->is_awake, false)) {
        if (mirror_step(mender->session, &answer) == MIRROR_WAIT)
            continue;
        if (answer.status != 200)
            log_event(LOG_WARN, "not_mended", LOG_S("cause", answer.error_message));
        mirror_close(TAKE_PTR(mender->session));
        return;
    }
}

/* --- losses ------------------------------------------------------------------------------------------------- */

static void take_losses(struct mender *mender)
{
    struct digest digest;
    while (mender->count < LOST_MAX && blobstore_next_lost(mender->mirror->store, &digest) == 0)
        mender->losses[mender->count++] = (struct loss){.digest = digest};
}

static void forget(struct mender *mender, struct loss *l)
{
    *l = mender->losses[--mender->count];
}

static int64_t pause_after(unsigned attempts)
{
    int64_t pause = RETRY_FIRST_MS << (attempts < 16 ? attempts : 16);
    return pause < RETRY_LAST_MS ? pause : RETRY_LAST_MS;
}

static int tend(struct mender *mender, struct loss *l, int64_t now)
{
    struct blobstore_info info;
    struct place place;
    char text[DIGEST_TEXT_MAX];
    if (blobstore_stat(mender->mirror->store, &l->digest, &info) == 0) {
        if (l->attempts > 0) {
            log_event(LOG_INFO, "mended", LOG_S("digest", digest_format(&l->digest, text)));
            metrics_add(METRIC_MENDED, 1, NO_LABELS);
        }
        forget(mender, l);
        return 0;
    }
    int r = l->attempts < ATTEMPTS ? find_place(mender->mirror, &l->digest, &place) : 0;
    if (r > 0) {
        l->due = now + pause_after(l->attempts++);
        return ask(mender, &l->digest, &place);
    }
    if (r == 0)
        forget(mender, l);
    else
        l->due = now + RETRY_FIRST_MS;
    return r;
}

int64_t mender_step(struct mender *mender)
{
    int64_t now = clock_monotonic_ms(), due = now + IDLE_MS;
    take_losses(mender);
    if (mender->session) {
        go_on(mender);
        return mender->session ? IDLE_MS : 0;
    }
    for (size_t i = 0; i < mender->count; i++) {
        struct loss *l = &mender->losses[i];
        if (l->due <= now) {
            int r = tend(mender, l, now);
            if (r < 0)
                log_event(LOG_ERROR, "mend_failed", LOG_S("error", strerrorname_np(-r)));
            return 0;
        }
        due = l->due < due ? l->due : due;
    }
    return due - now;
}
