#include "upstream/budget.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>
#include <string.h>

#define LONGEST UINT64_MAX
#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const struct budget_policy policy = {.reserve_percent = {0, 10, 30}, .probe_after_ms = 5 * MINUTE};

static struct budget see(const char *limit, const char *remaining, int64_t now)
{
    struct budget b;
    struct budget_fields f;
    budget_init(&b);
    budget_parse(limit, remaining, &f);
    budget_observe(&b, &f, "", now);
    return b;
}

static void see_again(struct budget *b, const char *remaining, int64_t now)
{
    struct budget_fields f;
    budget_parse("100;w=21600", remaining, &f);
    budget_observe(b, &f, "", now);
}

static enum budget_verdict ask(const struct budget *b, enum upstream_class class, int64_t now)
{
    int64_t wait = 0;
    enum budget_verdict verdict = budget_ask(b, class, &policy, now, &wait);
    ck_assert((verdict == BUDGET_NO) == (wait > 0));
    return verdict;
}

/* ------------------------------------------------------------------ header fields */

static const struct {
    const char *limit, *remaining;
    bool present;
    int64_t of_limit, of_remaining, of_window;
} fields[] = {
    {"100;w=21600", "20;w=21600", true, 100, 20, 21600 * SECOND},
    {"100;w=3600", "0;w=3600", true, 100, 0, HOUR},
    {"", "", false, -1, -1, -1},
    {";w=21600", ";w=21600", false, -1, -1, 21600 * SECOND},
    {"100", "76", true, 100, 76, -1},
    {"100;w=21600", "-3;w=21600", true, 100, 0, 21600 * SECOND},
    {"100; w=60", " 7 ; W=60", true, 100, 7, MINUTE},
    {"100, 100;w=10, 5000;w=3600", "50", true, 100, 50, 10 * SECOND},
    {"100;w=21600", "many", true, 100, -1, 21600 * SECOND},
    {"unlimited", "-", false, -1, -1, -1},
    {"12abc", "0x10", false, -1, -1, -1},
    {"99999999999999999999999999", "18446744073709551616;w=99999999999999999999", true, 1000000000000LL,
     1000000000000LL, BUDGET_WINDOW_MAX_MS},
    {"100;w=0", "5;w=", true, 100, 5, -1},
    {"100;q=1;w=60", "5;;w=30", true, 100, 5, 30 * SECOND},
};

START_TEST(each_form_of_the_fields_is_understood)
{
    struct budget_fields f;
    budget_parse(fields[_i].limit, fields[_i].remaining, &f);
    ck_assert_int_eq(f.present, fields[_i].present);
    ck_assert_int_eq(f.limit, fields[_i].of_limit);
    ck_assert_int_eq(f.remaining, fields[_i].of_remaining);
    ck_assert_int_eq(f.window_ms, fields[_i].of_window);
}
END_TEST

/* ------------------------------------------------------------------ who may spend */

START_TEST(what_is_unknown_is_looked_at_first_but_for_who_waits)
{
    struct budget b;
    budget_init(&b);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 0), BUDGET_GO);
    ck_assert_int_eq(ask(&b, UPSTREAM_REVALIDATION, 0), BUDGET_PROBE);
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 0), BUDGET_PROBE);
    b.probing = true;
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 0), BUDGET_WAIT);
}
END_TEST

START_TEST(without_fields_there_is_no_limit)
{
    struct budget b = see("", "", 0);
    for (int class = 0; class < UPSTREAM_CLASSES; class ++)
        ck_assert_int_eq(ask(&b, (enum upstream_class) class, HOUR), BUDGET_GO);
    ck_assert(!budget_is_low(&b, &policy));
    ck_assert_int_eq(budget_empty_in_ms(&b, HOUR), -1);
}
END_TEST

