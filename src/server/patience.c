#include "server/patience.h"

#include "base/hash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CORNERS 1024 /* a power of two */
#define PLACES 4     /* in each */

/* A token is so many parts, so that time fills buckets in small steps. */
#define PARTS 1000000000LL

struct place {
    uint8_t who[16];
    int64_t seen_ms; /* 0: nobody */
    int64_t parts;
};

struct patience {
    /* set at create */
    int64_t parts_a_ms, most;
    uint64_t salt; /* lest somebody choose addresses that share a corner */
    pthread_mutex_t lock;
    struct place places[CORNERS][PLACES]; /* under lock */
};

int patience_create(unsigned often, int64_t every_ms, unsigned burst, struct patience **ret_patience)
{
    struct patience *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    (void)pthread_mutex_init(&p->lock, NULL);
    p->parts_a_ms = often * PARTS / every_ms;
    if (p->parts_a_ms == 0)
        p->parts_a_ms = 1;
    p->most = burst * PARTS;
    p->salt = hash_bytes(&(uintptr_t){(uintptr_t)p}, sizeof(uintptr_t));
    *ret_patience = p;
    return 0;
}

void patience_destroy(struct patience *p)
{
    if (!p)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* One who has no address that can be read is one of them. */
static void read_address(const char *address, uint8_t who[16])
{
    memset(who, 0, 16);
    if (inet_pton(AF_INET6, address, who) == 1)
        memset(who + 8, 0, 8);
    else if (inet_pton(AF_INET, address, who + 12) == 1)
        who[11] = 1;
}

static struct place *find(struct patience *p, const uint8_t who[16], int64_t now_ms)
{
    uint8_t key[24];
    memcpy(key, &p->salt, 8);
    memcpy(key + 8, who, 16);
    struct place *corner = p->places[hash_bytes(key, sizeof(key)) & (CORNERS - 1)], *at = corner;
    for (size_t i = 0; i < PLACES; i++) {
        if (corner[i].seen_ms && memcmp(corner[i].who, who, 16) == 0)
            return &corner[i];
        if (corner[i].seen_ms < at->seen_ms)
            at = &corner[i];
    }
    *at = (struct place){.seen_ms = now_ms, .parts = p->most};
    memcpy(at->who, who, 16);
    return at;
}

/* What he has by now. */
static struct place *find_filled(struct patience *p, const char *address, int64_t now_ms)
{
    uint8_t who[16];
    read_address(address, who);
    struct place *at = find(p, who, now_ms);
    int64_t passed = now_ms - at->seen_ms, lacks = p->most - at->parts;
    at->parts = passed > lacks / p->parts_a_ms ? p->most : at->parts + passed * p->parts_a_ms;
    at->seen_ms = now_ms;
    return at;
}

int64_t patience_ask(struct patience *p, const char *address, int64_t now_ms, bool take)
{
    int64_t wait_ms = 0;
    (void)pthread_mutex_lock(&p->lock);
    struct place *at = find_filled(p, address, now_ms);
    if (at->parts < PARTS)
        wait_ms = (PARTS - at->parts + p->parts_a_ms - 1) / p->parts_a_ms;
    else if (take)
        at->parts -= PARTS;
    (void)pthread_mutex_unlock(&p->lock);
    return wait_ms;
}

void patience_charge(struct patience *p, const char *address, int64_t now_ms)
{
    (void)pthread_mutex_lock(&p->lock);
    struct place *at = find_filled(p, address, now_ms);
    if (at->parts > -PATIENCE_DEBT_MAX * PARTS)
        at->parts -= PARTS;
    (void)pthread_mutex_unlock(&p->lock);
}
