#include "mirror/digest_key.h"
#include "mirror/inventory.h"
#include "mirror/pins.h"
#include "mirror/place_key.h"
#include "mirror/seeder.h"
#include "mirror/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 64

/* What a text pins; `what` has BLOBSTORE_KEY_MAX bytes. */
static int read_what(struct mirror *m, const char *text, struct pin *ret_pin, char *what, const char **ret_why)
{
    struct inventory_name name;
    if (inventory_is_pattern(text)) {
        size_t len = strlen(text);
        *ret_why = "a pattern is of registry/repository:tag, and has 300 characters at the most";
        if (!strchr(text, '/') || len > 300)
            return -EINVAL;
        memcpy(what, text, len);
        *ret_pin = (struct pin){.kind = PIN_PATTERN, .what = what, .what_len = len};
        return 0;
    }
    int r = inventory_name_parse(m, text, &name, ret_why);
    if (r < 0)
        return r;
    if (*name.tag) {
        struct pointer_key key;
        pointer_key_make(&key, name.registry, name.repository, POINTER_TAG, name.tag);
        memcpy(what, key.bytes, key.len);
        *ret_pin = (struct pin){.kind = PIN_TAG, .what = what, .what_len = key.len};
    } else {
        size_t len = digest_key_encode(&name.digest, (uint8_t *)what);
        *ret_pin = (struct pin){.kind = PIN_DIGEST, .what = what, .what_len = len};
    }
    return 0;
}

/* ------------------------------------------------------------------ the list */

struct walk {
    struct blobstore_cursor at;
    struct inventory_pin found[STEP];
    size_t count;
};

static void read_pin(const struct pin *pin, struct inventory_pin *ret_pin)
{
    struct inventory_pin p = {.is_pattern = pin->kind == PIN_PATTERN, .expires_at = pin->expires_at};
    const char *what = pin->what;
    struct place_key place;
    struct digest digest;
    size_t len;
    if (pin->kind == PIN_TAG) { /* of a pointer, whose name is behind its kind */
        if (place_key_read(what, pin->what_len, &place) && place.rest_len > 0)
            (void)snprintf(p.text, sizeof(p.text), "%s/%s:%.*s", place.registry, place.repository,
                           (int)place.rest_len - 1, place.rest + 1);
    } else if (pin->kind == PIN_DIGEST && digest_key_decode(what, pin->what_len, &digest, &len) == 0) {
        (void)digest_format(&digest, p.text);
    } else {
        (void)snprintf(p.text, sizeof(p.text), "%.*s", (int)pin->what_len, what);
    }
    (void)snprintf(p.origin, sizeof(p.origin), "%.*s", (int)pin->origin_len, pin->origin);
    *ret_pin = p;
}

static int take(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct walk *w = arg;
    struct pin pin;
    if (pin_decode(key, key_len, value, value_len, &pin) == 0)
        read_pin(&pin, &w->found[w->count++]);
    return 0;
}

int inventory_pins(struct mirror *m, int (*each)(void *arg, const struct inventory_pin *pin), void *arg)
{
    AUTO_FREE struct walk *w = calloc(1, sizeof(*w));
    int r;
    if (!w)
        return -ENOMEM;
    do {
        w->count = 0;
        r = blobstore_record_step(m->store, BLOBSTORE_PINS, &w->at, STEP, take, w);
        for (size_t i = 0; r >= 0 && i < w->count; i++) {
            int e = each(arg, &w->found[i]);
            if (e != 0)
                return e;
        }
    } while (r > 0);
    return r;
}

static int count_pattern(void *arg, const struct inventory_pin *pin)
{
    *(size_t *)arg += pin->is_pattern;
    return 0;
}

/* ------------------------------------------------------------------ changes */

struct change {
    struct blobstore *store;
    const struct pin *pin;
    bool removes;
};

static int run_change(void *arg, struct blobstore_batch *batch)
{
    const struct change *c = arg;
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    AUTO_BUF struct buf before = BUF_INIT(BLOBSTORE_VALUE_MAX);
    int r = pin_encode(c->pin, &key, &value);
    if (r == 0 && c->removes)
        r = blobstore_record_get(c->store, BLOBSTORE_PINS, key.data, key.len, &before);
    if (r < 0)
        return r;
    if (c->removes)
        blobstore_batch_delete(batch, BLOBSTORE_PINS, key.data, key.len);
    else
        blobstore_batch_put(batch, BLOBSTORE_PINS, key.data, key.len, value.data, value.len);
    return 0;
}

int inventory_pin(struct mirror *m, const char *text, int64_t expires_at, const char *origin, const char **ret_why)
{
    char what[BLOBSTORE_KEY_MAX];
    struct pin pin;
    size_t patterns = 0;
    int r = read_what(m, text, &pin, what, ret_why);
    if (r == 0 && pin.kind == PIN_PATTERN)
        r = inventory_pins(m, count_pattern, &patterns);
    if (r < 0)
        return r;
    if (patterns >= PIN_PATTERNS_MAX) {
        *ret_why = "there are 256 patterns already; unpin one";
        return -ENOSPC;
    }
    pin.expires_at = expires_at;
    pin.origin = origin;
    pin.origin_len = strlen(origin);
    struct change c = {.store = m->store, .pin = &pin};
    r = keeper_run(m->keeper, run_change, &c);
    if (r == 0)
        seeder_note_pin(m->seeder); /* which has it in its place again when this one ends */
    return r;
}

int inventory_unpin(struct mirror *m, const char *text, const char **ret_why)
{
    char what[BLOBSTORE_KEY_MAX];
    struct pin pin;
    struct digest digest;
    int r = 0;
    if (digest_parse(text, strlen(text), &digest) == 0) /* as the list of pins has it */
        pin = (struct pin){.kind = PIN_DIGEST, .what = what, .what_len = digest_key_encode(&digest, (uint8_t *)what)};
    else
        r = read_what(m, text, &pin, what, ret_why);
    if (r < 0)
        return r;
    pin.origin = "";
    struct change c = {.store = m->store, .pin = &pin, .removes = true};
    return keeper_run(m->keeper, run_change, &c);
}
