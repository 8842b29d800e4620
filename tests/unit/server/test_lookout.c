#include "server/lookout.h"

#include <check.h>
#include <poll.h>

static unsigned turns;

/* Without end, were it not told. */
static void *run(void *arg)
{
    const struct lookout *l = arg;
    struct pollfd fd = {.fd = l->stop, .events = POLLIN};
    while (poll(&fd, 1, 1) <= 0)
        turns++;
    turns = 1000000;
    return NULL;
}

START_TEST(the_thread_has_ended_when_the_stop_returns_and_can_be_started_again)
{
    struct lookout l = {0};
    for (unsigned i = 0; i < 100; i++) {
        turns = 0;
        ck_assert_int_eq(lookout_start(&l, run, &l), 0);
        lookout_stop(&l);
        ck_assert_uint_eq(turns, 1000000);
    }
}
END_TEST

START_TEST(what_was_not_started_or_is_stopped_needs_no_stop)
{
    struct lookout l = {0};
    lookout_stop(&l);
    ck_assert_int_eq(lookout_start(&l, run, &l), 0);
    lookout_stop(&l);
    lookout_stop(&l);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lookout");
    TCase *tests = tcase_create("lookout");
    tcase_add_test(tests, the_thread_has_ended_when_the_stop_returns_and_can_be_started_again);
    tcase_add_test(tests, what_was_not_started_or_is_stopped_needs_no_stop);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
