/* The clock is the test's own: this file defines the functions of base/clock.h, so that the library's are not linked.
 */
#include "mirror/recent.h"

#include "scratch.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define LAST (5 * CLOCK_SECOND) /* the longest back-off */

static int64_t now = 5000000;

int64_t clock_monotonic_ms(void)
{
    return now;
}

int64_t clock_real_ms(void)
{
    return 1750000000000 + now;
}

static struct recent *recent;

static void setup(void)
{
    ck_ok(recent_create(&recent));
}

static void cleanup(void)
{
    recent_destroy(recent);
}

/* Notes a failure; how long it holds. */
static int64_t note(const char *key, int error, int64_t retry_after_ms)
{
    struct failure f = {.error = error, .status = 503, .message = "away"};
    recent_note(recent, key, &f, retry_after_ms);
    return f.until - now;
}

static bool is_noted(const char *key)
{
    struct failure f;
    return recent_get(recent, key, &f);
}

START_TEST(what_failed_is_remembered_with_its_reason_until_its_time_has_passed)
{
    struct failure f = {.error = -EREMOTEIO, .status = 502, .message = "bad gateway"}, got = {0};
    recent_note(recent, "a", &f, -1);
    ck_assert(recent_get(recent, "a", &got));
    ck_assert_int_eq(got.error, -EREMOTEIO);
    ck_assert_int_eq(got.status, 502);
    ck_assert_str_eq(got.message, "bad gateway");
    ck_assert_int_eq(got.until, f.until);
    ck_assert(!is_noted("b"));
    now = f.until - 1;
    ck_assert(is_noted("a"));
    now = f.until;
    ck_assert(!is_noted("a"));
}
END_TEST

static const struct {
    int error;
    bool is_absence, is_passing;
} errors[] = {
    {-ENOENT, true, false},       {-EACCES, true, false},       {-ENOTSUP, true, false},    {-EAGAIN, false, true},
    {-ECONNREFUSED, false, true}, {-EHOSTUNREACH, false, true}, {-ECONNRESET, false, true}, {-ETIMEDOUT, false, true},
    {-EREMOTEIO, false, true},    {-EPROTO, false, false},      {-EPERM, false, false},     {-EBADMSG, false, false},
    {-EFBIG, false, false},       {-ENOSPC, false, false},      {-ECANCELED, false, false}, {0, false, false},
};

START_TEST(a_failure_is_an_absence_or_passes_or_neither)
{
    const struct failure f = {.error = errors[_i].error};
    ck_assert(failure_is_absence(&f) == errors[_i].is_absence);
    ck_assert(failure_is_passing(&f) == errors[_i].is_passing);
}
END_TEST

START_TEST(what_is_absent_is_remembered_for_ten_seconds_however_often)
{
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_int_eq(note("a", -ENOENT, -1), 10 * CLOCK_SECOND);
        now += 10 * CLOCK_SECOND;
    }
    ck_assert_int_eq(note("b", -EACCES, -1), 10 * CLOCK_SECOND);
    ck_assert_int_eq(note("c", -ENOTSUP, -1), 10 * CLOCK_SECOND);
}
END_TEST

START_TEST(a_back_off_doubles_up_to_five_seconds_with_chance_in_its_second_half)
{
    int64_t step = CLOCK_SECOND;
    for (unsigned i = 0; i < 12; i++) {
        int64_t held = note("a", -ECONNREFUSED, -1);
        ck_assert_int_ge(held, step / 2);
        ck_assert_int_le(held, step);
        now += held;
        step = 2 * step < LAST ? 2 * step : LAST;
    }
}
END_TEST

START_TEST(those_who_failed_together_do_not_come_back_together)
{
    unsigned different = 0;
    char key[] = "a";
    int64_t first = note("0", -ECONNREFUSED, -1);
    for (; *key <= 'z'; key[0]++)
        different += note(key, -ECONNREFUSED, -1) != first;
    ck_assert_uint_gt(different, 0);
}
END_TEST

START_TEST(every_name_has_a_row_of_its_own)
{
    for (unsigned i = 0; i < 5; i++)
        now += note("a", -ECONNREFUSED, -1);
    ck_assert_int_le(note("b", -ECONNREFUSED, -1), CLOCK_SECOND);
    ck_assert_int_ge(note("a", -ECONNREFUSED, -1), LAST / 2);
}
END_TEST

