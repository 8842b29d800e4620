#include "mirror/digest_set.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_CAPACITY 64 /* a power of two, as all of them */

/* Where it is, or would be. */
static size_t place_of(const struct digest *slots, size_t capacity, const struct digest *digest)
{
    size_t at = (size_t)digest_hash(digest) & (capacity - 1);
    while (slots[at].algorithm != DIGEST_NONE && !digest_equal(&slots[at], digest))
        at = (at + 1) & (capacity - 1);
    return at;
}

static int grow(struct digest_set *set)
{
    size_t capacity = set->capacity ? 2 * set->capacity : FIRST_CAPACITY;
    struct digest *slots = calloc(capacity, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i].algorithm != DIGEST_NONE)
            slots[place_of(slots, capacity, &set->slots[i])] = set->slots[i];
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return 0;
}

int digest_set_add(struct digest_set *set, const struct digest *digest)
{
    if (digest_set_has(set, digest))
        return -EEXIST;
    int r = set->count >= set->capacity / 2 ? grow(set) : 0;
    if (r < 0)
        return r;
    set->slots[place_of(set->slots, set->capacity, digest)] = *digest;
    set->count++;
    return 0;
}

bool digest_set_has(const struct digest_set *set, const struct digest *digest)
{
    return set->count > 0 && set->slots[place_of(set->slots, set->capacity, digest)].algorithm != DIGEST_NONE;
}

const struct digest *digest_set_next(const struct digest_set *set, size_t *cursor)
{
    while (*cursor < set->capacity) {
        const struct digest *digest = &set->slots[(*cursor)++];
        if (digest->algorithm != DIGEST_NONE)
            return digest;
    }
    return NULL;
}

void digest_set_finish(struct digest_set *set)
{
    free(set->slots);
    *set = (struct digest_set){0};
}
