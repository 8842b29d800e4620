#include "base/platform.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static const struct {
    const char *text, *means; /* NULL: it is none */
} platforms[] = {
    {"linux/amd64", "linux/amd64"},
    {"linux/arm64", "linux/arm64"},
    {"linux/arm64/v8", "linux/arm64"},
    {"linux/aarch64", "linux/arm64"},
    {"linux/x86_64", "linux/amd64"},
    {"linux/arm", "linux/arm/v7"},
    {"linux/armhf", "linux/arm/v7"},
    {"linux/armel", "linux/arm/v6"},
    {"linux/arm/v6", "linux/arm/v6"},
    {"linux/amd64/v3", "linux/amd64/v3"},
    {"windows/amd64", "windows/amd64"},
    {"linux/s390x", "linux/s390x"},
    {"", NULL},
    {"linux", NULL},
    {"linux/", NULL},
    {"/amd64", NULL},
    {"linux//v7", NULL},
    {"linux/arm/", NULL},
    {"linux/arm/v7/x", NULL},
    {"Linux/amd64", NULL},
    {"linux/a b", NULL},
    {"linux/012345678901234567890123", NULL},
};

START_TEST(a_platform_is_written_in_one_way)
{
    char text[PLATFORM_TEXT_MAX];
    struct platform p = {.os = "untouched"};
    int r = platform_parse(platforms[_i].text, &p);
    ck_assert_int_eq(r, platforms[_i].means ? 0 : -EINVAL);
    if (r == 0)
        ck_assert_str_eq(platform_format(&p, text), platforms[_i].means);
    else
        ck_assert_str_eq(p.os, "untouched");
}
END_TEST

static const struct {
    const char *wanted, *offered;
    int rank;
} ranks[] = {
    {"linux/amd64", "linux/amd64", 0},    {"linux/amd64", "linux/386", 20},     {"linux/amd64", "linux/amd64/v2", -1},
    {"linux/amd64/v3", "linux/amd64", 2}, {"linux/amd64", "windows/amd64", -1}, {"linux/amd64", "linux/arm64", -1},
    {"linux/arm64", "linux/arm64", 0},    {"linux/arm64", "linux/arm/v7", 21},  {"linux/arm64/v9", "linux/arm64", 1},
    {"linux/arm/v7", "linux/arm/v7", 0},  {"linux/arm/v7", "linux/arm/v6", 1},  {"linux/arm/v6", "linux/arm/v7", -1},
    {"linux/arm/v7", "linux/arm64", -1},  {"linux/s390x", "linux/s390x", 0},    {"linux/386", "linux/amd64", -1},
    {"linux/riscv64", "linux/arm64", -1},
};

START_TEST(a_node_takes_what_it_can_run)
{
    struct platform wanted, offered;
    ck_assert_int_eq(platform_parse(ranks[_i].wanted, &wanted), 0);
    ck_assert_int_eq(platform_parse(ranks[_i].offered, &offered), 0);
    ck_assert_msg(platform_rank(&wanted, &offered) == ranks[_i].rank, "%s for %s: %d", ranks[_i].offered,
                  ranks[_i].wanted, platform_rank(&wanted, &offered));
}
END_TEST

START_TEST(what_a_descriptor_says_may_be_missing_or_nonsense)
{
    char text[PLATFORM_TEXT_MAX];
    struct platform p;
    ck_assert(platform_make("linux", "arm64", NULL, &p));
    ck_assert_str_eq(platform_format(&p, text), "linux/arm64");
    ck_assert(platform_make(NULL, NULL, NULL, &p));
    ck_assert_str_eq(p.os, "");
    ck_assert(!platform_make("linux", "0123456789012345678901234", NULL, &p));
    ck_assert(!platform_make("linux\n", "arm64", NULL, &p));
}
END_TEST

START_TEST(the_host_is_a_platform)
{
    char text[PLATFORM_TEXT_MAX];
    struct platform host = platform_of_host(), again;
    ck_assert_int_eq(platform_parse(platform_format(&host, text), &again), 0);
    ck_assert_int_eq(platform_rank(&host, &again), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("platform");
    TCase *tests = tcase_create("platform");
    tcase_add_loop_test(tests, a_platform_is_written_in_one_way, 0, ARRAY_SIZE(platforms));
    tcase_add_loop_test(tests, a_node_takes_what_it_can_run, 0, ARRAY_SIZE(ranks));
    tcase_add_test(tests, what_a_descriptor_says_may_be_missing_or_nonsense);
    tcase_add_test(tests, the_host_is_a_platform);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
