#include "server/jwt.h"
#include "server/jwt_keys.h"

#include "base/buf.h"
#include "pki.h"
#include "suite.h"
#include "token.h"

#include <check.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct jwt_terms terms = {
    .issuer = "issuer", .audience = "mirror", .now_ms = 1000000 * 1000LL, .leeway_ms = 10 * 1000};

#define ACCESS "\"access\":[{\"type\":\"repository\",\"name\":\"library/alpha\",\"actions\":[\"push\",\"pull\"]}]"
#define CLAIMS                                                                                                         \
    "{\"iss\":\"issuer\",\"aud\":\"mirror\",\"sub\":\"jo\",\"exp\":1000060,\"nbf\":999999,\"iat\":999999," ACCESS "}"

static const char *const names[] = {[TOKEN_RSA] = "RS256", [TOKEN_EC] = "ES256", [TOKEN_ED25519] = "EdDSA"};
#define KINDS 3

static struct token_key key;
static struct jwt_keys *keys;

static struct jwt_keys *parse_keys(const char *text)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct jwt_keys *k = NULL;
    int r = jwt_keys_create(text, strlen(text), &k, &why);
    ck_assert_msg(r == 0, "%s", why.data);
    return k;
}

static void create(enum token_kind kind)
{
    token_key_create(&key, kind);
    keys = parse_keys(key.pem);
}

static void teardown(void)
{
    jwt_keys_unref(keys);
    keys = NULL;
    if (key.key)
        token_key_finish(&key);
}

