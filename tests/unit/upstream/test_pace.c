#include "upstream/pace.h"

#include "suite.h"

#include "base/auto.h"
#include "upstream/backoff.h"

#include <check.h>

#define LONGEST UINT64_MAX

START_TEST(a_wait_is_anything_up_to_its_cap)
{
    ck_assert_int_eq(backoff_ms(0, 1000, 60000, 0), BACKOFF_MIN_MS);
    ck_assert_int_eq(backoff_ms(0, 1000, 60000, LONGEST), 1000);
    ck_assert_int_eq(backoff_ms(3, 1000, 60000, LONGEST), 8000);
    ck_assert_int_eq(backoff_ms(6, 1000, 60000, LONGEST), 60000);
    ck_assert_int_eq(backoff_ms(UINT32_MAX, 1000, 60000, LONGEST), 60000);
    ck_assert_int_eq(backoff_ms(9, 1, 5, LONGEST), BACKOFF_MIN_MS);
    for (uint64_t random = 0; random < 100000; random += 37) {
        int64_t ms = backoff_ms(2, 1000, 60000, random * 0x9e3779b97f4a7c15u);
        ck_assert(ms >= BACKOFF_MIN_MS && ms <= 4000);
    }
}
END_TEST

START_TEST(a_host_that_never_refused_is_asked_at_any_pace)
{
    struct pace p = {0};
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(pace_take(&p, 1000), 0);
    ck_assert(pace_is_free(&p, 1000));
}
END_TEST

START_TEST(a_refusal_stops_all_and_then_there_is_distance)
{
    struct pace p = {0};
    pace_refused(&p, -1, 1000, LONGEST);
    ck_assert_int_eq(pace_wait_ms(&p, 1000), PACE_FIRST_MS);
    int64_t now = 1000 + PACE_FIRST_MS;
    ck_assert_int_eq(pace_take(&p, now), 0);
    ck_assert_int_eq(pace_take(&p, now), PACE_INTERVAL_FIRST_MS);
    ck_assert_int_eq(pace_take(&p, now), 2 * PACE_INTERVAL_FIRST_MS);
    ck_assert_int_eq(pace_wait_ms(&p, now), 3 * PACE_INTERVAL_FIRST_MS);
    ck_assert(!pace_is_free(&p, now));
}
END_TEST

START_TEST(refusals_of_one_burst_count_once)
{
    struct pace p = {0};
    for (int i = 0; i < 50; i++)
        pace_refused(&p, -1, 1000, LONGEST);
    ck_assert_int_eq(p.until, 1000 + PACE_FIRST_MS);
    ck_assert_int_eq(p.interval_ms, PACE_INTERVAL_FIRST_MS);
}
END_TEST

START_TEST(refusals_in_a_row_make_it_longer_to_a_limit)
{
    struct pace p = {0};
    for (int i = 0; i < 30; i++)
        pace_refused(&p, -1, p.until, LONGEST);
    int64_t now = p.until;
    pace_refused(&p, -1, now, LONGEST);
    ck_assert_int_eq(p.until - now, PACE_MAX_MS);
    ck_assert_int_eq(p.interval_ms, PACE_INTERVAL_MAX_MS);
}
END_TEST

START_TEST(a_hosts_own_word_holds_to_a_limit)
{
    struct pace p = {0};
    pace_refused(&p, 7000, 0, 0);
    ck_assert_int_eq(p.until, 7000);
    pace_refused(&p, 9000, 1000, 0);
    ck_assert_int_eq(p.until, 10000);
    pace_refused(&p, INT64_MAX, 10000, 0);
    ck_assert_int_eq(p.until, 10000 + PACE_HINT_MAX_MS);
}
END_TEST

START_TEST(answers_bring_the_old_pace_back)
{
    struct pace p = {0};
    for (int i = 0; i < 4; i++)
        pace_refused(&p, -1, p.until, LONGEST);
    int64_t now = p.until;
    pace_answered(&p, now - 1); /* of one that went out before */
    ck_assert_uint_eq(p.good, 0);
    for (int i = 0; i < 4 * PACE_GOOD; i++) {
        ck_assert(!pace_is_free(&p, now));
        pace_answered(&p, now);
    }
    ck_assert(pace_is_free(&p, now));
    ck_assert_int_eq(pace_take(&p, now), 0);
    ck_assert_int_eq(pace_take(&p, now), 0);
}
END_TEST

START_TEST(a_pause_leaves_no_distance)
{
    struct pace p = {0};
    pace_pause(&p, 100, 1000, LONGEST);
    ck_assert_int_eq(pace_wait_ms(&p, 1000), 100);
    ck_assert_int_eq(pace_take(&p, 1100), 0);
    ck_assert_int_eq(pace_take(&p, 1100), 0);
    ck_assert(pace_is_free(&p, 1100));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pace");
    TCase *t = tcase_create("pace");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_wait_is_anything_up_to_its_cap);
    tcase_add_test(t, a_host_that_never_refused_is_asked_at_any_pace);
    tcase_add_test(t, a_refusal_stops_all_and_then_there_is_distance);
    tcase_add_test(t, refusals_of_one_burst_count_once);
    tcase_add_test(t, refusals_in_a_row_make_it_longer_to_a_limit);
    tcase_add_test(t, a_hosts_own_word_holds_to_a_limit);
    tcase_add_test(t, answers_bring_the_old_pace_back);
    tcase_add_test(t, a_pause_leaves_no_distance);
    return suite_run(s);
}