START_TEST(a_row_ends_when_it_goes_well)
{
    for (unsigned i = 0; i < 5; i++)
        now += note("a", -ECONNREFUSED, -1);
    (void)note("a", -ECONNREFUSED, -1);
    recent_forget(recent, "a");
    recent_forget(recent, "never noted");
    ck_assert(!is_noted("a"));
    ck_assert_int_le(note("a", -ECONNREFUSED, -1), CLOCK_SECOND);
}
END_TEST

START_TEST(a_row_ends_when_nothing_failed_for_a_minute)
{
    for (unsigned i = 0; i < 5; i++)
        now += note("a", -ECONNREFUSED, -1);
    now += 60 * CLOCK_SECOND;
    int64_t held = note("a", -ECONNREFUSED, -1);
    ck_assert_int_ge(held, LAST / 2);
    now += held + 60 * CLOCK_SECOND + 1;
    ck_assert_int_le(note("a", -ECONNREFUSED, -1), CLOCK_SECOND);
}
END_TEST

START_TEST(what_is_absent_makes_no_row)
{
    for (unsigned i = 0; i < 5; i++)
        now += note("a", -ENOENT, -1);
    ck_assert_int_le(note("a", -ECONNREFUSED, -1), CLOCK_SECOND);
}
END_TEST

START_TEST(what_an_upstream_asks_for_is_respected_up_to_ten_minutes)
{
    ck_assert_int_eq(note("a", -EAGAIN, 17 * CLOCK_SECOND), 17 * CLOCK_SECOND);
    ck_assert_int_eq(note("b", -EAGAIN, 10 * CLOCK_MINUTE), 10 * CLOCK_MINUTE);
    ck_assert_int_eq(note("c", -EAGAIN, 24 * 60 * CLOCK_MINUTE), 10 * CLOCK_MINUTE);
    ck_assert_int_eq(note("d", -EAGAIN, INT64_MAX), 10 * CLOCK_MINUTE);
    ck_assert_int_ge(note("e", -EAGAIN, 0), CLOCK_SECOND / 2); /* never sooner than we would */
    ck_assert_int_eq(note("f", -ENOENT, 60 * CLOCK_SECOND), 60 * CLOCK_SECOND);
}
END_TEST

START_TEST(a_limit_is_told_as_long_as_it_lasts_and_remembered_no_longer_than_a_back_off)
{
    const int64_t long_time = 5 * CLOCK_MINUTE;
    ck_assert_int_eq(note("limited", -EAGAIN, long_time), long_time);
    ck_assert_int_eq(note("broken", -EREMOTEIO, long_time), long_time);
    now += CLOCK_SECOND / 2 - 1;
    ck_assert(is_noted("limited"));
    now += LAST;
    ck_assert(!is_noted("limited"));
    ck_assert(is_noted("broken"));
}
END_TEST

START_TEST(the_oldest_leave_when_there_are_too_many)
{
    char key[32];
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key %u", i);
        (void)note(key, -ENOENT, -1);
        if (i % 500 == 0)
            (void)note("again and again", -ENOENT, -1);
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key %u", i);
        bool noted = is_noted(key);
        kept += noted;
        ck_assert_msg(i < 5000 - 4096 ? !noted : i < 5000 - 4095 || noted, "%s", key);
    }
    ck_assert(is_noted("again and again"));
    ck_assert_uint_eq(kept + 1, 4096);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recent");
    TCase *tests = tcase_create("recent");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_add_test(tests, what_failed_is_remembered_with_its_reason_until_its_time_has_passed);
    tcase_add_loop_test(tests, a_failure_is_an_absence_or_passes_or_neither, 0, ARRAY_SIZE(errors));
    tcase_add_test(tests, what_is_absent_is_remembered_for_ten_seconds_however_often);
    tcase_add_test(tests, a_back_off_doubles_up_to_five_seconds_with_chance_in_its_second_half);
    tcase_add_test(tests, those_who_failed_together_do_not_come_back_together);
    tcase_add_test(tests, every_name_has_a_row_of_its_own);
    tcase_add_test(tests, a_row_ends_when_it_goes_well);
    tcase_add_test(tests, a_row_ends_when_nothing_failed_for_a_minute);
    tcase_add_test(tests, what_is_absent_makes_no_row);
    tcase_add_test(tests, what_an_upstream_asks_for_is_respected_up_to_ten_minutes);
    tcase_add_test(tests, a_limit_is_told_as_long_as_it_lasts_and_remembered_no_longer_than_a_back_off);
    tcase_add_test(tests, the_oldest_leave_when_there_are_too_many);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
