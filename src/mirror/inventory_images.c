/* The list of images: tags, and then what no tag stands for. */
#include "base/clock.h"
#include "mirror/digest_key.h"
#include "mirror/digest_set.h"
#include "mirror/image.h"
#include "mirror/inventory.h"
#include "mirror/pins.h"
#include "mirror/place_key.h"
#include "mirror/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records in one read transaction; and those that one call looks at. */
#define STEP 256
#define CALL_MAX 8192
#define TAGS_OF_REPOSITORY_MAX 65536

/* ------------------------------------------------------------------ one image */

/* Whatever is not known stays zero. */
static void describe(struct mirror *m, const struct digest_set *pinned, struct inventory_image *image)
{
    struct blobstore_info info;
    AUTO_BUF struct buf type = BUF_INIT(MEDIA_TYPE_MAX + 1);
    uint8_t key[DIGEST_KEY_MAX];
    size_t len = digest_key_encode(&image->digest, key);
    image->is_pinned = digest_set_has(pinned, &image->digest);
    if (blobstore_stat(m->store, &image->digest, &info) == 0) {
        image->is_stored = true;
        image->stored_at = info.stored_at;
        image->used_at = info.used_at;
    }
    /* version u8, media type */
    if (blobstore_record_get(m->store, BLOBSTORE_MANIFESTS, key, len, &type) == 0 && type.len > 1)
        (void)snprintf(image->media_type, sizeof(image->media_type), "%s", type.data + 1);
}

int inventory_image_find(struct mirror *m, const struct inventory_name *name, struct inventory_image *ret_image)
{
    AUTO_DIGEST_SET struct digest_set pinned = {0};
    struct inventory_image image = {.name = *name, .digest = name->digest};
    if (*name->tag) {
        struct pointer_key key;
        struct pointer pointer;
        pointer_key_make(&key, name->registry, name->repository, POINTER_TAG, name->tag);
        int r = pointers_get(m->pointers, &key, &pointer);
        if (r < 0)
            return r;
        image.digest = pointer.digest;
        image.checked_at = pointer.checked_at;
        (void)stpcpy(image.media_type, pointer.media_type);
    }
    int r = pins_resolve(m->store, clock_real_ms(), &pinned);
    if (r < 0)
        return r;
    describe(m, &pinned, &image);
    if (!*name->tag && !image.is_stored)
        return -ENOENT;
    *ret_image = image;
    return 0;
}

/* ------------------------------------------------------------------ keys */

static void set_place(struct inventory_name *name, const struct place_key *place)
{
    (void)stpcpy(name->registry, place->registry);
    (void)stpcpy(name->repository, place->repository);
}

static bool read_tag_key(const void *key, size_t len, struct inventory_name *name)
{
    struct place_key place;
    if (!place_key_read(key, len, &place) || place.rest_len < 2 || place.rest[0] != POINTER_TAG ||
        place.rest_len > 1 + LIMIT_TAG)
        return false;
    set_place(name, &place);
    memcpy(name->tag, place.rest + 1, place.rest_len - 1);
    name->tag[place.rest_len - 1] = '\0';
    return true;
}

static bool read_digest_key(const void *key, size_t len, struct inventory_name *name)
{
    struct place_key place;
    if (!place_key_read_sighting(key, len, &place, &name->digest))
        return false;
    set_place(name, &place);
    return true;
}

/* ------------------------------------------------------------------ a step through a table */

struct walk {
    struct mirror *m;
    const char *pattern;
    bool (*read_key)(const void *key, size_t len, struct inventory_name *name);
    struct blobstore_cursor at;
    size_t count;
    struct found {
        struct inventory_name name;
        struct pointer pointer;
        struct blobstore_cursor at;
    } found[STEP];
};

static int take(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct walk *w = arg;
    struct found *f = &w->found[w->count];
    *f = (struct found){.at = {.key_len = key_len}};
    memcpy(f->at.key, key, key_len);
    bool is_tag = w->read_key == read_tag_key;
    if (w->read_key(key, key_len, &f->name) && inventory_name_matches(&f->name, w->pattern) &&
        (!is_tag || pointer_decode(value, value_len, &f->pointer) == 0))
        w->count++;
    return 0;
}

/* 1: there may be more. */
static int step(struct walk *w)
{
    w->count = 0;
    return blobstore_record_step(w->m->store, w->read_key == read_tag_key ? BLOBSTORE_TAGS : BLOBSTORE_REPOSITORIES,
                                 &w->at, STEP, take, w);
}

/* ------------------------------------------------------------------ what tags stand for */

struct tagged {
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1];
    struct digest_set digests; /* that the pointers of this repository have, its lists among them */
};

static int take_pointer(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct digest_set *set = arg;
    struct pointer pointer;
    (void)key;
    (void)key_len;
    int r = pointer_decode(value, value_len, &pointer) == 0 ? digest_set_add(set, &pointer.digest) : 0;
    return r == -ENOMEM ? r : set->count >= TAGS_OF_REPOSITORY_MAX;
}

