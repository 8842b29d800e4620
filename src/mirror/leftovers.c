#include "mirror/leftovers.h"

#include "base/clock.h"

#include <string.h>

#define OLD_MS (7 * 24 * 60 * CLOCK_MINUTE)

static int take(void *arg, const struct blobstore_partial *p)
{
    struct leftovers *l = arg;
    if (p->is_open) {
        l->running += p->size;
        return 0;
    }
    l->bytes += p->size;
    size_t at = l->count;
    while (at > 0 && l->eldest[at - 1].written_at > p->written_at)
        at--;
    if (at == LEFTOVERS_MAX)
        return 0;
    if (l->count < LEFTOVERS_MAX)
        l->count++;
    memmove(&l->eldest[at + 1], &l->eldest[at], (l->count - 1 - at) * sizeof(l->eldest[0]));
    l->eldest[at] = *p;
    return 0;
}

int leftovers_look(struct blobstore *store, struct leftovers *ret_leftovers)
{
    *ret_leftovers = (struct leftovers){0};
    return blobstore_each_partial(store, take, ret_leftovers);
}

bool leftover_is_old(const struct blobstore_partial *partial, int64_t now)
{
    return now - partial->written_at >= OLD_MS;
}
