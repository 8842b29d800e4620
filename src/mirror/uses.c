#include "mirror/uses.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 1024 /* a power of two */

struct uses {
    pthread_mutex_t lock;
    /* under lock */
    struct use *buckets[BUCKETS];
    uint64_t held;
};

int uses_create(struct uses **ret_uses)
{
    struct uses *u = calloc(1, sizeof(*u));
    if (!u)
        return -ENOMEM;
    (void)pthread_mutex_init(&u->lock, NULL);
    *ret_uses = u;
    return 0;
}

void uses_destroy(struct uses *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        assert(!u->buckets[i]);
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
}

static struct use **bucket(struct uses *u, const struct digest *digest)
{
    return &u->buckets[digest_hash(digest) & (BUCKETS - 1)];
}

static struct use *find_locked(struct use *from, const struct digest *digest)
{
    while (from && !digest_equal(&from->digest, digest))
        from = from->next;
    return from;
}

void uses_enter(struct uses *u, struct use *use, const struct digest *digest)
{
    assert(use->digest.algorithm == DIGEST_NONE);
    (void)pthread_mutex_lock(&u->lock);
    struct use **at = bucket(u, digest);
    *use = (struct use){.digest = *digest, .next = *at};
    *at = use;
    (void)pthread_mutex_unlock(&u->lock);
}

/* Under the lock: another reader of the same removed file, who answers for its room from now on. */
static struct use *find_heir_locked(struct uses *u, const struct digest *digest)
{
    struct use *heir = find_locked(*bucket(u, digest), digest);
    while (heir && (!heir->is_gone || heir->held))
        heir = find_locked(heir->next, digest);
    return heir;
}

void uses_leave(struct uses *u, struct use *use)
{
    if (use->digest.algorithm == DIGEST_NONE)
        return;
    (void)pthread_mutex_lock(&u->lock);
    struct use **at = bucket(u, &use->digest);
    while (*at != use)
        at = &(*at)->next;
    *at = use->next;
    if (use->held) {
        struct use *heir = find_heir_locked(u, &use->digest);
        if (heir)
            heir->held = use->held;
        else
            u->held -= use->held;
    }
    (void)pthread_mutex_unlock(&u->lock);
    *use = (struct use){0};
}

bool uses_has(struct uses *u, const struct digest *digest)
{
    (void)pthread_mutex_lock(&u->lock);
    bool has = find_locked(*bucket(u, digest), digest);
    (void)pthread_mutex_unlock(&u->lock);
    return has;
}

void uses_note_removed(struct uses *u, const struct digest *digest, uint64_t size)
{
    (void)pthread_mutex_lock(&u->lock);
    uint64_t held = size;
    for (struct use *use = find_locked(*bucket(u, digest), digest); use; use = find_locked(use->next, digest)) {
        if (use->is_gone)
            continue; /* it reads an earlier file */
        use->is_gone = true;
        use->held = held;
        u->held += held;
        held = 0;
    }
    (void)pthread_mutex_unlock(&u->lock);
}

uint64_t uses_held(struct uses *u)
{
    (void)pthread_mutex_lock(&u->lock);
    uint64_t held = u->held;
    (void)pthread_mutex_unlock(&u->lock);
    return held;
}