START_TEST(each_class_leaves_a_reserve_to_those_above)
{
    static const struct {
        const char *remaining;
        enum budget_verdict verdicts[UPSTREAM_CLASSES];
    } cases[] = {
        {"31", {BUDGET_GO, BUDGET_GO, BUDGET_GO}}, {"30", {BUDGET_GO, BUDGET_GO, BUDGET_NO}},
        {"11", {BUDGET_GO, BUDGET_GO, BUDGET_NO}}, {"10", {BUDGET_GO, BUDGET_NO, BUDGET_NO}},
        {"1", {BUDGET_GO, BUDGET_NO, BUDGET_NO}},  {"0", {BUDGET_NO, BUDGET_NO, BUDGET_NO}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct budget b = see("100;w=21600", cases[i].remaining, 0);
        for (int class = 0; class < UPSTREAM_CLASSES; class ++)
            ck_assert_msg(ask(&b, (enum upstream_class) class, 1) == cases[i].verdicts[class], "%s, class %d",
                          cases[i].remaining, class);
    }
}
END_TEST

START_TEST(what_is_under_way_is_spent)
{
    struct budget b = see("100;w=21600", "2;w=21600", 0);
    b.in_flight = 1;
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 1), BUDGET_GO);
    b.in_flight = 2;
    int64_t wait = 0;
    ck_assert_int_eq(budget_ask(&b, UPSTREAM_LIVE, &policy, 1, &wait), BUDGET_NO);
    ck_assert_int_eq(wait, BUDGET_IN_FLIGHT_MS);
}
END_TEST

START_TEST(what_was_seen_long_ago_is_looked_at_again)
{
    struct budget b = see("100;w=21600", "0;w=21600", 0);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 5 * MINUTE - 1), BUDGET_NO);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 5 * MINUTE), BUDGET_PROBE);
    b = see("100;w=21600", "50;w=21600", 0);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, HOUR), BUDGET_GO); /* it would be spent whatever is seen */
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 5 * MINUTE - 1), BUDGET_GO);
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 5 * MINUTE), BUDGET_PROBE);
    b = see("10;w=40", "0;w=40", 0); /* a short window is looked at sooner */
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 10 * SECOND - 1), BUDGET_NO);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 10 * SECOND), BUDGET_PROBE);
}
END_TEST

START_TEST(one_image_without_limits_makes_no_account_unlimited)
{
    struct budget b = see("100;w=3600", "0;w=3600", 0);
    see_again(&b, "0", 1);
    struct budget_fields none;
    budget_parse("", "", &none);
    budget_observe(&b, &none, "", MINUTE);
    ck_assert(!b.unlimited);
    ck_assert_int_eq(b.remaining, 0);
    budget_observe(&b, &none, "", b.window_ms + 2); /* but a whole window of such does */
    ck_assert(b.unlimited);
    see_again(&b, "7", b.window_ms + HOUR);
    ck_assert(!b.unlimited);
    ck_assert_int_eq(b.remaining, 7);
}
END_TEST

START_TEST(a_limit_that_appears_without_what_is_left_of_it_refuses_nobody)
{
    struct budget b = see("", "", 0);
    struct budget_fields half;
    budget_parse("100;w=21600", ";w=21600", &half);
    ck_assert(half.present);
    budget_observe(&b, &half, "", 1);
    ck_assert(!b.unlimited);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 2), BUDGET_GO);
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 2), BUDGET_PROBE);
    see_again(&b, "7", 3);
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 4), BUDGET_NO);
}
END_TEST

START_TEST(whose_budget_it_is_is_kept)
{
    struct budget b = see("100;w=21600", "5;w=21600", 0);
    struct budget_fields f;
    budget_parse("100", "4", &f);
    budget_observe(&b, &f, "2001:41d0:801:2000::", 1);
    budget_observe(&b, &f, "", 2);
    ck_assert_str_eq(b.id, "2001:41d0:801:2000::");
    char longer[200];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    budget_observe(&b, &f, longer, 3);
    ck_assert_uint_eq(strlen(b.id), BUDGET_SOURCE_ID - 1);
}
END_TEST

/* ------------------------------------------------------------------ limits that were met */

START_TEST(a_pull_limit_stops_pulls_until_a_head_shows_more)
{
    struct budget b = see("100;w=21600", "3;w=21600", 0);
    budget_pull_refused(&b, -1, 1000, LONGEST);
    ck_assert_int_eq(b.pull_until, 1000 + BUDGET_BLOCK_FIRST_MS);
    ck_assert_int_eq(b.remaining, 0);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 1001), BUDGET_NO);
    see_again(&b, "3;w=21600", 1500); /* too soon to be believed: it said so before */
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 1501), BUDGET_NO);
    see_again(&b, "0;w=21600", 3000);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 3001), BUDGET_NO);
    see_again(&b, "3;w=21600", 4000);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 4001), BUDGET_GO);
}
END_TEST