static const char *header(enum token_kind kind)
{
    static char text[64];
    (void)snprintf(text, sizeof(text), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", names[kind]);
    return text;
}

/* Takes over the token. */
static const char *flaw_of(char *token)
{
    AUTO(auto_jwt_destroy) struct jwt *t = NULL;
    int r = jwt_create(token, &t);
    free(token);
    return r < 0 ? "malformed" : jwt_find_flaw(t, keys, &terms);
}

#define ck_assert_good(token) ck_assert_msg(flaw_of(token) == NULL, "a good one is refused")
#define ck_assert_flaw(token, word)                                                                                    \
    do {                                                                                                               \
        const char *flaw_ = flaw_of(token);                                                                            \
        ck_assert_msg(flaw_ &&strstr(flaw_, word), "%s, not %s", flaw_ ? flaw_ : "it is taken", word);                 \
    } while (0)

/* ------------------------------------------------------------------ what is taken */

START_TEST(a_token_that_a_known_key_has_signed_is_taken)
{
    create((enum token_kind)_i);
    for (int turn = 0; turn < 40; turn++) /* numbers of ECDSA are shorter now and then */
        ck_assert_good(token_sign(&key, header(key.kind), CLAIMS));
}
END_TEST

START_TEST(its_access_says_what_it_is_for)
{
    AUTO(auto_jwt_destroy) struct jwt *t = NULL;
    create(TOKEN_EC);
    AUTO_FREE char *token = token_sign(
        &key, header(TOKEN_EC),
        "{\"sub\":\"jo\",\"access\":[7,{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]},"
        "{\"type\":\"repository\",\"name\":\"a\",\"actions\":[\"pull\"]},{\"type\":\"repository\",\"name\":\"b\"},"
        "{\"type\":\"repository\",\"name\":\"c\",\"actions\":\"pull\"},{\"name\":\"d\",\"actions\":[\"pull\"]},"
        "{\"type\":\"repository\",\"name\":\"e\",\"actions\":[\"*\"]},"
        "{\"type\":\"repository\",\"name\":\"f\",\"actions\":[\"push\",8]}]}");
    ck_assert_int_eq(jwt_create(token, &t), 0);
    ck_assert_str_eq(jwt_subject(t), "jo");
    ck_assert(jwt_grants(t, "repository", "a", "pull") && !jwt_grants(t, "repository", "a", "push") &&
              jwt_grants(t, "repository", "e", "pull"));
    for (const char *const *name = (const char *const[]){"b", "c", "d", "f", "catalog", "", "*", "a/b", "A", NULL};
         *name; name++)
        ck_assert_msg(!jwt_grants(t, "repository", *name, "pull"), "%s", *name);
}
END_TEST

START_TEST(a_token_without_access_is_for_nothing_and_may_have_no_subject)
{
    AUTO(auto_jwt_destroy) struct jwt *t = NULL;
    create(TOKEN_ED25519);
    AUTO_FREE char *token = token_sign(&key, header(TOKEN_ED25519), "{\"access\":{\"type\":\"repository\"}}");
    ck_assert_int_eq(jwt_create(token, &t), 0);
    ck_assert_str_eq(jwt_subject(t), "");
    ck_assert(!jwt_grants(t, "repository", "a", "pull"));
}
END_TEST

/* ------------------------------------------------------------------ what is not */

static const struct {
    const char *claims, *flaw;
} flaws[] = {
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":999991}", NULL}, /* within the leeway */
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":999990}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":0}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":-1e300}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":1e300}", NULL},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\"}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":\"2000000\"}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":null}", "expired"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000,\"nbf\":1000010}", NULL},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000,\"nbf\":1000010.5}", "not good yet"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000,\"nbf\":\"0\"}", "not good yet"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000,\"iat\":1000011}", "not good yet"},
    {"{\"iss\":\"issuer\",\"aud\":[\"other\",3,\"mirror\"],\"exp\":2000000}", NULL},
    {"{\"iss\":\"issuer\",\"aud\":[\"other\"],\"exp\":2000000}", "audience"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror2\",\"exp\":2000000}", "audience"},
    {"{\"iss\":\"issuer\",\"aud\":{\"mirror\":1},\"exp\":2000000}", "audience"},
    {"{\"iss\":\"issuer\",\"exp\":2000000}", "audience"},
    {"{\"iss\":\"Issuer\",\"aud\":\"mirror\",\"exp\":2000000}", "issuer"},
    {"{\"iss\":[\"issuer\"],\"aud\":\"mirror\",\"exp\":2000000}", "issuer"},
    {"{\"aud\":\"mirror\",\"exp\":2000000}", "issuer"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000,\"exp\":2000000}", "malformed"},
    {"{\"iss\":\"other\",\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000}", "malformed"},
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":1e400}", "malformed"},
    {"[]", "malformed"},
    {"\"x\"", "malformed"},
    {"{", "malformed"},
    {"{\"iss\":\"issuer\"} {}", "malformed"},
    {"{\"sub\":\"j\\u0000o\"}", "malformed"},
};

START_TEST(a_token_keeps_the_terms_or_is_refused)
{
    create(TOKEN_ED25519);
    if (flaws[_i].flaw)
        ck_assert_flaw(token_sign(&key, header(TOKEN_ED25519), flaws[_i].claims), flaws[_i].flaw);
    else
        ck_assert_good(token_sign(&key, header(TOKEN_ED25519), flaws[_i].claims));
}
END_TEST

static const char *const headers[] = {
    "{\"alg\":\"none\"}",  "{\"alg\":\"None\"}",  "{\"alg\":\"\"}",      "{\"alg\":\"HS256\"}",
    "{\"alg\":\"RS512\"}", "{\"alg\":\"PS256\"}", "{\"alg\":\"es256\"}", "{\"alg\":\"ES384\"}",
};

START_TEST(another_algorithm_is_no_way_in)
{
    create((enum token_kind)(_i % KINDS));
    const char *other = headers[_i / KINDS];
    ck_assert_flaw(token_sign(&key, other, CLAIMS), "not signed");
    ck_assert_flaw(token_compose(other, CLAIMS, "AAAA"), "not signed");
    ck_assert_flaw(token_compose(other, CLAIMS, ""), "malformed");
}
END_TEST

START_TEST(an_algorithm_of_another_kind_of_key_is_no_way_in)
{
    create(TOKEN_EC);
    ck_assert_flaw(token_sign(&key, header(TOKEN_RSA), CLAIMS), "not signed");
    ck_assert_flaw(token_sign(&key, header(TOKEN_ED25519), CLAIMS), "not signed");
}
END_TEST