static int is_tagged(struct mirror *m, struct tagged *t, const struct inventory_name *name)
{
    if (strcmp(t->registry, name->registry) != 0 || strcmp(t->repository, name->repository) != 0) {
        uint8_t key[BLOBSTORE_KEY_MAX];
        size_t len = (size_t)(stpcpy(stpcpy((char *)key, name->registry) + 1, name->repository) + 1 - (char *)key);
        digest_set_finish(&t->digests);
        (void)stpcpy(t->registry, name->registry);
        (void)stpcpy(t->repository, name->repository);
        int r = blobstore_record_scan(m->store, BLOBSTORE_TAGS, key, len, take_pointer, &t->digests);
        if (r < 0)
            return r;
    }
    return digest_set_has(&t->digests, &name->digest);
}

/* 1: an image that no tag stands for, and that is no part of another. */
static int is_untagged_root(struct mirror *m, struct tagged *t, const struct inventory_name *name)
{
    struct blobstore_info info;
    if (blobstore_stat(m->store, &name->digest, &info) < 0)
        return 0;
    int r = is_tagged(m, t, name);
    if (r == 0)
        r = image_is_needed(m->store, &name->digest, NULL);
    return r < 0 ? r : !r;
}

/* ------------------------------------------------------------------ the list */

struct listing_state {
    struct walk walk;
    struct tagged tagged;
    struct digest_set pinned;
    size_t left, looked;
    inventory_image_fn each;
    void *arg;
};

static void listing_state_destroy(struct listing_state *s)
{
    if (!s)
        return;
    digest_set_finish(&s->tagged.digests);
    digest_set_finish(&s->pinned);
    free(s);
}
AUTO_DEFINE(struct listing_state, listing_state_destroy);

static int give(struct listing_state *s, const struct found *f)
{
    struct inventory_image image = {.name = f->name, .digest = f->name.digest};
    if (*f->name.tag) {
        image.digest = f->pointer.digest;
        image.checked_at = f->pointer.checked_at;
        (void)stpcpy(image.media_type, f->pointer.media_type);
    }
    describe(s->walk.m, &s->pinned, &image);
    if (!*f->name.tag && !media_type_is_manifest(image.media_type))
        return 0;
    s->left--;
    return s->each(s->arg, &image);
}

/* One step of one table: 1: it has been gone through, 0: there is more, or `left` is 0. */
static int list_step(struct listing_state *s)
{
    struct walk *w = &s->walk;
    int more = step(w), r = more < 0 ? more : 0;
    for (size_t i = 0; r == 0 && i < w->count; i++) {
        const struct found *f = &w->found[i];
        int wanted = *f->name.tag ? 1 : is_untagged_root(w->m, &s->tagged, &f->name);
        r = wanted > 0 ? give(s, f) : wanted;
        if (r == 0 && s->left == 0) { /* goes on behind this one */
            w->at = f->at;
            return 0;
        }
    }
    s->looked += STEP;
    return r < 0 ? r : !more;
}

/* Where the walk stands: the table, and the key in hexadecimal. */
static void say_after(const struct walk *w, char *text)
{
    *text++ = w->read_key == read_tag_key ? 't' : 'd';
    for (size_t i = 0; i < w->at.key_len; i++)
        text += snprintf(text, 3, "%02x", w->at.key[i]);
    *text = '\0';
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int begin(struct walk *w, const char *after)
{
    size_t len = strlen(after);
    w->read_key = *after == 'd' ? read_digest_key : read_tag_key;
    if (len == 0)
        return 0;
    if ((*after != 't' && *after != 'd') || len % 2 != 1 || len / 2 > sizeof(w->at.key))
        return -EINVAL;
    for (size_t i = 1; i < len; i += 2) {
        int high = hex_digit(after[i]), low = hex_digit(after[i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        w->at.key[w->at.key_len++] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int inventory_images(struct mirror *m, const char *pattern, const char *after, size_t max, inventory_image_fn each,
                     void *arg, char *ret_after)
{
    AUTO(auto_listing_state_destroy) struct listing_state *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->walk.m = m;
    s->walk.pattern = pattern;
    s->left = max;
    s->each = each;
    s->arg = arg;
    int r = begin(&s->walk, after);
    if (r == 0)
        r = pins_resolve(m->store, clock_real_ms(), &s->pinned);
    while (r >= 0 && s->left > 0 && s->looked < CALL_MAX) {
        r = list_step(s);
        if (r <= 0)
            continue;
        if (s->walk.read_key == read_digest_key) {
            ret_after[0] = '\0';
            return 0;
        }
        s->walk.read_key = read_digest_key;
        s->walk.at.key_len = 0;
    }
    if (r < 0)
        return r;
    say_after(&s->walk, ret_after);
    return 0;
}
