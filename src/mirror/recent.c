#include "mirror/recent.h"

#include "base/clock.h"
#include "base/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RECENT_MAX 4096

#define ABSENT_MS (10 * CLOCK_SECOND)
#define BACK_OFF_FIRST_MS 1000
/* Below the time that a request is held by default: whoever comes meanwhile still sees the next attempt. */
#define BACK_OFF_LAST_MS (5 * CLOCK_SECOND)
/* What an upstream asks for is respected up to this; then it is asked again. */
#define RETRY_AFTER_LAST_MS (10 * CLOCK_MINUTE)
/* A row of failures ends when nothing failed for so long after its back-off. */
#define ROW_ENDS_MS (60 * CLOCK_SECOND)

struct entry {
    UT_hash_handle hh;
    struct failure failure;
    int64_t ends_at; /* monotonic ms: it is remembered until then */
    unsigned row;
    char key[];
};

struct recent {
    pthread_mutex_t lock;
    /* under lock */
    unsigned seed;
    struct entry *entries; /* the oldest first */
};

bool failure_is_absence(const struct failure *f)
{
    return f->error == -ENOENT || f->error == -EACCES || f->error == -ENOTSUP;
}

bool failure_is_passing(const struct failure *f)
{
    switch (f->error) {
    case -EAGAIN:
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EHOSTUNREACH:
    case -EREMOTEIO:
    case -ETIMEDOUT:
        return true;
    }
    return false;
}

int recent_create(struct recent **ret_recent)
{
    struct recent *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->seed = (unsigned)clock_real_ms();
    (void)pthread_mutex_init(&r->lock, NULL);
    *ret_recent = r;
    return 0;
}

static struct entry *find(const struct recent *r, const char *key)
{
    struct entry *e;
    HASH_FIND_STR(r->entries, key, e);
    return e;
}

/* As the newest. What there is no room for is freed. */
static void add(struct recent *r, struct entry *e)
{
    HASH_ADD_STR(r->entries, key, e);
    if (!TABLE_HAS(e)) {
        free(e);
    } else if (HASH_COUNT(r->entries) > RECENT_MAX) {
        struct entry *oldest = r->entries;
        HASH_DEL(r->entries, oldest);
        free(oldest);
    }
}

void recent_destroy(struct recent *r)
{
    if (!r)
        return;
    recent_forget_all(r);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Half of the step is certain, the other half is chance: those who failed together do not come back together. */
static int64_t back_off(struct recent *r, unsigned row)
{
    int64_t step = BACK_OFF_FIRST_MS;
    for (unsigned i = 1; i < row && step < BACK_OFF_LAST_MS; i++)
        step *= 2;
    if (step > BACK_OFF_LAST_MS)
        step = BACK_OFF_LAST_MS;
    return step / 2 + rand_r(&r->seed) % (step / 2 + 1);
}

void recent_note(struct recent *r, const char *key, struct failure *f, int64_t retry_after_ms)
{
    int64_t now = clock_monotonic_ms();
    (void)pthread_mutex_lock(&r->lock);
    struct entry *e = find(r, key);
    if (e) {
        HASH_DEL(r->entries, e);
        if (now - e->failure.until > ROW_ENDS_MS)
            e->row = 0;
    } else {
        e = calloc(1, sizeof(*e) + strlen(key) + 1);
        if (e)
            (void)stpcpy(e->key, key);
    }
    int64_t pause = failure_is_absence(f) ? ABSENT_MS : back_off(r, e ? e->row + 1 : 1);
    f->until = now + pause;
    if (retry_after_ms > RETRY_AFTER_LAST_MS)
        retry_after_ms = RETRY_AFTER_LAST_MS;
    if (f->until < now + retry_after_ms)
        f->until = now + retry_after_ms;
    if (e) {
        e->row = failure_is_absence(f) ? 0 : e->row + 1;
        e->failure = *f;
        e->ends_at = f->error == -EAGAIN ? now + pause : f->until;
        add(r, e);
    }
    (void)pthread_mutex_unlock(&r->lock);
}

bool recent_get(struct recent *r, const char *key, struct failure *ret_failure)
{
    bool found = false;
    (void)pthread_mutex_lock(&r->lock);
    const struct entry *e = find(r, key);
    if (e && e->ends_at > clock_monotonic_ms()) {
        *ret_failure = e->failure;
        found = true;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}

void recent_forget(struct recent *r, const char *key)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *e = find(r, key);
    if (e)
        HASH_DEL(r->entries, e);
    free(e);
    (void)pthread_mutex_unlock(&r->lock);
}

void recent_forget_all(struct recent *r)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next)
    {
        HASH_DEL(r->entries, e);
        free(e);
    }
    (void)pthread_mutex_unlock(&r->lock);
}
