#include "mirror/privacy.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/digest_key.h"
#include "mirror/keeper.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 1

/*
 * No registry's name begins with NUL:
 *   NUL 'p' algorithm digest registry NUL repository NUL   a link
 *   NUL 'o' algorithm digest                               shown to everybody, though it is older than the records
 *   NUL 's'                                                since when there have been records: u64, 0 from the first
 */
#define PREFIX_MAX (3 + DIGEST_RAW_MAX)
#define KEY_MAX (PREFIX_MAX + LIMIT_NAME + 2)
#define LINK 'p'
#define SHOWN 'o'
static const char beginning_key[] = {'\0', 's'};

/* Of the keys of one digest's links: some thousands of them. What is more goes with the next publication. */
#define LINKS_MAX (1 * MIB)

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
    bool has_failed; /* under lock: its commit has; it is in force all the same, until a checkpoint keeps it */
    struct digest digest;
    struct key key; /* of the link, or that it was shown */
};

struct privacy {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    int64_t since; /* what was stored before may have come from anywhere: wall clock, ms */
    struct keeping beginning;
    atomic_bool any;          /* there is a link, or was since the start */
    atomic_bool has_accounts; /* of some registry: without, there is nothing but what everybody may see */
    pthread_mutex_t lock;     /* before the keeper's: changes are posted in the order of the list */
    struct change *changes;   /* under lock */
};

static void make_prefix(char kind, const struct digest *digest, struct key *key)
{
    key->bytes[0] = '\0';
    key->bytes[1] = kind;
    key->len = 2 + digest_key_encode(digest, (uint8_t *)key->bytes + 2);
}

static void make_key(const struct digest *digest, const char *registry, const char *repository, struct key *key)
{
    size_t a = strlen(registry) + 1, b = strlen(repository) + 1;
    make_prefix(LINK, digest, key);
    assert(key->len + a + b <= KEY_MAX);
    memcpy(key->bytes + key->len, registry, a);
    memcpy(key->bytes + key->len + a, repository, b);
    key->len += a + b;
}

/* --- the beginning ------------------------------------------------------------------------------------------ */

/* version u8, since u64 */
#define BEGINNING_SIZE 9

static void beginning_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct privacy *p = (struct privacy *)((char *)k - offsetof(struct privacy, beginning));
    uint64_t since = htobe64((uint64_t)p->since);
    uint8_t value[BEGINNING_SIZE] = {RECORD_VERSION};
    memcpy(value + 1, &since, sizeof(since));
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, beginning_key, sizeof(beginning_key), value, sizeof(value));
}

static void beginning_done(struct keeping *k, int result)
{
    (void)k;
    (void)result; /* the keeper has said so; then the next start is a later beginning */
}

/* Where there is no record, the index is new: empty like the store, or made anew from its files without their links. */
static int find_beginning(struct privacy *p)
{
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    struct blobstore_info any;
    size_t count;
    int r = blobstore_record_get(p->store, BLOBSTORE_REPOSITORIES, beginning_key, sizeof(beginning_key), &value);
    if (r == 0 && value.len == BEGINNING_SIZE && value.data[0] == RECORD_VERSION) {
        uint64_t since;
        memcpy(&since, value.data + 1, sizeof(since));
        p->since = (int64_t)be64toh(since);
        return 0;
    }
    if (r == 0 || r == -ENOENT)
        r = blobstore_list(p->store, NULL, &any, 1, &count);
    if (r < 0)
        return r;
    p->since = count > 0 ? clock_real_ms() : 0;
    p->beginning = (struct keeping){.add = beginning_add, .done = beginning_done, .comes_first = true};
    keeper_post(p->keeper, &p->beginning);
    return 0;
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
    p->any = r > 0;
    if (r >= 0)
        r = find_beginning(p);
    if (r < 0) {
        privacy_destroy(p);
        return r;
    }
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

void privacy_expect_accounts(struct privacy *p, bool has_accounts)
{
    p->has_accounts = has_accounts;
}

int64_t privacy_since(const struct privacy *p)
{
    return p->since;
}

bool privacy_is_needed(const struct privacy *p)
{
    return p->any || p->has_accounts;
}

/* --- who may see it ----------------------------------------------------------------------------------------- */

struct verdict {
    const struct key *wanted;
    bool is_guarded; /* linked to any repository, or nobody knows where it came from */
    bool is_allowed; /* linked to the wanted one */
};

/* It may have had links that were lost with an index, and nobody has been shown it since. */
static bool is_doubtful(struct privacy *p, const struct digest *digest)
{
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    struct blobstore_info info;
    struct key key;
    if (!p->has_accounts || p->since == 0 || blobstore_stat(p->store, digest, &info) < 0 || info.stored_at >= p->since)
        return false;
    make_prefix(SHOWN, digest, &key);
    return blobstore_record_get(p->store, BLOBSTORE_REPOSITORIES, key.bytes, key.len, &value) < 0;
}

static int judge(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct verdict *v = arg;
    (void)value;
    (void)value_len;
    v->is_guarded = true;
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
    if (!privacy_is_needed(p))
        return v;
    make_prefix(LINK, digest, &prefix);
    (void)pthread_mutex_lock(&p->lock);
    bool decided = judge_changes(p, digest, &v);
    (void)pthread_mutex_unlock(&p->lock);
    if (decided)
        return v;
    if (p->any && blobstore_record_scan(p->store, BLOBSTORE_REPOSITORIES, prefix.bytes, prefix.len, judge, &v) < 0)
        v.is_guarded = true;
    v.is_guarded = v.is_guarded || is_doubtful(p, digest);
    return v;
}

bool privacy_allows(struct privacy *p, const struct digest *digest, const char *registry, const char *repository)
{
    struct key wanted;
    make_key(digest, registry, repository, &wanted);
    struct verdict v = look_up(p, digest, &wanted);
    return v.is_allowed || !v.is_guarded;
}

/* --- changes ------------------------------------------------------------------------------------------------ */

static void put(struct blobstore_batch *batch, const struct key *key)
{
    const uint8_t value = RECORD_VERSION;
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, key->bytes, key->len, &value, sizeof(value));
}

