#include "blobstore/lost.h"

#include <errno.h>

void lost_init(struct lost *l)
{
    l->first = l->count = 0;
    (void)pthread_mutex_init(&l->lock, NULL);
}

void lost_finish(struct lost *l)
{
    (void)pthread_mutex_destroy(&l->lock);
}

static void drop_first(struct lost *l)
{
    l->first = (l->first + 1) % LOST_MAX;
    l->count--;
}

void lost_add(struct lost *l, const struct digest *digest)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->count == LOST_MAX)
        drop_first(l);
    l->digests[(l->first + l->count++) % LOST_MAX] = *digest;
    (void)pthread_mutex_unlock(&l->lock);
}

int lost_take(struct lost *l, struct digest *ret_digest)
{
    int r = -ENOENT;
    (void)pthread_mutex_lock(&l->lock);
    if (l->count > 0) {
        *ret_digest = l->digests[l->first];
        drop_first(l);
        r = 0;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return r;
}
