#include "mirror/flight_state.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the table ---------------------------------------------------------------------------------------------- */

int flights_create(const struct flights_needs *needs, struct flights **ret_flights)
{
    struct flights *fs = calloc(1, sizeof(*fs));
    if (!fs)
        return -ENOMEM;
    fs->needs = *needs;
    (void)pthread_mutex_init(&fs->lock, NULL);
    *ret_flights = fs;
    return 0;
}

void flights_destroy(struct flights *fs)
{
    if (!fs)
        return;
    assert(!fs->flights);
    (void)pthread_mutex_destroy(&fs->lock);
    free(fs);
}

void flight_key(const struct flight_target *t, char *key)
{
    char digest[DIGEST_TEXT_MAX];
    (void)snprintf(key, RECENT_KEY_MAX, "blob %s/%s@%s", t->registry, t->repository, digest_format(t->digest, digest));
}

/* Who may see its bytes: everybody, or those who may see the repository. */
static void shared_key(const struct flight_target *t, char *key)
{
    if (t->is_private)
        flight_key(t, key);
    else
        (void)digest_format(t->digest, key);
}

void flights_shun(struct flights *fs, const struct digest *digest, uint32_t sources)
{
    struct shunned *s = &fs->shunned[digest_hash(digest) & (SHUNNED - 1)];
    (void)pthread_mutex_lock(&fs->lock);
    if (!digest_equal(&s->digest, digest))
        *s = (struct shunned){.digest = *digest};
    s->sources |= sources;
    s->until = clock_monotonic_ms() + SHUNNED_MS;
    (void)pthread_mutex_unlock(&fs->lock);
}

/* Under the lock. */
static uint32_t shunned_sources(const struct flights *fs, const struct digest *digest)
{
    const struct shunned *s = &fs->shunned[digest_hash(digest) & (SHUNNED - 1)];
    return digest_equal(&s->digest, digest) && s->until > clock_monotonic_ms() ? s->sources : 0;
}

/* Under the lock: the flight whose bytes this target may see. */
static struct flight *find(const struct flights *fs, const struct flight_target *t)
{
    char key[RECENT_KEY_MAX];
    struct flight *f;
    shared_key(t, key);
    HASH_FIND_STR(fs->flights, key, f);
    return f;
}

struct flight *flight_find(struct flights *fs, const struct flight_target *t)
{
    (void)pthread_mutex_lock(&fs->lock);
    struct flight *f = find(fs, t);
    if (f)
        f->refs++;
    (void)pthread_mutex_unlock(&fs->lock);
    return f;
}

struct flight *flight_find_hidden(struct flights *fs, const struct digest *digest)
{
    struct flight *f, *next, *found = NULL;
    (void)pthread_mutex_lock(&fs->lock);
    HASH_ITER(hh, fs->flights, f, next)
    {
        if (!found && digest_equal(&f->digest, digest)) {
            found = f;
            f->refs++;
        }
    }
    (void)pthread_mutex_unlock(&fs->lock);
    return found;
}

void flight_unref(struct flight *f)
{
    if (!f || --f->refs > 0)
        return;
    assert(!f->writer && !f->front);
    gate_finish(&f->gate);
    digest_destroy(f->hash);
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->registry);
    free(f->repository);
    free(f->key);
    free(f);
}

/* --- joining ------------------------------------------------------------------------------------------------ */

static int create(struct flights *fs, const struct flight_target *t, struct flight **ret_flight)
{
    char key[RECENT_KEY_MAX];
    struct flight *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    shared_key(t, key);
    f->all = fs;
    f->key = strdup(key);
    f->refs = 2; /* until it is gone, and the caller's */
    f->round = 1;
    f->work.run = flight_hash;
    f->digest = *t->digest;
    f->is_private = t->is_private;
    f->as_public = t->as_public;
    f->has_others = t->has_others;
    f->shunned = t->has_others ? shunned_sources(fs, t->digest) : 0;
    f->vouched = !privacy_is_needed(fs->needs.privacy);
    f->rules = t->rules;
    f->progressed_at = clock_monotonic_ms();
    f->began_at = clock_real_ms();
    f->source = -1;
    f->registry = strdup(t->registry);
    f->repository = strdup(t->repository);
    f->fd = -1;
    gate_init(&f->gate, fs->needs.gates);
    int r = f->key && f->registry && f->repository ? digest_begin(t->digest->algorithm, &f->hash) : -ENOMEM;
    if (r == 0)
        r = blobstore_writer_open(fs->needs.store, t->digest, &f->writer, &f->written);
    if (r == 0) {
        f->fd = fcntl(blobstore_writer_fd(f->writer), F_DUPFD_CLOEXEC, 0);
        r = f->fd < 0 ? -errno : 0;
    }
    if (r == 0)
        r = parts_begin(f);
    if (r == 0) {
        HASH_ADD_KEYPTR(hh, fs->flights, f->key, strlen(f->key), f);
        r = TABLE_HAS(f) ? 0 : -ENOMEM;
    }
    if (r < 0) {
        parts_drop(f);
        blobstore_writer_close(TAKE_PTR(f->writer), BLOBSTORE_KEEP);
        f->refs = 1;
        flight_unref(f);
        return r;
    }
    f->inherited = f->written;
    uint64_t size;
    /* A claim of no bytes at all would be taken for a blob that is complete: the registry is asked. */
    if (library_size_hint(fs->needs.library, t->digest, &size) == 0 && size > 0 && size <= LIMIT_BLOB &&
        size >= f->written) {
        f->has_size = true;
        f->size = size;
        f->size_source = SIZE_OF_MANIFEST;
    }
    *ret_flight = f;
    return 0;
}