START_TEST(a_public_key_is_no_shared_secret)
{
    create((enum token_kind)_i);
    static const char hs256[] = "{\"alg\":\"HS256\"}";
    AUTO_FREE char *text = token_compose(hs256, CLAIMS, "");
    unsigned char mac[32];
    ck_assert_int_eq(gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.pem, strlen(key.pem), text, strlen(text) - 1, mac), 0);
    AUTO_FREE char *signature = token_encode(mac, sizeof(mac));
    ck_assert_flaw(token_compose(hs256, CLAIMS, signature), "not signed");
    ck_assert_flaw(token_compose(header(key.kind), CLAIMS, signature), "not signed");
}
END_TEST

START_TEST(another_key_of_the_same_kind_is_not_known)
{
    struct token_key other;
    create((enum token_kind)_i);
    token_key_create(&other, key.kind);
    ck_assert_flaw(token_sign(&other, header(key.kind), CLAIMS), "not signed");
    token_key_finish(&other);
}
END_TEST

START_TEST(a_signature_is_of_these_very_bytes)
{
    create((enum token_kind)_i);
    AUTO_FREE char *token = token_sign(&key, header(key.kind), CLAIMS);
    AUTO_FREE char *other = token_compose(header(key.kind), "{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":2000000}",
                                          strrchr(token, '.') + 1);
    ck_assert_flaw(strdup(other), "not signed");
    for (size_t len = 0; len < strlen(token); len++)
        ck_assert_msg(flaw_of(strndup(token, len)) != NULL, "the first %zu bytes", len);
    for (size_t i = 0; i < strlen(token) - 4; i += 7) { /* the last characters have bits that mean nothing */
        char *changed = strdup(token);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        ck_assert_msg(flaw_of(changed) != NULL, "another byte at %zu", i);
    }
}
END_TEST

START_TEST(a_signature_of_zeros_is_none)
{
    static const unsigned char zeros[256];
    create((enum token_kind)_i);
    for (size_t len = 1; len <= sizeof(zeros); len *= 2) {
        AUTO_FREE char *signature = token_encode(zeros, len);
        ck_assert_flaw(token_compose(header(key.kind), CLAIMS, signature), "not signed");
    }
}
END_TEST

static const char *const malformed[] = {
    "",
    ".",
    "..",
    "...",
    "a.b",
    "a.b.c.d",
    "eyJhbGciOiJFUzI1NiJ9..AAAA",
    "eyJhbGciOiJFUzI1NiJ9.e30.AA==",
    "eyJhbGciOiJFUzI1NiJ9.e30=.AAAA",
    "eyJhbGciOiJFUzI1NiJ9.e+0.AAAA",
    "eyJhbGciOiJFUzI1NiJ9.e30.AA!A",
    "eyJhbGciOjd9.e30.AAAA",
    "e30.e30.AAAA",
    "bnVsbA.e30.AAAA",
};

