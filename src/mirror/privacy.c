#include "mirror/privacy.h"

#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/keeper.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 1

/* NUL 'p' algorithm digest registry NUL repository NUL; no registry's name begins with NUL */
#define PREFIX_MAX (3 + DIGEST_RAW_MAX)
#define KEY_MAX (PREFIX_MAX + LIMIT_NAME + 2)

struct key {
    size_t len;
    char bytes[KEY_MAX];
};

/* A change that is not durable yet, and counts before what the index says. */
struct change {
    struct keeping keeping;
    struct privacy *privacy;
    struct change *next; /* under lock; the latest first */
    bool is_link;
    struct digest digest;
    struct key key; /* of the link; of a publication, the prefix of all links */
};

struct privacy {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    atomic_bool any; /* there is a link, or was since the start */
    pthread_mutex_t lock;
    struct change *changes; /* under lock */
};

static void make_prefix(const struct digest *digest, struct key *key)
{
    size_t raw = digest_raw_size(digest->algorithm);
    key->bytes[0] = '\0';
    key->bytes[1] = 'p';
    key->bytes[2] = (char)digest->algorithm;
    memcpy(key->bytes + 3, digest->raw, raw);
    key->len = 3 + raw;
}

static void make_key(const struct digest *digest, const char *registry, const char *repository, struct key *key)
{
    size_t a = strlen(registry) + 1, b = strlen(repository) + 1;
    make_prefix(digest, key);
    assert(key->len + a + b <= KEY_MAX);
    memcpy(key->bytes + key->len, registry, a);
    memcpy(key->bytes + key->len + a, repository, b);
    key->len += a + b;
}

static int stop_at_first(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)arg;
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    return 1;
}

int privacy_create(struct blobstore *store, struct keeper *keeper, struct privacy **ret_privacy)
{
    struct privacy *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->store = store;
    p->keeper = keeper;
    (void)pthread_mutex_init(&p->lock, NULL);
    int r = blobstore_record_scan(store, BLOBSTORE_REPOSITORIES, "\0p", 2, stop_at_first, NULL);
    if (r < 0) {
        privacy_destroy(p);
        return r;
    }
    p->any = r > 0;
    *ret_privacy = p;
    return 0;
}

void privacy_destroy(struct privacy *p)
{
    if (!p)
        return;
    for (struct change *c = p->changes, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

struct verdict {
    const struct key *wanted;
    bool is_linked; /* to any repository */
    bool is_allowed;
};

static int judge(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct verdict *v = arg;
    (void)value;
    (void)value_len;
    v->is_linked = true;
    v->is_allowed = key_len == v->wanted->len && memcmp(key, v->wanted->bytes, key_len) == 0;
    return v->is_allowed;
}

/* Under the lock: what the changes say. True: that is the last word. */
static bool judge_changes(struct privacy *p, const struct digest *digest, struct verdict *v)
{
    for (const struct change *c = p->changes; c; c = c->next) {
        if (!digest_equal(&c->digest, digest))
            continue;
        if (!c->is_link)
            return true; /* what the index still has is gone with it */
        if (judge(v, c->key.bytes, c->key.len, NULL, 0))
            return true;
    }
    return false;
}

/* What is known of a digest, with regard to one name. An index that cannot be read makes it nobody's. */
static struct verdict look_up(struct privacy *p, const struct digest *digest, const struct key *wanted)
{
    struct verdict v = {.wanted = wanted};
    struct key prefix;
    if (!p->any)
        return v;
    make_prefix(digest, &prefix);
    (void)pthread_mutex_lock(&p->lock);
    bool decided = judge_changes(p, digest, &v);
    (void)pthread_mutex_unlock(&p->lock);
    if (!decided && blobstore_record_scan(p->store, BLOBSTORE_REPOSITORIES, prefix.bytes, prefix.len, judge, &v) < 0)
        v.is_linked = true;
    return v;
}

bool privacy_allows(struct privacy *p, const struct digest *digest, const char *registry, const char *repository)
{
    struct key wanted;
    make_key(digest, registry, repository, &wanted);
    struct verdict v = look_up(p, digest, &wanted);
    return v.is_allowed || !v.is_linked;
}

static bool is_linked(struct privacy *p, const struct digest *digest)
{
    const struct key nobody = {.len = 0};
    return look_up(p, digest, &nobody).is_linked;
}

/* --- changes ------------------------------------------------------------------------------------------------ */

/* More links than this go with the next publication: until then the content stays private. */
struct deletion {
    struct key keys[16];
    size_t count;
};

static int collect(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct deletion *d = arg;
    (void)value;
    (void)value_len;
    struct key *k = &d->keys[d->count++];
    k->len = key_len;
    memcpy(k->bytes, key, key_len);
    return d->count == ARRAY_SIZE(d->keys);
}

static void delete_links(struct privacy *p, const struct key *prefix, struct blobstore_batch *batch)
{
    struct deletion d = {.count = 0};
    int r = blobstore_record_scan(p->store, BLOBSTORE_REPOSITORIES, prefix->bytes, prefix->len, collect, &d);
    for (size_t i = 0; r >= 0 && i < d.count; i++)
        blobstore_batch_delete(batch, BLOBSTORE_REPOSITORIES, d.keys[i].bytes, d.keys[i].len);
}

static void change_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct change *c = (struct change *)k;
    const uint8_t value = RECORD_VERSION;
    if (c->is_link)
        blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, c->key.bytes, c->key.len, &value, sizeof(value));
    else
        delete_links(c->privacy, &c->key, batch);
}

static void change_done(struct keeping *k, int result)
{
    struct change *c = (struct change *)k;
    struct privacy *p = c->privacy;
    if (result < 0 && c->is_link)
        return; /* the keeper has said so; until the next start it counts all the same */
    (void)pthread_mutex_lock(&p->lock);
    for (struct change **at = &p->changes; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    (void)pthread_mutex_unlock(&p->lock);
    free(c);
}

static int post(struct privacy *p, const struct digest *digest, bool is_link, const struct key *key)
{
    struct change *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->keeping = (struct keeping){.add = change_add, .done = change_done};
    c->privacy = p;
    c->is_link = is_link;
    c->digest = *digest;
    c->key = *key;
    (void)pthread_mutex_lock(&p->lock);
    c->next = p->changes;
    p->changes = c;
    (void)pthread_mutex_unlock(&p->lock);
    keeper_post(p->keeper, &c->keeping);
    return 0;
}

int privacy_link(struct privacy *p, const struct digest *digest, const char *registry, const char *repository)
{
    struct blobstore_info info;
    struct key key;
    bool is_stored = blobstore_stat(p->store, digest, &info) == 0;
    if (is_stored && privacy_allows(p, digest, registry, repository))
        return 0; /* public, or linked already */
    make_key(digest, registry, repository, &key);
    p->any = true;
    return post(p, digest, /* is_link= */ true, &key);
}

void privacy_publish(struct privacy *p, const struct digest *digest)
{
    struct key prefix;
    if (!is_linked(p, digest))
        return;
    make_prefix(digest, &prefix);
    int r = post(p, digest, /* is_link= */ false, &prefix);
    (void)r; /* without memory it stays private: asked for again */
}
