/*
 *   state      a step                                                          then
 *   RESTING    measures                                                        → CLEARING, when it is too much
 *   CLEARING   the eldest leftover goes                                        → SWEEPING, when it is enough; LOOKING
 *   LOOKING    a page of all blobs: the eldest that may go are remembered      → REMOVING, behind the last page
 *   REMOVING   the eldest image goes, in one commit                            → SWEEPING, when it is enough;
 *                                                                                LOOKING, when all of them have gone
 *   SWEEPING   records of what has gone go                                     → RESTING
 */
#include "mirror/evictor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/eldest.h"
#include "mirror/image.h"
#include "mirror/leftovers.h"
#include "mirror/library.h"
#include "mirror/pins.h"
#include "mirror/sweep.h"
#include "mirror/uses.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_PAGE 128
#define REST_MS CLOCK_SECOND
/* After something has failed, or nothing could go. */
#define LONG_REST_MS (10 * CLOCK_SECOND)
/* Access times are as coarse as this (docs/store-format.md): less is no difference. */
#define MUCH_LATER_MS (60 * CLOCK_MINUTE)
/* A clock that is set back by less has caught up with itself soon. */
#define TO_COME_MS (24 * 60 * CLOCK_MINUTE)

enum state { RESTING, CLEARING, LOOKING, REMOVING, SWEEPING };

struct limits {
    struct config_room max_size, min_free;
    unsigned low_watermark;
};

struct evictor {
    /* set at create */
    struct blobstore *store;
    struct library *library;
    struct uses *uses;
    pthread_mutex_t lock;
    struct limits limits; /* under lock */
    atomic_uint_least64_t asked;
    atomic_bool wants_sweep;
    atomic_bool is_stirred;          /* it measures now, and not when it has rested */
    atomic_int_least64_t held_until; /* monotonic ms */
    /* of the keeper's thread */
    enum state state;
    int64_t rests_until;                 /* monotonic ms */
    uint64_t goal, freed, images, blobs; /* of this run: bytes */
    uint64_t cleared, cleared_bytes;     /* leftovers */
    bool for_the_disk;                   /* this run: the disk is too full, not the store too large */
    int64_t began;                       /* monotonic ms */
    struct digest_set pinned;
    struct digest last; /* of the page before */
    struct leftovers leftovers;
    struct eldest eldest;
    size_t next; /* of the eldest of either */
    bool found;  /* something has gone since the last look */
    bool is_helpless;
    struct sweep sweep;
};

int evictor_create(struct blobstore *store, struct library *library, struct uses *uses, struct evictor **ret_evictor)
{
    struct evictor *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->store = store;
    e->library = library;
    e->uses = uses;
    (void)pthread_mutex_init(&e->lock, NULL);
    *ret_evictor = e;
    return 0;
}

