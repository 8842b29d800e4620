#include "mirror/stock.h"

#include "base/clock.h"
#include "mirror/damage.h"
#include "mirror/digest_set.h"
#include "mirror/reference.h"
#include "mirror/state.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <string.h>

/* Indexes in indexes that are followed. */
#define DEPTH_MAX 4

struct walk {
    struct mirror *mirror;
    struct stock *stock;
    size_t room;                      /* of stock->items */
    const struct platform *platforms; /* that are wanted */
    size_t platform_count;            /* 0: those that the image has */
    struct digest_set seen;           /* of what is missing, for its price */
    bool decided;                     /* some index has said which platforms there are */
};

/* --- names -------------------------------------------------------------------------------------------------- */

/* What the configuration says of the image. */
struct policy {
    int64_t ttl_ms, stale_for_ms;
    bool is_open;
};

static bool find_policy(struct mirror *m, const struct image_name *image, struct stock *s, struct policy *policy)
{
    struct repository_name name;
    (void)pthread_rwlock_rdlock(&m->config_lock);
    bool found = repository_resolve(m->config, image->registry, image->repository, &name) == 0;
    if (found) {
        (void)stpcpy(s->registry, name.registry->name);
        (void)stpcpy(s->repository, name.path);
        policy->ttl_ms = config_tag_ttl_ms(m->config, name.registry, name.path, image->tag);
        policy->stale_for_ms = m->config->tags.stale_for_ms;
        policy->is_open = config_is_open(name.registry, name.path);
    } else {
        (void)stpcpy(s->registry, image->registry);
        (void)stpcpy(s->repository, image->repository);
    }
    (void)pthread_rwlock_unlock(&m->config_lock);
    return found;
}

/* As session_see() has it when nobody answers. */
static enum stock_name see(struct mirror *m, const struct stock *s, const struct policy *policy)
{
    bool fresh, has_accounts = upstream_has_accounts(m->upstream, s->registry);
    if (policy->is_open || (!has_accounts && !privacy_is_needed(m->privacy)))
        return STOCK_NAME_GOOD;
    switch (visibility_get(m->visibilities, s->registry, s->repository, &fresh)) {
    case VISIBILITY_PUBLIC:
        return STOCK_NAME_GOOD;
    case VISIBILITY_PRIVATE:
        return STOCK_NAME_PRIVATE;
    case VISIBILITY_UNKNOWN:
        break;
    }
    return has_accounts ? STOCK_NAME_UNSEEN : STOCK_NAME_GOOD;
}

/* What the tag stands for. false: nobody knows. */
static bool find_tag(struct mirror *m, const char *tag, const struct policy *policy, struct stock *s,
                     struct digest *digest)
{
    struct pointer_key key;
    struct pointer pointer;
    pointer_key_make(&key, s->registry, s->repository, POINTER_TAG, tag);
    if (pointers_get(m->pointers, &key, &pointer) < 0)
        return false;
    int64_t longest = policy->ttl_ms > policy->stale_for_ms ? policy->ttl_ms : policy->stale_for_ms;
    int64_t age = clock_real_ms() - pointer.checked_at;
    s->checked_at = pointer.checked_at;
    s->served_until = longest > 0 ? pointer.checked_at + longest : 0;
    /* a clock that was set back makes it old, but not too old */
    bool is_served = (age >= 0 && age < policy->ttl_ms) || (policy->stale_for_ms > 0 && age < policy->stale_for_ms);
    if (!is_served && s->name == STOCK_NAME_GOOD)
        s->name = STOCK_NAME_TOO_OLD;
    *digest = pointer.digest;
    return true;
}

/* --- items -------------------------------------------------------------------------------------------------- */

static int add_item(struct walk *w, const struct stock_item *item)
{
    struct stock *s = w->stock;
    if (s->item_count == STOCK_ITEMS_MAX)
        return -EFBIG;
    if (s->item_count == w->room) {
        size_t room = w->room ? 2 * w->room : 16;
        struct stock_item *items = realloc(s->items, room * sizeof(*items));
        if (!items)
            return -ENOMEM;
        s->items = items;
        w->room = room;
    }
    s->items[s->item_count++] = *item;
    return 0;
}

static enum stock_state state_of_stored(const struct walk *w, const struct digest *digest)
{
    const struct stock *s = w->stock;
    return privacy_allows(w->mirror->privacy, digest, s->registry, s->repository) ? STOCK_STORED : STOCK_HIDDEN;
}

