/* What hangs on a manifest: read with what only people want to know, platforms and media types. */
#include "base/json_text.h"
#include "mirror/digest_set.h"
#include "mirror/image.h"
#include "mirror/inventory.h"
#include "mirror/place_key.h"
#include "mirror/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An index in an index is rare, and one in that is nobody's. */
#define DEPTH_MAX 3
/* Of one part that are looked at. */
#define NAMERS_MAX 64

struct reading {
    struct blobstore *store;
    struct inventory_tree tree;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* "linux/arm64/v8"; of a descriptor's platform, or of a configuration, which has the same members. */
static void set_platform(struct inventory_part *part, const json_t *p)
{
    const char *os = text_of(p, "os"), *arch = text_of(p, "architecture"), *variant = text_of(p, "variant");
    if (*arch)
        (void)snprintf(part->platform, sizeof(part->platform), "%.20s/%.20s%s%.20s", os, arch, *variant ? "/" : "",
                       variant);
}

static struct inventory_part *add(struct reading *r, const struct digest *digest)
{
    struct inventory_tree *t = &r->tree;
    struct blobstore_info info;
    if (t->count == INVENTORY_PARTS_MAX) {
        t->is_cut = true;
        return NULL;
    }
    struct inventory_part *p = &t->parts[t->count++];
    *p = (struct inventory_part){.digest = *digest, .is_stored = blobstore_stat(r->store, digest, &info) == 0};
    p->size = p->is_stored ? info.size : 0;
    return p;
}

static struct inventory_part *add_descriptor(struct reading *r, const json_t *descriptor, unsigned kind)
{
    const char *text = text_of(descriptor, "digest");
    struct digest digest;
    if (digest_parse(text, strlen(text), &digest) < 0)
        return NULL;
    struct inventory_part *p = add(r, &digest);
    if (!p)
        return NULL;
    json_int_t size = json_integer_value(json_object_get(descriptor, "size"));
    p->kind = kind;
    if (!p->is_stored)
        p->size = size > 0 ? (uint64_t)size : 0;
    p->is_elsewhere = json_array_size(json_object_get(descriptor, "urls")) > 0;
    (void)snprintf(p->media_type, sizeof(p->media_type), "%s", text_of(descriptor, "mediaType"));
    return p;
}

static int read_manifest(struct reading *r, size_t at, unsigned depth);

static int add_manifests(struct reading *r, const json_t *manifests, unsigned depth)
{
    size_t i;
    const json_t *descriptor;
    json_array_foreach(manifests, i, descriptor)
    {
        struct inventory_part *p = add_descriptor(r, descriptor, INVENTORY_MANIFEST);
        if (!p)
            continue;
        set_platform(p, json_object_get(descriptor, "platform"));
        int e = read_manifest(r, r->tree.count - 1, depth + 1);
        if (e < 0 && e != -ENOENT)
            return e;
    }
    return 0;
}

/* Of a manifest that no index names its configuration says it. */
static void read_config(struct reading *r, size_t at, const struct inventory_part *config)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_MANIFEST);
    if (*r->tree.parts[at].platform || !config || image_read_text(r->store, &config->digest, &text) < 0)
        return;
    AUTO_JSON json_t *c = NULL;
    if (json_text_read(text.data, text.len, 0, &c, NULL) == 0)
        set_platform(&r->tree.parts[at], c);
}

/* Reads the manifest that parts[at] is, and adds what it names behind it. */
static int read_manifest(struct reading *r, size_t at, unsigned depth)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_MANIFEST);
    const struct digest digest = r->tree.parts[at].digest;
    int e = depth == DEPTH_MAX ? -ENOENT : image_read_text(r->store, &digest, &text);
    if (e < 0)
        return e;
    AUTO_JSON json_t *m = NULL;
    if (json_text_read(text.data, text.len, 0, &m, NULL) == -ENOMEM)
        return -ENOMEM;
    const json_t *manifests = json_object_get(m, "manifests"), *config = json_object_get(m, "config"), *layer;
    const json_t *layers = json_object_get(m, "layers");
    size_t i;
    if (!json_is_array(manifests) && !json_is_object(config) && !json_is_array(layers))
        return -ENOENT;
    if (json_is_array(manifests))
        r->tree.parts[at].kind = INVENTORY_INDEX;
    if (!*r->tree.parts[at].media_type)
        (void)snprintf(r->tree.parts[at].media_type, MEDIA_TYPE_MAX, "%s", text_of(m, "mediaType"));
    if (json_is_object(config))
        read_config(r, at, add_descriptor(r, config, INVENTORY_CONFIG));
    json_array_foreach(layers, i, layer)(void) add_descriptor(r, layer, INVENTORY_LAYER);
    return add_manifests(r, manifests, depth);
}

/* ------------------------------------------------------------------ who else names them */

static int collect_own(const struct inventory_tree *t, struct digest_set *own)
{
    for (size_t i = 0; i < t->count; i++) {
        int r = t->parts[i].kind <= INVENTORY_MANIFEST ? digest_set_add(own, &t->parts[i].digest) : 0;
        if (r < 0 && r != -EEXIST)
            return r;
    }
    return 0;
}

struct others {
    struct blobstore *store;
    const struct digest_set *own;
    struct digest_set *foreign; /* or NULL */
    unsigned looked, count;
};

