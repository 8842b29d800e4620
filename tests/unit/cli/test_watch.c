#include "base/auto.h"
#include "cli/watch.h"

#include "suite.h"

#include <check.h>

enum { MINUTE = 60 * 1000 };

/* What the mirror did at a time, and what follows from it. */
struct asked {
    int64_t at;
    bool answered;
    enum watch_step step;
};

static void hold(const struct asked *all, size_t count)
{
    struct watch w;
    watch_begin(&w, 10 * MINUTE, 0);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(watch_asked(&w, all[i].answered, all[i].at) == all[i].step, "step %zu", i);
}

#define HOLD(...) hold((const struct asked[]){__VA_ARGS__}, ARRAY_SIZE(((const struct asked[]){__VA_ARGS__})))

START_TEST(nothing_is_written_before_the_first_answer)
{
    HOLD({0, false, WATCH_LEAVE}, {MINUTE, false, WATCH_LEAVE}, {2 * MINUTE, true, WATCH_WRITE});
}
END_TEST

START_TEST(a_short_silence_changes_nothing)
{
    HOLD({0, true, WATCH_WRITE}, {MINUTE, false, WATCH_LEAVE}, {10 * MINUTE - 1, false, WATCH_LEAVE},
         {10 * MINUTE, true, WATCH_WRITE}, {20 * MINUTE - 1, false, WATCH_LEAVE});
}
END_TEST

START_TEST(a_long_silence_removes_once)
{
    HOLD({5, true, WATCH_WRITE}, {MINUTE, false, WATCH_LEAVE}, {10 * MINUTE + 5, false, WATCH_REMOVE},
         {11 * MINUTE, false, WATCH_LEAVE}, {60 * MINUTE, false, WATCH_LEAVE});
}
END_TEST

START_TEST(a_mirror_that_returns_is_written_at_once_and_has_its_time_again)
{
    HOLD({0, true, WATCH_WRITE}, {10 * MINUTE, false, WATCH_REMOVE}, {11 * MINUTE, true, WATCH_WRITE},
         {20 * MINUTE, false, WATCH_LEAVE}, {21 * MINUTE, false, WATCH_REMOVE});
}
END_TEST

START_TEST(what_an_earlier_run_left_goes_when_the_mirror_is_silent_from_the_start)
{
    HOLD({0, false, WATCH_LEAVE}, {10 * MINUTE, false, WATCH_REMOVE});
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("watch");
    tcase_add_test(t, nothing_is_written_before_the_first_answer);
    tcase_add_test(t, a_short_silence_changes_nothing);
    tcase_add_test(t, a_long_silence_removes_once);
    tcase_add_test(t, a_mirror_that_returns_is_written_at_once_and_has_its_time_again);
    tcase_add_test(t, what_an_earlier_run_left_goes_when_the_mirror_is_silent_from_the_start);
    Suite *s = suite_create("watch");
    suite_add_tcase(s, t);
    return suite_run(s);
}
