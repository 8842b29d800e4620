#include "mirror/pointers.h"

#include "base/hash.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define POINTERS_MAX 16384
#define POINTERS_BUCKETS 16384 /* a power of two */

#define POINTER_VERSION 1

struct entry {
    struct entry *chain, *newer, *older;
    struct pointer_key key;
    struct pointer pointer;
};

struct pointers {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    pthread_mutex_t lock;
    /* under lock */
    unsigned count;
    struct entry *newest, *oldest;
    struct entry *buckets[POINTERS_BUCKETS];
};

/* registry NUL repository NUL kind name */
void pointer_key_make(struct pointer_key *key, const char *registry, const char *repository, enum pointer_kind kind,
                      const char *name)
{
    size_t a = strlen(registry), b = strlen(repository), c = strlen(name);
    assert(a + b <= LIMIT_NAME && a + 1 + b + 1 + 1 + c <= POINTER_KEY_MAX);
    char *p = key->bytes;
    memcpy(p, registry, a + 1);
    memcpy(p + a + 1, repository, b + 1);
    p[a + b + 2] = (char)kind;
    memcpy(p + a + b + 3, name, c);
    key->len = a + b + 3 + c;
}

/* version u8, algorithm u8, digest, size u64, checked_at u64, media type to the end; integers big-endian */
int pointer_encode(const struct pointer *p, struct buf *value)
{
    uint8_t head[2] = {POINTER_VERSION, (uint8_t)p->digest.algorithm};
    uint64_t numbers[2] = {htobe64(p->size), htobe64((uint64_t)p->checked_at)};
    int r = buf_add(value, head, sizeof(head));
    if (r == 0)
        r = buf_add(value, p->digest.raw, digest_raw_size(p->digest.algorithm));
    if (r == 0)
        r = buf_add(value, numbers, sizeof(numbers));
    return r == 0 ? buf_adds(value, p->media_type) : r;
}

int pointer_decode(const void *value, size_t len, struct pointer *ret_pointer)
{
    const uint8_t *v = value;
    struct pointer p = {0};
    uint64_t numbers[2];
    if (len < 2 || v[0] != POINTER_VERSION)
        return -EINVAL;
    size_t raw = digest_raw_size(v[1]), fixed = 2 + raw + sizeof(numbers);
    if (raw == 0 || len < fixed || len - fixed >= sizeof(p.media_type))
        return -EINVAL;
    p.digest.algorithm = v[1];
    memcpy(p.digest.raw, v + 2, raw);
    memcpy(numbers, v + 2 + raw, sizeof(numbers));
    if (be64toh(numbers[1]) > INT64_MAX)
        return -EINVAL;
    p.size = be64toh(numbers[0]);
    p.checked_at = (int64_t)be64toh(numbers[1]);
    memcpy(p.media_type, v + fixed, len - fixed);
    *ret_pointer = p;
    return 0;
}

int pointers_create(struct blobstore *store, struct keeper *keeper, struct pointers **ret_pointers)
{
    struct pointers *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->store = store;
    p->keeper = keeper;
    (void)pthread_mutex_init(&p->lock, NULL);
    *ret_pointers = p;
    return 0;
}

void pointers_destroy(struct pointers *p)
{
    if (!p)
        return;
    for (struct entry *e = p->newest, *older; e; e = older) {
        older = e->older;
        free(e);
    }
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct entry **find(struct pointers *p, const struct pointer_key *key)
{
    struct entry **at = &p->buckets[hash_bytes(key->bytes, key->len) & (POINTERS_BUCKETS - 1)];
    while (*at && ((*at)->key.len != key->len || memcmp((*at)->key.bytes, key->bytes, key->len) != 0))
        at = &(*at)->chain;
    return at;
}

static void unlink_age(struct pointers *p, struct entry *e)
{
    *(e->newer ? &e->newer->older : &p->newest) = e->older;
    *(e->older ? &e->older->newer : &p->oldest) = e->newer;
}

static void link_newest(struct pointers *p, struct entry *e)
{
    e->newer = NULL;
    e->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = e;
    p->newest = e;
}

/* Puts it into memory; what is in memory already is newer than what was read from the index. */
static void remember(struct pointers *p, const struct pointer_key *key, const struct pointer *pointer, bool replace)
{
    struct entry *fresh = malloc(sizeof(*fresh)), *old = NULL;
    (void)pthread_mutex_lock(&p->lock);
    struct entry **at = find(p, key);
    if (*at) {
        if (replace)
            (*at)->pointer = *pointer;
        old = fresh;
    } else if (fresh) {
        *fresh = (struct entry){.key = *key, .pointer = *pointer};
        *at = fresh;
        link_newest(p, fresh);
        if (++p->count > POINTERS_MAX) {
            old = p->oldest;
            *find(p, &old->key) = old->chain;
            unlink_age(p, old);
            p->count--;
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    free(old);
}

int pointers_get(struct pointers *p, const struct pointer_key *key, struct pointer *ret_pointer)
{
    (void)pthread_mutex_lock(&p->lock);
    struct entry *e = *find(p, key);
    if (e) {
        *ret_pointer = e->pointer;
        if (e != p->newest) {
            unlink_age(p, e);
            link_newest(p, e);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (e)
        return 0;
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    int r = blobstore_record_get(p->store, BLOBSTORE_TAGS, key->bytes, key->len, &value);
    if (r < 0)
        return r;
    if (pointer_decode(value.data, value.len, ret_pointer) < 0)
        return -ENOENT; /* the upstream is asked again */
    remember(p, key, ret_pointer, /* replace= */ false);
    return 0;
}

void pointers_forget(struct pointers *p, const struct pointer_key *key)
{
    (void)pthread_mutex_lock(&p->lock);
    struct entry **at = find(p, key), *e = *at;
    if (e) {
        *at = e->chain;
        unlink_age(p, e);
        p->count--;
    }
    (void)pthread_mutex_unlock(&p->lock);
    free(e);
}

struct putting {
    struct keeping keeping;
    struct pointer_key key;
    struct pointer pointer;
};

static void putting_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct putting *put = (struct putting *)k;
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    if (pointer_encode(&put->pointer, &value) == 0)
        blobstore_batch_put(batch, BLOBSTORE_TAGS, put->key.bytes, put->key.len, value.data, value.len);
}

static void putting_done(struct keeping *k, int result)
{
    (void)result; /* the keeper has said so; the name is asked for again after the next start */
    free(k);
}

void pointers_put(struct pointers *p, const struct pointer_key *key, const struct pointer *pointer)
{
    remember(p, key, pointer, /* replace= */ true);
    struct putting *put = malloc(sizeof(*put));
    if (!put)
        return;
    *put = (struct putting){.keeping = {.add = putting_add, .done = putting_done}, .key = *key, .pointer = *pointer};
    keeper_post(p->keeper, &put->keeping);
}
