#include "base/digest.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define EMPTY_256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                                                        \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                                                 \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

START_TEST(what_was_read_is_written_the_same)
{
    static const char *const texts[] = {"sha256:" EMPTY_256, "sha512:" ABC_512};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct digest d;
        char text[DIGEST_TEXT_MAX];
        memset(&d, 0xaa, sizeof(d));
        ck_assert_int_eq(digest_parse(texts[i], strlen(texts[i]), &d), 0);
        ck_assert_ptr_eq(digest_format(&d, text), text);
        ck_assert_str_eq(text, texts[i]);
        for (size_t k = digest_raw_size(d.algorithm); k < sizeof(d.raw); k++)
            ck_assert_uint_eq(d.raw[k], 0);
    }
}
END_TEST

static const struct {
    const char *text;
    int result;
} refused[] = {
    {"", -EINVAL},
    {"sha256", -EINVAL},
    {"sha256:", -EINVAL},
    {EMPTY_256, -EINVAL},
    {":" EMPTY_256, -EINVAL},
    {"sha256:" EMPTY_256 "0", -EINVAL},
    {"sha256:E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", -EINVAL}, /* one spelling a digest */
    {"sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", -EINVAL},
    {"sha256:../../../../../../../../../../../../../../../../../../../etc/pass", -EINVAL},
    {"SHA256:" EMPTY_256, -EINVAL},
    {"sha256 :" EMPTY_256, -EINVAL},
    {" sha256:" EMPTY_256, -EINVAL},
    {"sha256:" EMPTY_256 "\n", -EINVAL},
    {"sha512:" EMPTY_256, -EINVAL},
    {"sha256+:" EMPTY_256, -EINVAL},
    {"+sha256:" EMPTY_256, -EINVAL},
    {"a++b:" EMPTY_256, -EINVAL},
    {"sha384:" EMPTY_256, -ENOTSUP},
    {"multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", -ENOTSUP},
    {"sha256+b64u.x_y-z:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", -ENOTSUP},
    {"sha384:", -EINVAL},
};

START_TEST(what_is_no_digest_is_refused_and_changes_nothing)
{
    struct digest d, was;
    memset(&d, 0xaa, sizeof(d));
    was = d;
    ck_assert_int_eq(digest_parse(refused[_i].text, strlen(refused[_i].text), &d), refused[_i].result);
    ck_assert_mem_eq(&d, &was, sizeof(d));
}
END_TEST

START_TEST(only_the_given_length_is_read)
{
    struct digest d;
    AUTO_FREE char *exact = malloc(71); /* no NUL behind it: a read past the end is seen */
    memcpy(exact, "sha256:" EMPTY_256, 71);
    ck_assert_int_eq(digest_parse(exact, 71, &d), 0);
    ck_assert_int_eq(digest_parse(exact, 70, &d), -EINVAL);
    ck_assert_int_eq(digest_parse(exact, 6, &d), -EINVAL);
    ck_assert_int_eq(digest_parse("sha256:" EMPTY_256 "/blobs", 71, &d), 0);
    ck_assert_int_eq(digest_parse("sha256:e3b0c44298fc1c149afbf4c8996fb924\0"
                                  "7ae41e4649b934ca495991b7852b8550",
                                  71, &d),
                     -EINVAL);
}
END_TEST

START_TEST(pieces_and_the_whole_have_the_same_digest)
{
    struct digest whole, pieces, wanted;
    AUTO(auto_digest_destroy) struct digest_state *s = NULL;
    ck_assert_int_eq(digest_of(DIGEST_SHA256, "abc", 3, &whole), 0);
    ck_assert_int_eq(digest_parse("sha256:" ABC_256, 71, &wanted), 0);
    ck_assert(digest_equal(&whole, &wanted));
    ck_assert_int_eq(digest_begin(DIGEST_SHA256, &s), 0);
    ck_assert_int_eq(digest_update(s, "a", 1), 0);
    ck_assert_int_eq(digest_update(s, "", 0), 0);
    ck_assert_int_eq(digest_update(s, "bc", 2), 0);
    ck_assert_int_eq(digest_end(s, &pieces), 0);
    ck_assert_mem_eq(&pieces, &wanted, sizeof(pieces)); /* the unused bytes too */
    ck_assert_int_eq(digest_of(DIGEST_SHA512, "abc", 3, &whole), 0);
    ck_assert_int_eq(digest_parse("sha512:" ABC_512, 135, &wanted), 0);
    ck_assert(digest_equal(&whole, &wanted));
    ck_assert_int_eq(digest_of(DIGEST_SHA256, "", 0, &whole), 0);
    ck_assert_int_eq(digest_parse("sha256:" EMPTY_256, 71, &wanted), 0);
    ck_assert(digest_equal(&whole, &wanted));
}
END_TEST

START_TEST(digests_of_two_algorithms_differ_even_with_the_same_bytes)
{
    struct digest a = {.algorithm = DIGEST_SHA256}, b = {.algorithm = DIGEST_SHA512};
    ck_assert(!digest_equal(&a, &b));
    ck_assert_uint_ne(digest_hash(&a), digest_hash(&b));
    b.algorithm = DIGEST_SHA256;
    ck_assert(digest_equal(&a, &b));
    ck_assert_uint_eq(digest_hash(&a), digest_hash(&b));
    b.raw[31] = 1;
    ck_assert(!digest_equal(&a, &b));
}
END_TEST

START_TEST(an_unknown_algorithm_cannot_be_begun)
{
    struct digest_state *s = NULL;
    struct digest d;
    ck_assert_int_eq(digest_begin(DIGEST_NONE, &s), -ENOTSUP);
    ck_assert_int_eq(digest_of((enum digest_algorithm)99, "", 0, &d), -ENOTSUP);
    ck_assert(s == NULL);
    ck_assert_uint_eq(digest_raw_size(DIGEST_NONE), 0);
    ck_assert_str_eq(digest_algorithm_name(DIGEST_SHA512), "sha512");
    digest_destroy(NULL);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("digest");
    tcase_add_test(t, what_was_read_is_written_the_same);
    tcase_add_loop_test(t, what_is_no_digest_is_refused_and_changes_nothing, 0, ARRAY_SIZE(refused));
    tcase_add_test(t, only_the_given_length_is_read);
    tcase_add_test(t, pieces_and_the_whole_have_the_same_digest);
    tcase_add_test(t, digests_of_two_algorithms_differ_even_with_the_same_bytes);
    tcase_add_test(t, an_unknown_algorithm_cannot_be_begun);
    Suite *s = suite_create("digest");
    suite_add_tcase(s, t);
    return suite_run(s);
}
