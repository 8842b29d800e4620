#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

struct digest_state {
    enum digest_algorithm algorithm;
    EVP_MD_CTX *ctx;
};

const char *digest_algorithm_name(enum digest_algorithm a)
{
    return a == DIGEST_SHA256 ? "sha256" : a == DIGEST_SHA512 ? "sha512" : "none";
}

size_t digest_raw_size(enum digest_algorithm a)
{
    return a == DIGEST_SHA256 ? 32 : a == DIGEST_SHA512 ? 64 : 0;
}

/* DIGIT and its value; 0: no digit. A table, because a million names are read at a start, and no branch foresees them.
 */
#define DIGIT 0x10
static const uint8_t hex_digits[256] = {
    ['0'] = DIGIT | 0,  ['1'] = DIGIT | 1,  ['2'] = DIGIT | 2,  ['3'] = DIGIT | 3,
    ['4'] = DIGIT | 4,  ['5'] = DIGIT | 5,  ['6'] = DIGIT | 6,  ['7'] = DIGIT | 7,
    ['8'] = DIGIT | 8,  ['9'] = DIGIT | 9,  ['a'] = DIGIT | 10, ['b'] = DIGIT | 11,
    ['c'] = DIGIT | 12, ['d'] = DIGIT | 13, ['e'] = DIGIT | 14, ['f'] = DIGIT | 15,
};

/* algorithm ::= component (separator component)*; component ::= [a-z0-9]+; separator ::= [+._-] (descriptor.md) */
static bool is_algorithm(const char *s, size_t len)
{
    bool after_separator = true;
    for (size_t i = 0; i < len; i++) {
        bool is_separator = s[i] == '+' || s[i] == '.' || s[i] == '_' || s[i] == '-';
        if (!is_separator && !((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9')))
            return false;
        if (is_separator && after_separator)
            return false;
        after_separator = is_separator;
    }
    return !after_separator;
}

int digest_parse(const char *text, size_t len, struct digest *ret_digest)
{
    struct digest d = {.algorithm = DIGEST_NONE};
    const char *colon = memchr(text, ':', len);
    if (!colon || !is_algorithm(text, (size_t)(colon - text)))
        return -EINVAL;
    size_t name = (size_t)(colon - text), hex = len - name - 1;
    if (name == 6 && memcmp(text, "sha256", 6) == 0)
        d.algorithm = DIGEST_SHA256;
    else if (name == 6 && memcmp(text, "sha512", 6) == 0)
        d.algorithm = DIGEST_SHA512;
    else
        return hex > 0 ? -ENOTSUP : -EINVAL;
    if (hex != 2 * digest_raw_size(d.algorithm))
        return -EINVAL;
    unsigned all = DIGIT;
    for (size_t i = 0; i < hex / 2; i++) {
        unsigned hi = hex_digits[(uint8_t)colon[1 + 2 * i]], lo = hex_digits[(uint8_t)colon[2 + 2 * i]];
        all &= hi & lo;
        d.raw[i] = (uint8_t)(hi << 4 | (lo & 15));
    }
    if (!all)
        return -EINVAL;
    *ret_digest = d;
    return 0;
}

const char *digest_format(const struct digest *d, char *text)
{
    static const char digits[] = "0123456789abcdef";
    char *p = stpcpy(stpcpy(text, digest_algorithm_name(d->algorithm)), ":");
    for (size_t i = 0; i < digest_raw_size(d->algorithm); i++) {
        *p++ = digits[d->raw[i] >> 4];
        *p++ = digits[d->raw[i] & 15];
    }
    *p = '\0';
    return text;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return a->algorithm == b->algorithm && memcmp(a->raw, b->raw, sizeof(a->raw)) == 0;
}

uint64_t digest_hash(const struct digest *d)
{
    uint64_t h;
    memcpy(&h, d->raw, sizeof(h)); /* a digest is as good a hash as can be had */
    return h ^ (uint64_t)d->algorithm;
}

int digest_begin(enum digest_algorithm a, struct digest_state **ret_state)
{
    const EVP_MD *md = a == DIGEST_SHA256 ? EVP_sha256() : a == DIGEST_SHA512 ? EVP_sha512() : NULL;
    if (!md)
        return -ENOTSUP;
    AUTO(auto_digest_destroy) struct digest_state *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->algorithm = a;
    s->ctx = EVP_MD_CTX_new();
    if (!s->ctx || EVP_DigestInit_ex(s->ctx, md, NULL) != 1)
        return -ENOMEM;
    *ret_state = TAKE_PTR(s);
    return 0;
}

int digest_update(struct digest_state *s, const void *data, size_t len)
{
    return EVP_DigestUpdate(s->ctx, data, len) == 1 ? 0 : -EIO;
}

int digest_end(struct digest_state *s, struct digest *ret_digest)
{
    struct digest d = {.algorithm = s->algorithm};
    if (EVP_DigestFinal_ex(s->ctx, d.raw, NULL) != 1)
        return -EIO;
    *ret_digest = d;
    return 0;
}

void digest_destroy(struct digest_state *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    free(s);
}

int digest_of(enum digest_algorithm a, const void *data, size_t len, struct digest *ret_digest)
{
    AUTO(auto_digest_destroy) struct digest_state *s = NULL;
    int r = digest_begin(a, &s);
    if (r == 0)
        r = digest_update(s, data, len);
    return r == 0 ? digest_end(s, ret_digest) : r;
}
