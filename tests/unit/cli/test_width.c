#include "cli/width.h"

#include "suite.h"

#include <check.h>

static const struct {
    const char *text;
    size_t width;
    const char *sign, *expected;
} cases[] = {
    {"docker.io/library/alpine:3.20", 29, "…", "docker.io/library/alpine:3.20"},
    {"docker.io/library/alpine:3.20", 25, "…", "docker.io/li…/alpine:3.20"},
    {"docker.io/library/alpine:3.20", 25, "...", "docker.io/l...alpine:3.20"},
    {"ghcr.io: its name cannot be resolved", 20, "...", "ghcr.io: its name..."},
    {"ghcr.io: its name cannot be resolved", 20, "…", "ghcr.io: its name c…"},
    {"größenwahn", 10, "…", "größenwahn"},
    {"größenwahn", 5, "…", "gr…hn"},
    {"größe und wahn", 6, "…", "größe…"},
    {"name", 3, "...", "..."},
    {"name", 2, "...", ".."},
    {"name", 0, "...", ""},
    {"", 0, "…", ""},
};

START_TEST(what_is_too_wide_is_cut_with_a_sign)
{
    char out[64];
    width_shorten(cases[_i].text, cases[_i].width, cases[_i].sign, out, sizeof(out));
    ck_assert_str_eq(out, cases[_i].expected);
    ck_assert_uint_le(width_of(out), cases[_i].width);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli/width");
    TCase *tc = tcase_create("width");
    tcase_add_loop_test(tc, what_is_too_wide_is_cut_with_a_sign, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
