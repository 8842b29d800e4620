#include "server/crowd.h"

#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS 1024 /* a power of two */

struct one {
    struct one *next;
    unsigned count; /* never 0 */
    char address[];
};

struct crowd {
    unsigned most; /* set at create; never 0 */
    pthread_mutex_t lock;
    struct one *chains[CHAINS]; /* under lock; there are no more than connections */
};

int crowd_create(unsigned most, struct crowd **ret_crowd)
{
    struct crowd *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->most = most;
    (void)pthread_mutex_init(&c->lock, NULL);
    *ret_crowd = c;
    return 0;
}

void crowd_destroy(struct crowd *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CHAINS; i++) {
        for (struct one *o = c->chains[i], *next; o; o = next) {
            next = o->next;
            free(o);
        }
    }
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct one **find(struct crowd *c, const char *address)
{
    struct one **at = &c->chains[hash_string(address) & (CHAINS - 1)];
    while (*at && strcmp((*at)->address, address) != 0)
        at = &(*at)->next;
    return at;
}

bool crowd_enter(struct crowd *c, const char *address)
{
    (void)pthread_mutex_lock(&c->lock);
    struct one **at = find(c, address);
    const size_t size = strlen(address) + 1;
    if (!*at && (*at = calloc(1, sizeof(**at) + size)))
        memcpy((*at)->address, address, size);
    bool enters = *at && (*at)->count < c->most;
    if (enters)
        (*at)->count++;
    (void)pthread_mutex_unlock(&c->lock);
    return enters;
}

void crowd_leave(struct crowd *c, const char *address)
{
    (void)pthread_mutex_lock(&c->lock);
    struct one **at = find(c, address), *one = *at;
    assert(one && one->count > 0);
    if (--one->count == 0) {
        *at = one->next;
        free(one);
    }
    (void)pthread_mutex_unlock(&c->lock);
}
