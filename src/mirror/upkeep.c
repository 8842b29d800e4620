/* What a backup needs of the mirror: that things stay, that damage is dealt with, that it is written down. */
#include "mirror/state.h"

#include "base/clock.h"
#include "base/limits.h"
#include "mirror/damage.h"

#include <string.h>

void mirror_hold_eviction(struct mirror *m, bool hold)
{
    evictor_hold(m->evictor, hold ? clock_monotonic_ms() + LIMIT_BACKUP_HOLD_MS : 0);
    keeper_hurry(m->keeper);
}

void mirror_report_damage(struct mirror *m, const struct digest *digest, int fd, const char *found)
{
    damage_report(m->keeper, m->store, digest, fd, found);
}

struct job {
    struct keeping keeping; /* first: it is found by its address */
    const char *name;
    const void *value;
    size_t len;
    pthread_mutex_t lock;
    pthread_cond_t kept;
    /* under lock */
    bool is_done;
    int result;
};

static void job_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct job *job = (struct job *)k;
    blobstore_batch_put(batch, BLOBSTORE_JOBS, job->name, strlen(job->name), job->value, job->len);
}

static void job_done(struct keeping *k, int result)
{
    struct job *job = (struct job *)k;
    (void)pthread_mutex_lock(&job->lock);
    job->is_done = true;
    job->result = result;
    (void)pthread_cond_signal(&job->kept);
    (void)pthread_mutex_unlock(&job->lock);
}

int mirror_put_job(struct mirror *m, const char *name, const void *value, size_t len)
{
    struct job job = {.keeping = {.add = job_add, .done = job_done}, .name = name, .value = value, .len = len};
    (void)pthread_mutex_init(&job.lock, NULL);
    (void)pthread_cond_init(&job.kept, NULL);
    keeper_post(m->keeper, &job.keeping);
    (void)pthread_mutex_lock(&job.lock);
    while (!job.is_done) /* the keeper keeps everything that was posted before it stops */
        (void)pthread_cond_wait(&job.kept, &job.lock);
    (void)pthread_mutex_unlock(&job.lock);
    (void)pthread_cond_destroy(&job.kept);
    (void)pthread_mutex_destroy(&job.lock);
    return job.result;
}