START_TEST(pull_limits_in_a_row_last_longer)
{
    struct budget b = see("100;w=21600", "0;w=21600", 0);
    int64_t now = 0, last = 0;
    for (int i = 0; i < 12; i++) {
        budget_pull_refused(&b, -1, now, LONGEST);
        ck_assert_int_ge(b.pull_until - now, last);
        ck_assert_int_le(b.pull_until - now, BUDGET_BLOCK_MAX_MS);
        last = b.pull_until - now;
        now = b.pull_until;
    }
    ck_assert_int_eq(last, BUDGET_BLOCK_MAX_MS);
    budget_pull_answered(&b);
    budget_pull_refused(&b, -1, now, LONGEST);
    ck_assert_int_eq(b.pull_until - now, BUDGET_BLOCK_FIRST_MS);
}
END_TEST

START_TEST(pull_limits_of_one_burst_count_once)
{
    struct budget b = see("100;w=21600", "0;w=21600", 0);
    for (int i = 0; i < 50; i++)
        budget_pull_refused(&b, -1, 1000, LONGEST);
    ck_assert_int_eq(b.pull_until, 1000 + BUDGET_BLOCK_FIRST_MS);
}
END_TEST

START_TEST(the_registrys_word_holds_to_the_end_of_its_window)
{
    struct budget b = see("100;w=7200", "0;w=7200", 0);
    budget_pull_refused(&b, 90 * MINUTE, 0, 0);
    ck_assert_int_eq(b.pull_until, 90 * MINUTE);
    budget_pull_refused(&b, 24 * HOUR, 0, 0);
    ck_assert_int_eq(b.pull_until, 2 * HOUR);
    budget_init(&b);
    budget_pull_refused(&b, 24 * HOUR, 0, 0);
    ck_assert_int_eq(b.pull_until, BUDGET_BLOCK_UNKNOWN_MS);
}
END_TEST

START_TEST(a_limit_without_fields_ends_by_its_time)
{
    struct budget b;
    budget_init(&b);
    budget_pull_refused(&b, -1, 0, LONGEST);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 500), BUDGET_NO);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, BUDGET_BLOCK_FIRST_MS), BUDGET_GO);
}
END_TEST

START_TEST(a_limit_of_bytes_has_a_time_of_its_own)
{
    struct budget b = see("", "", 0);
    budget_data_refused(&b, -1, 0, LONGEST);
    ck_assert_int_eq(b.data_until, BUDGET_DATA_FIRST_MS);
    budget_data_refused(&b, 90 * SECOND, 1, LONGEST);
    ck_assert_int_eq(b.data_until, 1 + 90 * SECOND);
    budget_pull_answered(&b);
    ck_assert_int_eq(b.data_until, 0);
}
END_TEST

/* ------------------------------------------------------------------ forecast, restart */

START_TEST(the_forecast_goes_by_the_last_hour)
{
    struct budget b = see("100;w=21600", "100;w=21600", 0);
    ck_assert_int_eq(budget_empty_in_ms(&b, 0), -1);
    for (int i = 1; i <= 30; i++) { /* one a minute, by whomever */
        char text[16];
        (void)snprintf(text, sizeof(text), "%d", 100 - i);
        see_again(&b, text, i * MINUTE);
    }
    int64_t left = budget_empty_in_ms(&b, 30 * MINUTE);
    ck_assert(left > 65 * MINUTE && left <= 70 * MINUTE);
    see_again(&b, "100", 31 * MINUTE); /* filled up: what was spent was spent */
    ck_assert_int_gt(budget_empty_in_ms(&b, 31 * MINUTE), 90 * MINUTE);
    ck_assert_int_eq(budget_empty_in_ms(&b, 3 * HOUR), -1);
}
END_TEST

START_TEST(a_few_pulls_at_first_are_no_rate)
{
    struct budget b = see("100;w=21600", "100;w=21600", HOUR);
    see_again(&b, "99", HOUR + MINUTE);
    see_again(&b, "98", HOUR + 2 * MINUTE);
    ck_assert_int_eq(budget_empty_in_ms(&b, HOUR + 3 * MINUTE), 98 * BUDGET_RATE_MIN_MS / 2);
    ck_assert_int_eq(budget_empty_in_ms(&b, HOUR + 21 * MINUTE), 98 * 20 * MINUTE / 2);
}
END_TEST

START_TEST(what_was_seen_a_window_ago_is_unknown)
{
    struct budget b = see("100;w=600", "100;w=600", 0);
    see_again(&b, "7", MINUTE);
    b.window_ms = 10 * MINUTE;
    ck_assert_int_eq(budget_remaining(&b, 11 * MINUTE), 7);
    ck_assert_int_ge(budget_empty_in_ms(&b, 11 * MINUTE), 0);
    ck_assert_int_eq(budget_remaining(&b, 11 * MINUTE + 1), -1);
    ck_assert_int_eq(budget_empty_in_ms(&b, 11 * MINUTE + 1), -1);
    b.window_ms = -1; /* nobody has said when it would be over */
    ck_assert_int_eq(budget_remaining(&b, 1000 * HOUR), 7);
}
END_TEST

