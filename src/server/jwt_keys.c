#include "server/jwt_keys.h"

#include "base/base64.h"
#include "base/json_text.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* a larger one would make each check slow */
#define NUMBER_MAX 1024   /* bytes of a key's number */
#define ID_MAX 256
#define P256_SIZE 32

enum algorithm { RS256, ES256, EDDSA };

static const struct {
    const char *name;
    gnutls_sign_algorithm_t sign;
} algorithms[] = {
    [RS256] = {"RS256", GNUTLS_SIGN_RSA_SHA256},
    [ES256] = {"ES256", GNUTLS_SIGN_ECDSA_SHA256},
    [EDDSA] = {"EdDSA", GNUTLS_SIGN_EDDSA_ED25519},
};

struct key {
    enum algorithm algorithm;
    gnutls_pubkey_t key;
    char id[ID_MAX]; /* "": it has none */
};

struct jwt_keys {
    _Atomic unsigned references;
    size_t count;
    struct key keys[JWT_KEYS_MAX];
};

static int say(struct buf *why, const char *what)
{
    return buf_adds(why, what) < 0 ? -ENOMEM : -EINVAL;
}

static void auto_pubkey(gnutls_pubkey_t *key)
{
    if (*key)
        gnutls_pubkey_deinit(*key);
}

static void auto_crt(gnutls_x509_crt_t *crt)
{
    if (*crt)
        gnutls_x509_crt_deinit(*crt);
}

static bool find_algorithm(gnutls_pubkey_t key, enum algorithm *ret_algorithm)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    unsigned bits = 0;
    switch (gnutls_pubkey_get_pk_algorithm(key, &bits)) {
    case GNUTLS_PK_RSA:
        *ret_algorithm = RS256;
        return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
    case GNUTLS_PK_ECDSA:
        *ret_algorithm = ES256;
        return gnutls_pubkey_export_ecc_raw2(key, &curve, NULL, NULL, 0) == 0 && curve == GNUTLS_ECC_CURVE_SECP256R1;
    case GNUTLS_PK_EDDSA_ED25519:
        *ret_algorithm = EDDSA;
        return true;
    default:
        return false;
    }
}

/* Takes over the key where it can be used. */
static int add_key(struct jwt_keys *k, gnutls_pubkey_t *key, const char *id, struct buf *why)
{
    enum algorithm algorithm;
    if (!find_algorithm(*key, &algorithm))
        return say(why, "a key must be RSA of 2048 to 8192 bits, EC on P-256, or Ed25519");
    if (k->count == JWT_KEYS_MAX)
        return say(why, "there are too many keys");
    if (strlen(id) >= ID_MAX)
        return say(why, "the id of a key is too long");
    struct key *new = &k->keys[k->count++];
    new->algorithm = algorithm;
    new->key = TAKE_PTR(*key);
    memcpy(new->id, id, strlen(id) + 1);
    return 0;
}

/* ------------------------------------------------------------------ PEM */

static int add_pem(struct jwt_keys *k, const char *block, size_t len, bool is_certificate, struct buf *why)
{
    const gnutls_datum_t data = {.data = (unsigned char *)(uintptr_t)block, .size = (unsigned)len};
    AUTO(auto_pubkey) gnutls_pubkey_t key = NULL;
    AUTO(auto_crt) gnutls_x509_crt_t crt = NULL;
    int e = gnutls_pubkey_init(&key);
    if (e == 0 && is_certificate) {
        e = gnutls_x509_crt_init(&crt);
        if (e == 0)
            e = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM);
        if (e == 0)
            e = gnutls_pubkey_import_x509(key, crt, 0);
    } else if (e == 0) {
        e = gnutls_pubkey_import(key, &data, GNUTLS_X509_FMT_PEM);
    }
    if (e == GNUTLS_E_MEMORY_ERROR)
        return -ENOMEM;
    return e == 0 ? add_key(k, &key, "", why) : say(why, gnutls_strerror(e));
}

