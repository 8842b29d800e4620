/*
 * The public keys that tokens may be signed with, out of a text: PEM (public keys, or certificates whose keys are
 * taken) or a JSON Web Key Set (RFC 7517). A key has one algorithm, by its kind: RSA of 2048 bits or more RS256, EC on
 * P-256 ES256, Ed25519 EdDSA. There is none for secrets that are shared, nor for no signature. Immutable and counted.
 * Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_KEYS_TEXT_MAX ((size_t)256 * 1024)
#define JWT_KEYS_MAX 64

struct jwt_keys;

/* The text as a whole or not at all: -EINVAL with what is wrong in `why`. Keys of a set that are for something else, or
 * of a kind that is not known, are passed over, but one that can be used there must be. */
MUST_CHECK int jwt_keys_create(const char *text, size_t len, struct jwt_keys **ret_keys, struct buf *why);
struct jwt_keys *jwt_keys_ref(struct jwt_keys *k);
void jwt_keys_unref(struct jwt_keys *k); /* accepts NULL */
size_t jwt_keys_count(const struct jwt_keys *k);
/* Whether a key of this algorithm, and of this id where both have one (NULL: none), has signed the data. The signature
 * is as a JWS has it (RFC 7518 §3). */
bool jwt_keys_verify(const struct jwt_keys *k, const char *algorithm, const char *id, const void *data, size_t len,
                     const uint8_t *signature, size_t signature_len);

AUTO_DEFINE(struct jwt_keys, jwt_keys_unref);
