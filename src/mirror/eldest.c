#include "mirror/eldest.h"

#include <assert.h>
#include <stdlib.h>

void eldest_clear(struct eldest *e)
{
    e->count = 0;
}

bool eldest_wants(const struct eldest *e, int64_t used_at)
{
    return e->count < ELDEST_MAX || used_at < e->heap[0].used_at;
}

static void swap(struct elder *a, struct elder *b)
{
    struct elder was = *a;
    *a = *b;
    *b = was;
}

static void rise(struct eldest *e, size_t at)
{
    for (size_t parent; at > 0 && e->heap[parent = (at - 1) / 2].used_at < e->heap[at].used_at; at = parent)
        swap(&e->heap[parent], &e->heap[at]);
}

static void sink(struct eldest *e, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < e->count; at = child) {
        if (child + 1 < e->count && e->heap[child + 1].used_at > e->heap[child].used_at)
            child++;
        if (e->heap[child].used_at <= e->heap[at].used_at)
            return;
        swap(&e->heap[child], &e->heap[at]);
    }
}

void eldest_offer(struct eldest *e, const struct digest *digest, int64_t used_at)
{
    if (!eldest_wants(e, used_at))
        return;
    const struct elder elder = {.digest = *digest, .used_at = used_at};
    if (e->count < ELDEST_MAX) {
        e->heap[e->count] = elder;
        rise(e, e->count++);
    } else {
        e->heap[0] = elder;
        sink(e, 0);
    }
}

static int by_age(const void *a, const void *b)
{
    const struct elder *x = a, *y = b;
    return (x->used_at > y->used_at) - (x->used_at < y->used_at);
}

void eldest_sort(struct eldest *e)
{
    qsort(e->heap, e->count, sizeof(e->heap[0]), by_age);
}
