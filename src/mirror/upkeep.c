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
    if (fd < 0)
        damage_note(digest, found);
    else
        damage_report(m->keeper, m->store, digest, fd, found);
}

struct job {
    const char *name;
    const void *value;
    size_t len;
};

static int put_job(void *arg, struct blobstore_batch *batch)
{
    const struct job *job = arg;
    blobstore_batch_put(batch, BLOBSTORE_JOBS, job->name, strlen(job->name), job->value, job->len);
    return 0;
}

int mirror_put_job(struct mirror *m, const char *name, const void *value, size_t len)
{
    struct job job = {.name = name, .value = value, .len = len};
    return keeper_run(m->keeper, put_job, &job);
}
