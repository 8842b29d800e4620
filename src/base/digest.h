/*
 * Content digests as the OCI image specification has them (descriptor.md, "Digests"): `sha256:` and `sha512:` followed
 * by lower-case hexadecimal. A value type, and a hash in progress. The only file that knows OpenSSL's digests. Any
 * thread; a struct digest_state belongs to one thread at a time.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum digest_algorithm {
    DIGEST_NONE = 0,
    DIGEST_SHA256 = 1, /* these numbers are on disk: docs/store-format.md */
    DIGEST_SHA512 = 2,
};

#define DIGEST_RAW_MAX 64
#define DIGEST_TEXT_MAX 136 /* "sha512:" + 128 + NUL */

struct digest {
    enum digest_algorithm algorithm;
    uint8_t raw[DIGEST_RAW_MAX]; /* unused bytes are zero, so that a whole struct may be compared and hashed */
};

/* Reads exactly `len` bytes of text. -EINVAL: not a digest; -ENOTSUP: well-formed, of an algorithm we do not know. */
MUST_CHECK int digest_parse(const char *text, size_t len, struct digest *ret_digest);
/* Writes "sha256:…"; `text` has DIGEST_TEXT_MAX bytes. Returns `text`. */
const char *digest_format(const struct digest *d, char *text);
const char *digest_algorithm_name(enum digest_algorithm a); /* "sha256" */
size_t digest_raw_size(enum digest_algorithm a);            /* 32 or 64; 0 for an unknown one */
bool digest_equal(const struct digest *a, const struct digest *b);
uint64_t digest_hash(const struct digest *d); /* for hash tables */

struct digest_state;

MUST_CHECK int digest_begin(enum digest_algorithm a, struct digest_state **ret_state); /* -ENOMEM, -ENOTSUP */
MUST_CHECK int digest_update(struct digest_state *s, const void *data, size_t len);
/* Ends the state, which can only be destroyed afterwards. */
MUST_CHECK int digest_end(struct digest_state *s, struct digest *ret_digest);
void digest_destroy(struct digest_state *s);
MUST_CHECK int digest_of(enum digest_algorithm a, const void *data, size_t len, struct digest *ret_digest);

AUTO_DEFINE(struct digest_state, digest_destroy);
