/*
 * A digest inside the key of a record: the algorithm and the raw bytes (docs/store-format.md). Pure; any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#define DIGEST_KEY_MAX (1 + DIGEST_RAW_MAX)

/* Returns its length. */
size_t digest_key_encode(const struct digest *digest, uint8_t key[DIGEST_KEY_MAX]);
/* Reads the digest that `key` begins with. -EINVAL: it begins with none. */
MUST_CHECK int digest_key_decode(const void *key, size_t len, struct digest *ret_digest, size_t *ret_len);
