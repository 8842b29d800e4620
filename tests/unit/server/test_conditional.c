#include "server/conditional.h"

#include "suite.h"

#include <check.h>

#define D "sha256:abc"

static const char *const matching[] = {
    "\"" D "\"",         "W/\"" D "\"", "*", " * ", "\"x\", \"" D "\"", "\"x\",W/\"y\" ,, \"" D "\" , \"z\"",
    "\"a,b\",\"" D "\"",
};

START_TEST(a_tag_in_the_list_matches_weakly)
{
    ck_assert_msg(conditional_none_match(matching[_i], D), "%s", matching[_i]);
}
END_TEST

static const char *const others[] = {
    "",   "\"sha256:ab\"", "\"sha256:abcd\"", D, "\"" D, "'" D "'", "w/\"" D "\"", "\"x\" \"" D "\"", "*, \"x\"", "W/",
    "\"", "\"x, " D "\"",
};

START_TEST(other_tags_and_broken_lists_do_not)
{
    ck_assert_msg(!conditional_none_match(others[_i], D), "%s", others[_i]);
}
END_TEST

START_TEST(if_range_takes_one_strong_tag)
{
    ck_assert(conditional_if_range("\"" D "\"", D));
    ck_assert(conditional_if_range(" \"" D "\" ", D));
    ck_assert(!conditional_if_range("W/\"" D "\"", D));
    ck_assert(!conditional_if_range("\"other\"", D));
    ck_assert(!conditional_if_range("\"" D "\", \"x\"", D));
    ck_assert(!conditional_if_range("Sat, 29 Oct 1994 19:43:31 GMT", D));
    ck_assert(!conditional_if_range("", D));
    ck_assert(!conditional_if_range("*", D));
}
END_TEST

static const char *const accepting[] = {
    "zstd", "ZSTD", "gzip, zstd", " gzip;q=0.8 ,\tzstd;q=1.0", "zstd ; q=0.001", "zstd;q=0.5,gzip", "zstd;x",
};

START_TEST(zstd_is_accepted_where_it_is_named_with_a_weight)
{
    ck_assert_msg(conditional_accepts_zstd(accepting[_i]), "%s", accepting[_i]);
}
END_TEST

static const char *const not_accepting[] = {
    "", "gzip", "*", "zstd;q=0", "zstd;q=0.000", "zstd ; q = 0 ", "zstdx", "xzstd", "gzip;x=\", zstd\"", "identity",
};

START_TEST(zstd_is_not_accepted_otherwise)
{
    ck_assert_msg(!conditional_accepts_zstd(not_accepting[_i]), "%s", not_accepting[_i]);
}
END_TEST

static const char *const only_if_cached[] = {
    "only-if-cached",
    "Only-If-Cached",
    " no-cache ,only-if-cached\t",
    "max-age=0,,only-if-cached, no-store",
    "x=\"a, b\\\"\", only-if-cached",
};

START_TEST(only_if_cached_is_found_among_the_directives)
{
    ck_assert_msg(conditional_only_if_cached(only_if_cached[_i]), "%s", only_if_cached[_i]);
}
END_TEST

static const char *const not_only[] = {
    "",
    ",",
    " ",
    "no-cache",
    "only-if-cachedx",
    "xonly-if-cached",
    "only-if-cached=1",
    "only-if-cached x",
    "x=\"a, only-if-cached",
    "x=\", only-if-cached ,\"",
    "x=\"\\",
    "only-if-cache",
};

START_TEST(other_directives_are_not_it)
{
    ck_assert_msg(!conditional_only_if_cached(not_only[_i]), "%s", not_only[_i]);
}
END_TEST

#define LOOP(t, list) tcase_add_loop_test(c, t, 0, (int)(sizeof(list) / sizeof((list)[0])))

int main(void)
{
    Suite *s = suite_create("conditional");
    TCase *c = tcase_create("conditional");
    suite_add_tcase(s, c);
    LOOP(a_tag_in_the_list_matches_weakly, matching);
    LOOP(other_tags_and_broken_lists_do_not, others);
    tcase_add_test(c, if_range_takes_one_strong_tag);
    LOOP(zstd_is_accepted_where_it_is_named_with_a_weight, accepting);
    LOOP(zstd_is_not_accepted_otherwise, not_accepting);
    LOOP(only_if_cached_is_found_among_the_directives, only_if_cached);
    LOOP(other_directives_are_not_it, not_only);
    return suite_run(s);
}