static int collect(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct buf *keys = arg;
    (void)value;
    (void)value_len;
    int r = buf_reserve(keys, sizeof(key_len) + key_len); /* all of it or nothing */
    if (r == 0)
        r = buf_add(keys, &key_len, sizeof(key_len));
    return r == 0 ? buf_add(keys, key, key_len) : r;
}

/* Those that were made before are in the index: links come first. */
static void delete_stored(struct privacy *p, const struct digest *digest, struct blobstore_batch *batch)
{
    AUTO_BUF struct buf keys = BUF_INIT(LINKS_MAX);
    struct key prefix;
    make_prefix(LINK, digest, &prefix);
    int r = blobstore_record_scan(p->store, BLOBSTORE_REPOSITORIES, prefix.bytes, prefix.len, collect, &keys);
    (void)r; /* what could not be collected stays private */
    for (size_t at = 0, len; at < keys.len; at += sizeof(len) + len) {
        memcpy(&len, keys.data + at, sizeof(len));
        blobstore_batch_delete(batch, BLOBSTORE_REPOSITORIES, keys.data + at + sizeof(len), len);
    }
}

static void change_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct change *c = (struct change *)k;
    if (c->is_link) {
        put(batch, &c->key);
        return;
    }
    delete_stored(c->privacy, &c->digest, batch);
    if (is_doubtful(c->privacy, &c->digest))
        put(batch, &c->key);
}

/* Under the lock. */
static void remove_change(struct change **at)
{
    struct change *c = *at;
    *at = c->next;
    free(c);
}

/* Under the lock: what was published after them must not come back. */
static void remove_failed(struct change **at, const struct digest *digest)
{
    while (*at)
        if ((*at)->has_failed && digest_equal(&(*at)->digest, digest))
            remove_change(at);
        else
            at = &(*at)->next;
}

static void change_done(struct keeping *k, int result)
{
    struct change *done = (struct change *)k;
    struct privacy *p = done->privacy;
    (void)pthread_mutex_lock(&p->lock);
    if (result < 0 && done->is_link) {
        done->has_failed = true; /* the keeper has said so */
    } else {
        if (result == 0 && !done->is_link)
            remove_failed(&done->next, &done->digest);
        struct change **at = &p->changes;
        while (*at != done)
            at = &(*at)->next;
        remove_change(at);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void privacy_checkpoint(struct privacy *p, struct blobstore_batch *batch)
{
    (void)pthread_mutex_lock(&p->lock);
    for (const struct change *c = p->changes; c; c = c->next)
        if (c->has_failed)
            put(batch, &c->key);
    (void)pthread_mutex_unlock(&p->lock);
}

static int post(struct privacy *p, const struct digest *digest, bool is_link, const struct key *key)
{
    struct change *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->keeping = (struct keeping){.add = change_add, .done = change_done, .comes_first = is_link};
    c->privacy = p;
    c->is_link = is_link;
    c->digest = *digest;
    c->key = *key;
    (void)pthread_mutex_lock(&p->lock);
    c->next = p->changes;
    p->changes = c;
    keeper_post(p->keeper, &c->keeping);
    (void)pthread_mutex_unlock(&p->lock);
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
    const struct key nobody = {.len = 0};
    struct key shown;
    if (!look_up(p, digest, &nobody).is_guarded)
        return;
    make_prefix(SHOWN, digest, &shown);
    int r = post(p, digest, /* is_link= */ false, &shown);
    (void)r; /* without memory it stays private: asked for again */
}
