#include "upstream/ledger.h"

#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* A host that said that it is asked too much. */
struct host_pace {
    struct list link;
    char *origin;
    struct pace pace;
};

void ledger_init(struct ledger *l)
{
    *l = (struct ledger){0};
    (void)pthread_mutex_init(&l->lock, NULL);
    list_init(&l->accounts);
    list_init(&l->healths);
    list_init(&l->hosts);
    if (getrandom(&l->random, sizeof(l->random), 0) != sizeof(l->random))
        l->random = (uint64_t)(uintptr_t)l;
}

static void forget_host(struct ledger *l, struct host_pace *h)
{
    list_remove(&h->link);
    l->host_count--;
    free(h->origin);
    free(h);
}

void ledger_finish(struct ledger *l)
{
    while (!list_empty(&l->hosts))
        forget_host(l, CONTAINER_OF(l->hosts.next, struct host_pace, link));
    (void)pthread_mutex_destroy(&l->lock);
}

void ledger_lock(struct ledger *l)
{
    (void)pthread_mutex_lock(&l->lock);
}

void ledger_unlock(struct ledger *l)
{
    (void)pthread_mutex_unlock(&l->lock);
}

/* ------------------------------------------------------------------ accounts */

struct account *ledger_find_account(struct ledger *l, const char *origin, const char *name)
{
    for (struct list *i = l->accounts.next; i != &l->accounts; i = i->next) {
        struct account *a = CONTAINER_OF(i, struct account, link);
        if (strcmp(a->origin, origin) == 0 && strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

static void destroy_account(struct account *a)
{
    if (!a)
        return;
    list_remove(&a->link);
    free(a->origin);
    free(a->name);
    free(a);
}

static struct account *create_account(const char *origin, const char *name)
{
    struct account *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    list_init(&a->link);
    list_init(&a->waiters);
    budget_init(&a->budget);
    a->origin = strdup(origin);
    a->name = strdup(name);
    if (a->origin && a->name)
        return a;
    destroy_account(a);
    return NULL;
}

struct account *ledger_account(struct ledger *l, const char *origin, const char *name)
{
    ledger_lock(l);
    struct account *a = ledger_find_account(l, origin, name);
    if (!a && (a = create_account(origin, name)))
        list_append(&l->accounts, &a->link);
    if (a)
        a->users++;
    ledger_unlock(l);
    return a;
}

void ledger_leave_account(struct ledger *l, struct account *a)
{
    if (!a)
        return;
    ledger_lock(l);
    if (--a->users == 0)
        destroy_account(a);
    ledger_unlock(l);
}

/* ------------------------------------------------------------------ sources */

static struct health *find_health(struct ledger *l, const char *key)
{
    for (struct list *i = l->healths.next; i != &l->healths; i = i->next) {
        struct health *h = CONTAINER_OF(i, struct health, link);
        if (strcmp(h->key, key) == 0)
            return h;
    }
    return NULL;
}

struct health *ledger_health(struct ledger *l, const char *registry, const char *source, const char *origin)
{
    AUTO_FREE char *key = NULL;
    if (asprintf(&key, "%s %s %s", registry, source, origin) < 0) {
        key = NULL;
        return NULL;
    }
    ledger_lock(l);
    struct health *h = find_health(l, key);
    if (!h && (h = calloc(1, sizeof(*h)))) {
        h->key = TAKE_PTR(key);
        list_append(&l->healths, &h->link);
    }
    if (h)
        h->users++;
    ledger_unlock(l);
    return h;
}

void ledger_leave_health(struct ledger *l, struct health *h)
{
    if (!h)
        return;
    ledger_lock(l);
    if (--h->users == 0) {
        list_remove(&h->link);
        free(h->key);
        free(h);
    }
    ledger_unlock(l);
}

/* ------------------------------------------------------------------ hosts */

struct pace *ledger_pace(struct ledger *l, const char *origin, bool make, int64_t now)
{
    struct host_pace *h, *found = NULL;
    for (struct list *i = l->hosts.next, *next; i != &l->hosts; i = next) {
        next = i->next;
        h = CONTAINER_OF(i, struct host_pace, link);
        if (strcmp(h->origin, origin) == 0)
            found = h;
        else if (pace_is_free(&h->pace, now))
            forget_host(l, h);
    }
    if (found || !make || l->host_count >= LIMIT_PACED_HOSTS)
        return found ? &found->pace : NULL;
    h = calloc(1, sizeof(*h));
    if (!h || !(h->origin = strdup(origin))) {
        free(h);
        return NULL;
    }
    list_append(&l->hosts, &h->link);
    l->host_count++;
    return &h->pace;
}

/* splitmix64: for jitter, nothing else. */
uint64_t ledger_random(struct ledger *l)
{
    uint64_t z = l->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
