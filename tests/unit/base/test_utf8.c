#include "base/auto.h"
#include "base/utf8.h"

#include "suite.h"

#include <check.h>

static const struct {
    const char *text;
    size_t length;
} cases[] = {
    {"", 1}, /* the NUL at the end */
    {"a", 1},
    {"\x7f", 1},
    {"\xc2\x80", 2},
    {"\xdf\xbf", 2},
    {"\xe0\xa0\x80", 3},
    {"\xed\x9f\xbf", 3},
    {"\xee\x80\x80", 3},
    {"\xef\xbf\xbf", 3},
    {"\xf0\x90\x80\x80", 4},
    {"\xf4\x8f\xbf\xbf", 4},
    {"\x80", 0},
    {"\xbf", 0},
    {"\xc0\x80", 0}, /* overlong forms */
    {"\xc1\xbf", 0},
    {"\xe0\x9f\xbf", 0},
    {"\xf0\x8f\xbf\xbf", 0},
    {"\xed\xa0\x80", 0}, /* surrogates */
    {"\xed\xbf\xbf", 0},
    {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
    {"\xf5\x80\x80\x80", 0},
    {"\xff", 0},
    {"\xc2", 0}, /* cut off */
    {"\xe2\x82", 0},
    {"\xf0\x9f\x90", 0},
    {"\xe2\x82z", 0},
};

START_TEST(a_sequence_is_what_rfc_3629_allows)
{
    ck_assert_uint_eq(utf8_length(cases[_i].text), cases[_i].length);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("utf8");
    tcase_add_loop_test(t, a_sequence_is_what_rfc_3629_allows, 0, ARRAY_SIZE(cases));
    Suite *s = suite_create("utf8");
    suite_add_tcase(s, t);
    return suite_run(s);
}