static int add_pems(struct jwt_keys *k, const char *text, struct buf *why)
{
    static const char begin[] = "-----BEGIN ", end[] = "-----END ";
    for (const char *at = text; (at = strstr(at, begin));) {
        const char *name = at + strlen(begin);
        const char *last = strstr(name, end);
        const char *line_end = last ? strchr(last, '\n') : NULL;
        const char *next = !last ? NULL : line_end ? line_end + 1 : last + strlen(last);
        bool is_certificate = strncmp(name, "CERTIFICATE-----", 16) == 0;
        if (!next)
            return say(why, "a PEM block has no end");
        if (!is_certificate && strncmp(name, "PUBLIC KEY-----", 15) != 0)
            return say(why, "a PEM block is neither a PUBLIC KEY nor a CERTIFICATE");
        int r = add_pem(k, at, (size_t)(next - at), is_certificate, why);
        if (r < 0)
            return r;
        at = next;
    }
    return 0;
}

/* ------------------------------------------------------------------ JSON Web Key Sets */

struct number {
    uint8_t bytes[BASE64_ROOM(NUMBER_MAX * 4 / 3 + 4)];
    size_t len;
};

/* A member in base64url. */
static bool read_number(const json_t *jwk, const char *name, struct number *ret_number, gnutls_datum_t *ret_datum)
{
    const char *text = json_string_value(json_object_get(jwk, name));
    size_t len = text ? strlen(text) : 0;
    if (len == 0 || len > NUMBER_MAX * 4 / 3 ||
        base64_decode(BASE64_URL, text, len, ret_number->bytes, &ret_number->len) < 0)
        return false;
    *ret_datum = (gnutls_datum_t){.data = ret_number->bytes, .size = (unsigned)ret_number->len};
    return true;
}

static const char *member(const json_t *jwk, const char *name)
{
    const char *s = json_string_value(json_object_get(jwk, name));
    return s ? s : "";
}

/* For signatures, and of a kind that is known. */
static bool is_ours(const json_t *jwk)
{
    const char *kind = member(jwk, "kty"), *curve = member(jwk, "crv"), *use = member(jwk, "use");
    const char *algorithm = member(jwk, "alg");
    const char *natural = strcmp(kind, "RSA") == 0                                    ? algorithms[RS256].name
                          : strcmp(kind, "EC") == 0 && strcmp(curve, "P-256") == 0    ? algorithms[ES256].name
                          : strcmp(kind, "OKP") == 0 && strcmp(curve, "Ed25519") == 0 ? algorithms[EDDSA].name
                                                                                      : NULL;
    return natural && (!*use || strcmp(use, "sig") == 0) && (!*algorithm || strcmp(algorithm, natural) == 0);
}

static int import_jwk(const json_t *jwk, gnutls_pubkey_t key)
{
    struct number first, second;
    gnutls_datum_t a, b;
    if (strcmp(member(jwk, "kty"), "RSA") == 0)
        return read_number(jwk, "n", &first, &a) && read_number(jwk, "e", &second, &b)
                   ? gnutls_pubkey_import_rsa_raw(key, &a, &b)
                   : GNUTLS_E_PARSING_ERROR;
    if (!read_number(jwk, "x", &first, &a) || first.len != P256_SIZE) /* and so has Ed25519's */
        return GNUTLS_E_PARSING_ERROR;
    if (strcmp(member(jwk, "kty"), "OKP") == 0)
        return gnutls_pubkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &a, NULL);
    return read_number(jwk, "y", &second, &b) && second.len == P256_SIZE
               ? gnutls_pubkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_SECP256R1, &a, &b)
               : GNUTLS_E_PARSING_ERROR;
}

static int add_jwk(struct jwt_keys *k, const json_t *jwk, struct buf *why)
{
    if (json_object_get(jwk, "d") || json_object_get(jwk, "k"))
        return say(why, "a private key, or a shared one, does not belong here");
    if (!is_ours(jwk))
        return 0;
    AUTO(auto_pubkey) gnutls_pubkey_t key = NULL;
    int e = gnutls_pubkey_init(&key);
    if (e == 0)
        e = import_jwk(jwk, key);
    if (e == GNUTLS_E_MEMORY_ERROR)
        return -ENOMEM;
    return e == 0 ? add_key(k, &key, member(jwk, "kid"), why) : say(why, "a key of the set is not well-formed");
}