static int look_at_namer(void *arg, const struct digest *namer)
{
    struct others *o = arg;
    struct blobstore_info info;
    if (o->looked++ == NAMERS_MAX)
        return 1;
    if (digest_set_has(o->own, namer) || blobstore_stat(o->store, namer, &info) < 0)
        return 0;
    o->count++;
    int r = o->foreign ? digest_set_add(o->foreign, namer) : 0;
    return r == -EEXIST ? 0 : r;
}

/* Adds to `foreign` (NULL: nowhere) the stored manifests that name the part and are not of its image. */
static int count_others(struct blobstore *store, const struct digest_set *own, const struct digest *digest,
                        unsigned *ret_count, struct digest_set *foreign)
{
    struct others o = {.store = store, .own = own, .foreign = foreign};
    int r = image_each_namer(store, digest, look_at_namer, &o);
    if (r < 0)
        return r;
    *ret_count = o.count;
    return 0;
}

int inventory_tree_read(struct mirror *m, const struct digest *digest, bool count, struct inventory_tree *ret_tree)
{
    struct reading r = {.store = m->store};
    AUTO_DIGEST_SET struct digest_set own = {0};
    r.tree.parts = calloc(INVENTORY_PARTS_MAX, sizeof(*r.tree.parts));
    if (!r.tree.parts)
        return -ENOMEM;
    struct inventory_part *root = add(&r, digest);
    root->kind = INVENTORY_MANIFEST;
    int e = read_manifest(&r, 0, 0);
    if (e == 0 && count)
        e = collect_own(&r.tree, &own);
    for (size_t i = 0; e == 0 && count && i < r.tree.count; i++)
        e = count_others(m->store, &own, &r.tree.parts[i].digest, &r.tree.parts[i].others, NULL);
    if (e < 0) {
        inventory_tree_finish(&r.tree);
        return e;
    }
    *ret_tree = r.tree;
    return 0;
}

void inventory_tree_finish(struct inventory_tree *t)
{
    free(t->parts);
    *t = (struct inventory_tree){0};
}

void inventory_tree_sum(const struct inventory_tree *t, struct inventory_sum *ret_sum)
{
    AUTO_DIGEST_SET struct digest_set seen = {0};
    struct inventory_sum sum = {0};
    bool counts = true; /* the manifest before it is stored */
    size_t manifests = 0, stored = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct inventory_part *p = &t->parts[i];
        if (p->kind <= INVENTORY_MANIFEST)
            counts = p->is_stored;
        if (digest_set_add(&seen, &p->digest) == -EEXIST)
            continue;
        manifests += p->kind == INVENTORY_MANIFEST;
        stored += p->kind == INVENTORY_MANIFEST && p->is_stored;
        if (p->is_stored) {
            sum.bytes += p->size;
        } else if (counts && !p->is_elsewhere) {
            sum.missing++;
            sum.missing_bytes += p->size;
        }
    }
    sum.lacks_manifests = manifests > 0 && stored == 0;
    *ret_sum = sum;
}

/* ------------------------------------------------------------------ other repositories */

#define PLACES_STEP 512

struct places {
    const struct digest_set *foreign;
    const struct inventory_name *name;
    struct blobstore_cursor at;
    size_t left;
    char last[INVENTORY_NAME_TEXT]; /* that was told: the records of a repository are together */
    void (*each)(void *arg, const char *other);
    void *arg;
    char found[PLACES_STEP][2 * LIMIT_NAME + 2];
    size_t count;
};

static int take_place(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct places *p = arg;
    struct place_key place;
    struct digest digest;
    (void)value;
    (void)value_len;
    if (place_key_read_sighting(key, key_len, &place, &digest) && digest_set_has(p->foreign, &digest))
        (void)snprintf(p->found[p->count++], sizeof(p->found[0]), "%s/%s", place.registry, place.repository);
    return 0;
}

static void tell_places(struct places *p)
{
    char own[2 * LIMIT_NAME + 2];
    (void)snprintf(own, sizeof(own), "%s/%s", p->name->registry, p->name->repository);
    for (size_t i = 0; i < p->count && p->left > 0; i++) {
        if (strcmp(p->found[i], own) == 0 || strcmp(p->found[i], p->last) == 0)
            continue;
        (void)snprintf(p->last, sizeof(p->last), "%s", p->found[i]);
        p->each(p->arg, p->last);
        p->left--;
    }
}

int inventory_tree_others(struct mirror *m, const struct inventory_tree *t, const struct inventory_name *name,
                          size_t max, void (*each)(void *arg, const char *other), void *arg)
{
    AUTO_DIGEST_SET struct digest_set own = {0}, foreign = {0};
    AUTO_FREE struct places *p = calloc(1, sizeof(*p));
    int r = p ? collect_own(t, &own) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < t->count; i++) {
        unsigned count;
        r = count_others(m->store, &own, &t->parts[i].digest, &count, &foreign);
    }
    if (r < 0 || foreign.count == 0)
        return r;
    p->foreign = &foreign;
    p->name = name;
    p->left = max;
    p->each = each;
    p->arg = arg;
    do {
        p->count = 0;
        r = blobstore_record_step(m->store, BLOBSTORE_REPOSITORIES, &p->at, PLACES_STEP, take_place, p);
        tell_places(p);
    } while (r > 0 && p->left > 0);
    return r < 0 ? r : 0;
}
