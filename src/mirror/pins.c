#include "mirror/pins.h"

#include "base/limits.h"
#include "mirror/digest_key.h"
#include "mirror/place_key.h"
#include "mirror/pointers.h"

#include <endian.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define PIN_VERSION 1
#define NAME_MAX_TEXT (LIMIT_NAME + DIGEST_TEXT_MAX + LIMIT_TAG + 4)

/* --- the record --------------------------------------------------------------------------------------------- */

/* version u8, expires_at u64, origin to the end; integers big-endian */
int pin_encode(const struct pin *pin, struct buf *key, struct buf *value)
{
    uint64_t expires = htobe64((uint64_t)pin->expires_at);
    char kind = (char)pin->kind;
    int r = buf_add(key, &kind, 1);
    if (r == 0)
        r = buf_add(key, pin->what, pin->what_len);
    if (r == 0)
        r = buf_add(value, &(uint8_t){PIN_VERSION}, 1);
    if (r == 0)
        r = buf_add(value, &expires, sizeof(expires));
    return r == 0 ? buf_add(value, pin->origin, pin->origin_len) : r;
}

int pin_decode(const void *key, size_t key_len, const void *value, size_t value_len, struct pin *ret_pin)
{
    const char *k = key, *v = value;
    uint64_t expires;
    if (key_len < 2 || !strchr("idp", k[0]) || value_len < 1 + sizeof(expires) || v[0] != PIN_VERSION)
        return -EINVAL;
    memcpy(&expires, v + 1, sizeof(expires));
    *ret_pin = (struct pin){
        .kind = (enum pin_kind)k[0],
        .what = k + 1,
        .what_len = key_len - 1,
        .expires_at = (int64_t)be64toh(expires),
        .origin = v + 1 + sizeof(expires),
        .origin_len = value_len - 1 - sizeof(expires),
    };
    return 0;
}

/* --- what they come to -------------------------------------------------------------------------------------- */

struct pins {
    struct digest_set *pinned;
    int64_t now;
    char *patterns[PIN_PATTERNS_MAX];
    size_t count;
    struct buf tags; /* keys of pointers, each behind its length */
};

static void pins_finish(struct pins *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->patterns[i]);
    buf_finish(&p->tags);
}

static int pin_digest(struct pins *p, const void *key, size_t len)
{
    struct digest digest;
    size_t used;
    int r = digest_key_decode(key, len, &digest, &used) == 0 ? digest_set_add(p->pinned, &digest) : 0;
    return r == -EEXIST ? 0 : r;
}

static int take_pin(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct pins *p = arg;
    struct pin pin;
    int r = 0;
    if (pin_decode(key, key_len, value, value_len, &pin) < 0 || (pin.expires_at && pin.expires_at <= p->now))
        return 0;
    switch (pin.kind) {
    case PIN_DIGEST:
        return pin_digest(p, pin.what, pin.what_len);
    case PIN_TAG:
        r = buf_add(&p->tags, &pin.what_len, sizeof(pin.what_len));
        return r == 0 ? buf_add(&p->tags, pin.what, pin.what_len) : r;
    case PIN_PATTERN:
        if (p->count == PIN_PATTERNS_MAX)
            return 0;
        p->patterns[p->count] = strndup(pin.what, pin.what_len);
        r = p->patterns[p->count] ? 0 : -ENOMEM;
        p->count += r == 0;
        return r;
    }
    return 0;
}

static bool matches(const struct pins *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (fnmatch(p->patterns[i], name, 0) == 0)
            return true;
    return false;
}

static int match_pointer(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct pins *p = arg;
    struct pointer pointer;
    struct place_key place;
    char name[NAME_MAX_TEXT];
    if (!place_key_read(key, key_len, &place) || place.rest_len < 2 || place.rest[0] != POINTER_TAG ||
        place.rest_len > 1 + LIMIT_TAG)
        return 0;
    (void)snprintf(name, sizeof(name), "%s/%s:%.*s", place.registry, place.repository, (int)place.rest_len - 1,
                   place.rest + 1);
    if (!matches(p, name) || pointer_decode(value, value_len, &pointer) < 0)
        return 0;
    int r = digest_set_add(p->pinned, &pointer.digest);
    return r == -EEXIST ? 0 : r;
}

static int match_place(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct pins *p = arg;
    struct digest digest;
    struct place_key place;
    char name[NAME_MAX_TEXT], text[DIGEST_TEXT_MAX];
    (void)value;
    (void)value_len;
    if (!place_key_read_sighting(key, key_len, &place, &digest))
        return 0;
    (void)snprintf(name, sizeof(name), "%s/%s@%s", place.registry, place.repository, digest_format(&digest, text));
    int r = matches(p, name) ? digest_set_add(p->pinned, &digest) : 0;
    return r == -EEXIST ? 0 : r;
}

static int pin_tags(struct blobstore *store, struct pins *p)
{
    size_t len;
    for (size_t at = 0; at < p->tags.len; at += len) {
        AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
        struct pointer pointer;
        memcpy(&len, p->tags.data + at, sizeof(len));
        at += sizeof(len);
        int r = blobstore_record_get(store, BLOBSTORE_TAGS, p->tags.data + at, len, &value);
        if (r == 0 && pointer_decode(value.data, value.len, &pointer) == 0)
            r = digest_set_add(p->pinned, &pointer.digest);
        if (r < 0 && r != -ENOENT && r != -EEXIST)
            return r;
    }
    return 0;
}

int pins_resolve(struct blobstore *store, int64_t now, struct digest_set *pinned)
{
    AUTO(pins_finish) struct pins p = {.pinned = pinned, .now = now, .tags = BUF_INIT(16 * MIB)};
    int r = blobstore_record_scan(store, BLOBSTORE_PINS, NULL, 0, take_pin, &p);
    if (r == 0)
        r = pin_tags(store, &p);
    if (r == 0 && p.count > 0)
        r = blobstore_record_scan(store, BLOBSTORE_TAGS, NULL, 0, match_pointer, &p);
    if (r == 0 && p.count > 0)
        r = blobstore_record_scan(store, BLOBSTORE_REPOSITORIES, NULL, 0, match_place, &p);
    return r;
}
