#include "server/crowd.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>

static struct crowd *c;

static void setup(void)
{
    ck_assert_int_eq(crowd_create(2, &c), 0);
}

static void teardown(void)
{
    crowd_destroy(c);
}

START_TEST(each_may_have_so_many_and_another_when_one_is_gone)
{
    ck_assert(crowd_enter(c, "192.0.2.1") && crowd_enter(c, "192.0.2.1"));
    ck_assert(!crowd_enter(c, "192.0.2.1"));
    ck_assert(crowd_enter(c, "192.0.2.2"));
    crowd_leave(c, "192.0.2.1");
    ck_assert(crowd_enter(c, "192.0.2.1"));
    ck_assert(!crowd_enter(c, "192.0.2.1"));
    crowd_leave(c, "192.0.2.1");
    crowd_leave(c, "192.0.2.1");
    crowd_leave(c, "192.0.2.2");
}
END_TEST

START_TEST(many_come_and_go)
{
    char address[32];
    for (int turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < 5000; i++) {
            (void)snprintf(address, sizeof(address), "10.0.%u.%u", i >> 8, i & 255);
            ck_assert(crowd_enter(c, address));
        }
        for (unsigned i = 0; turn == 0 && i < 5000; i++) {
            (void)snprintf(address, sizeof(address), "10.0.%u.%u", i >> 8, i & 255);
            crowd_leave(c, address);
        }
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("crowd");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_may_have_so_many_and_another_when_one_is_gone);
    tcase_add_test(t, many_come_and_go);
    Suite *s = suite_create("crowd");
    suite_add_tcase(s, t);
    return suite_run(s);
}
