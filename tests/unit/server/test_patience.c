#include "server/patience.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>

#define MINUTE 60000
#define A "192.0.2.1"

static struct patience *p;

static void setup(void)
{
    ck_assert_int_eq(patience_create(6, MINUTE, 3, &p), 0);
}

static void teardown(void)
{
    patience_destroy(p);
}

static int64_t take(const char *address, int64_t now)
{
    return patience_ask(p, address, now, true);
}

START_TEST(a_burst_goes_and_then_each_has_to_wait_for_his_token)
{
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(take(A, 1000), 0);
    ck_assert_int_eq(take(A, 1000), 10000);
    ck_assert_int_eq(take(A, 6000), 5000);
    ck_assert_int_eq(take(A, 11000), 0);
    ck_assert_int_gt(take(A, 11000), 0);
}
END_TEST

START_TEST(to_look_takes_nothing)
{
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(patience_ask(p, A, 1000, false), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(take(A, 1000), 0);
    ck_assert_int_gt(patience_ask(p, A, 1000, false), 0);
}
END_TEST

START_TEST(what_was_begun_at_the_same_time_is_owed)
{
    for (int i = 0; i < 5; i++)
        patience_charge(p, A, 1000);
    ck_assert_int_eq(patience_ask(p, A, 1000, false), 30000);
    ck_assert_int_eq(take(A, 31000), 0);
    for (int i = 0; i < 2 * PATIENCE_DEBT_MAX; i++)
        patience_charge(p, A, 31000);
    ck_assert_int_eq(patience_ask(p, A, 31000, false), 10000 * (PATIENCE_DEBT_MAX + 1));
}
END_TEST

START_TEST(a_bucket_holds_no_more_than_the_burst)
{
    ck_assert_int_eq(take(A, 1000), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(take(A, INT64_MAX / 2), 0);
    ck_assert_int_gt(take(A, INT64_MAX / 2), 0);
}
END_TEST

START_TEST(addresses_do_not_share_but_the_hosts_of_one_ipv6_network_do)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(take(A, 1000), 0);
        ck_assert_int_eq(take("2001:db8::1", 1000), 0);
    }
    ck_assert_int_eq(take("192.0.2.2", 1000), 0);
    ck_assert_int_gt(take(A, 1000), 0);
    ck_assert_int_gt(take("2001:db8::ffff", 1000), 0);
    ck_assert_int_eq(take("2001:db8:0:1::1", 1000), 0);
    ck_assert_int_eq(take("", 1000), 0);
}
END_TEST

START_TEST(a_crowd_finds_room)
{
    char address[32];
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        ck_assert_int_eq(take(address, 1000 + i), 0);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("patience");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_burst_goes_and_then_each_has_to_wait_for_his_token);
    tcase_add_test(t, to_look_takes_nothing);
    tcase_add_test(t, what_was_begun_at_the_same_time_is_owed);
    tcase_add_test(t, a_bucket_holds_no_more_than_the_burst);
    tcase_add_test(t, addresses_do_not_share_but_the_hosts_of_one_ipv6_network_do);
    tcase_add_test(t, a_crowd_finds_room);
    Suite *s = suite_create("patience");
    suite_add_tcase(s, t);
    return suite_run(s);
}
