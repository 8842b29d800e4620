#include "mirror/digest_set.h"
#include "mirror/image.h"
#include "mirror/inventory.h"
#include "mirror/pins.h"
#include "mirror/place_key.h"
#include "mirror/state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 256

/* ------------------------------------------------------------------ a walk through the pointers */

struct found {
    struct pointer_key key;
    struct pointer pointer;
};

/* Takes what `wants` wants, a step at a time. */
struct walk {
    bool (*wants)(const void *arg, const struct pointer_key *key, const struct pointer *p);
    const void *arg;
    struct blobstore_cursor at;
    size_t count;
    struct found found[STEP];
};

static int take(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct walk *w = arg;
    struct found *f = &w->found[w->count];
    f->key.len = key_len;
    memcpy(f->key.bytes, key, key_len);
    if (pointer_decode(value, value_len, &f->pointer) == 0 && w->wants(w->arg, &f->key, &f->pointer))
        w->count++;
    return 0;
}

/* 1: there is more. */
static int step(struct mirror *m, struct walk *w)
{
    w->count = 0;
    return blobstore_record_step(m->store, BLOBSTORE_TAGS, &w->at, STEP, take, w);
}

/* The name of a pointer; its kind, 0: the key is none. */
static char read_key(const struct pointer_key *key, struct inventory_name *ret_name)
{
    struct inventory_name n = {0};
    struct place_key place;
    if (!place_key_read(key->bytes, key->len, &place) || place.rest_len == 0)
        return 0;
    (void)stpcpy(n.registry, place.registry);
    (void)stpcpy(n.repository, place.repository);
    if (*place.rest == POINTER_TAG)
        (void)snprintf(n.tag, sizeof(n.tag), "%.*s", (int)place.rest_len - 1, place.rest + 1);
    *ret_name = n;
    return *place.rest;
}

/* ------------------------------------------------------------------ remove */

struct wanted {
    struct digest digest;
    struct pointer_key except;
};

static bool stands_for(const void *arg, const struct pointer_key *key, const struct pointer *p)
{
    const struct wanted *w = arg;
    struct inventory_name name;
    return digest_equal(&p->digest, &w->digest) && read_key(key, &name) == POINTER_TAG &&
           (key->len != w->except.len || memcmp(key->bytes, w->except.bytes, key->len) != 0);
}

/* Another tag of the same digest, into `text`; "" where there is none. */
static int find_other_tag(struct mirror *m, const struct wanted *wanted, char *text)
{
    AUTO_FREE struct walk *w = calloc(1, sizeof(*w));
    struct inventory_name name;
    int r = w ? 1 : -ENOMEM;
    text[0] = '\0';
    if (r > 0) {
        w->wants = stands_for;
        w->arg = wanted;
    }
    while (r > 0) {
        r = step(m, w);
        if (r >= 0 && w->count > 0) {
            (void)read_key(&w->found[0].key, &name);
            (void)inventory_name_format(&name, text);
            return 0;
        }
    }
    return r;
}

struct removal {
    struct mirror *m;
    struct digest digest;
    struct digest_set pinned, parts;
    const struct pointer_key *tag; /* that is forgotten, or NULL */
    bool keeps_content;
    uint64_t *sizes, bytes;
};

static bool is_pinned(void *arg, const struct blobstore_info *info, bool is_manifest)
{
    const struct removal *r = arg;
    (void)is_manifest;
    return digest_set_has(&r->pinned, &info->digest);
}

static int collect(struct removal *r)
{
    struct blobstore_info info;
    const struct digest *digest;
    size_t n = 0;
    if (blobstore_stat(r->m->store, &r->digest, &info) < 0)
        return 0;
    int e = image_is_needed(r->m->store, &r->digest, NULL);
    if (e == 0)
        e = image_collect(r->m->store, &r->digest, is_pinned, r, &r->parts);
    if (e != 0)
        return e < 0 ? e : 0; /* an index has it */
    r->sizes = calloc(r->parts.count + 1, sizeof(*r->sizes));
    if (!r->sizes)
        return -ENOMEM;
    for (size_t at = 0; (digest = digest_set_next(&r->parts, &at)); n++) {
        r->sizes[n] = blobstore_stat(r->m->store, digest, &info) == 0 ? info.file_size : 0;
        r->bytes += r->sizes[n];
    }
    return 0;
}