void evictor_destroy(struct evictor *e)
{
    if (!e)
        return;
    digest_set_finish(&e->pinned);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

void evictor_configure(struct evictor *e, const struct config *config)
{
    (void)pthread_mutex_lock(&e->lock);
    e->limits = (struct limits){.max_size = config->store.max_size,
                                .min_free = config->store.min_free,
                                .low_watermark = config->store.low_watermark};
    (void)pthread_mutex_unlock(&e->lock);
    atomic_store(&e->is_stirred, true);
}

void evictor_ask(struct evictor *e, uint64_t bytes)
{
    uint64_t asked = atomic_load(&e->asked);
    while (asked < bytes && !atomic_compare_exchange_weak(&e->asked, &asked, bytes))
        ;
    atomic_store(&e->is_stirred, true);
}

void evictor_hold(struct evictor *e, int64_t until)
{
    atomic_store(&e->held_until, until);
    atomic_store(&e->is_stirred, true);
}

static bool is_held(struct evictor *e)
{
    return clock_monotonic_ms() < atomic_load(&e->held_until);
}

void evictor_sweep(struct evictor *e)
{
    atomic_store(&e->wants_sweep, true);
    atomic_store(&e->is_stirred, true);
}

/* --- how much is too much ----------------------------------------------------------------------------------- */

static uint64_t share(uint64_t whole, unsigned percent)
{
    return whole / 100 * percent + whole % 100 * percent / 100;
}

static void show(const struct evictor *e, const struct blobstore_totals *totals, uint64_t most, uint64_t held,
                 uint64_t available)
{
    metrics_set(METRIC_STORE_BYTES, (int64_t)totals->bytes, NO_LABELS);
    metrics_set(METRIC_STORE_CONTENT, (int64_t)totals->content, NO_LABELS);
    metrics_set(METRIC_STORE_BLOBS, (int64_t)totals->blobs, NO_LABELS);
    metrics_set(METRIC_STORE_LIMIT, (int64_t)most, NO_LABELS);
    metrics_set(METRIC_STORE_HELD, (int64_t)held, NO_LABELS);
    metrics_set(METRIC_STORE_PARTIAL, (int64_t)e->leftovers.running, LABELS("running"));
    metrics_set(METRIC_STORE_PARTIAL, (int64_t)e->leftovers.bytes, LABELS("left"));
    metrics_set(METRIC_STORE_AVAILABLE, (int64_t)available, NO_LABELS);
}

/* Bytes that must go: 0 where everything is within its bounds. What open readers still hold takes room, and is about to
 * be free; what flights have takes it, and is about to be stored. */
static int measure(struct evictor *e, uint64_t *ret_goal)
{
    struct blobstore_totals totals;
    uint64_t size, available, held = uses_held(e->uses), asked = atomic_exchange(&e->asked, 0), goal = 0;
    (void)pthread_mutex_lock(&e->lock);
    const struct limits limits = e->limits;
    (void)pthread_mutex_unlock(&e->lock);
    int r = blobstore_totals(e->store, &totals);
    if (r == 0)
        r = blobstore_room(e->store, &size, &available);
    if (r == 0)
        r = leftovers_look(e->store, &e->leftovers);
    if (r < 0)
        return r;
    uint64_t most = config_room_bytes(&limits.max_size, size), least = config_room_bytes(&limits.min_free, size);
    uint64_t all = totals.bytes + e->leftovers.bytes, used = all + e->leftovers.running + held;
    uint64_t low = share(most, limits.low_watermark), open = available + held;
    if (open < least)
        goal = least + least / 10 - open;
    if (asked > open && asked - open <= all && asked - open > goal)
        goal = asked - open;
    e->for_the_disk = goal > 0;
    if (most > 0 && used > most && used - low > goal && !is_held(e))
        goal = used - low;
    show(e, &totals, most, held, available);
    *ret_goal = goal;
    return 0;
}

/* --- ages ---------------------------------------------------------------------------------------------------- */

/* When the blob was used last. A clock that was wrong for a while has left times that are still to come: they say
 * nothing, but in which order; were they believed, all that is used today would go before what is used no more. */
static int64_t last_use(const struct blobstore_info *info, int64_t now)
{
    return info->used_at - now > TO_COME_MS ? info->used_at - now - INT64_MAX / 2 : info->used_at;
}

/* --- looking ------------------------------------------------------------------------------------------------ */

static int begin_look(struct evictor *e)
{
    digest_set_finish(&e->pinned);
    eldest_clear(&e->eldest);
    e->last = (struct digest){0};
    e->next = 0;
    e->found = false;
    e->state = LOOKING;
    return pins_resolve(e->store, clock_real_ms(), &e->pinned);
}

static bool must_stay(const struct evictor *e, const struct digest *digest)
{
    return digest_set_has(&e->pinned, digest) || uses_has(e->uses, digest);
}

static int look(struct evictor *e)
{
    struct blobstore_info page[LOOK_PAGE];
    size_t count;
    int64_t now = clock_real_ms();
    int r = blobstore_list(e->store, e->last.algorithm ? &e->last : NULL, page, LOOK_PAGE, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        int64_t used_at = last_use(&page[i], now);
        if (!eldest_wants(&e->eldest, used_at) || must_stay(e, &page[i].digest))
            continue;
        r = image_is_needed(e->store, &page[i].digest, NULL);
        if (r == 0)
            eldest_offer(&e->eldest, &page[i].digest, used_at);
        r = r < 0 ? r : 0;
    }
    if (r < 0)
        return r;
    if (count == LOOK_PAGE) {
        e->last = page[count - 1].digest;
    } else {
        eldest_sort(&e->eldest);
        e->state = REMOVING;
    }
    return 0;
}

/* --- removing ----------------------------------------------------------------------------------------------- */

struct root {
    const struct evictor *evictor;
    int64_t used_at, now;
};

static bool keep(void *arg, const struct blobstore_info *info, bool is_manifest)
{
    const struct root *root = arg;
    return must_stay(root->evictor, &info->digest) ||
           (is_manifest && last_use(info, root->now) - root->used_at >= MUCH_LATER_MS);
}

/* The root first: on a full disk they go one by one. */
static int commit(struct evictor *e, const struct digest *root, const struct digest_set *parts)
{
    struct blobstore_batch *batch;
    const struct digest *digest;
    int r = blobstore_batch_begin(e->store, &batch);
    if (r < 0)
        return r;
    blobstore_batch_remove(batch, root);
    for (size_t at = 0; (digest = digest_set_next(parts, &at));)
        blobstore_batch_remove(batch, digest);
    return blobstore_batch_commit(batch);
}

static int remove_parts(struct evictor *e, const struct elder *root, const struct digest_set *parts)
{
    const struct digest *digest;
    AUTO_FREE uint64_t *sizes = calloc(parts->count, sizeof(*sizes));
    uint64_t bytes = 0;
    size_t n = 0;
    if (!sizes)
        return -ENOMEM;
    for (size_t at = 0; (digest = digest_set_next(parts, &at)); n++) {
        struct blobstore_info info;
        sizes[n] = blobstore_stat(e->store, digest, &info) == 0 ? info.file_size : 0;
        bytes += sizes[n];
    }
    int r = commit(e, &root->digest, parts);
    n = 0;
    for (size_t at = 0; (digest = digest_set_next(parts, &at)); n++) {
        struct blobstore_info info;
        if (r < 0 && blobstore_stat(e->store, digest, &info) != -ENOENT)
            continue;
        library_forget(e->library, digest);
        uses_note_removed(e->uses, digest, sizes[n]);
    }
    if (r < 0)
        return r;
    char text[DIGEST_TEXT_MAX];
    log_event(LOG_DEBUG, "evicted_image", LOG_S("digest", digest_format(&root->digest, text)),
              LOG_U("blobs", parts->count), LOG_U("bytes", bytes),
              LOG_I("idle_s", root->used_at < 0 ? 0 : (clock_real_ms() - root->used_at) / CLOCK_SECOND));
    metrics_add(METRIC_EVICTED_IMAGES, 1, NO_LABELS);
    metrics_add(METRIC_EVICTED_BYTES, (int64_t)bytes, NO_LABELS);
    e->images++;
    e->blobs += parts->count;
    e->freed += bytes;
    e->found = true;
    return 0;
}

/* The eldest may have been used, or named by a new manifest, since they were looked for. */
static int remove_next(struct evictor *e)
{
    AUTO_DIGEST_SET struct digest_set parts = {0};
    const struct elder *elder = &e->eldest.heap[e->next++];
    struct blobstore_info info;
    int64_t now = clock_real_ms();
    if (blobstore_stat(e->store, &elder->digest, &info) < 0 || last_use(&info, now) > elder->used_at ||
        must_stay(e, &elder->digest))
        return 0;
    int r = image_is_needed(e->store, &elder->digest, NULL);
    if (r != 0)
        return r < 0 ? r : 0;
    struct root root = {.evictor = e, .used_at = elder->used_at, .now = now};
    r = image_collect(e->store, &elder->digest, keep, &root, &parts);
    return r == 0 ? remove_parts(e, elder, &parts) : r;
}

/* --- clearing ----------------------------------------------------------------------------------------------- */

/* Whether the eldest that is left is to go: there is room needed, or it is old. */
static bool leftover_goes(const struct evictor *e)
{
    const struct leftovers *l = &e->leftovers;
    return e->next < l->count && (e->freed < e->goal || leftover_is_old(&l->eldest[e->next], clock_real_ms()));
}

static int clear_next(struct evictor *e)
{
    const struct blobstore_partial *p = &e->leftovers.eldest[e->next++];
    int r = blobstore_discard_partial(e->store, &p->digest);
    if (r < 0)
        return r == -EBUSY || r == -ENOENT ? 0 : r; /* somebody goes on with it, or has */
    e->cleared++;
    e->cleared_bytes += p->size;
    e->freed += p->size;
    return 0;
}

/* --- steps -------------------------------------------------------------------------------------------------- */

static int64_t rest(struct evictor *e, int64_t ms)
{
    digest_set_finish(&e->pinned);
    e->state = RESTING;
    e->rests_until = clock_monotonic_ms() + ms;
    return ms;
}

static int begin_run(struct evictor *e)
{
    int r = measure(e, &e->goal);
    if (r < 0)
        return r;
    if (e->goal == 0)
        e->is_helpless = false;
    e->freed = e->images = e->blobs = e->cleared = e->cleared_bytes = 0;
    e->next = 0;
    e->began = clock_monotonic_ms();
    if (e->goal > 0 || leftover_goes(e)) {
        e->state = CLEARING;
    } else if (atomic_exchange(&e->wants_sweep, false)) {
        e->images = 1; /* as if it were ours */
        e->sweep = (struct sweep){0};
        e->state = SWEEPING;
    }
    return 0;
}

static void end_run(struct evictor *e)
{
    if (e->cleared > 0)
        log_event(LOG_INFO, "leftovers_discarded", LOG_U("files", e->cleared), LOG_U("bytes", e->cleared_bytes),
                  LOG_U("wanted", e->goal));
    if (e->images > 0)
        log_event(LOG_INFO, "evicted", LOG_U("images", e->images), LOG_U("blobs", e->blobs), LOG_U("bytes", e->freed),
                  LOG_U("wanted", e->goal), LOG_U("held", uses_held(e->uses)),
                  LOG_I("ms", clock_monotonic_ms() - e->began));
    if (e->freed >= e->goal)
        e->is_helpless = false;
    else if (!e->is_helpless) { /* said once */
        log_event(LOG_WARN, "store_full", LOG_U("missing", e->goal - e->freed),
                  LOG_S("cause", "everything else is pinned or in use"));
        e->is_helpless = true;
    }
    e->sweep = (struct sweep){0};
    e->state = SWEEPING;
}

static int clear(struct evictor *e)
{
    if (leftover_goes(e))
        return clear_next(e);
    if (e->freed >= e->goal) {
        end_run(e);
        return 0;
    }
    if (e->leftovers.count < LEFTOVERS_MAX)
        return begin_look(e);
    e->next = 0;
    return leftovers_look(e->store, &e->leftovers);
}

static int step(struct evictor *e)
{
    if ((e->state == LOOKING || e->state == REMOVING) && !e->for_the_disk && is_held(e)) {
        e->goal = e->freed; /* the rest can wait */
        end_run(e);
        return 0;
    }
    switch (e->state) {
    case RESTING:
        return begin_run(e);
    case CLEARING:
        return clear(e);
    case LOOKING:
        return look(e);
    case REMOVING:
        if (e->freed >= e->goal || (e->next == e->eldest.count && !e->found))
            end_run(e);
        else
            return e->next == e->eldest.count ? begin_look(e) : remove_next(e);
        return 0;
    case SWEEPING:
        return e->images > 0 ? sweep_step(e->store, &e->sweep) : 0;
    }
    return 0;
}

int64_t evictor_step(struct evictor *e)
{
    enum state state = e->state;
    int64_t left = e->rests_until - clock_monotonic_ms();
    if (state == RESTING && !atomic_exchange(&e->is_stirred, false) && left > 0)
        return left;
    int r = step(e);
    if (r < 0) {
        log_event(LOG_ERROR, "evict_failed", LOG_S("error", strerrorname_np(-r)));
        return rest(e, LONG_REST_MS);
    }
    if (e->state == RESTING)
        return rest(e, REST_MS);
    if (state == SWEEPING && r == 0)
        return rest(e, e->is_helpless ? LONG_REST_MS : REST_MS);
    return 0;
}
