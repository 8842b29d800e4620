#include "mirror/seeder.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/table.h"
#include "mirror/digest_key.h"
#include "mirror/pins.h"
#include "mirror/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whose a pin is that a seed has made: "seed/NAME". */
#define ORIGIN "seed/"

struct wish {
    UT_hash_handle hh;
    char origin[sizeof(ORIGIN) + SEED_NAME_MAX];
    bool is_pinned; /* already, for a seed or for somebody else */
    size_t key_len;
    char key[]; /* of the record */
};

struct pinning {
    struct seeder *s;
    struct wish *wishes;
    struct bundle *bundle;
    int64_t now;      /* wall clock, ms */
    int64_t lapse_at; /* when the first pin of somebody else ends that is in the place of a wish; 0: none does */
};

static struct wish *find(const struct pinning *p, const void *key, size_t len)
{
    struct wish *w;
    HASH_FIND(hh, p->wishes, key, len, w);
    return w;
}

static void pinning_finish(struct pinning *p)
{
    struct wish *w, *next;
    HASH_ITER(hh, p->wishes, w, next)
    {
        HASH_DEL(p->wishes, w);
        free(w);
    }
    bundle_destroy(p->bundle);
}

/* The image as the records of pins have it. false: it can be none. */
static bool make_pin(const struct config *config, const char *image, struct pin *pin, struct pointer_key *room)
{
    struct image_name name;
    struct repository_name found;
    struct digest digest;
    const char *wrong;
    if (image_name_parse(image, strlen(image), &name, &wrong) < 0 ||
        repository_resolve(config, name.registry, name.repository, &found) < 0)
        return false;
    if (name.digest[0]) {
        if (digest_parse(name.digest, strlen(name.digest), &digest) < 0)
            return false;
        room->len = digest_key_encode(&digest, (uint8_t *)room->bytes);
        pin->kind = PIN_DIGEST;
    } else {
        pointer_key_make(room, found.registry->name, found.path, POINTER_TAG, name.tag);
        pin->kind = PIN_TAG;
    }
    pin->what = room->bytes;
    pin->what_len = room->len;
    return true;
}

static int add_wish(struct pinning *p, const struct config *config, const char *seed, const char *image)
{
    struct pin pin = {.origin = ""};
    struct pointer_key room;
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (!make_pin(config, image, &pin, &room) || pin_encode(&pin, &key, &value) < 0)
        return 0; /* a key that is too long can be of no pin */
    if (find(p, key.data, key.len))
        return 0;
    AUTO_FREE struct wish *w = calloc(1, sizeof(*w) + key.len);
    if (!w)
        return -ENOMEM;
    (void)snprintf(w->origin, sizeof(w->origin), ORIGIN "%s", seed);
    w->key_len = key.len;
    memcpy(w->key, key.data, key.len);
    HASH_ADD_KEYPTR(hh, p->wishes, w->key, w->key_len, w);
    if (!TABLE_HAS(w))
        return -ENOMEM;
    (void)TAKE_PTR(w);
    return 0;
}

/* All that is to be pinned. Takes the configuration's lock, then the seeder's. */
static int gather(struct pinning *p)
{
    struct seeder *s = p->s;
    int r = 0;
    (void)pthread_rwlock_rdlock(&s->mirror->config_lock);
    (void)pthread_mutex_lock(&s->lock);
    for (const struct seed *seed = s->seeds; seed; seed = seed->next)
        for (size_t i = 0; seed->head.pin && r == 0 && i < seed->count; i++)
            if (!seed->images[i].pattern)
                r = add_wish(p, s->mirror->config, seed->head.name, seed->images[i].image);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_rwlock_unlock(&s->mirror->config_lock);
    return r;
}

static int look_at_pin(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct pinning *p = arg;
    struct pin pin;
    if (pin_decode(key, key_len, value, value_len, &pin) < 0)
        return 0;
    bool is_ours = pin.origin_len > strlen(ORIGIN) && memcmp(pin.origin, ORIGIN, strlen(ORIGIN)) == 0;
    struct wish *w = find(p, key, key_len);
    bool is_same = w && pin.origin_len == strlen(w->origin) && memcmp(pin.origin, w->origin, pin.origin_len) == 0;
    if (w)
        w->is_pinned = is_same || (!is_ours && (pin.expires_at == 0 || pin.expires_at > p->now));
    if (w && w->is_pinned && pin.expires_at && (p->lapse_at == 0 || pin.expires_at < p->lapse_at))
        p->lapse_at = pin.expires_at;
    if (is_ours && !w) {
        const struct buf copy = {.data = (char *)(uintptr_t)key, .len = key_len};
        bundle_delete(p->bundle, BLOBSTORE_PINS, &copy);
    }
    return 0;
}

static void put_pin(struct pinning *p, const struct wish *w)
{
    const struct pin pin = {.kind = (enum pin_kind)w->key[0],
                            .what = w->key + 1,
                            .what_len = w->key_len - 1,
                            .origin = w->origin,
                            .origin_len = strlen(w->origin)};
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (pin_encode(&pin, &key, &value) == 0)
        bundle_put(p->bundle, BLOBSTORE_PINS, &key, &value);
}

void seeder_pin(struct seeder *s)
{
    AUTO_FREE struct pinning *p = calloc(1, sizeof(*p));
    if (!p)
        return;
    p->s = s;
    p->now = clock_real_ms();
    p->bundle = bundle_create();
    int r = p->bundle ? gather(p) : -ENOMEM;
    if (r == 0)
        r = blobstore_record_scan(s->mirror->store, BLOBSTORE_PINS, NULL, 0, look_at_pin, p);
    for (const struct wish *w = p->wishes; r == 0 && w; w = w->hh.next)
        if (!w->is_pinned)
            put_pin(p, w);
    if (r == 0)
        (void)bundle_post(TAKE_PTR(p->bundle), s->mirror->keeper);
    (void)pthread_mutex_lock(&s->lock);
    s->pins_lapse_at = p->lapse_at;
    (void)pthread_mutex_unlock(&s->lock);
    pinning_finish(p);
}
