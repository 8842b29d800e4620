#include "mirror/seed_record.h"

#include "blobstore/blobstore.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define SEED_VERSION 1

enum { FLAG_PIN = 1, FLAG_CONFIGURED = 2 };
enum { FLAG_MATCH = 1 };

static int add_number(struct buf *b, uint64_t n)
{
    n = htobe64(n);
    return buf_add(b, &n, sizeof(n));
}

static uint64_t read_number(const uint8_t *p)
{
    uint64_t n;
    memcpy(&n, p, sizeof(n));
    return be64toh(n);
}

int seed_head_key(uint64_t id, struct buf *key)
{
    int r = buf_add(key, SEED_KEY_PREFIX, SEED_KEY_PREFIX_LEN);
    return r == 0 ? add_number(key, id) : r;
}

int seed_image_key(uint64_t id, size_t number, struct buf *key)
{
    uint32_t n = htobe32((uint32_t)number);
    int r = seed_head_key(id, key);
    return r == 0 ? buf_add(key, &n, sizeof(n)) : r;
}

/* A text and its NUL. */
static int add_text(struct buf *b, const char *s)
{
    return buf_add(b, s ? s : "", s ? strlen(s) + 1 : 1);
}

/* The next text of a value; NULL: there is none. */
static const char *next_text(const char **at, size_t *left)
{
    const char *s = *at, *end = *left ? memchr(s, '\0', *left) : NULL;
    if (!end)
        return NULL;
    *left -= (size_t)(end + 1 - s);
    *at = end + 1;
    return s;
}

static bool is_state(uint8_t s)
{
    return s >= SEED_WAITING && s <= SEED_CANCELLED;
}

/* --- heads --------------------------------------------------------------------------------------------------- */

#define HEAD_FIXED (4 + 5 * 8)

/* version u8, state u8, flags u8, 0 u8, five numbers, name NUL, platforms NUL; integers big-endian */
int seed_head_encode(const struct seed_head *h, struct buf *value)
{
    const uint8_t fixed[4] = {SEED_VERSION, (uint8_t)h->state,
                              (uint8_t)((h->pin ? FLAG_PIN : 0) | (h->is_configured ? FLAG_CONFIGURED : 0))};
    const int64_t numbers[] = {h->every_ms, h->created_at, h->started_at, h->ended_at, h->next_at};
    int r = buf_add(value, fixed, sizeof(fixed));
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
        r = add_number(value, (uint64_t)numbers[i]);
    if (r == 0)
        r = add_text(value, h->name);
    return r == 0 ? add_text(value, h->platforms) : r;
}

int seed_head_decode(const void *key, size_t key_len, const void *value, size_t len, struct seed_head *ret_head)
{
    const uint8_t *v = value;
    struct seed_head h = {.id = 0};
    int64_t *const numbers[] = {&h.every_ms, &h.created_at, &h.started_at, &h.ended_at, &h.next_at};
    if (key_len != SEED_HEAD_KEY_LEN || len < HEAD_FIXED || v[0] != SEED_VERSION || !is_state(v[1]) || v[3] != 0)
        return -EINVAL;
    h.id = read_number((const uint8_t *)key + SEED_KEY_PREFIX_LEN);
    h.state = v[1];
    h.pin = v[2] & FLAG_PIN;
    h.is_configured = v[2] & FLAG_CONFIGURED;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        *numbers[i] = (int64_t)read_number(v + 4 + 8 * i);
        if (*numbers[i] < 0)
            return -EINVAL;
    }
    const char *at = (const char *)v + HEAD_FIXED;
    size_t left = len - HEAD_FIXED;
    const char *name = next_text(&at, &left), *platforms = name ? next_text(&at, &left) : NULL;
    if (!platforms || left > 0 || !*name || strlen(name) > SEED_NAME_MAX || strlen(platforms) > SEED_PLATFORMS_TEXT_MAX)
        return -EINVAL;
    (void)stpcpy(h.name, name);
    (void)stpcpy(h.platforms, platforms);
    *ret_head = h;
    return 0;
}

/* --- images -------------------------------------------------------------------------------------------------- */

#define IMAGE_FIXED (4 + 4 + 8)

/* version u8, state u8, flags u8, attempts u8, error i32, bytes u64, five texts */
int seed_image_encode(const struct seed_image *i, struct buf *value)
{
    const uint8_t fixed[4] = {SEED_VERSION, (uint8_t)i->state, i->is_match ? FLAG_MATCH : 0, i->attempts};
    const char *const texts[] = {i->image, i->platforms, i->pattern, i->origin, i->cause};
    uint32_t error = htobe32((uint32_t)i->error);
    size_t before = value->len;
    int r = buf_add(value, fixed, sizeof(fixed));
    if (r == 0)
        r = buf_add(value, &error, sizeof(error));
    if (r == 0)
        r = add_number(value, i->bytes);
    for (size_t t = 0; r == 0 && t < ARRAY_SIZE(texts); t++)
        r = add_text(value, texts[t]);
    return r == 0 && value->len - before > BLOBSTORE_VALUE_MAX ? -EFBIG : r;
}

int seed_image_decode(const void *value, size_t len, struct seed_image *ret_image)
{
    const uint8_t *v = value;
    uint32_t error;
    if (len < IMAGE_FIXED || v[0] != SEED_VERSION || !is_state(v[1]))
        return -EINVAL;
    memcpy(&error, v + 4, sizeof(error));
    struct seed_image i = {.state = v[1],
                           .is_match = v[2] & FLAG_MATCH,
                           .attempts = v[3],
                           .error = (int)be32toh(error),
                           .bytes = read_number(v + 8)};
    char **const texts[] = {&i.image, &i.platforms, &i.pattern, &i.origin, &i.cause};
    const char *at = (const char *)v + IMAGE_FIXED;
    size_t left = len - IMAGE_FIXED;
    int r = 0;
    for (size_t t = 0; r == 0 && t < ARRAY_SIZE(texts); t++) {
        const char *s = next_text(&at, &left);
        if (!s || (t == 0 && !*s))
            r = -EINVAL;
        else if (*s && !(*texts[t] = strdup(s)))
            r = -ENOMEM;
    }
    if (r < 0 || left > 0) {
        seed_image_finish(&i);
        return r < 0 ? r : -EINVAL;
    }
    *ret_image = i;
    return 0;
}

void seed_image_finish(struct seed_image *i)
{
    free(i->image);
    free(i->platforms);
    free(i->pattern);
    free(i->origin);
    free(i->cause);
    *i = (struct seed_image){.image = NULL};
}
