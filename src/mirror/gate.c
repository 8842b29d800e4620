#include "mirror/gate.h"

#include "base/clock.h"

#include <assert.h>
#include <time.h>

static void unlink_waiter(struct gate *g, struct waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        g->waiting = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->prev = w->next = NULL;
    w->due = 0;
}

/* Wakes those whose time has come, all of them when nothing may wait; the next due time. */
static int64_t wake_due(struct gates *all, int64_t now)
{
    int64_t next = now + GATE_PATIENCE_MS;
    bool cut = all->cut;
    (void)pthread_mutex_lock(&all->lock);
    for (struct gate *g = all->first; g; g = g->next) {
        (void)pthread_mutex_lock(&g->lock);
        for (struct waiter *w = g->waiting, *after; w; w = after) {
            after = w->next;
            if (cut || w->due <= now) {
                unlink_waiter(g, w);
                w->call.wake(w->call.arg);
            } else if (w->due < next) {
                next = w->due;
            }
        }
        (void)pthread_mutex_unlock(&g->lock);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return next;
}

static void *gates_thread(void *arg)
{
    struct gates *all = arg;
    (void)pthread_mutex_lock(&all->alarm_lock);
    while (!all->stopping) {
        int64_t now = clock_monotonic_ms();
        if (all->next > now) {
            struct timespec until = {.tv_sec = all->next / 1000, .tv_nsec = all->next % 1000 * 1000000};
            (void)pthread_cond_timedwait(&all->alarm, &all->alarm_lock, &until);
            continue;
        }
        all->next = now + GATE_PATIENCE_MS; /* whoever comes during the round may bring it forward */
        (void)pthread_mutex_unlock(&all->alarm_lock);
        int64_t next = wake_due(all, now);
        (void)pthread_mutex_lock(&all->alarm_lock);
        if (next < all->next)
            all->next = next;
    }
    (void)pthread_mutex_unlock(&all->alarm_lock);
    return NULL;
}

int gates_start(struct gates *all)
{
    pthread_condattr_t attr;
    *all = (struct gates){.next = clock_monotonic_ms() + GATE_PATIENCE_MS};
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_mutex_init(&all->alarm_lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&all->alarm, &attr);
    (void)pthread_condattr_destroy(&attr);
    int r = pthread_create(&all->thread, NULL, gates_thread, all);
    all->running = r == 0;
    return -r;
}

static void ring(struct gates *all, int64_t when)
{
    (void)pthread_mutex_lock(&all->alarm_lock);
    if (when < all->next) {
        all->next = when;
        (void)pthread_cond_signal(&all->alarm);
    }
    (void)pthread_mutex_unlock(&all->alarm_lock);
}

void gates_cut(struct gates *all)
{
    all->cut = true;
    (void)wake_due(all, clock_monotonic_ms());
}

bool gates_are_cut(const struct gates *all)
{
    return all->cut;
}

void gates_stop(struct gates *all)
{
    if (all->running) {
        (void)pthread_mutex_lock(&all->alarm_lock);
        all->stopping = true;
        (void)pthread_cond_signal(&all->alarm);
        (void)pthread_mutex_unlock(&all->alarm_lock);
        (void)pthread_join(all->thread, NULL);
        all->running = false;
    }
    assert(!all->first);
    (void)pthread_cond_destroy(&all->alarm);
    (void)pthread_mutex_destroy(&all->alarm_lock);
    (void)pthread_mutex_destroy(&all->lock);
}

void gate_init(struct gate *g, struct gates *all)
{
    *g = (struct gate){.all = all};
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_mutex_lock(&all->lock);
    g->next = all->first;
    if (g->next)
        g->next->prev = g;
    all->first = g;
    (void)pthread_mutex_unlock(&all->lock);
}

void gate_finish(struct gate *g)
{
    struct gates *all = g->all;
    (void)pthread_mutex_lock(&all->lock);
    if (g->prev)
        g->prev->next = g->next;
    else
        all->first = g->next;
    if (g->next)
        g->next->prev = g->prev;
    (void)pthread_mutex_unlock(&all->lock);
    assert(!g->waiting);
    (void)pthread_mutex_destroy(&g->lock);
}

void gate_lock(struct gate *g)
{
    (void)pthread_mutex_lock(&g->lock);
}

void gate_unlock(struct gate *g)
{
    (void)pthread_mutex_unlock(&g->lock);
}

bool gate_wait(struct gate *g, struct waiter *w, int64_t due)
{
    assert(!w->due);
    if (g->all->cut)
        return false;
    int64_t latest = clock_monotonic_ms() + GATE_PATIENCE_MS;
    w->due = due < latest ? due : latest;
    w->gate = g;
    w->prev = NULL;
    w->next = g->waiting;
    if (w->next)
        w->next->prev = w;
    g->waiting = w;
    w->call.suspend(w->call.arg);
    ring(g->all, w->due);
    return true;
}

void gate_wake(struct gate *g)
{
    for (struct waiter *w = g->waiting; w; w = g->waiting) {
        unlink_waiter(g, w);
        w->call.wake(w->call.arg);
    }
}

void gate_forget(struct waiter *w)
{
    if (!w->gate)
        return;
    gate_lock(w->gate);
    if (w->due)
        unlink_waiter(w->gate, w);
    gate_unlock(w->gate);
    w->gate = NULL;
}
