#include "blobstore/touch.h"

#include <errno.h>
#include <pthread.h>

/* 65,536 entries, 6 MB of which only what is used is ever touched. */
#define SETS 8192
#define WAYS 8
#define LOCKS 64

struct entry {
    struct digest digest; /* DIGEST_NONE: free */
    int64_t used_at;
    int64_t written_at; /* what the index has; 0: nothing, or not known */
};

struct touches {
    pthread_mutex_t locks[LOCKS]; /* of the sets i with i % LOCKS the same */
    /* under lock */
    struct entry sets[SETS][WAYS];
};

int touches_create(struct touches **ret_touches)
{
    struct touches *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&t->locks[i], NULL);
    *ret_touches = t;
    return 0;
}

void touches_destroy(struct touches *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&t->locks[i]);
    free(t);
}

bool touch_is_due(int64_t used_at, int64_t written_at)
{
    return used_at - written_at >= TOUCH_COARSE || written_at - used_at >= TOUCH_COARSE; /* clocks are set back, too */
}

static bool is_due(const struct entry *e)
{
    return e->digest.algorithm != DIGEST_NONE && touch_is_due(e->used_at, e->written_at);
}

static size_t set_of(const struct digest *digest)
{
    return (size_t)(digest_hash(digest) >> 16) % SETS;
}

static void lock_set(struct touches *t, size_t set)
{
    (void)pthread_mutex_lock(&t->locks[set % LOCKS]);
}

static void unlock_set(struct touches *t, size_t set)
{
    (void)pthread_mutex_unlock(&t->locks[set % LOCKS]);
}

static struct entry *find_locked(struct touches *t, size_t set, const struct digest *digest)
{
    for (size_t i = 0; i < WAYS; i++)
        if (digest_equal(&t->sets[set][i].digest, digest))
            return &t->sets[set][i];
    return NULL;
}

/* A free entry, else the oldest of those that need no writing, else none. */
static struct entry *spare_locked(struct touches *t, size_t set)
{
    struct entry *spare = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *e = &t->sets[set][i];
        if (e->digest.algorithm == DIGEST_NONE)
            return e;
        if (!is_due(e) && (!spare || e->used_at < spare->used_at))
            spare = e;
    }
    return spare;
}

void touches_note(struct touches *t, const struct digest *digest, int64_t now_ms)
{
    size_t set = set_of(digest);
    lock_set(t, set);
    struct entry *e = find_locked(t, set, digest);
    if (!e && (e = spare_locked(t, set)))
        *e = (struct entry){.digest = *digest};
    if (e)
        e->used_at = now_ms;
    unlock_set(t, set);
}

int64_t touches_known(struct touches *t, const struct digest *digest)
{
    size_t set = set_of(digest);
    lock_set(t, set);
    const struct entry *e = find_locked(t, set, digest);
    int64_t used_at = e ? e->used_at : 0;
    unlock_set(t, set);
    return used_at;
}

size_t touches_collect(struct touches *t, size_t *cursor, struct touch *ret_touches, size_t max)
{
    size_t count = 0;
    for (; *cursor < SETS && max - count >= WAYS; (*cursor)++) {
        lock_set(t, *cursor);
        for (size_t i = 0; i < WAYS; i++) {
            const struct entry *e = &t->sets[*cursor][i];
            if (is_due(e))
                ret_touches[count++] = (struct touch){.digest = e->digest, .used_at = e->used_at};
        }
        unlock_set(t, *cursor);
    }
    return count;
}

void touches_written(struct touches *t, const struct digest *digest, int64_t written_at)
{
    size_t set = set_of(digest);
    lock_set(t, set);
    struct entry *e = find_locked(t, set, digest);
    if (e)
        e->written_at = written_at;
    unlock_set(t, set);
}
