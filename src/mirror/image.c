#include "mirror/image.h"

#include "base/limits.h"
#include "mirror/damage.h"
#include "mirror/digest_key.h"
#include "mirror/manifest.h"

#include <errno.h>
#include <string.h>

/* Manifests of one image that are read. */
#define MANIFESTS_MAX 4096

/* --- who names it ------------------------------------------------------------------------------------------- */

#define NAMERS_STEP 16

struct namers {
    struct blobstore_cursor at; /* at first the prefix alone */
    size_t prefix_len;
    struct digest found[NAMERS_STEP];
    size_t count;
    bool is_past;
};

static int take_namer(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct namers *n = arg;
    size_t len;
    (void)value;
    (void)value_len;
    n->is_past = key_len < n->prefix_len || memcmp(key, n->at.key, n->prefix_len) != 0;
    if (n->is_past)
        return 1;
    if (digest_key_decode((const uint8_t *)key + n->prefix_len, key_len - n->prefix_len, &n->found[n->count], &len) ==
        0)
        n->count++;
    return 0;
}

int image_each_namer(struct blobstore *store, const struct digest *digest, image_namer_fn each, void *arg)
{
    struct namers n = {0};
    int more;
    n.prefix_len = n.at.key_len = digest_key_encode(digest, n.at.key);
    do {
        n.count = 0;
        more = blobstore_record_step(store, BLOBSTORE_REFERENCES, &n.at, NAMERS_STEP, take_namer, &n);
        if (more < 0)
            return more;
        for (size_t i = 0; i < n.count; i++) {
            int r = each(arg, &n.found[i]);
            if (r != 0)
                return r;
        }
    } while (more && !n.is_past);
    return 0;
}

struct need {
    struct blobstore *store;
    const struct digest_set *without;
};

static int needs(void *arg, const struct digest *namer)
{
    const struct need *need = arg;
    struct blobstore_info info;
    return !(need->without && digest_set_has(need->without, namer)) && blobstore_stat(need->store, namer, &info) == 0;
}

int image_is_needed(struct blobstore *store, const struct digest *digest, const struct digest_set *without)
{
    struct need need = {.store = store, .without = without};
    return image_each_namer(store, digest, needs, &need);
}

/* In the order in which they were found. */
struct line {
    struct digest digests[MANIFESTS_MAX];
    size_t count;
    struct digest_set *namers;
};

static int join_line(void *arg, const struct digest *digest)
{
    struct line *l = arg;
    if (l->count == MANIFESTS_MAX)
        return 1;
    int r = digest_set_add(l->namers, digest);
    if (r == 0)
        l->digests[l->count++] = *digest;
    return r == -EEXIST ? 0 : r;
}

int image_namers(struct blobstore *store, const struct digest *digest, struct digest_set *namers)
{
    AUTO_FREE struct line *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->namers = namers;
    int r = join_line(l, digest);
    for (size_t i = 0; r == 0 && i < l->count; i++)
        r = image_each_namer(store, &l->digests[i], join_line, l);
    return r < 0 ? r : 0;
}

/* --- what it names ------------------------------------------------------------------------------------------ */

int image_read_text(struct blobstore *store, const struct digest *digest, struct buf *text)
{
    struct blobstore_info info;
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    int r = blobstore_get(store, digest, &info, &content);
    if (r == -EBADMSG)
        damage_note(digest, "image");
    if (r < 0 || info.size > LIMIT_MANIFEST)
        return -ENOENT;
    r = buf_reserve(text, info.size);
    if (r < 0)
        return r;
    if (blobstore_content_read_all(content, text->data, info.size) < 0)
        return -ENOENT;
    text->len = info.size;
    text->data[text->len] = '\0';
    return 0;
}

/* What is not stored, or no manifest, names nothing: *ret_manifest stays as it is. */
static int read_manifest(struct blobstore *store, const struct digest *digest, struct manifest **ret_manifest)
{
    AUTO_BUF struct buf text = BUF_INIT(LIMIT_MANIFEST);
    int r = image_read_text(store, digest, &text);
    if (r == 0)
        r = manifest_parse(text.data, text.len, ret_manifest);
    return r == -ENOMEM ? r : 0;
}

struct collection {
    struct blobstore *store;
    image_keep_fn keep;
    void *arg;
    struct digest_set *parts;
    struct manifest *manifests[MANIFESTS_MAX]; /* of parts */
    size_t count;
};

static void collection_destroy(struct collection *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        manifest_destroy(c->manifests[i]);
    free(c);
}
AUTO_DEFINE(struct collection, collection_destroy);

static int add_manifest(struct collection *c, const struct digest *digest)
{
    struct manifest *m = NULL;
    int r = read_manifest(c->store, digest, &m);
    if (r == 0)
        r = digest_set_add(c->parts, digest);
    if (r < 0) {
        manifest_destroy(m);
        return r;
    }
    if (m)
        c->manifests[c->count++] = m;
    return 0;
}

/* 1: it goes with the image. */
static int goes(const struct collection *c, const struct manifest_child *child)
{
    struct blobstore_info info;
    if (digest_set_has(c->parts, &child->digest) || c->parts->count >= IMAGE_PARTS_MAX)
        return 0;
    if (blobstore_stat(c->store, &child->digest, &info) < 0 || (c->keep && c->keep(c->arg, &info, child->is_manifest)))
        return 0;
    int r = image_is_needed(c->store, &child->digest, c->parts);
    return r < 0 ? r : !r;
}

static int add_children(struct collection *c, const struct manifest *m, bool manifests)
{
    for (size_t i = 0; i < m->child_count; i++) {
        const struct manifest_child *child = &m->children[i];
        if (child->is_manifest != manifests || (manifests && c->count == MANIFESTS_MAX))
            continue;
        int r = goes(c, child);
        if (r > 0)
            r = manifests ? add_manifest(c, &child->digest) : digest_set_add(c->parts, &child->digest);
        if (r < 0)
            return r;
    }
    return 0;
}

int image_collect(struct blobstore *store, const struct digest *root, image_keep_fn keep, void *arg,
                  struct digest_set *parts)
{
    AUTO(auto_collection_destroy) struct collection *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->store = store;
    c->keep = keep;
    c->arg = arg;
    c->parts = parts;
    int r = add_manifest(c, root);
    /* Manifests first: a blob goes when none of those that stay names it. */
    for (size_t i = 0; r == 0 && i < c->count; i++)
        r = add_children(c, c->manifests[i], /* manifests= */ true);
    for (size_t i = 0; r == 0 && i < c->count; i++)
        r = add_children(c, c->manifests[i], /* manifests= */ false);
    return r;
}
