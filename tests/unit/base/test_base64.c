#include "base/base64.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static const struct {
    enum base64_alphabet alphabet;
    const char *text, *bytes;
    int result;
} cases[] = {
    {BASE64, "", "", 0},
    {BASE64, "Zg==", "f", 0},
    {BASE64, "Zg", "f", 0},
    {BASE64, "bWE=", "ma", 0},
    {BASE64, "Zm9v", "foo", 0},
    {BASE64, "Zm9vYmFy", "foobar", 0},
    {BASE64, "/+8=", "\xff\xef", 0},
    {BASE64_URL, "_-8", "\xff\xef", 0},
    {BASE64_URL, "/+8", NULL, -EINVAL},
    {BASE64, "_-8=", NULL, -EINVAL},
    {BASE64, "Z", NULL, -EINVAL},
    {BASE64, "Zm9v=Zg", NULL, -EINVAL},
    {BASE64, "Zg===", NULL, -EINVAL},
    {BASE64, "Zm 9", NULL, -EINVAL},
    {BASE64, "Zm9\n", NULL, -EINVAL},
    {BASE64, "Zm9\xff", NULL, -EINVAL},
};

START_TEST(what_is_base64_has_bytes_and_the_rest_is_refused)
{
    char bytes[64];
    size_t len = 99, size = strlen(cases[_i].text);
    ck_assert_uint_le(BASE64_ROOM(size), sizeof(bytes));
    ck_assert_int_eq(base64_decode(cases[_i].alphabet, cases[_i].text, size, bytes, &len), cases[_i].result);
    if (cases[_i].result < 0) {
        ck_assert_uint_eq(len, 99);
    } else {
        ck_assert_uint_eq(len, strlen(cases[_i].bytes));
        ck_assert_mem_eq(bytes, cases[_i].bytes, len);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("base64");
    tcase_add_loop_test(t, what_is_base64_has_bytes_and_the_rest_is_refused, 0, ARRAY_SIZE(cases));
    Suite *s = suite_create("base64");
    suite_add_tcase(s, t);
    return suite_run(s);
}
