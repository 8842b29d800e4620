#include "mirror/pointers.h"

#include "base/table.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define POINTERS_MAX 16384

#define POINTER_VERSION 1

struct entry {
    UT_hash_handle hh;
    struct pointer_key key;
    struct pointer pointer;
};

struct pointers {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    pthread_mutex_t lock;
    struct entry *entries; /* under lock; the least recently used first */
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
    struct entry *e, *next;
    HASH_ITER(hh, p->entries, e, next)
    {
        HASH_DEL(p->entries, e);
        free(e);
    }
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct entry *find(const struct pointers *p, const struct pointer_key *key)
{
    struct entry *e;
    HASH_FIND(hh, p->entries, key->bytes, key->len, e);
    return e;
}

/* As the newest. Returns what there is no room for, or NULL. */
static struct entry *add(struct pointers *p, struct entry *e)
{
    HASH_ADD_KEYPTR(hh, p->entries, e->key.bytes, e->key.len, e);
    if (!TABLE_HAS(e) || HASH_COUNT(p->entries) <= POINTERS_MAX)
        return TABLE_HAS(e) ? NULL : e;
    struct entry *oldest = p->entries;
    HASH_DEL(p->entries, oldest);
    return oldest;
}

/* Puts it into memory; what is in memory already is newer than what was read from the index. */
static void remember(struct pointers *p, const struct pointer_key *key, const struct pointer *pointer, bool replace)
{
    struct entry *fresh = malloc(sizeof(*fresh)), *old = fresh;
    (void)pthread_mutex_lock(&p->lock);
    struct entry *e = find(p, key);
    if (e && replace)
        e->pointer = *pointer;
    if (!e && fresh) {
        *fresh = (struct entry){.key = *key, .pointer = *pointer};
        old = add(p, fresh);
    }
    (void)pthread_mutex_unlock(&p->lock);
    free(old);
}

int pointers_get(struct pointers *p, const struct pointer_key *key, struct pointer *ret_pointer)
{
    struct entry *old = NULL;
    (void)pthread_mutex_lock(&p->lock);
    struct entry *e = find(p, key);
    bool found = e;
    if (found) {
        *ret_pointer = e->pointer;
        HASH_DEL(p->entries, e);
        old = add(p, e);
    }
    (void)pthread_mutex_unlock(&p->lock);
    free(old);
    if (found)
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
    struct entry *e = find(p, key);
    if (e)
        HASH_DEL(p->entries, e);
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
