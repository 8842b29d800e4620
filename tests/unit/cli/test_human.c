#include "cli/human.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>
#include <errno.h>

#define MS_DAY (24 * 3600 * 1000LL)

START_TEST(sizes_have_the_unit_in_which_they_are_short)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1, "1 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {(1 << 20) - 1, "1.0 MiB"},
                 {5ULL << 30, "5.0 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    char text[HUMAN_TEXT];
    ck_assert_str_eq(human_size(cases[_i].bytes, text), cases[_i].text);
}
END_TEST

static const struct {
    const char *text;
    int64_t ms; /* -1: refused */
} durations[] = {
    {"1s", 1000},
    {"90m", 90 * 60000},
    {"12h", 12 * 3600000LL},
    {"30d", 30 * MS_DAY},
    {"2w", 14 * MS_DAY},
    {"1000000s", 1000000000},
    {"1000001s", -1},
    {"0s", -1},
    {"-1d", -1},
    {"1", -1},
    {"d", -1},
    {"", -1},
    {"1h30m", -1},
    {"1ms", -1},
    {"1 d", -1},
    {"99999999999999999999d", -1},
};

START_TEST(a_duration_is_a_number_and_one_unit)
{
    int64_t ms = -1;
    ck_assert_int_eq(human_read_duration(durations[_i].text, &ms), durations[_i].ms < 0 ? -EINVAL : 0);
    ck_assert_int_eq(ms, durations[_i].ms);
}
END_TEST

START_TEST(ages_have_their_largest_unit)
{
    static const struct {
        int64_t then, now;
        const char *text;
    } cases[] = {{0, 5, "never"},
                 {1000, 1000, "0 s ago"},
                 {1000, 60999, "59 s ago"},
                 {1000, 61000, "1 min ago"},
                 {1000, 2 * 3600 * 1000 + 1000, "2 h ago"},
                 {1, 3 * MS_DAY, "2 d ago"},
                 {5 * 60000 + 1, 1, "in 5 min"}};
    char text[HUMAN_TEXT];
    ck_assert_str_eq(human_age(cases[_i].then, cases[_i].now, text), cases[_i].text);
}
END_TEST

START_TEST(numbers_have_a_comma_at_each_third_digit)
{
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {
        {0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
    char text[HUMAN_TEXT];
    ck_assert_str_eq(human_count(cases[_i].n, text), cases[_i].text);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("human");
    tcase_add_loop_test(t, sizes_have_the_unit_in_which_they_are_short, 0, 8);
    tcase_add_loop_test(t, a_duration_is_a_number_and_one_unit, 0, (int)ARRAY_SIZE(durations));
    tcase_add_loop_test(t, ages_have_their_largest_unit, 0, 7);
    tcase_add_loop_test(t, numbers_have_a_comma_at_each_third_digit, 0, 5);
    Suite *s = suite_create("human");
    suite_add_tcase(s, t);
    return suite_run(s);
}