/* On the keeper's thread, which alone changes what belongs together. */
static int run_removal(void *arg, struct blobstore_batch *batch)
{
    struct removal *r = arg;
    const struct digest *digest;
    int e = r->keeps_content ? 0 : collect(r);
    if (e < 0)
        return e;
    if (r->tag) {
        pointers_forget(r->m->pointers, r->tag);
        blobstore_batch_delete(batch, BLOBSTORE_TAGS, r->tag->bytes, r->tag->len);
    }
    for (size_t at = 0; (digest = digest_set_next(&r->parts, &at));)
        blobstore_batch_remove(batch, digest);
    return 0;
}

static void note_removed(const struct removal *r)
{
    const struct digest *digest;
    size_t n = 0;
    for (size_t at = 0; (digest = digest_set_next(&r->parts, &at)); n++) {
        library_forget(r->m->library, digest);
        uses_note_removed(r->m->uses, digest, r->sizes[n]);
    }
    if (n > 0)
        evictor_sweep(r->m->evictor);
}

static void removal_finish(struct removal *r)
{
    digest_set_finish(&r->pinned);
    digest_set_finish(&r->parts);
    free(r->sizes);
}

int inventory_remove(struct mirror *m, const struct inventory_name *name, struct inventory_removed *ret_removed)
{
    struct inventory_removed removed = {.tag = *name->tag};
    struct inventory_image image;
    struct pointer_key key;
    AUTO(removal_finish) struct removal r = {.m = m};
    int e = inventory_image_find(m, name, &image);
    if (e == 0 && image.is_pinned)
        e = -EBUSY;
    if (e == 0 && *name->tag) {
        pointer_key_make(&key, name->registry, name->repository, POINTER_TAG, name->tag);
        const struct wanted wanted = {.digest = image.digest, .except = key};
        r.tag = &key;
        e = find_other_tag(m, &wanted, removed.kept_for);
    }
    if (e == 0)
        e = pins_resolve(m->store, clock_real_ms(), &r.pinned);
    if (e < 0)
        return e;
    r.digest = image.digest;
    r.keeps_content = *removed.kept_for;
    e = keeper_run(m->keeper, run_removal, &r);
    if (e < 0)
        return e;
    note_removed(&r);
    removed.blobs = r.parts.count;
    removed.bytes = r.bytes;
    *ret_removed = removed;
    return 0;
}

/* ------------------------------------------------------------------ purge */

static bool is_meant(const void *arg, const struct pointer_key *key, const struct pointer *p)
{
    struct inventory_name name;
    (void)p;
    char kind = read_key(key, &name);
    return kind && inventory_name_matches(&name, arg);
}

/* As if its ttl had just passed. */
static void age(struct mirror *m, const struct found *f)
{
    struct inventory_name name;
    struct pointer p = f->pointer;
    if (!read_key(&f->key, &name))
        return;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    const struct config_registry *registry = config_find_registry(m->config, name.registry, strlen(name.registry));
    int64_t ttl = registry ? config_tag_ttl_ms(m->config, registry, name.repository, name.tag) : 0;
    (void)pthread_rwlock_unlock(&m->config_lock);
    int64_t checked_at = clock_real_ms() - ttl;
    if (p.checked_at > checked_at)
        p.checked_at = checked_at > 0 ? checked_at : 0;
    pointers_put(m->pointers, &f->key, &p);
}

int inventory_purge(struct mirror *m, const char *pattern, uint64_t *ret_count)
{
    AUTO_FREE struct walk *w = calloc(1, sizeof(*w));
    uint64_t count = 0;
    int r = w ? 1 : -ENOMEM;
    if (r > 0) {
        w->wants = is_meant;
        w->arg = pattern;
    }
    while (r > 0) {
        r = step(m, w);
        for (size_t i = 0; r >= 0 && i < w->count; i++, count++)
            age(m, &w->found[i]);
    }
    recent_forget_all(m->recent);
    if (r == 0)
        *ret_count = count;
    return r;
}
