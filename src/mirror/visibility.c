#include "mirror/visibility.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/keeper.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 1024 /* a power of two; one repository a place */
#define RECORD_VERSION 1
#define KEY_MAX (LIMIT_NAME + 2)

struct known {
    enum visibility what;
    int64_t asked_at; /* wall clock, ms */
};

struct place {
    char key[KEY_MAX];
    size_t len;
    struct known known;
};

struct visibilities {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    pthread_mutex_t lock;
    struct place places[PLACES]; /* under lock */
};

int visibilities_create(struct blobstore *store, struct keeper *keeper, struct visibilities **ret_v)
{
    struct visibilities *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->store = store;
    v->keeper = keeper;
    (void)pthread_mutex_init(&v->lock, NULL);
    *ret_v = v;
    return 0;
}

void visibilities_destroy(struct visibilities *v)
{
    if (!v)
        return;
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

/* registry NUL repository NUL; with a digest behind it, the key is that of a manifest seen there (library.c) */
static size_t make_key(const char *registry, const char *repository, char *key)
{
    size_t a = strlen(registry) + 1, b = strlen(repository) + 1;
    assert(a + b <= KEY_MAX);
    memcpy(key, registry, a);
    memcpy(key + a, repository, b);
    return a + b;
}

static struct place *place_of(struct visibilities *v, const char *key, size_t len)
{
    return &v->places[hash_bytes(key, len) & (PLACES - 1)];
}

static bool recall(struct visibilities *v, const char *key, size_t len, struct known *ret_known)
{
    const struct place *p = place_of(v, key, len);
    (void)pthread_mutex_lock(&v->lock);
    bool found = p->len == len && memcmp(p->key, key, len) == 0;
    if (found)
        *ret_known = p->known;
    (void)pthread_mutex_unlock(&v->lock);
    return found;
}

/* What is in memory already is newer than what was read from the index. */
static void remember(struct visibilities *v, const char *key, size_t len, const struct known *known, bool replace)
{
    struct place *p = place_of(v, key, len);
    (void)pthread_mutex_lock(&v->lock);
    if (replace || p->len != len || memcmp(p->key, key, len) != 0) {
        memcpy(p->key, key, len);
        p->len = len;
        p->known = *known;
    }
    (void)pthread_mutex_unlock(&v->lock);
}

/* version u8, what u8, asked_at u64 */
#define RECORD_SIZE 10

static bool read_record(struct visibilities *v, const char *key, size_t len, struct known *ret_known)
{
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    uint64_t asked_at;
    if (blobstore_record_get(v->store, BLOBSTORE_REPOSITORIES, key, len, &value) < 0 || value.len != RECORD_SIZE ||
        value.data[0] != RECORD_VERSION || (value.data[1] != VISIBILITY_PUBLIC && value.data[1] != VISIBILITY_PRIVATE))
        return false;
    memcpy(&asked_at, value.data + 2, sizeof(asked_at));
    if (be64toh(asked_at) > INT64_MAX)
        return false;
    *ret_known = (struct known){.what = (enum visibility)value.data[1], .asked_at = (int64_t)be64toh(asked_at)};
    return true;
}

enum visibility visibility_get(struct visibilities *v, const char *registry, const char *repository, bool *ret_fresh)
{
    char key[KEY_MAX];
    struct known known = {.what = VISIBILITY_UNKNOWN};
    size_t len = make_key(registry, repository, key);
    if (!recall(v, key, len, &known) && read_record(v, key, len, &known))
        remember(v, key, len, &known, /* replace= */ false);
    int64_t age = clock_real_ms() - known.asked_at;
    *ret_fresh = known.what != VISIBILITY_UNKNOWN && age >= 0 && age < VISIBILITY_TTL_MS;
    return known.what;
}

struct noting {
    struct keeping keeping;
    struct known known;
    size_t len;
    char key[KEY_MAX];
};

static void noting_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct noting *n = (struct noting *)k;
    uint64_t asked_at = htobe64((uint64_t)n->known.asked_at);
    uint8_t value[RECORD_SIZE] = {RECORD_VERSION, (uint8_t)n->known.what};
    memcpy(value + 2, &asked_at, sizeof(asked_at));
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, n->key, n->len, value, sizeof(value));
}

static void noting_done(struct keeping *k, int result)
{
    (void)result; /* the keeper has said so; the upstream is asked again after the next start */
    free(k);
}

void visibility_note(struct visibilities *v, const char *registry, const char *repository, enum visibility what)
{
    struct noting *n = calloc(1, sizeof(*n));
    char key[KEY_MAX];
    const struct known known = {.what = what, .asked_at = clock_real_ms()};
    size_t len = make_key(registry, repository, key);
    remember(v, key, len, &known, /* replace= */ true);
    if (!n)
        return;
    n->keeping = (struct keeping){.add = noting_add, .done = noting_done};
    n->known = known;
    n->len = len;
    memcpy(n->key, key, len);
    keeper_post(v->keeper, &n->keeping);
}
