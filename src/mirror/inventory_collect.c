/* What is of no use to anybody, found a page at a time; what goes is looked at again by the keeper. */
#include "mirror/digest_key.h"
#include "mirror/digest_set.h"
#include "mirror/image.h"
#include "mirror/inventory.h"
#include "mirror/pins.h"
#include "mirror/state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 128
/* Younger ones may be on their way to a manifest that names them, or to a client that comes back. */
#define UNUSED_MS (60 * CLOCK_MINUTE)
#define UNFINISHED_MS (24 * 60 * CLOCK_MINUTE)
#define PARTIALS_MAX 4096
#define PINS_MAX 1024

struct collection {
    struct mirror *m;
    bool dry_run;
    struct digest_set pinned;
    int64_t now, known_since;
    struct inventory_garbage garbage;
    /* of the page */
    struct blobstore_info page[PAGE];
    size_t count;
    bool goes[PAGE];
};

static void collection_destroy(struct collection *c)
{
    if (!c)
        return;
    digest_set_finish(&c->pinned);
    free(c);
}
AUTO_DEFINE(struct collection, collection_destroy);

/* ------------------------------------------------------------------ blobs */

/* A document is a thing of its own: a manifest, a list. */
static bool is_document(struct mirror *m, const struct digest *digest)
{
    AUTO_BUF struct buf type = BUF_INIT(BLOBSTORE_VALUE_MAX);
    uint8_t key[DIGEST_KEY_MAX];
    return blobstore_record_get(m->store, BLOBSTORE_MANIFESTS, key, digest_key_encode(digest, key), &type) != -ENOENT;
}

/* 1: it is of no use. */
static int is_garbage(struct collection *c, const struct blobstore_info *info)
{
    if (c->now - info->used_at < UNUSED_MS || c->now - info->stored_at < UNUSED_MS ||
        digest_set_has(&c->pinned, &info->digest) || uses_has(c->m->uses, &info->digest) ||
        is_document(c->m, &info->digest))
        return 0;
    int r = image_is_needed(c->m->store, &info->digest, NULL);
    return r < 0 ? r : !r;
}

/* Of an index that was made anew, nothing that is older than it is known to be of no use. */
static int look(struct collection *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct blobstore_info *info = &c->page[i];
        int r = is_garbage(c, info);
        if (r < 0)
            return r;
        c->goes[i] = r && info->stored_at >= c->known_since;
        if (r && !c->goes[i]) {
            c->garbage.unknown++;
            c->garbage.unknown_bytes += info->file_size;
        }
    }
    return 0;
}

/* On the keeper's thread: what is still of no use goes. */
static int run_removal(void *arg, struct blobstore_batch *batch)
{
    struct collection *c = arg;
    for (size_t i = 0; i < c->count; i++) {
        struct blobstore_info now;
        c->goes[i] =
            c->goes[i] && blobstore_stat(c->m->store, &c->page[i].digest, &now) == 0 && is_garbage(c, &now) == 1;
        if (c->goes[i])
            blobstore_batch_remove(batch, &c->page[i].digest);
    }
    return 0;
}

static int take_page(struct collection *c)
{
    bool any = false;
    int r = look(c);
    for (size_t i = 0; i < c->count; i++)
        any = any || c->goes[i];
    if (r == 0 && any && !c->dry_run)
        r = keeper_run(c->m->keeper, run_removal, c);
    for (size_t i = 0; r == 0 && i < c->count; i++) {
        if (!c->goes[i])
            continue;
        c->garbage.blobs++;
        c->garbage.blob_bytes += c->page[i].file_size;
        if (!c->dry_run)
            uses_note_removed(c->m->uses, &c->page[i].digest, c->page[i].file_size);
    }
    return r;
}

static int collect_blobs(struct collection *c)
{
    struct digest last;
    const struct digest *after = NULL;
    int r;
    do {
        memset(c->goes, 0, sizeof(c->goes));
        r = blobstore_list(c->m->store, after, c->page, PAGE, &c->count);
        if (r == 0)
            r = take_page(c);
        if (c->count > 0)
            last = c->page[c->count - 1].digest;
        after = &last;
    } while (r == 0 && c->count == PAGE);
    return r;
}

/* ------------------------------------------------------------------ partial files */

struct unfinished {
    int64_t now;
    size_t count;
    struct digest digests[PARTIALS_MAX];
    uint64_t bytes;
};

static int take_partial(void *arg, const struct blobstore_partial *p)
{
    struct unfinished *u = arg;
    if (p->is_open || u->now - p->written_at < UNFINISHED_MS)
        return 0;
    u->digests[u->count++] = p->digest;
    u->bytes += p->size;
    return u->count == PARTIALS_MAX;
}

static int collect_partials(struct collection *c)
{
    AUTO_FREE struct unfinished *u = calloc(1, sizeof(*u));
    if (!u)
        return -ENOMEM;
    u->now = c->now;
    int r = blobstore_each_partial(c->m->store, take_partial, u);
    if (r < 0)
        return r;
    c->garbage.partials = u->count;
    c->garbage.partial_bytes = u->bytes;
    for (size_t i = 0; !c->dry_run && i < u->count; i++) {
        r = blobstore_discard_partial(c->m->store, &u->digests[i]);
        (void)r; /* somebody goes on with it, or has */
    }
    return 0;
}

/* ------------------------------------------------------------------ pins */

struct expired {
    int64_t now;
    size_t count;
    struct {
        uint8_t key[BLOBSTORE_KEY_MAX];
        size_t len;
    } keys[PINS_MAX];
};

static int take_expired(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct expired *e = arg;
    struct pin pin;
    if (pin_decode(key, key_len, value, value_len, &pin) < 0 || pin.expires_at == 0 || pin.expires_at > e->now)
        return 0;
    memcpy(e->keys[e->count].key, key, key_len);
    e->keys[e->count].len = key_len;
    return ++e->count == PINS_MAX;
}

static int run_unpin(void *arg, struct blobstore_batch *batch)
{
    const struct expired *e = arg;
    for (size_t i = 0; i < e->count; i++)
        blobstore_batch_delete(batch, BLOBSTORE_PINS, e->keys[i].key, e->keys[i].len);
    return 0;
}

static int collect_pins(struct collection *c)
{
    AUTO_FREE struct expired *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->now = c->now;
    int r = blobstore_record_scan(c->m->store, BLOBSTORE_PINS, NULL, 0, take_expired, e);
    if (r < 0)
        return r;
    c->garbage.pins = e->count;
    return c->dry_run || e->count == 0 ? 0 : keeper_run(c->m->keeper, run_unpin, e);
}

int inventory_collect(struct mirror *m, bool dry_run, struct inventory_garbage *ret_garbage)
{
    AUTO(auto_collection_destroy) struct collection *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->m = m;
    c->dry_run = dry_run;
    c->now = clock_real_ms();
    c->known_since = privacy_since(m->privacy);
    int r = collect_pins(c);
    if (r == 0)
        r = pins_resolve(m->store, c->now, &c->pinned);
    if (r == 0)
        r = collect_blobs(c);
    if (r == 0)
        r = collect_partials(c);
    if (r == 0)
        r = blobstore_quarantine(m->store, !dry_run, &c->garbage.quarantined, &c->garbage.quarantine_bytes);
    if (!dry_run)
        evictor_sweep(m->evictor);
    if (r == 0)
        *ret_garbage = c->garbage;
    return r;
}
