#include "admin/handler.h"

#include "base/clock.h"
#include "base/limits.h"
#include "mirror/seeding.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int admin_create(const struct admin_options *options, struct admin **ret_admin)
{
    struct admin *a = calloc(1, sizeof(*a));
    pthread_condattr_t attr;
    if (!a || pthread_condattr_init(&attr) != 0) {
        free(a);
        return -ENOMEM;
    }
    *a = (struct admin){
        .store = options->store,
        .upstream = options->upstream,
        .mirror = options->mirror,
        .started_at = clock_real_ms(),
        .config = options->config,
    };
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_rwlock_init(&a->config_lock, NULL);
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_mutex_init(&a->seeds_lock, NULL);
    (void)pthread_cond_init(&a->cut_now, &attr);
    (void)pthread_condattr_destroy(&attr);
    int r = backups_create(a, &a->backups);
    if (r < 0) {
        admin_destroy(a);
        return r;
    }
    *ret_admin = a;
    return 0;
}

void admin_reload(struct admin *a, const struct config *config)
{
    (void)pthread_rwlock_wrlock(&a->config_lock);
    a->config = config;
    (void)pthread_rwlock_unlock(&a->config_lock);
}

const struct config *admin_hold_config(struct admin *a)
{
    (void)pthread_rwlock_rdlock(&a->config_lock);
    return a->config;
}

void admin_release_config(struct admin *a)
{
    (void)pthread_rwlock_unlock(&a->config_lock);
}

void admin_cut(struct admin *a)
{
    (void)pthread_mutex_lock(&a->lock);
    a->cut = true;
    (void)pthread_cond_broadcast(&a->cut_now);
    (void)pthread_mutex_unlock(&a->lock);
    if (a->mirror)
        seeding_cut(a->mirror);
}

bool admin_wait(struct admin *a, int64_t ms)
{
    int64_t when = clock_monotonic_ms() + ms;
    const struct timespec until = {.tv_sec = when / 1000, .tv_nsec = when % 1000 * 1000000};
    (void)pthread_mutex_lock(&a->lock);
    while (!a->cut && pthread_cond_timedwait(&a->cut_now, &a->lock, &until) == 0)
        ;
    bool goes_on = !a->cut;
    (void)pthread_mutex_unlock(&a->lock);
    return goes_on;
}

void admin_destroy(struct admin *a)
{
    if (!a)
        return;
    backups_destroy(a->backups);
    (void)pthread_cond_destroy(&a->cut_now);
    (void)pthread_mutex_destroy(&a->lock);
    (void)pthread_mutex_destroy(&a->seeds_lock);
    (void)pthread_rwlock_destroy(&a->config_lock);
    free(a);
}

void admin_audit(const struct admin_request *request, const char *action, const char *what, const char *result)
{
    log_event(LOG_NOTICE, "audit", LOG_S("who", request->who), LOG_S("action", action), LOG_S("what", what),
              LOG_S("result", result));
}
