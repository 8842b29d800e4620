#include "mirror/place_key.h"

#include "base/limits.h"
#include "mirror/digest_key.h"

#include <string.h>

bool place_key_read(const void *key, size_t len, struct place_key *ret_place)
{
    const char *registry = key, *end = registry + len, *first = memchr(registry, '\0', len);
    const char *second = first ? memchr(first + 1, '\0', (size_t)(end - first - 1)) : NULL;
    if (!second || first == registry || second - registry - 1 > LIMIT_NAME)
        return false;
    *ret_place = (struct place_key){
        .registry = registry,
        .repository = first + 1,
        .rest = second + 1,
        .rest_len = (size_t)(end - second - 1),
    };
    return true;
}

bool place_key_read_sighting(const void *key, size_t len, struct place_key *ret_place, struct digest *ret_digest)
{
    struct place_key place;
    size_t used;
    if (!place_key_read(key, len, &place) || digest_key_decode(place.rest, place.rest_len, ret_digest, &used) < 0)
        return false;
    *ret_place = place;
    return true;
}