/* Opened, so that a file that is gone, or is another's, is found out. */
static int add_blob(struct walk *w, const struct manifest_child *child, size_t parent)
{
    struct blobstore *store = w->mirror->store;
    struct stock_item item = {
        .digest = child->digest,
        .kind = child->is_config ? STOCK_CONFIG : STOCK_LAYER,
        .state = STOCK_MISSING,
        .size = child->size,
        .parent = parent,
        .is_elsewhere = child->is_elsewhere,
    };
    struct blobstore_info info;
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    int r = blobstore_get(store, &child->digest, &info, &content);
    if (r == -EBADMSG)
        damage_note(&child->digest, "audit");
    if (r == 0) {
        item.state = state_of_stored(w, &child->digest);
        if (item.state == STOCK_STORED && info.verified_at < blobstore_doubted_before(store))
            item.state = STOCK_IN_DOUBT;
    } else if (r != -ENOENT && r != -EBADMSG) {
        return r;
    }
    return add_item(w, &item);
}

/* Whether nothing is wanting of the items from `from` on. */
static bool is_whole(const struct stock *s, size_t from)
{
    for (size_t i = from; i < s->item_count; i++)
        if (s->items[i].state != STOCK_STORED && !s->items[i].is_elsewhere)
            return false;
    return true;
}

static bool is_index(const struct manifest *m)
{
    return strcmp(m->media_type, MEDIA_TYPE_OCI_INDEX) == 0 || strcmp(m->media_type, MEDIA_TYPE_DOCKER_LIST) == 0 ||
           (m->child_count > 0 && m->children[0].is_manifest);
}

static int add_manifest(struct walk *w, const struct manifest_child *as, size_t parent, unsigned depth);

/* --- platforms ---------------------------------------------------------------------------------------------- */

/* Which of the platforms the child is for, a bit each. */
static uint32_t is_for(const struct stock *s, const struct manifest_child *child)
{
    uint32_t platforms = 0;
    for (size_t i = 0; i < s->platform_count; i++)
        platforms |= platform_rank(&s->platforms[i].platform, &child->platform) == 0 ? 1U << i : 0;
    return platforms;
}

/* Where the image itself says which platforms are meant: those of its indexes, as many as find room. */
static void take_platforms(struct stock *s, const struct manifest *m)
{
    for (size_t i = 0; i < m->child_count && s->platform_count < STOCK_PLATFORMS_MAX; i++) {
        const struct manifest_child *child = &m->children[i];
        if (manifest_child_has_platform(child) && is_for(s, child) == 0)
            s->platforms[s->platform_count++] =
                (struct stock_platform){.platform = child->platform, .verdict = STOCK_NOT_OFFERED};
    }
}

static void judge(struct stock *s, uint32_t platforms, bool is_good)
{
    for (size_t i = 0; i < s->platform_count; i++)
        if (platforms & (1U << i) && s->platforms[i].verdict != STOCK_WANTING)
            s->platforms[i].verdict = is_good ? STOCK_SERVED : STOCK_WANTING;
}

/* Which of the platforms take the child, a bit each. */
static uint32_t takers_of(const struct walk *w, const struct manifest_child *child,
                          const struct manifest_child *const *best)
{
    uint32_t takers = w->platform_count == 0 ? is_for(w->stock, child) : 0;
    for (size_t i = 0; i < w->platform_count; i++)
        takers |= best[i] == child ? 1U << i : 0;
    return takers;
}

/* What an index names that the platforms need. */
static int add_choice(struct walk *w, const struct manifest *m, size_t parent, unsigned depth)
{
    struct stock *s = w->stock;
    const struct manifest_child *best[STOCK_PLATFORMS_MAX];
    if (w->platform_count == 0)
        take_platforms(s, m);
    if (manifest_is_by_platform(m) && !w->decided) {
        w->decided = true;
        for (size_t i = 0; i < s->platform_count; i++)
            if (s->platforms[i].verdict == STOCK_SERVED)
                s->platforms[i].verdict = STOCK_NOT_OFFERED;
    }
    manifest_choose(m, w->platforms, w->platform_count, best);
    for (size_t i = 0; i < m->child_count; i++) {
        const struct manifest_child *child = &m->children[i];
        size_t from = s->item_count;
        if (!manifest_is_needed(child, best, w->platform_count))
            continue;
        int r = add_manifest(w, child, parent, depth + 1);
        if (r < 0)
            return r;
        if (child->platform.os[0])
            judge(s, takers_of(w, child, best), is_whole(s, from));
        else if (s->items[from].kind == STOCK_INDEX ? s->items[from].state != STOCK_STORED : !is_whole(s, from))
            judge(s, UINT32_MAX, false); /* what an index in it has is judged there, if it is there */
    }
    return 0;
}

static int add_children(struct walk *w, const struct manifest *m, size_t parent, unsigned depth)
{
    int r = 0;
    if (is_index(m))
        return depth < DEPTH_MAX ? add_choice(w, m, parent, depth) : -EFBIG;
    for (size_t i = 0; r == 0 && i < m->child_count; i++)
        r = add_blob(w, &m->children[i], parent);
    return r;
}

