#include "upstream/timers.h"

#include <stddef.h>

static struct timer *meld(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->due < a->due) {
        struct timer *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* The children of a removed root as one heap: pairs from left to right, then what came out from right to left. */
static struct timer *meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL, *heap = NULL;
    while (first) {
        struct timer *a = first, *b = first->next;
        first = b ? b->next : NULL;
        a->prev = a->next = NULL;
        if (b)
            b->prev = b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct timer *t = pairs;
        pairs = t->next;
        t->next = NULL;
        heap = meld(heap, t);
    }
    return heap;
}

void timer_clear(struct timers *h, struct timer *t)
{
    if (!t->set)
        return;
    struct timer *below = meld_siblings(t->child);
    if (t == h->root) {
        h->root = below;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        h->root = meld(h->root, below);
    }
    t->child = t->next = t->prev = NULL;
    t->set = false;
}

void timer_set(struct timers *h, struct timer *t, int64_t due)
{
    timer_clear(h, t);
    t->due = due;
    t->set = true;
    h->root = meld(h->root, t);
}

int64_t timers_next(const struct timers *h)
{
    return h->root ? h->root->due : INT64_MAX;
}

void timers_run(struct timers *h, int64_t now)
{
    while (h->root && h->root->due <= now) {
        struct timer *t = h->root;
        timer_clear(h, t);
        t->fire(t);
    }
}
