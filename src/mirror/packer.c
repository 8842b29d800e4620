#include "mirror/packer.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/uses.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 64
/* How soon what has been published is looked for. */
#define REST_MS CLOCK_SECOND
/* After all of the store has been looked through. */
#define ROUND_REST_MS (10 * CLOCK_MINUTE)
#define ERROR_REST_MS (30 * CLOCK_SECOND)

struct packer {
    /* set at create */
    struct blobstore *store;
    struct uses *uses;
    atomic_bool is_on;
    atomic_bool is_stirred;
    /* of the keeper's thread */
    int64_t next_at, round_at; /* monotonic ms: nothing, and no round, before */
    struct blobstore_packing *packing;
    struct blobstore_info info; /* of the blob that is being packed */
    struct digest last;         /* that the round has looked at; DIGEST_NONE: it begins */
};

int packer_create(struct blobstore *store, struct uses *uses, struct packer **ret_packer)
{
    struct packer *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->store = store;
    p->uses = uses;
    *ret_packer = p;
    return 0;
}

void packer_destroy(struct packer *p)
{
    if (!p)
        return;
    blobstore_pack_close(p->packing);
    free(p);
}

void packer_configure(struct packer *p, const struct config *config)
{
    atomic_store(&p->is_on, config->store.compression == CONFIG_COMPRESSION_ZSTD);
    atomic_store(&p->is_stirred, true);
}

/* ------------------------------------------------------------------ one blob */

/* 1: it is being packed from now on. */
static int open_blob(struct packer *p, const struct digest *digest)
{
    int r = blobstore_stat(p->store, digest, &p->info);
    if (r == 0)
        r = blobstore_pack_begin(p->store, digest, PACK_LEVEL, &p->packing);
    if (r == 0)
        return 1;
    return r == -ENOENT || r == -EALREADY || r == -ESTALE ? 0 : r; /* it is as good as it gets, or gone */
}

static void conclude(struct packer *p)
{
    char text[DIGEST_TEXT_MAX];
    uint64_t saved = blobstore_pack_saved(p->packing);
    if (saved == 0)
        return;
    uses_note_removed(p->uses, &p->info.digest, p->info.file_size);
    metrics_add(METRIC_PACKED_BLOBS, 1, NO_LABELS);
    metrics_add(METRIC_PACKED_SAVED, (int64_t)saved, NO_LABELS);
    log_event(LOG_DEBUG, "packed", LOG_S("digest", digest_format(&p->info.digest, text)), LOG_U("bytes", p->info.size),
              LOG_U("saved", saved));
}

static int pack(struct packer *p)
{
    int r = blobstore_pack_step(p->packing);
    if (r > 0)
        return 0;
    if (r == 0)
        conclude(p);
    blobstore_pack_close(TAKE_PTR(p->packing));
    return r == -ESTALE ? 0 : r;
}

/* ------------------------------------------------------------------ which one */

/* A page of the store. */
static int look(struct packer *p)
{
    struct blobstore_info page[PAGE];
    size_t count, i;
    int r = blobstore_list(p->store, p->last.algorithm ? &p->last : NULL, page, PAGE, &count);
    if (r < 0)
        return r;
    for (i = 0; r == 0 && i < count; i++) {
        p->last = page[i].digest;
        r = page[i].may_be_packed ? open_blob(p, &page[i].digest) : 0;
    }
    if (r == 0 && count < PAGE) {
        p->last = (struct digest){0};
        p->round_at = clock_monotonic_ms() + ROUND_REST_MS;
    }
    return r;
}

/* 1: there may be more. */
static int step(struct packer *p, int64_t now)
{
    struct digest digest;
    if (p->packing) {
        int r = pack(p);
        return r < 0 ? r : 1;
    }
    if (blobstore_next_to_pack(p->store, &digest) == 0) {
        int r = open_blob(p, &digest);
        return r < 0 ? r : 1;
    }
    if (now < p->round_at)
        return 0;
    int r = look(p);
    return r < 0 ? r : 1;
}

int64_t packer_step(struct packer *p)
{
    int64_t now = clock_monotonic_ms();
    if (atomic_exchange(&p->is_stirred, false))
        p->next_at = now;
    if (now < p->next_at)
        return p->next_at - now;
    if (!atomic_load(&p->is_on)) {
        blobstore_pack_close(TAKE_PTR(p->packing));
        p->next_at = now + ROUND_REST_MS; /* it is stirred before, where it is wanted */
        return ROUND_REST_MS;
    }
    int r = step(p, now);
    if (r < 0)
        log_event(LOG_WARN, "not_packed", LOG_S("error", strerrorname_np(-r)));
    int64_t took = clock_monotonic_ms() - now;
    int64_t rest = r < 0 ? ERROR_REST_MS : r > 0 ? took : REST_MS;
    p->next_at = now + took + rest;
    return rest;
}
