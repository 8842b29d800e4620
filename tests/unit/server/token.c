#include "token.h"

#include <check.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define P256_SIZE 32

char *token_encode(const void *data, size_t len)
{
    const gnutls_datum_t raw = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)len};
    gnutls_datum_t text = {0};
    char *s = NULL;
    ck_assert_int_eq(gnutls_base64_encode2(&raw, &text), 0);
    ck_assert_int_ge(asprintf(&s, "%.*s", (int)text.size, text.data), 0);
    gnutls_free(text.data);
    for (char *p = s; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    s[strcspn(s, "=")] = '\0';
    return s;
}

static void write_jwk(struct token_key *k, const gnutls_datum_t *a, const gnutls_datum_t *b, const char *format)
{
    static unsigned number;
    char *first = token_encode(a->data, a->size), *second = b ? token_encode(b->data, b->size) : NULL;
    (void)snprintf(k->jwk, sizeof(k->jwk), format, ++number, first, second ? second : "");
    free(first);
    free(second);
}

/* A coordinate has the size of its curve (RFC 7518 §6.2.1.2): without the sign that ASN.1 puts before a number, and
 * with the zeros that it leaves out. */
static gnutls_datum_t to_size(const gnutls_datum_t *number, unsigned char coordinate[P256_SIZE])
{
    unsigned sign = number->size > P256_SIZE ? number->size - P256_SIZE : 0, len = number->size - sign;
    memset(coordinate, 0, P256_SIZE);
    memcpy(coordinate + P256_SIZE - len, number->data + sign, len);
    return (gnutls_datum_t){.data = coordinate, .size = P256_SIZE};
}

static void describe(struct token_key *k)
{
    gnutls_datum_t a = {0}, b = {0};
    gnutls_ecc_curve_t curve;
    unsigned char x[P256_SIZE], y[P256_SIZE];
    if (k->kind == TOKEN_RSA) {
        ck_assert_int_eq(gnutls_pubkey_export_rsa_raw2(k->public, &a, &b, GNUTLS_EXPORT_FLAG_NO_LZ), 0);
        write_jwk(k, &a, &b, "{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"k%u\",\"n\":\"%s\",\"e\":\"%s\"}");
    } else if (k->kind == TOKEN_EC) {
        ck_assert_int_eq(gnutls_pubkey_export_ecc_raw2(k->public, &curve, &a, &b, 0), 0);
        const gnutls_datum_t first = to_size(&a, x), second = to_size(&b, y);
        write_jwk(k, &first, &second,
                  "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"kid\":\"k%u\",\"x\":\"%s\",\"y\":\"%s\"}");
    } else if (k->kind == TOKEN_ED25519) {
        ck_assert_int_eq(gnutls_pubkey_export_ecc_raw2(k->public, &curve, &a, NULL, 0), 0);
        write_jwk(k, &a, NULL, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%u\",\"x\":\"%s\"%s}");
    }
    gnutls_free(a.data);
    gnutls_free(b.data);
}

void token_key_create(struct token_key *k, enum token_kind kind)
{
    static const struct {
        gnutls_pk_algorithm_t algorithm;
        unsigned bits;
    } kinds[] = {
        [TOKEN_RSA] = {GNUTLS_PK_RSA, 2048},
        [TOKEN_EC] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
        [TOKEN_ED25519] = {GNUTLS_PK_EDDSA_ED25519, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519)},
        [TOKEN_RSA_SMALL] = {GNUTLS_PK_RSA, 1024},
        [TOKEN_P384] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
    };
    gnutls_datum_t text = {0};
    *k = (struct token_key){.kind = kind};
    ck_assert_int_eq(gnutls_privkey_init(&k->key), 0);
    ck_assert_int_eq(gnutls_privkey_generate(k->key, kinds[kind].algorithm, kinds[kind].bits, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_init(&k->public), 0);
    ck_assert_int_eq(gnutls_pubkey_import_privkey(k->public, k->key, 0, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_export2(k->public, GNUTLS_X509_FMT_PEM, &text), 0);
    (void)snprintf(k->pem, sizeof(k->pem), "%s", text.data);
    gnutls_free(text.data);
    describe(k);
}

void token_key_finish(struct token_key *k)
{
    gnutls_pubkey_deinit(k->public);
    gnutls_privkey_deinit(k->key);
}

char *token_compose(const char *header, const char *claims, const char *signature)
{
    char *a = token_encode(header, strlen(header)), *b = token_encode(claims, strlen(claims)), *token = NULL;
    ck_assert_int_ge(asprintf(&token, "%s.%s.%s", a, b, signature), 0);
    free(a);
    free(b);
    return token;
}

/* A number of ASN.1, of which the zeros before it and its sign may differ, to its place in a JWS. */
static void place(const gnutls_datum_t *number, unsigned char *at)
{
    unsigned skip = number->size > P256_SIZE ? number->size - P256_SIZE : 0;
    memcpy(at + P256_SIZE - (number->size - skip), number->data + skip, number->size - skip);
}

char *token_sign(const struct token_key *key, const char *header, const char *claims)
{
    static const gnutls_sign_algorithm_t algorithms[] = {
        [TOKEN_RSA] = GNUTLS_SIGN_RSA_SHA256,
        [TOKEN_EC] = GNUTLS_SIGN_ECDSA_SHA256,
        [TOKEN_ED25519] = GNUTLS_SIGN_EDDSA_ED25519,
    };
    char *token = token_compose(header, claims, ""), *encoded, *whole = NULL;
    gnutls_datum_t data = {.data = (unsigned char *)token, .size = (unsigned)strlen(token) - 1}, signature = {0};
    if (!key)
        return token;
    ck_assert_int_eq(gnutls_privkey_sign_data2(key->key, algorithms[key->kind], 0, &data, &signature), 0);
    if (key->kind == TOKEN_EC) {
        unsigned char pair[2 * P256_SIZE] = {0};
        gnutls_datum_t r = {0}, s = {0};
        ck_assert_int_eq(gnutls_decode_rs_value(&signature, &r, &s), 0);
        place(&r, pair);
        place(&s, pair + P256_SIZE);
        encoded = token_encode(pair, sizeof(pair));
        gnutls_free(r.data);
        gnutls_free(s.data);
    } else {
        encoded = token_encode(signature.data, signature.size);
    }
    ck_assert_int_ge(asprintf(&whole, "%s%s", token, encoded), 0);
    gnutls_free(signature.data);
    free(encoded);
    free(token);
    return whole;
}
