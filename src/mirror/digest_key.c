#include "mirror/digest_key.h"

#include <errno.h>
#include <string.h>

size_t digest_key_encode(const struct digest *digest, uint8_t key[DIGEST_KEY_MAX])
{
    size_t raw = digest_raw_size(digest->algorithm);
    key[0] = (uint8_t)digest->algorithm;
    memcpy(key + 1, digest->raw, raw);
    return 1 + raw;
}

int digest_key_decode(const void *key, size_t len, struct digest *ret_digest, size_t *ret_len)
{
    const uint8_t *k = key;
    struct digest digest = {0};
    size_t raw = len > 0 ? digest_raw_size(k[0]) : 0;
    if (raw == 0 || len < 1 + raw)
        return -EINVAL;
    digest.algorithm = k[0];
    memcpy(digest.raw, k + 1, raw);
    *ret_digest = digest;
    *ret_len = 1 + raw;
    return 0;
}
