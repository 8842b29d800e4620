/*
 * Keys and tokens of the tests' own.
 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stddef.h>

enum token_kind { TOKEN_RSA, TOKEN_EC, TOKEN_ED25519, TOKEN_RSA_SMALL, TOKEN_P384 };

struct token_key {
    enum token_kind kind;
    gnutls_privkey_t key;
    gnutls_pubkey_t public;
    char pem[2048]; /* the public key */
    char jwk[2048]; /* the same, with kid "k" and its number; "" where there is none */
};

void token_key_create(struct token_key *k, enum token_kind kind);
void token_key_finish(struct token_key *k);
/* base64url without padding; the caller frees it. */
char *token_encode(const void *data, size_t len);
/* header.claims.signature; `key` is NULL for an empty signature. The caller frees it. */
char *token_sign(const struct token_key *key, const char *header, const char *claims);
/* With this text in place of a signature. */
char *token_compose(const char *header, const char *claims, const char *signature);