static int add_set(struct jwt_keys *k, const char *text, size_t len, struct buf *why)
{
    json_error_t error;
    AUTO_JSON json_t *set = NULL;
    int r = json_text_read(text, len, JSON_REJECT_DUPLICATES, &set, &error);
    const json_t *keys = json_object_get(set, "keys"), *jwk;
    size_t i;
    if (r < 0)
        return r == -ENOMEM ? r : say(why, error.text);
    if (!json_is_array(keys))
        return say(why, "a JSON Web Key Set has a list of keys");
    for (i = 0; r == 0 && i < json_array_size(keys); i++) {
        jwk = json_array_get(keys, i);
        r = json_is_object(jwk) ? add_jwk(k, jwk, why) : say(why, "a key of the set is no object");
    }
    return r;
}

/* ------------------------------------------------------------------ the keys */

int jwt_keys_create(const char *text, size_t len, struct jwt_keys **ret_keys, struct buf *why)
{
    AUTO(auto_jwt_keys_unref) struct jwt_keys *k = calloc(1, sizeof(*k));
    AUTO_BUF struct buf copy = BUF_INIT(JWT_KEYS_TEXT_MAX);
    if (!k)
        return -ENOMEM;
    k->references = 1;
    int r = len > 0 ? buf_add(&copy, text, len) : 0;
    if (r < 0)
        return r == -EFBIG ? say(why, "too large") : r;
    const char *begin = len > 0 ? copy.data + strspn(copy.data, " \t\r\n") : "";
    r = *begin == '{' ? add_set(k, text, len, why) : add_pems(k, begin, why);
    if (r == 0 && k->count == 0)
        r = say(why, "there is no key in it");
    if (r == 0)
        *ret_keys = TAKE_PTR(k);
    return r;
}

struct jwt_keys *jwt_keys_ref(struct jwt_keys *k)
{
    k->references++;
    return k;
}

void jwt_keys_unref(struct jwt_keys *k)
{
    if (!k || --k->references > 0)
        return;
    for (size_t i = 0; i < k->count; i++)
        gnutls_pubkey_deinit(k->keys[i].key);
    free(k);
}

size_t jwt_keys_count(const struct jwt_keys *k)
{
    return k->count;
}

static bool verify(const struct key *key, const void *data, size_t len, const uint8_t *signature, size_t signature_len)
{
    const gnutls_datum_t signed_data = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)len};
    gnutls_datum_t given = {.data = (unsigned char *)(uintptr_t)signature, .size = (unsigned)signature_len};
    if (key->algorithm != ES256)
        return gnutls_pubkey_verify_data2(key->key, algorithms[key->algorithm].sign, 0, &signed_data, &given) == 0;
    /* A JWS has two numbers of the curve's size one after the other, everybody else a sequence of ASN.1. */
    if (signature_len != (size_t)2 * P256_SIZE)
        return false;
    gnutls_datum_t r = {.data = given.data, .size = P256_SIZE}, s = {.data = given.data + P256_SIZE, .size = P256_SIZE};
    gnutls_datum_t sequence = {0};
    if (gnutls_encode_rs_value(&sequence, &r, &s) < 0)
        return false;
    int e = gnutls_pubkey_verify_data2(key->key, algorithms[ES256].sign, 0, &signed_data, &sequence);
    gnutls_free(sequence.data);
    return e == 0;
}

bool jwt_keys_verify(const struct jwt_keys *k, const char *algorithm, const char *id, const void *data, size_t len,
                     const uint8_t *signature, size_t signature_len)
{
    for (size_t i = 0; i < k->count; i++) {
        const struct key *key = &k->keys[i];
        bool is_meant =
            strcmp(algorithms[key->algorithm].name, algorithm) == 0 && (!id || !key->id[0] || strcmp(key->id, id) == 0);
        if (is_meant && verify(key, data, len, signature, signature_len))
            return true;
    }
    return false;
}
