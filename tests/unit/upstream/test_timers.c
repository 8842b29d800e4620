#include "upstream/timers.h"

#include "suite.h"

#include "upstream/list.h"

#include <check.h>
#include <stdlib.h>

#define COUNT 500

struct alarm {
    struct timer timer;
    unsigned fired;
};

static int64_t last;

static void note(struct timer *t)
{
    ck_assert_int_ge(t->due, last);
    last = t->due;
    CONTAINER_OF(t, struct alarm, timer)->fired++;
}

START_TEST(timers_fire_in_the_order_of_their_times_and_cleared_ones_do_not)
{
    static struct alarm alarms[COUNT];
    struct timers h = {0};
    srand(7);
    ck_assert_int_eq(timers_next(&h), INT64_MAX);
    for (int round = 0; round < 20; round++) {
        int64_t due[COUNT] = {0};
        int64_t now = 500, earliest = INT64_MAX;
        last = 0;
        for (int i = 0; i < COUNT * 3; i++) {
            int n = rand() % COUNT;
            alarms[n].timer.fire = note;
            if (rand() % 3) {
                due[n] = 1 + rand() % 1000;
                timer_set(&h, &alarms[n].timer, due[n]);
            } else {
                due[n] = 0;
                timer_clear(&h, &alarms[n].timer);
            }
        }
        for (int i = 0; i < COUNT; i++)
            if (due[i] && due[i] < earliest)
                earliest = due[i];
        ck_assert_int_eq(timers_next(&h), earliest);
        timers_run(&h, now);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_uint_eq(alarms[i].fired, due[i] && due[i] <= now ? 1 : 0);
            ck_assert_int_eq(alarms[i].timer.set, due[i] > now);
            alarms[i].fired = 0;
        }
        ck_assert_int_gt(timers_next(&h), now);
        timers_run(&h, 1000);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_uint_eq(alarms[i].fired, due[i] > now ? 1 : 0);
            alarms[i].fired = 0;
        }
        ck_assert_int_eq(timers_next(&h), INT64_MAX);
    }
}
END_TEST

static struct timers chain;

static void set_again(struct timer *t)
{
    struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
    if (++a->fired < 5)
        timer_set(&chain, t, t->due + 10);
}

START_TEST(a_timer_may_set_itself_anew)
{
    struct alarm a = {.timer.fire = set_again};
    chain.root = NULL;
    timer_set(&chain, &a.timer, 10);
    timers_run(&chain, 25);
    ck_assert_uint_eq(a.fired, 2);
    timers_run(&chain, 1000);
    ck_assert_uint_eq(a.fired, 5);
    ck_assert(!a.timer.set);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("timers");
    TCase *t = tcase_create("timers");
    suite_add_tcase(s, t);
    tcase_add_test(t, timers_fire_in_the_order_of_their_times_and_cleared_ones_do_not);
    tcase_add_test(t, a_timer_may_set_itself_anew);
    return suite_run(s);
}
