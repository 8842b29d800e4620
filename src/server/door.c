#include "server/door.h"

#include "base/clock.h"
#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

int door_init(struct door *d, const struct config *config, struct mirror *mirror)
{
    *d = (struct door){.config = config, .mirror = mirror};
    if (getrandom(&d->boot, sizeof(d->boot), 0) != (ssize_t)sizeof(d->boot))
        return -EIO;
    if (config->server.tls.hsts_ms > 0)
        (void)snprintf(d->hsts, sizeof(d->hsts), "max-age=%lld",
                       (long long)(config->server.tls.hsts_ms / CLOCK_SECOND));
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return -ENOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->emptied, &attr);
    (void)pthread_condattr_destroy(&attr);
    return 0;
}

void door_finish(struct door *d)
{
    (void)pthread_mutex_destroy(&d->lock);
    (void)pthread_cond_destroy(&d->emptied);
}

void door_enter(struct door *d)
{
    d->active++;
}

void door_leave(struct door *d)
{
    /* door_drain() comes before the count is looked at, so that one of both sides sees the other. */
    if (--d->active == 0 && d->draining) {
        (void)pthread_mutex_lock(&d->lock);
        (void)pthread_cond_broadcast(&d->emptied);
        (void)pthread_mutex_unlock(&d->lock);
    }
}

void door_suspended(struct door *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->suspended++;
    (void)pthread_mutex_unlock(&d->lock);
}

void door_resumed(struct door *d)
{
    (void)pthread_mutex_lock(&d->lock);
    if (--d->suspended == 0)
        (void)pthread_cond_broadcast(&d->emptied);
    (void)pthread_mutex_unlock(&d->lock);
}

void door_drain(struct door *d)
{
    d->draining = true;
}

static struct timespec deadline(int64_t timeout_ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / CLOCK_SECOND;
    t.tv_nsec += timeout_ms % CLOCK_SECOND * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

unsigned door_wait_active(struct door *d, int64_t timeout_ms)
{
    const struct timespec until = deadline(timeout_ms);
    (void)pthread_mutex_lock(&d->lock);
    while (d->active > 0 && pthread_cond_timedwait(&d->emptied, &d->lock, &until) == 0)
        ;
    unsigned left = d->active;
    (void)pthread_mutex_unlock(&d->lock);
    return left;
}

unsigned door_wait_suspended(struct door *d, int64_t timeout_ms)
{
    const struct timespec until = deadline(timeout_ms);
    (void)pthread_mutex_lock(&d->lock);
    while (d->suspended > 0 && pthread_cond_timedwait(&d->emptied, &d->lock, &until) == 0)
        ;
    unsigned left = d->suspended;
    (void)pthread_mutex_unlock(&d->lock);
    return left;
}