START_TEST(what_is_not_well_formed_is_no_token)
{
    struct jwt *t = NULL;
    ck_assert_int_eq(jwt_create(malformed[_i], &t), -EINVAL);
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(what_must_be_understood_is_not)
{
    create(TOKEN_EC);
    ck_assert_flaw(token_sign(&key, "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", CLAIMS), "malformed");
    ck_assert_flaw(token_sign(&key, "{\"alg\":\"none\",\"alg\":\"ES256\"}", CLAIMS), "malformed");
}
END_TEST

START_TEST(keys_that_a_token_brings_along_are_not_looked_at)
{
    struct token_key other;
    AUTO_FREE char *text = NULL;
    create(TOKEN_EC);
    token_key_create(&other, TOKEN_EC);
    ck_assert_int_ge(asprintf(&text, "{\"alg\":\"ES256\",\"jwk\":%s}", other.jwk), 0);
    ck_assert_flaw(token_sign(&other, text, CLAIMS), "not signed");
    token_key_finish(&other);
}
END_TEST

START_TEST(a_huge_token_is_no_token)
{
    AUTO_FREE char *huge = malloc(JWT_MAX * 64);
    struct jwt *t = NULL;
    memset(huge, 'A', JWT_MAX * 64);
    huge[JWT_MAX * 64 - 1] = '\0';
    ck_assert_int_eq(jwt_create(huge, &t), -EINVAL);
    huge[20] = huge[40] = '.';
    ck_assert_int_eq(jwt_create(huge, &t), -EINVAL);
}
END_TEST

START_TEST(deep_claims_are_no_claims)
{
    char deep[8000];
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    create(TOKEN_ED25519);
    ck_assert_flaw(token_sign(&key, header(TOKEN_ED25519), deep), "malformed");
}
END_TEST

/* ------------------------------------------------------------------ keys */

START_TEST(a_file_may_have_several_keys_and_certificates)
{
    struct token_key k[KINDS];
    struct pki p;
    AUTO_BUF struct buf text = BUF_INIT(1 << 16);
    pki_create(&p, "tokens", NULL, 86400);
    ck_assert_int_eq(buf_adds(&text, "# of the token server\n"), 0);
    for (int i = 0; i < KINDS; i++) {
        token_key_create(&k[i], (enum token_kind)i);
        ck_assert_int_eq(buf_adds(&text, k[i].pem), 0);
    }
    ck_assert_int_eq(buf_adds(&text, p.certificate_text.data), 0);
    keys = parse_keys(text.data);
    ck_assert_uint_eq(jwt_keys_count(keys), KINDS + 1);
    for (int i = 0; i < KINDS; i++) {
        ck_assert_good(token_sign(&k[i], header(k[i].kind), CLAIMS));
        token_key_finish(&k[i]);
    }
    struct token_key certified = {.kind = TOKEN_EC};
    ck_assert_int_eq(gnutls_privkey_init(&certified.key), 0);
    ck_assert_int_eq(gnutls_privkey_import_x509(certified.key, p.key, 0), 0);
    ck_assert_good(token_sign(&certified, header(TOKEN_EC), CLAIMS));
    gnutls_privkey_deinit(certified.key);
    pki_finish(&p);
}
END_TEST

START_TEST(a_set_has_keys_with_ids_and_others_that_are_passed_over)
{
    struct token_key k[KINDS];
    AUTO_BUF struct buf text = BUF_INIT(1 << 16);
    ck_assert_int_eq(buf_adds(&text, "{\"keys\":[{\"kty\":\"odd\"},{\"kty\":\"EC\",\"crv\":\"P-521\"},"
                                     "{\"kty\":\"RSA\",\"use\":\"enc\"},{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"}"),
                     0);
    for (int i = 0; i < KINDS; i++) {
        token_key_create(&k[i], (enum token_kind)i);
        ck_assert_int_eq(buf_addf(&text, ",%s", k[i].jwk), 0);
    }
    ck_assert_int_eq(buf_adds(&text, "]}"), 0);
    keys = parse_keys(text.data);
    ck_assert_uint_eq(jwt_keys_count(keys), KINDS);
    for (int i = 0; i < KINDS; i++) {
        char with_id[96];
        ck_assert_good(token_sign(&k[i], header(k[i].kind), CLAIMS));
        (void)snprintf(with_id, sizeof(with_id), "{\"alg\":\"%s\",\"kid\":\"k%d\"}", names[i], i + 1);
        ck_assert_good(token_sign(&k[i], with_id, CLAIMS));
        (void)snprintf(with_id, sizeof(with_id), "{\"alg\":\"%s\",\"kid\":\"another\"}", names[i]);
        ck_assert_flaw(token_sign(&k[i], with_id, CLAIMS), "not signed");
        token_key_finish(&k[i]);
    }
}
END_TEST

static const struct {
    const char *text, *why;
} wrongs[] = {
    {"", "no key"},
    {"nothing", "no key"},
    {"{}", "list of keys"},
    {"{\"keys\":[]}", "no key"},
    {"{\"keys\":[", "expected"},
    {"{\"keys\":[7]}", "no object"},
    {"{\"keys\":[],\"keys\":[]}", "duplicate"},
    {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "shared"},
    {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"d\":\"AA\"}]}", "private"},
    {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}", "not well-formed"},
    {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048"},
    {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}", "not well-formed"},
    {"-----BEGIN PUBLIC KEY-----\nAAAA\n", "no end"},
    {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ""},
    {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither"},
    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""},
};

START_TEST(a_file_with_anything_wrong_is_refused)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct jwt_keys *k = NULL;
    ck_assert_int_eq(jwt_keys_create(wrongs[_i].text, strlen(wrongs[_i].text), &k, &why), -EINVAL);
    ck_assert_ptr_null(k);
    ck_assert_msg(why.len > 0 && strstr(why.data, wrongs[_i].why), "%s", why.data);
}
END_TEST

START_TEST(weak_keys_and_other_curves_are_refused)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct jwt_keys *k = NULL;
    token_key_create(&key, _i == 0 ? TOKEN_RSA_SMALL : TOKEN_P384);
    ck_assert_int_eq(jwt_keys_create(key.pem, strlen(key.pem), &k, &why), -EINVAL);
    ck_assert(strstr(why.data, "P-256"));
}
END_TEST

