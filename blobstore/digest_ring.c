#include "blobstore/digest_ring.h"

#include <errno.h>

void digest_ring_init(struct digest_ring *r, struct digest *digests, size_t max)
{
    r->digests = digests;
    r->max = max;
    r->first = r->count = 0;
    (void)pthread_mutex_init(&r->lock, NULL);
}

void digest_ring_finish(struct digest_ring *r)
{
    (void)pthread_mutex_destroy(&r->lock);
}

static void drop_first(struct digest_ring *r)
{
    r->first = (r->first + 1) % r->max;
    r->count--;
}

void digest_ring_add(struct digest_ring *r, const struct digest *digest)
{
    (void)pthread_mutex_lock(&r->lock);
    if (r->count == r->max)
        drop_first(r);
    r->digests[(r->first + r->count++) % r->max] = *digest;
    (void)pthread_mutex_unlock(&r->lock);
}

int digest_ring_take(struct digest_ring *r, struct digest *ret_digest)
{
    int e = -ENOENT;
    (void)pthread_mutex_lock(&r->lock);
    if (r->count > 0) {
        *ret_digest = r->digests[r->first];
        drop_first(r);
        e = 0;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return e;
}
