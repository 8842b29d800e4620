#include "mirror/guests.h"

#include "base/digest.h"
#include "base/limits.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CORNERS 1024 /* a power of two */
#define PLACES 4     /* in each */

struct place {
    struct digest who;
    int64_t since_ms; /* 0: nobody */
};

struct guests {
    pthread_mutex_t lock;
    struct place places[CORNERS][PLACES]; /* under lock */
};

int guests_create(struct guests **ret_guests)
{
    struct guests *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    (void)pthread_mutex_init(&g->lock, NULL);
    *ret_guests = g;
    return 0;
}

void guests_destroy(struct guests *g)
{
    if (!g)
        return;
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

/* False: without memory there are no guests. */
static bool name(const struct guest *who, struct digest *ret_name)
{
    char text[2 * LIMIT_NAME + 256];
    int n = snprintf(text, sizeof(text), "%s %s/%s", who->login, who->registry, who->repository);
    return n > 0 && (size_t)n < sizeof(text) && digest_of(DIGEST_SHA256, text, (size_t)n, ret_name) == 0;
}

/* His place, or else the one that is the oldest's. Under lock. */
static struct place *find(struct guests *g, const struct digest *who)
{
    struct place *corner = g->places[digest_hash(who) & (CORNERS - 1)], *at = corner;
    for (size_t i = 0; i < PLACES; i++) {
        if (digest_equal(&corner[i].who, who))
            return &corner[i];
        if (corner[i].since_ms < at->since_ms)
            at = &corner[i];
    }
    return at;
}

bool guests_know(struct guests *g, const struct guest *who, int64_t now_ms, int64_t *ret_age_ms)
{
    struct digest d;
    if (!name(who, &d))
        return false;
    (void)pthread_mutex_lock(&g->lock);
    const struct place *at = find(g, &d);
    bool known = at->since_ms > 0 && digest_equal(&at->who, &d);
    if (known)
        *ret_age_ms = now_ms - at->since_ms;
    (void)pthread_mutex_unlock(&g->lock);
    return known;
}

static void put(struct guests *g, const struct guest *who, int64_t since_ms)
{
    struct digest d;
    if (!name(who, &d))
        return;
    (void)pthread_mutex_lock(&g->lock);
    struct place *at = find(g, &d);
    if (since_ms > 0 || digest_equal(&at->who, &d))
        *at = (struct place){.who = d, .since_ms = since_ms};
    (void)pthread_mutex_unlock(&g->lock);
}

void guests_welcome(struct guests *g, const struct guest *who, int64_t now_ms)
{
    put(g, who, now_ms > 0 ? now_ms : 1);
}

void guests_forget(struct guests *g, const struct guest *who)
{
    put(g, who, 0);
}
