/* Which tags a pattern means, and which patterns are refused. */
#include "scratch.h"

#include "mirror/tag_pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *pattern, *tag;
    bool matches;
} matches[] = {
    {"whole", "anything", true},
    {"part", "anything", true},
    {"part\n+al", "3-alpine", true},
    {"whole\n+al", "3-alpine", false},
    {"whole\n+.*al.*", "3-alpine", true},
    {"whole\n+a|b", "b", true}, /* the whole of each */
    {"whole\n+a|b", "bb", false},
    {"part\n+^3\n+^4", "4.1", true},
    {"part\n+^3\n-alpine", "3-alpine", false},
    {"part\n-rc", "3.1", true},
    {"part\n-rc", "3.1-rc1", false},
    {"whole\n+v\\d+\\.\\d+", "v1.25", true},
    {"whole\n+v\\d+\\.\\d+", "v1x25", false},
    {"whole\n+[\\d.]+", "1.2.3", true},
    {"whole\n+(?:1|2)\\.0", "2.0", true},
    {"whole\n+[]a]+", "]a", true},
    {"whole\n+[^\\d]+", "abc", true},
    {"whole\n+[^\\d]+", "ab1", false},
    {"whole\n+[0-9]{2}", "12", true},
    {"whole\n+x\\+", "x+", true},
    {"whole\n+a+?b*?", "aab", true},
    {"whole\n+a+?", "", false},
    {"whole\n+[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "00000000-1111-2222-3333-444444444444", true},
    {"whole\n+a{2,}", "aaaa", true},
    {"whole\n+[\\]]", "]", true},

    {"whole\n=>= 3.12, < 4", "3.12", true},
    {"whole\n=>= 3.12, < 4", "3.12.7", true},
    {"whole\n=>= 3.12, < 4", "v3.99", true},
    {"whole\n=>= 3.12, < 4", "4", false},
    {"whole\n=>= 3.12, < 4", "4.0.0", false},
    {"whole\n=>= 3.12 < 4", "3.11.9", false},
    {"whole\n=1.2", "1.2.9", true},
    {"whole\n=1.2", "1.3", false},
    {"whole\n==1.2.3", "1.2.3", true},
    {"whole\n=!=1.2.3", "1.2.3", false},
    {"whole\n=!=1.2.3", "1.2.4", true},
    {"whole\n=^1.2", "1.9", true},
    {"whole\n=^1.2", "1.1", false},
    {"whole\n=^1.2", "2.0", false},
    {"whole\n=^0.2.3", "0.2.9", true},
    {"whole\n=^0.2.3", "0.3.0", false},
    {"whole\n=~1.2.3", "1.2.9", true},
    {"whole\n=~1.2.3", "1.3.0", false},
    {"whole\n=~1", "1.9", true},
    {"whole\n=<= 1.2", "1.2.9", true},
    {"whole\n=<= 1.2", "1.3", false},
    {"whole\n=> 1.2", "1.2.9", false},
    {"whole\n=> 1.2", "1.3.0", true},
    {"whole\n=1.x", "1.7", true},
    {"whole\n=*", "0.0.1", true},
    {"whole\n=1 || 3", "3.1", true},
    {"whole\n=1 || 3", "2.1", false},
    {"whole\n=1\n=3", "3.1", true},
    {"whole\n=*", "1.2.3-alpine", false},
    {"whole\n=*", "latest", false},
    {"whole\n=*", "20260131120000000", false},
    {"part\n-0$\n=>= 1", "1.10", false},
    {"part\n-0$\n=>= 1", "1.11", true},
};

START_TEST(a_pattern_means_these_tags)
{
    struct tag_pattern *p;
    const char *wrong = "";
    int r = tag_pattern_create(matches[_i].pattern, &p, &wrong);
    ck_assert_msg(r == 0, "%s: %s", matches[_i].pattern, wrong);
    ck_assert_msg(tag_pattern_matches(p, matches[_i].tag) == matches[_i].matches, "%s: %s", matches[_i].pattern,
                  matches[_i].tag);
    tag_pattern_destroy(p);
}
END_TEST

static const char *const refused[] = {
    "whole\n+a++",
    "whole\n+(((((((a+)+)+)+)+)+)+)+b",
    "whole\n+*",
    "whole\n+a)",
    "whole\n+a{b}",
    "whole\n+[a\\",
    "",
    "all",
    "whole\n",
    "whole\nx",
    "whole\n+",
    "whole\n+(",
    "whole\n+a{3000}",
    "whole\n+a{1,3000}",
    "whole\n+(a)\\1",
    "whole\n+a\\",
    "whole\n+(?i)a",
    "whole\n+\\pL",
    "whole\n=",
    "whole\n=a",
    "whole\n=1.2.3.4",
    "whole\n=>>1",
    "whole\n=1,|2",
    "whole\n+[a",
    "whole\n+(a{90}){90}",
};

START_TEST(a_pattern_that_cannot_be_used_is_refused)
{
    struct tag_pattern *p = NULL;
    const char *wrong = NULL;
    int r = tag_pattern_create(refused[_i], &p, &wrong);
    if (strcmp(refused[_i], "whole\n=") == 0)
        ck_assert_str_eq(wrong, "is no list of patterns");
    ck_assert_msg(r == -EINVAL, "%s", refused[_i]);
    ck_assert_ptr_null(p);
    ck_assert_ptr_nonnull(wrong);
}
END_TEST

START_TEST(a_pattern_has_a_longest_form)
{
    char text[TAG_PATTERN_TEXT_MAX + 2];
    struct tag_pattern *p = NULL;
    const char *wrong;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "part\n+", 6);
    ck_assert_int_eq(tag_pattern_create(text, &p, &wrong), -EINVAL);
    ck_assert_str_eq(wrong, "is too long");
}
END_TEST

static Suite *tag_pattern_suite(void)
{
    Suite *suite = suite_create("tag_pattern");
    TCase *tc = tcase_create("patterns");
    tcase_add_loop_test(tc, a_pattern_means_these_tags, 0, (int)ARRAY_SIZE(matches));
    tcase_add_loop_test(tc, a_pattern_that_cannot_be_used_is_refused, 0, (int)ARRAY_SIZE(refused));
    tcase_add_test(tc, a_pattern_has_a_longest_form);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    return suite_run(tag_pattern_suite());
}
