/* The clock is the test's own: this file defines the functions of base/clock.h. */
#include "mirror/spenders.h"

#include "scratch.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define HOUR (60 * CLOCK_MINUTE)

static int64_t now = 1000 * HOUR;

int64_t clock_monotonic_ms(void)
{
    return now;
}

int64_t clock_real_ms(void)
{
    return 1750000000000 + now;
}

static struct spenders *spenders;

static void setup(void)
{
    ck_ok(spenders_create(&spenders));
}

static void cleanup(void)
{
    spenders_destroy(spenders);
}

static void note(const char *name, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        spenders_note(spenders, SPENDER_REPOSITORY, name);
}

static uint64_t count_of(const char *name)
{
    struct spender top[200];
    size_t n = spenders_top(spenders, SPENDER_REPOSITORY, top, ARRAY_SIZE(top));
    for (size_t i = 0; i < n; i++)
        if (strcmp(top[i].name, name) == 0)
            return top[i].count;
    return 0;
}

START_TEST(the_greatest_come_first)
{
    struct spender top[2];
    note("a", 1);
    note("b", 3);
    note("c", 2);
    ck_assert_uint_eq(spenders_top(spenders, SPENDER_REPOSITORY, top, 2), 2);
    ck_assert_str_eq(top[0].name, "b");
    ck_assert_uint_eq(top[0].count, 3);
    ck_assert_str_eq(top[1].name, "c");
    ck_assert_uint_eq(spenders_top(spenders, SPENDER_CLIENT, top, 2), 0);
}
END_TEST

START_TEST(what_is_older_than_the_window_does_not_count)
{
    note("a", 2);
    now += 5 * HOUR;
    note("a", 1);
    ck_assert_uint_eq(count_of("a"), 3);
    now += HOUR;
    ck_assert_uint_eq(count_of("a"), 1);
    now += 1000 * HOUR;
    ck_assert_uint_eq(count_of("a"), 0);
    note("a", 1);
    ck_assert_uint_eq(count_of("a"), 1);
}
END_TEST

START_TEST(who_spends_much_is_not_lost_among_many_who_spend_little)
{
    struct spender top[1];
    note("much", 50);
    for (unsigned i = 0; i < 3000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "little-%u", i);
        note(name, 1);
        if (i % 3 == 0)
            note("much", 1);
    }
    ck_assert_uint_eq(spenders_top(spenders, SPENDER_REPOSITORY, top, 1), 1);
    ck_assert_str_eq(top[0].name, "much");
    ck_assert_uint_eq(top[0].count, 1050);
    ck_assert_uint_eq(top[0].excess, 0);
}
END_TEST

START_TEST(nobody_is_no_spender)
{
    note("", 5);
    struct spender top[1];
    ck_assert_uint_eq(spenders_top(spenders, SPENDER_REPOSITORY, top, 1), 0);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("spenders");
    tcase_add_checked_fixture(t, setup, cleanup);
    tcase_add_test(t, the_greatest_come_first);
    tcase_add_test(t, what_is_older_than_the_window_does_not_count);
    tcase_add_test(t, who_spends_much_is_not_lost_among_many_who_spend_little);
    tcase_add_test(t, nobody_is_no_spender);
    Suite *s = suite_create("spenders");
    suite_add_tcase(s, t);
    return suite_run(s);
}