START_TEST(a_budget_survives_a_restart_for_as_long_as_it_means_something)
{
    struct upstream_budget was = {.limit = 100,
                                  .remaining = 7,
                                  .window_ms = HOUR,
                                  .id = "x",
                                  .observed_at = 1000 * HOUR - MINUTE,
                                  .blocked_until = 1000 * HOUR + MINUTE};
    struct budget b;
    budget_init(&b);
    budget_restore(&b, &was, 5000, 1000 * HOUR); /* the machine runs for five seconds only */
    ck_assert(b.known && !b.unlimited);
    ck_assert_int_eq(b.remaining, 7);
    ck_assert_int_eq(b.observed_at, 5000 - MINUTE);
    ck_assert_int_eq(b.pull_until, 5000 + MINUTE);
    ck_assert_str_eq(b.id, "x");
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 5000), BUDGET_NO);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 5000 + 4 * MINUTE), BUDGET_GO);

    was = (struct upstream_budget){.limit = -1, .remaining = -1, .window_ms = -1, .observed_at = 999 * HOUR};
    budget_init(&b);
    budget_restore(&b, &was, 5000, 1000 * HOUR);
    ck_assert(b.known && b.unlimited);

    was = (struct upstream_budget){.limit = 100, .remaining = -1, .window_ms = HOUR, .observed_at = 998 * HOUR};
    budget_init(&b);
    budget_restore(&b, &was, 5000, 1000 * HOUR); /* what was left of it was unknown by then */
    ck_assert(!b.known && !b.unlimited);
    ck_assert_int_eq(b.limit, 100);
    ck_assert_int_eq(ask(&b, UPSTREAM_LIVE, 5000), BUDGET_GO);
    ck_assert_int_eq(ask(&b, UPSTREAM_SEEDING, 5000), BUDGET_PROBE);

    static const int64_t implausible[] = {0, -5, 1001 * HOUR, 1000 * HOUR - BUDGET_WINDOW_MAX_MS - 1};
    for (size_t i = 0; i < ARRAY_SIZE(implausible); i++) {
        was = (struct upstream_budget){
            .limit = 100, .remaining = 7, .window_ms = HOUR, .observed_at = implausible[i], .blocked_until = INT64_MAX};
        budget_init(&b);
        budget_restore(&b, &was, 5000, 1000 * HOUR);
        ck_assert(!b.known);
        ck_assert_int_le(b.pull_until, 5000 + BUDGET_BLOCK_MAX_MS);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("budget");
    TCase *t = tcase_create("budget");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, each_form_of_the_fields_is_understood, 0, ARRAY_SIZE(fields));
    tcase_add_test(t, what_is_unknown_is_looked_at_first_but_for_who_waits);
    tcase_add_test(t, without_fields_there_is_no_limit);
    tcase_add_test(t, each_class_leaves_a_reserve_to_those_above);
    tcase_add_test(t, what_is_under_way_is_spent);
    tcase_add_test(t, what_was_seen_long_ago_is_looked_at_again);
    tcase_add_test(t, one_image_without_limits_makes_no_account_unlimited);
    tcase_add_test(t, a_limit_that_appears_without_what_is_left_of_it_refuses_nobody);
    tcase_add_test(t, whose_budget_it_is_is_kept);
    tcase_add_test(t, a_pull_limit_stops_pulls_until_a_head_shows_more);
    tcase_add_test(t, pull_limits_in_a_row_last_longer);
    tcase_add_test(t, pull_limits_of_one_burst_count_once);
    tcase_add_test(t, the_registrys_word_holds_to_the_end_of_its_window);
    tcase_add_test(t, a_limit_without_fields_ends_by_its_time);
    tcase_add_test(t, a_limit_of_bytes_has_a_time_of_its_own);
    tcase_add_test(t, the_forecast_goes_by_the_last_hour);
    tcase_add_test(t, a_few_pulls_at_first_are_no_rate);
    tcase_add_test(t, what_was_seen_a_window_ago_is_unknown);
    tcase_add_test(t, a_budget_survives_a_restart_for_as_long_as_it_means_something);
    return suite_run(s);
}
