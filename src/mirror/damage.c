#include "mirror/damage.h"

#include "base/log.h"
#include "base/metrics.h"
#include "blobstore/blobstore.h"
#include "mirror/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct report {
    struct keeping keeping;
    struct blobstore *store;
    struct digest digest;
    int fd;
    const char *found; /* static */
    int64_t when;
};

void damage_note(const struct digest *digest, const char *found)
{
    char text[DIGEST_TEXT_MAX];
    metrics_add(METRIC_DAMAGED, 1, LABELS(found));
    log_event(LOG_ERROR, "damaged", LOG_S("digest", digest_format(digest, text)), LOG_S("found", found));
}

int damage_condemn(struct blobstore *store, const struct digest *digest, int fd, const char *found)
{
    int r = blobstore_condemn(store, digest, fd);
    if (r == -ENOENT)
        return r; /* somebody else has found it */
    damage_note(digest, found);
    if (r < 0)
        log_event(LOG_ERROR, "not_condemned", LOG_S("error", strerrorname_np(-r)));
    return r;
}

static void damage_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct report *r = (struct report *)k;
    (void)batch; /* at once, and not with it: the right bytes may come in the same one */
    (void)damage_condemn(r->store, &r->digest, r->fd, r->found);
}

static void rightness_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct report *r = (struct report *)k;
    blobstore_batch_verified(batch, &r->digest, r->when);
}

static void report_done(struct keeping *k, int result)
{
    struct report *r = (struct report *)k;
    (void)result; /* the next who looks finds the same */
    if (r->fd >= 0)
        (void)close(r->fd);
    free(r);
}

void damage_report(struct keeper *keeper, struct blobstore *store, const struct digest *digest, int fd,
                   const char *found)
{
    struct report *r = malloc(sizeof(*r));
    if (!r)
        return;
    *r = (struct report){.keeping = {.add = damage_add, .done = report_done},
                         .store = store,
                         .digest = *digest,
                         .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
                         .found = found};
    if (r->fd < 0)
        free(r);
    else
        keeper_post(keeper, &r->keeping);
}

void damage_report_none(struct keeper *keeper, const struct digest *digest, int64_t when)
{
    struct report *r = malloc(sizeof(*r));
    if (!r)
        return;
    *r = (struct report){
        .keeping = {.add = rightness_add, .done = report_done}, .digest = *digest, .fd = -1, .when = when};
    keeper_post(keeper, &r->keeping);
}
