#include "config/value.h"

#include "suite.h"

#include <check.h>
#include <errno.h>

static const struct {
    const char *text;
    int result;
    int64_t ms;
} durations[] = {
    {"0", 0, 0},
    {"0s", 0, 0},
    {"250ms", 0, 250},
    {"1s", 0, 1000},
    {"5m", 0, 300000},
    {"12h", 0, 43200000},
    {"30d", 0, 2592000000},
    {"1h30m", 0, 5400000},
    {"1d2h3m4s5ms", 0, 93784005},
    {"106751991167d", 0, 9223372036828800000},
    {"106751991168d", -ERANGE, 0},
    {"18446744073709551616ms", -ERANGE, 0},
    {"106751991167d24h", -ERANGE, 0},
    {"", -EINVAL, 0},
    {"5", -EINVAL, 0},
    {"00", -EINVAL, 0},
    {"m", -EINVAL, 0},
    {"5 m", -EINVAL, 0},
    {" 5m", -EINVAL, 0},
    {"5m ", -EINVAL, 0},
    {"-5m", -EINVAL, 0},
    {"+5m", -EINVAL, 0},
    {"1.5h", -EINVAL, 0},
    {"5M", -EINVAL, 0},
    {"5min", -EINVAL, 0},
    {"30m1h", -EINVAL, 0},
    {"1m1m", -EINVAL, 0},
    {"1h30", -EINVAL, 0},
};

START_TEST(durations_are_numbers_with_units_from_large_to_small)
{
    int64_t ms = -7;
    ck_assert_int_eq(value_parse_duration(durations[_i].text, &ms), durations[_i].result);
    ck_assert_int_eq(ms, durations[_i].result == 0 ? durations[_i].ms : -7);
}
END_TEST

static const struct {
    const char *text;
    int result;
    uint64_t bytes;
} sizes[] = {
    {"0", 0, 0},
    {"512", 0, 512},
    {"64KiB", 0, 65536},
    {"10Gi", 0, 10737418240},
    {"10GiB", 0, 10737418240},
    {"1TiB", 0, 1099511627776},
    {"16777215TiB", 0, 18446742974197923840U},
    {"16777216TiB", -ERANGE, 0},
    {"18446744073709551615", 0, UINT64_MAX},
    {"18446744073709551616", -ERANGE, 0},
    {"", -EINVAL, 0},
    {"KiB", -EINVAL, 0},
    {"10GB", -EINVAL, 0}, /* 10^9 or 2^30? */
    {"10G", -EINVAL, 0},
    {"10 GiB", -EINVAL, 0},
    {"1GiB1MiB", -EINVAL, 0},
    {"-1", -EINVAL, 0},
    {"0x10", -EINVAL, 0},
};

START_TEST(sizes_are_bytes_or_have_a_binary_unit)
{
    uint64_t bytes = 7;
    ck_assert_int_eq(value_parse_size(sizes[_i].text, &bytes), sizes[_i].result);
    ck_assert_uint_eq(bytes, sizes[_i].result == 0 ? sizes[_i].bytes : 7);
}
END_TEST

START_TEST(counts_are_digits_and_nothing_else)
{
    uint64_t n = 7;
    ck_assert_int_eq(value_parse_count("0042", &n), 0);
    ck_assert_uint_eq(n, 42);
    ck_assert_int_eq(value_parse_count("18446744073709551615", &n), 0);
    ck_assert_uint_eq(n, UINT64_MAX);
    const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "1.0", "1e3", "0x1", "1_000"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_int_eq(value_parse_count(bad[i], &n), -EINVAL);
    ck_assert_int_eq(value_parse_count("18446744073709551616", &n), -ERANGE);
    ck_assert_uint_eq(n, UINT64_MAX);
}
END_TEST

START_TEST(a_percentage_is_1_to_100_and_its_sign)
{
    unsigned percent = 7;
    const char *const bad[] = {"", "%", "90", "90 %", "-1%", "1.5%", "90%%", "90%x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_int_eq(value_parse_percent(bad[i], &percent), -EINVAL);
    ck_assert_int_eq(value_parse_percent("0%", &percent), -ERANGE);
    ck_assert_int_eq(value_parse_percent("101%", &percent), -ERANGE);
    ck_assert_uint_eq(percent, 7);
    ck_assert_int_eq(value_parse_percent("1%", &percent), 0);
    ck_assert_uint_eq(percent, 1);
    ck_assert_int_eq(value_parse_percent("100%", &percent), 0);
    ck_assert_uint_eq(percent, 100);
}
END_TEST

START_TEST(a_duration_is_written_so_that_it_reads_the_same)
{
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        if (durations[i].result < 0)
            continue;
        AUTO_BUF struct buf b = BUF_INIT(64);
        int64_t ms;
        ck_assert_int_eq(value_add_duration(&b, (uint64_t)durations[i].ms), 0);
        ck_assert_int_eq(value_parse_duration(b.data, &ms), 0);
        ck_assert_int_eq(ms, durations[i].ms);
    }
    AUTO_BUF struct buf b = BUF_INIT(64);
    ck_assert_int_eq(value_add_duration(&b, 5400000), 0);
    ck_assert_str_eq(b.data, "1h30m");
}
END_TEST

START_TEST(a_size_is_written_by_its_largest_exact_unit)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0"}, {1, "1"}, {1023, "1023"}, {1024, "1KiB"}, {1536, "1536"}, {10737418240, "10GiB"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_BUF struct buf b = BUF_INIT(64);
        ck_assert_int_eq(value_add_size(&b, cases[i].bytes), 0);
        ck_assert_str_eq(b.data, cases[i].text);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("value");
    tcase_add_loop_test(t, durations_are_numbers_with_units_from_large_to_small, 0, ARRAY_SIZE(durations));
    tcase_add_loop_test(t, sizes_are_bytes_or_have_a_binary_unit, 0, ARRAY_SIZE(sizes));
    tcase_add_test(t, counts_are_digits_and_nothing_else);
    tcase_add_test(t, a_percentage_is_1_to_100_and_its_sign);
    tcase_add_test(t, a_duration_is_written_so_that_it_reads_the_same);
    tcase_add_test(t, a_size_is_written_by_its_largest_exact_unit);
    Suite *s = suite_create("value");
    suite_add_tcase(s, t);
    return suite_run(s);
}
