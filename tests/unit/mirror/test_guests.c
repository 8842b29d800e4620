#include "mirror/guests.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>
#include <stdio.h>

static struct guests *g;

static void setup(void)
{
    ck_assert_int_eq(guests_create(&g), 0);
}

static void teardown(void)
{
    guests_destroy(g);
}

static const struct guest jo = {"docker.io", "company/app", "aaaa"};

START_TEST(who_was_let_in_is_known_with_the_time_since)
{
    int64_t age = 99;
    ck_assert(!guests_know(g, &jo, 1000, &age));
    ck_assert_int_eq(age, 99);
    guests_welcome(g, &jo, 1000);
    ck_assert(guests_know(g, &jo, 1500, &age));
    ck_assert_int_eq(age, 500);
    guests_welcome(g, &jo, 1400);
    ck_assert(guests_know(g, &jo, 1500, &age));
    ck_assert_int_eq(age, 100);
}
END_TEST

static const struct guest others[] = {
    {"docker.io", "company/app", "aaab"},   {"docker.io", "company/app", ""},   {"docker.io", "company/ap", "aaaa"},
    {"docker.io", "company/other", "aaaa"}, {"quay.io", "company/app", "aaaa"}, {"docker.io/company", "app", "aaaa2"},
};

START_TEST(nobody_else_and_nowhere_else)
{
    int64_t age;
    guests_welcome(g, &jo, 1000);
    ck_assert(!guests_know(g, &others[_i], 1000, &age));
    guests_forget(g, &others[_i]);
    ck_assert(guests_know(g, &jo, 1000, &age));
}
END_TEST

START_TEST(who_is_refused_is_forgotten)
{
    int64_t age;
    guests_welcome(g, &jo, 1000);
    guests_forget(g, &jo);
    ck_assert(!guests_know(g, &jo, 1000, &age));
    guests_forget(g, &jo);
}
END_TEST

START_TEST(a_crowd_finds_room)
{
    int64_t age;
    for (int i = 1; i <= 20000; i++) {
        char login[32];
        (void)snprintf(login, sizeof(login), "%d", i);
        const struct guest who = {"docker.io", "company/app", login};
        guests_welcome(g, &who, i);
        ck_assert(guests_know(g, &who, i, &age) && age == 0);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("guests");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, who_was_let_in_is_known_with_the_time_since);
    tcase_add_loop_test(t, nobody_else_and_nowhere_else, 0, ARRAY_SIZE(others));
    tcase_add_test(t, who_is_refused_is_forgotten);
    tcase_add_test(t, a_crowd_finds_room);
    Suite *s = suite_create("guests");
    suite_add_tcase(s, t);
    return suite_run(s);
}