static int join(struct flights *fs, const struct flight_target *t, bool is_prefetch, bool *ret_mine,
                struct flight **ret_flight)
{
    struct blobstore_info info;
    struct failure failure;
    char key[RECENT_KEY_MAX];
    int r = 0;
    flight_key(t, key);
    (void)pthread_mutex_lock(&fs->lock);
    struct flight *f = find(fs, t);
    bool mine = !f;
    if (f)
        f->refs++;
    else if (blobstore_stat(fs->needs.store, t->digest, &info) == 0)
        r = -EEXIST;
    else if (recent_get(fs->needs.recent, key, &failure))
        r = -EALREADY;
    else
        r = create(fs, t, &f);
    (void)pthread_mutex_unlock(&fs->lock);
    if (r < 0)
        return r;
    if (mine) {
        f->is_prefetch = is_prefetch;
        if (is_prefetch)
            metrics_add(METRIC_FLIGHTS_PREFETCHED, 1, LABELS(t->registry));
        metrics_add(METRIC_FLIGHTS_STARTED, 1, LABELS(t->registry));
        metrics_add(METRIC_FLIGHTS_ACTIVE, 1, NO_LABELS);
        flight_start(f);
    }
    *ret_mine = mine;
    *ret_flight = f;
    return 0;
}

int flight_join(struct flights *fs, const struct flight_target *t, bool *ret_mine, struct flight **ret_flight)
{
    return join(fs, t, /* is_prefetch= */ false, ret_mine, ret_flight);
}

void flight_prefetch(struct flights *fs, const struct flight_target *t, unsigned most)
{
    struct flight *f;
    bool mine;
    bool begins = fs->prefetching++ < most && join(fs, t, true, &mine, &f) == 0;
    if (!begins || !mine)
        fs->prefetching--;
    if (begins)
        flight_unref(f);
}

/* --- readers ------------------------------------------------------------------------------------------------ */

int flight_wait(struct flight *f, enum asker asker, struct waiter *w, int64_t due, uint64_t *ret_size,
                struct failure *ret_failure)
{
    int r;
    gate_lock(&f->gate);
    if (!f->complete && feed_may_be_circular(f->feed, asker)) {
        r = -ESTALE;
    } else if (f->verified || (f->failure.error == 0 && f->answerable && f->has_size && f->size > FLIGHT_WHOLE)) {
        *ret_size = f->size;
        f->is_told = true;
        r = 0;
    } else if (f->failure.error && f->state == FLIGHT_GONE) {
        *ret_failure = f->failure;
        r = f->failure.error;
    } else {
        r = !w || gate_wait(&f->gate, w, due) ? MIRROR_WAIT : -ECANCELED;
        if (!w)
            *ret_failure = f->trouble;
    }
    gate_unlock(&f->gate);
    return r;
}

int flight_wait_end(struct flight *f, struct waiter *w, uint64_t *ret_written, struct failure *ret_failure)
{
    int r;
    gate_lock(&f->gate);
    *ret_written = f->written;
    if (f->state == FLIGHT_GONE) {
        *ret_failure = f->failure;
        r = f->failure.error;
    } else {
        r = gate_wait(&f->gate, w, INT64_MAX) ? MIRROR_WAIT : -ECANCELED;
    }
    gate_unlock(&f->gate);
    return r;
}

bool flight_size(struct flight *f, uint64_t *ret_size)
{
    gate_lock(&f->gate);
    bool known = f->has_size && (f->verified || f->answerable);
    if (known) {
        *ret_size = f->size;
        f->is_told = true;
    }
    gate_unlock(&f->gate);
    return known;
}

bool flight_is_verified(struct flight *f)
{
    gate_lock(&f->gate);
    bool verified = f->verified;
    gate_unlock(&f->gate);
    return verified;
}

int flight_fd(const struct flight *f)
{
    return f->fd;
}

/* Under the lock: bytes from the start that readers may have. */
static uint64_t available(const struct flight *f)
{
    if (f->verified)
        return f->size;
    if (!f->has_size || f->size <= FLIGHT_WHOLE)
        return 0;
    uint64_t most = f->size - FLIGHT_HOLD_BACK;
    return f->written < most ? f->written : most;
}

static unsigned round_of(struct flight *f)
{
    gate_lock(&f->gate);
    unsigned round = f->round;
    gate_unlock(&f->gate);
    return round;
}

ssize_t flight_read(struct flight *f, struct waiter *w, unsigned *round, uint64_t offset, void *data, size_t len)
{
    for (;;) {
        gate_lock(&f->gate);
        uint64_t have = available(f);
        unsigned now = f->round;
        bool is_wrong = *round > 0 && *round != now;
        ssize_t r = 0;
        if (is_wrong)
            r = -EIO;
        else if (offset >= have)
            r = f->failure.error ? -EIO : gate_wait(&f->gate, w, INT64_MAX) ? 0 : -ECANCELED;
        gate_unlock(&f->gate);
        if (is_wrong || offset >= have)
            return r;
        size_t most = len < have - offset ? len : (size_t)(have - offset);
        do
            r = pread(f->fd, data, most, (off_t)offset);
        while (r < 0 && errno == EINTR);
        if (round_of(f) != now)
            continue; /* these were wrong */
        *round = now;
        return r > 0 ? r : -EIO;
    }
}

bool flight_is_of(const struct flight *f, const char *registry, const char *repository)
{
    return strcmp(f->registry, registry) == 0 && strcmp(f->repository, repository) == 0;
}

bool flight_lacked_room(struct flight *f)
{
    gate_lock(&f->gate);
    bool lacked = f->failure.error == -ENOSPC;
    gate_unlock(&f->gate);
    return lacked;
}

unsigned flight_requests(const struct flight *f)
{
    return f->requests;
}