/* A manifest as its descriptor has it, and what it names. */
static int add_manifest(struct walk *w, const struct manifest_child *as, size_t parent, unsigned depth)
{
    AUTO(auto_document_unref) struct document *d = NULL;
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    size_t at = w->stock->item_count;
    struct stock_item item = {
        .digest = as->digest,
        .kind = depth == 0 ? STOCK_INDEX : STOCK_MANIFEST,
        .state = STOCK_MISSING,
        .size = as->size,
        .parent = parent,
        .platform = as->platform,
        .is_elsewhere = as->is_elsewhere,
    };
    int r = as->digest.algorithm == DIGEST_NONE ? -ENOENT : library_peek(w->mirror->library, &as->digest, &d);
    if (r == 0 && media_type_is_manifest(d->media_type))
        r = manifest_parse(d->data, d->len, &m);
    if (r < 0 && r != -ENOENT && r != -EINVAL && r != -ENOTSUP)
        return r;
    if (m) {
        item.kind = is_index(m) ? STOCK_INDEX : STOCK_MANIFEST;
        item.state = state_of_stored(w, &as->digest);
        item.size = d->len;
    }
    r = add_item(w, &item);
    return r == 0 && m ? add_children(w, m, at, depth) : r;
}

/* --- what comes of it ----------------------------------------------------------------------------------------- */

static int add_price(struct walk *w, const struct stock_item *item)
{
    struct stock *s = w->stock;
    bool is_manifest = item->kind == STOCK_INDEX || item->kind == STOCK_MANIFEST;
    if (item->state != STOCK_MISSING || item->is_elsewhere)
        return 0;
    int r = item->digest.algorithm == DIGEST_NONE ? 0 : digest_set_add(&w->seen, &item->digest);
    if (r < 0)
        return r == -EEXIST ? 0 : r;
    s->missing_bytes += item->size;
    s->manifest_gets += is_manifest;
    s->has_unknown_bytes = s->has_unknown_bytes || is_manifest;
    if (item == s->items)
        s->manifest_gets += s->platform_count ? (unsigned)s->platform_count : 1;
    return 0;
}

static int conclude(struct walk *w)
{
    struct stock *s = w->stock;
    bool root_is_good = s->name == STOCK_NAME_GOOD && s->items[0].state == STOCK_STORED;
    bool any_wanting = false, any_served = false;
    for (size_t i = 0; i < s->platform_count; i++) {
        struct stock_platform *p = &s->platforms[i];
        if (!w->decided) /* no index has told platforms apart: what there is, is for all of them */
            p->verdict = is_whole(s, 0) ? STOCK_SERVED : STOCK_WANTING;
        if (!root_is_good && p->verdict == STOCK_SERVED)
            p->verdict = STOCK_WANTING;
        any_wanting = any_wanting || p->verdict == STOCK_WANTING;
        any_served = any_served || p->verdict == STOCK_SERVED;
    }
    if (w->platform_count == 0)
        any_wanting = !(any_served = root_is_good && is_whole(s, 0));
    s->verdict = any_wanting || !root_is_good ? STOCK_WANTING : any_served ? STOCK_SERVED : STOCK_NOT_OFFERED;
    for (size_t i = 0; i < s->item_count; i++) {
        int r = add_price(w, &s->items[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_stock(struct walk *w, const struct image_name *image)
{
    struct stock *s = w->stock;
    struct policy policy;
    struct manifest_child root = {.is_manifest = true};
    if (!find_policy(w->mirror, image, s, &policy)) {
        s->name = STOCK_NAME_UNCONFIGURED;
    } else {
        s->name = see(w->mirror, s, &policy);
        if (image->digest[0]) {
            int r = digest_parse(image->digest, strlen(image->digest), &root.digest);
            if (r < 0)
                return r;
        } else if (!find_tag(w->mirror, image->tag, &policy, s, &root.digest) && s->name == STOCK_NAME_GOOD) {
            s->name = STOCK_NAME_UNKNOWN;
        }
    }
    int r = add_manifest(w, &root, 0, 0);
    return r == 0 ? conclude(w) : r;
}

int mirror_stock(struct mirror *m, const struct image_name *image, const struct platform *platforms,
                 size_t platform_count, struct stock **ret_stock)
{
    AUTO(auto_stock_destroy) struct stock *s = calloc(1, sizeof(*s));
    struct walk w = {.mirror = m, .stock = s, .platforms = platforms, .platform_count = platform_count};
    if (!s)
        return -ENOMEM;
    if (platform_count > STOCK_PLATFORMS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < platform_count; i++)
        s->platforms[i].platform = platforms[i];
    s->platform_count = platform_count;
    int r = take_stock(&w, image);
    digest_set_finish(&w.seen);
    if (r == 0)
        *ret_stock = TAKE_PTR(s);
    return r;
}

void stock_destroy(struct stock *s)
{
    if (!s)
        return;
    free(s->items);
    free(s);
}
