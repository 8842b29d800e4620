#include "mirror/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    /* under lock */
    struct work *first, **last;
    unsigned busy; /* threads that run something, which may post more */
    atomic_bool stopping;
    /* set at create */
    unsigned count;
    pthread_t threads[];
};

static void *workers_thread(void *arg)
{
    struct workers *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        struct work *work = w->first;
        if (!work) {
            if (w->stopping && w->busy == 0)
                break;
            (void)pthread_cond_wait(&w->stirred, &w->lock);
            continue;
        }
        w->first = work->next;
        if (!w->first)
            w->last = &w->first;
        work->next = NULL;
        w->busy++;
        (void)pthread_mutex_unlock(&w->lock);
        work->run(work);
        (void)pthread_mutex_lock(&w->lock);
        w->busy--;
    }
    (void)pthread_cond_broadcast(&w->stirred);
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

int workers_start(unsigned threads, struct workers **ret_workers)
{
    struct workers *w = calloc(1, sizeof(*w) + threads * sizeof(w->threads[0]));
    if (!w)
        return -ENOMEM;
    w->last = &w->first;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->stirred, NULL);
    for (; w->count < threads; w->count++) {
        int r = pthread_create(&w->threads[w->count], NULL, workers_thread, w);
        if (r) {
            workers_stop(w);
            return -r;
        }
    }
    *ret_workers = w;
    return 0;
}

void workers_post(struct workers *w, struct work *work)
{
    (void)pthread_mutex_lock(&w->lock);
    work->next = NULL;
    *w->last = work;
    w->last = &work->next;
    (void)pthread_cond_signal(&w->stirred);
    (void)pthread_mutex_unlock(&w->lock);
}

bool workers_are_stopping(const struct workers *w)
{
    return w->stopping;
}

void workers_stop(struct workers *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    (void)pthread_cond_broadcast(&w->stirred);
    (void)pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->count; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_cond_destroy(&w->stirred);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
