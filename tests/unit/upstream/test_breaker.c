#include "upstream/breaker.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>

#define LONGEST UINT64_MAX

static void open_it(struct breaker *b)
{
    for (int i = 0; i < BREAKER_FAILURES; i++)
        breaker_failed(b, false, false, 0, LONGEST);
    ck_assert_int_eq(b->state, UPSTREAM_OPEN);
}

START_TEST(some_failures_in_a_row_open_it)
{
    struct breaker b = {0};
    for (int i = 1; i < BREAKER_FAILURES; i++)
        breaker_failed(&b, false, false, 0, LONGEST);
    breaker_succeeded(&b);
    for (int i = 1; i < BREAKER_FAILURES; i++)
        breaker_failed(&b, false, false, 0, LONGEST);
    ck_assert_int_eq(b.state, UPSTREAM_CLOSED);
    ck_assert_int_eq(breaker_wait_ms(&b, 0), 0);
    breaker_failed(&b, false, false, 0, LONGEST);
    ck_assert_int_eq(b.state, UPSTREAM_OPEN);
    ck_assert_int_eq(breaker_wait_ms(&b, 0), BREAKER_FIRST_MS);
    ck_assert_int_eq(breaker_wait_ms(&b, BREAKER_FIRST_MS - 1), 1);
}
END_TEST

START_TEST(a_refused_connection_opens_it_at_once)
{
    struct breaker b = {0};
    breaker_failed(&b, false, true, 0, LONGEST);
    ck_assert_int_eq(b.state, UPSTREAM_OPEN);
}
END_TEST

START_TEST(after_its_time_one_probes_and_the_others_wait)
{
    struct breaker b = {0};
    open_it(&b);
    ck_assert_int_eq(breaker_wait_ms(&b, BREAKER_FIRST_MS), 0);
    ck_assert(breaker_begin(&b));
    ck_assert_int_eq(b.state, UPSTREAM_HALF_OPEN);
    ck_assert_int_eq(breaker_wait_ms(&b, BREAKER_FIRST_MS), BREAKER_PROBE_WAIT_MS);
    breaker_succeeded(&b);
    ck_assert_int_eq(breaker_wait_ms(&b, BREAKER_FIRST_MS), 0);
    ck_assert(!breaker_begin(&b));
}
END_TEST

START_TEST(each_probe_that_fails_makes_it_longer_to_a_limit)
{
    struct breaker b = {0};
    open_it(&b);
    int64_t now = 0, wait = BREAKER_FIRST_MS;
    for (int i = 0; i < 10; i++) {
        now = b.open_until;
        ck_assert(breaker_begin(&b));
        breaker_failed(&b, true, false, now, LONGEST);
        wait = wait * 2 < BREAKER_MAX_MS ? wait * 2 : BREAKER_MAX_MS;
        ck_assert_int_eq(b.open_until - now, wait);
    }
    breaker_succeeded(&b);
    open_it(&b);
    ck_assert_int_eq(b.open_until, BREAKER_FIRST_MS);
}
END_TEST

START_TEST(failures_of_those_that_began_before_do_not_prolong_it)
{
    struct breaker b = {0};
    open_it(&b);
    breaker_failed(&b, false, true, 500, LONGEST);
    ck_assert_int_eq(b.open_until, BREAKER_FIRST_MS);
    ck_assert(breaker_begin(&b));
    breaker_failed(&b, false, true, 1500, LONGEST);
    ck_assert_int_eq(b.state, UPSTREAM_HALF_OPEN);
}
END_TEST

START_TEST(a_probe_without_a_verdict_leaves_the_next_one_free)
{
    struct breaker b = {0};
    open_it(&b);
    ck_assert(breaker_begin(&b));
    breaker_abandoned(&b, false, 1000); /* somebody else's end */
    ck_assert_int_eq(b.state, UPSTREAM_HALF_OPEN);
    breaker_abandoned(&b, true, 1000);
    ck_assert_int_eq(breaker_wait_ms(&b, 1000), 0);
    ck_assert(breaker_begin(&b));
}
END_TEST

START_TEST(any_success_closes_it)
{
    struct breaker b = {0};
    open_it(&b);
    breaker_succeeded(&b);
    ck_assert_int_eq(b.state, UPSTREAM_CLOSED);
    ck_assert_uint_eq(b.failures, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("breaker");
    TCase *t = tcase_create("breaker");
    suite_add_tcase(s, t);
    tcase_add_test(t, some_failures_in_a_row_open_it);
    tcase_add_test(t, a_refused_connection_opens_it_at_once);
    tcase_add_test(t, after_its_time_one_probes_and_the_others_wait);
    tcase_add_test(t, each_probe_that_fails_makes_it_longer_to_a_limit);
    tcase_add_test(t, failures_of_those_that_began_before_do_not_prolong_it);
    tcase_add_test(t, a_probe_without_a_verdict_leaves_the_next_one_free);
    tcase_add_test(t, any_success_closes_it);
    return suite_run(s);
}