START_TEST(too_many_keys_are_refused)
{
    AUTO_BUF struct buf why = BUF_INIT(1024), text = BUF_INIT(1 << 20);
    struct jwt_keys *k = NULL;
    token_key_create(&key, TOKEN_ED25519);
    for (int i = 0; i <= JWT_KEYS_MAX; i++)
        ck_assert_int_eq(buf_adds(&text, key.pem), 0);
    ck_assert_int_eq(jwt_keys_create(text.data, text.len, &k, &why), -EINVAL);
    ck_assert_str_eq(why.data, "there are too many keys");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("jwt");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_token_that_a_known_key_has_signed_is_taken, 0, KINDS);
    tcase_add_test(t, its_access_says_what_it_is_for);
    tcase_add_test(t, a_token_without_access_is_for_nothing_and_may_have_no_subject);
    tcase_add_loop_test(t, a_token_keeps_the_terms_or_is_refused, 0, ARRAY_SIZE(flaws));
    tcase_add_loop_test(t, another_algorithm_is_no_way_in, 0, KINDS * ARRAY_SIZE(headers));
    tcase_add_test(t, an_algorithm_of_another_kind_of_key_is_no_way_in);
    tcase_add_loop_test(t, a_public_key_is_no_shared_secret, 0, KINDS);
    tcase_add_loop_test(t, another_key_of_the_same_kind_is_not_known, 0, KINDS);
    tcase_add_loop_test(t, a_signature_is_of_these_very_bytes, 0, KINDS);
    tcase_add_loop_test(t, a_signature_of_zeros_is_none, 0, KINDS);
    tcase_add_loop_test(t, what_is_not_well_formed_is_no_token, 0, ARRAY_SIZE(malformed));
    tcase_add_test(t, what_must_be_understood_is_not);
    tcase_add_test(t, keys_that_a_token_brings_along_are_not_looked_at);
    tcase_add_test(t, a_huge_token_is_no_token);
    tcase_add_test(t, deep_claims_are_no_claims);
    tcase_add_test(t, a_file_may_have_several_keys_and_certificates);
    tcase_add_test(t, a_set_has_keys_with_ids_and_others_that_are_passed_over);
    tcase_add_loop_test(t, a_file_with_anything_wrong_is_refused, 0, ARRAY_SIZE(wrongs));
    tcase_add_loop_test(t, weak_keys_and_other_curves_are_refused, 0, 2);
    tcase_add_test(t, too_many_keys_are_refused);
    Suite *s = suite_create("jwt");
    suite_add_tcase(s, t);
    return suite_run(s);
}
