/*
 *   state     login is held by                 left by
 *   QUEUED    its request, and the queue       a thread → CHECKED; login_close() → freed
 *   RUNNING   its request, and a thread        the thread → CHECKED; login_close(): the thread frees it
 *   CHECKED   its request                      login_close() → freed
 */
#include "server/logins.h"

#include "server/htpasswd.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum login_state { LOGIN_QUEUED, LOGIN_RUNNING, LOGIN_CHECKED };

struct login {
    struct logins *all;
    struct mirror_waiter waiter;
    char hash[HTPASSWD_HASH_MAX];
    char *password;
    /* under lock */
    struct login *next; /* in the queue, or among the busy */
    enum login_state state;
    bool waits; /* is suspended */
    bool left;  /* by its request */
    bool good;
};

struct logins {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[LOGINS_THREADS];
    unsigned running;
    /* under lock */
    struct login *first, **end;
    struct login *busy; /* with the threads now */
    unsigned queued;
    bool cut, stopping;
};

static void free_login(struct login *login)
{
    explicit_bzero(login->password, strlen(login->password));
    explicit_bzero(login->hash, sizeof(login->hash));
    free(login->password);
    free(login);
}

/* Returns where it was. */
static struct login **remove_from(struct login **list, struct login *login)
{
    while (*list != login)
        list = &(*list)->next;
    *list = login->next;
    return list;
}

static struct login *take_first(struct logins *l)
{
    while (!l->first && !l->stopping)
        (void)pthread_cond_wait(&l->changed, &l->lock);
    struct login *login = l->first;
    if (!login)
        return NULL;
    l->first = login->next;
    if (!l->first)
        l->end = &l->first;
    l->queued--;
    login->next = l->busy;
    l->busy = login;
    login->state = LOGIN_RUNNING;
    return login;
}

static void wake(struct login *login)
{
    if (login->waits)
        login->waiter.wake(login->waiter.arg);
    login->waits = false;
}

static void *run(void *arg)
{
    struct logins *l = arg;
    (void)pthread_mutex_lock(&l->lock);
    for (struct login *login; (login = take_first(l));) {
        (void)pthread_mutex_unlock(&l->lock);
        bool good = htpasswd_verify(login->hash, login->password);
        (void)pthread_mutex_lock(&l->lock);
        (void)remove_from(&l->busy, login);
        login->state = LOGIN_CHECKED;
        login->good = good;
        wake(login);
        if (login->left)
            free_login(login);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

int logins_create(struct logins **ret_logins)
{
    struct logins *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->end = &l->first;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->changed, NULL);
    for (; l->running < LOGINS_THREADS; l->running++) {
        int r = pthread_create(&l->threads[l->running], NULL, run, l);
        if (r != 0) {
            logins_destroy(l);
            return -r;
        }
    }
    *ret_logins = l;
    return 0;
}

void logins_cut(struct logins *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->cut = true;
    for (struct login *login = l->first; login; login = login->next)
        wake(login);
    for (struct login *login = l->busy; login; login = login->next)
        wake(login);
    (void)pthread_mutex_unlock(&l->lock);
}

void logins_destroy(struct logins *l)
{
    if (!l)
        return;
    (void)pthread_mutex_lock(&l->lock);
    l->stopping = true;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    while (l->running > 0)
        (void)pthread_join(l->threads[--l->running], NULL);
    (void)pthread_mutex_destroy(&l->lock);
    (void)pthread_cond_destroy(&l->changed);
    free(l);
}

int login_open(struct logins *l, const char *hash, const char *password, const struct mirror_waiter *waiter,
               struct login **ret_login)
{
    struct login *login = calloc(1, sizeof(*login));
    if (!login || !(login->password = strdup(password))) {
        free(login);
        return -ENOMEM;
    }
    login->all = l;
    login->waiter = *waiter;
    (void)snprintf(login->hash, sizeof(login->hash), "%s", hash);
    (void)pthread_mutex_lock(&l->lock);
    int r = l->cut ? -ECANCELED : l->queued >= LOGINS_MAX ? -EAGAIN : 0;
    if (r == 0) {
        *l->end = login;
        l->end = &login->next;
        l->queued++;
        (void)pthread_cond_signal(&l->changed);
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (r < 0)
        free_login(login);
    else
        *ret_login = login;
    return r;
}

int login_wait(struct login *login, bool *ret_good)
{
    struct logins *l = login->all;
    (void)pthread_mutex_lock(&l->lock);
    int r = login->state == LOGIN_CHECKED ? 0 : l->cut ? -ECANCELED : MIRROR_WAIT;
    if (r == 0) {
        *ret_good = login->good;
    } else if (r == MIRROR_WAIT) {
        login->waits = true;
        login->waiter.suspend(login->waiter.arg);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return r;
}

const char *login_hash(const struct login *login)
{
    return login->hash;
}

void login_close(struct login *login)
{
    if (!login)
        return;
    struct logins *l = login->all;
    (void)pthread_mutex_lock(&l->lock);
    enum login_state state = login->state;
    login->waits = false;
    login->left = true;
    if (state == LOGIN_QUEUED) {
        struct login **at = remove_from(&l->first, login);
        if (!*at)
            l->end = at;
        l->queued--;
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (state != LOGIN_RUNNING)
        free_login(login);
}
