/* The clock is the test's own: this file defines the functions of base/clock.h. */
#include "mirror/tally.h"

#include "scratch.h"

#include "base/clock.h"

static int64_t now = 5000000;

int64_t clock_monotonic_ms(void)
{
    return now;
}

int64_t clock_real_ms(void)
{
    return 1750000000000 + now;
}

static struct tally tally;

static void expect(enum mirror_outcome outcome, uint64_t all, uint64_t last_hour)
{
    uint64_t a[TALLY_OUTCOMES], h[TALLY_OUTCOMES];
    tally_read(&tally, a, h);
    ck_assert_uint_eq(a[outcome], all);
    ck_assert_uint_eq(h[outcome], last_hour);
}

START_TEST(outcomes_are_counted_each_for_itself)
{
    tally_init(&tally);
    tally_note(&tally, MIRROR_HIT);
    tally_note(&tally, MIRROR_HIT);
    tally_note(&tally, MIRROR_ERROR);
    expect(MIRROR_HIT, 2, 2);
    expect(MIRROR_ERROR, 1, 1);
    expect(MIRROR_MISS, 0, 0);
    tally_finish(&tally);
}
END_TEST

START_TEST(after_an_hour_they_count_for_the_whole_alone)
{
    tally_init(&tally);
    tally_note(&tally, MIRROR_MISS);
    now += 30 * CLOCK_MINUTE;
    tally_note(&tally, MIRROR_MISS);
    now += 29 * CLOCK_MINUTE;
    expect(MIRROR_MISS, 2, 2);
    now += CLOCK_MINUTE;
    expect(MIRROR_MISS, 2, 1);
    now += 300 * CLOCK_MINUTE;
    expect(MIRROR_MISS, 2, 0);
    tally_note(&tally, MIRROR_MISS);
    expect(MIRROR_MISS, 3, 1);
    tally_finish(&tally);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("tally");
    tcase_add_test(t, outcomes_are_counted_each_for_itself);
    tcase_add_test(t, after_an_hour_they_count_for_the_whole_alone);
    Suite *s = suite_create("tally");
    suite_add_tcase(s, t);
    return suite_run(s);
}
