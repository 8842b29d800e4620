#include "server/crowd.h"

#include "base/table.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct one {
    UT_hash_handle hh;
    unsigned count; /* never 0 */
    char address[];
};

struct crowd {
    unsigned most; /* set at create; never 0 */
    pthread_mutex_t lock;
    struct one *ones; /* under lock; there are no more than connections */
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
    struct one *one, *next;
    HASH_ITER(hh, c->ones, one, next)
    {
        HASH_DEL(c->ones, one);
        free(one);
    }
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Whom nobody knew is added; NULL: no memory. */
static struct one *find_or_add(struct crowd *c, const char *address)
{
    const size_t size = strlen(address) + 1;
    struct one *one;
    HASH_FIND_STR(c->ones, address, one);
    if (one)
        return one;
    one = calloc(1, sizeof(*one) + size);
    if (!one)
        return NULL;
    memcpy(one->address, address, size);
    HASH_ADD_STR(c->ones, address, one);
    if (TABLE_HAS(one))
        return one;
    free(one);
    return NULL;
}

bool crowd_enter(struct crowd *c, const char *address)
{
    (void)pthread_mutex_lock(&c->lock);
    struct one *one = find_or_add(c, address);
    bool enters = one && one->count < c->most;
    if (enters)
        one->count++;
    (void)pthread_mutex_unlock(&c->lock);
    return enters;
}

void crowd_leave(struct crowd *c, const char *address)
{
    struct one *one;
    (void)pthread_mutex_lock(&c->lock);
    HASH_FIND_STR(c->ones, address, one);
    assert(one && one->count > 0);
    if (--one->count == 0) {
        HASH_DEL(c->ones, one);
        free(one);
    }
    (void)pthread_mutex_unlock(&c->lock);
}
