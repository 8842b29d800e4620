#include "mirror/spenders.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define PLACES 128
#define HOUR_MS (60 * CLOCK_MINUTE)

struct place {
    char name[SPENDER_NAME_MAX]; /* "": free */
    uint32_t hours[SPENDERS_HOURS];
    uint64_t excess;
};

struct spenders {
    pthread_mutex_t lock;
    /* under lock */
    int64_t hour; /* of the monotonic clock: counts are right up to this one */
    struct place places[SPENDER_KINDS][PLACES];
};

int spenders_create(struct spenders **ret_spenders)
{
    struct spenders *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->hour = clock_monotonic_ms() / HOUR_MS;
    (void)pthread_mutex_init(&s->lock, NULL);
    *ret_spenders = s;
    return 0;
}

void spenders_destroy(struct spenders *s)
{
    if (!s)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static uint64_t total(const struct place *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < SPENDERS_HOURS; i++)
        n += p->hours[i];
    return n;
}

/* Under the lock: what is older than the window is forgotten. */
static void go_to_now(struct spenders *s)
{
    int64_t now = clock_monotonic_ms() / HOUR_MS;
    for (; s->hour<now; s->hour = now - s->hour> SPENDERS_HOURS ? now - SPENDERS_HOURS : s->hour + 1) {
        for (size_t kind = 0; kind < SPENDER_KINDS; kind++)
            for (size_t i = 0; i < PLACES; i++) {
                struct place *p = &s->places[kind][i];
                p->hours[(s->hour + 1) % SPENDERS_HOURS] = 0;
                if (total(p) == 0)
                    *p = (struct place){0};
            }
    }
}

static struct place *find_place(struct spenders *s, enum spender_kind kind, const char *name)
{
    struct place *least = &s->places[kind][0];
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &s->places[kind][i];
        if (strcmp(p->name, name) == 0)
            return p;
        if (total(p) < total(least))
            least = p;
    }
    least->excess = total(least);
    (void)snprintf(least->name, sizeof(least->name), "%s", name);
    return least;
}

void spenders_note(struct spenders *s, enum spender_kind kind, const char *name)
{
    if (!*name)
        return;
    (void)pthread_mutex_lock(&s->lock);
    go_to_now(s);
    find_place(s, kind, name)->hours[s->hour % SPENDERS_HOURS]++;
    (void)pthread_mutex_unlock(&s->lock);
}

static int compare(const void *a, const void *b)
{
    const struct spender *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->name, y->name);
}

size_t spenders_top(struct spenders *s, enum spender_kind kind, struct spender *ret_top, size_t max)
{
    AUTO_FREE struct spender *all = calloc(PLACES, sizeof(*all));
    size_t count = 0;
    if (!all)
        return 0;
    (void)pthread_mutex_lock(&s->lock);
    go_to_now(s);
    for (size_t i = 0; i < PLACES; i++) {
        const struct place *p = &s->places[kind][i];
        if (!*p->name)
            continue;
        all[count] = (struct spender){.count = total(p), .excess = p->excess};
        memcpy(all[count++].name, p->name, sizeof(p->name));
    }
    (void)pthread_mutex_unlock(&s->lock);
    qsort(all, count, sizeof(*all), compare);
    count = count < max ? count : max;
    memcpy(ret_top, all, count * sizeof(*all));
    return count;
}
