#include "server/range.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct ranges found;

static enum range_verdict parse(const char *header, uint64_t size, unsigned max)
{
    enum range_verdict v;
    ranges_finish(&found);
    ck_assert_int_eq(range_parse(header, size, max, &v, &found), 0);
    ck_assert((v == RANGE_PART) == (found.count > 0));
    return v;
}

static void teardown(void)
{
    ranges_finish(&found);
}

struct single {
    const char *header;
    uint64_t first, last;
};

static const struct single singles[] = {
    {"bytes=0-0", 0, 0},
    {"bytes=500-1499", 500, 1499},
    {"bytes=0-", 0, 2047},
    {"bytes=2047-", 2047, 2047},
    {"bytes=-500", 1548, 2047},
    {"bytes=-99999", 0, 2047},
    {"bytes=2000-5000", 2000, 2047},
    {"bytes=0-99999999999999999999999999", 0, 2047},
    {"bytes=-99999999999999999999999999", 0, 2047},
    {"BYTES=1-2", 1, 2},
    {"bytes= 1-2 ", 1, 2},
    {"bytes=,,1-2,\t,", 1, 2},
    {"bytes=5000-,1-2", 1, 2},
};

START_TEST(one_range_is_found_and_clipped)
{
    const struct single *t = &singles[_i];
    ck_assert_msg(parse(t->header, 2048, 8) == RANGE_PART, "%s", t->header);
    ck_assert_uint_eq(found.count, 1);
    ck_assert_uint_eq(found.items[0].first, t->first);
    ck_assert_uint_eq(found.items[0].last, t->last);
}
END_TEST

static const char *const none[] = {"",           "bytes",         "bytes=",      "bytes=,",     "bytes=a-b",  "bytes=5",
                                   "bytes=--5",  "bytes 0-1",     "octets=0-1",  "bytes=1-2;3", "bytes=1-2x", "bytes=-",
                                   "bytes=1 -2", "bytes=1-2 3-4", "bytes=0x1-2", "bytes=1-2,a", "bytes=+1-2"};

START_TEST(what_is_no_range_is_ignored)
{
    ck_assert_msg(parse(none[_i], 2048, 8) == RANGE_WHOLE, "%s", none[_i]);
}
END_TEST

static const char *const outside[] = {"bytes=2048-", "bytes=5000-10000",       "bytes=-0",
                                      "bytes=500-0", "bytes=2048-,9999-10000", "bytes=99999999999999999999999-"};

START_TEST(a_range_that_is_outside_cannot_be_satisfied)
{
    ck_assert_msg(parse(outside[_i], 2048, 8) == RANGE_UNSATISFIABLE, "%s", outside[_i]);
}
END_TEST

START_TEST(an_empty_representation_is_whole)
{
    ck_assert_int_eq(parse("bytes=0-", 0, 8), RANGE_WHOLE);
    ck_assert_int_eq(parse("bytes=-5", 0, 8), RANGE_WHOLE);
}
END_TEST

START_TEST(several_ranges_keep_their_order)
{
    ck_assert_int_eq(parse("bytes=-5, 10-19 ,2053-2057,2045-,10-10", 2048, 8), RANGE_PART);
    ck_assert_uint_eq(found.count, 4);
    const struct range want[] = {{2043, 2047}, {10, 19}, {2045, 2047}, {10, 10}};
    ck_assert_mem_eq(found.items, want, sizeof(want));
}
END_TEST

START_TEST(more_than_the_limit_is_too_many)
{
    ck_assert_int_eq(parse("bytes=0-0,1-1,2-2", 2048, 3), RANGE_PART);
    ck_assert_uint_eq(found.count, 3);
    ck_assert_int_eq(parse("bytes=0-0,1-1,2-2,3-3", 2048, 3), RANGE_TOO_MANY);
    ck_assert_int_eq(parse("bytes=0-0,9999-,2-2,3-3", 2048, 3), RANGE_TOO_MANY);
    ck_assert_int_eq(parse("bytes=0-0,1-1", 2048, 1), RANGE_TOO_MANY);
}
END_TEST

START_TEST(a_thousand_ranges_are_found)
{
    char header[16384] = "bytes=";
    size_t at = strlen(header);
    for (unsigned i = 0; i < 1024; i++)
        at += (size_t)snprintf(header + at, sizeof(header) - at, "%u-%u,", 10 * i, 10 * i + 4);
    ck_assert_int_eq(parse(header, 20480, 1024), RANGE_PART);
    ck_assert_uint_eq(found.count, 1024);
    ck_assert_uint_eq(found.items[1023].last, 10234);
}
END_TEST

START_TEST(overlaps_that_ask_for_much_more_than_there_is_get_the_whole)
{
    ck_assert_int_eq(parse("bytes=0-,0-", 1000, 8), RANGE_PART);
    ck_assert_int_eq(parse("bytes=0-,0-,0-", 1000, 8), RANGE_WHOLE);
    ck_assert_int_eq(parse("bytes=0-,0-,0-", 1ULL << 62, 8), RANGE_WHOLE);
}
END_TEST

#define LOOP(t, list) tcase_add_loop_test(c, t, 0, (int)(sizeof(list) / sizeof((list)[0])))

int main(void)
{
    Suite *s = suite_create("range");
    TCase *c = tcase_create("range");
    suite_add_tcase(s, c);
    tcase_add_checked_fixture(c, NULL, teardown);
    LOOP(one_range_is_found_and_clipped, singles);
    LOOP(what_is_no_range_is_ignored, none);
    LOOP(a_range_that_is_outside_cannot_be_satisfied, outside);
    tcase_add_test(c, an_empty_representation_is_whole);
    tcase_add_test(c, several_ranges_keep_their_order);
    tcase_add_test(c, more_than_the_limit_is_too_many);
    tcase_add_test(c, a_thousand_ranges_are_found);
    tcase_add_test(c, overlaps_that_ask_for_much_more_than_there_is_get_the_whole);
    return suite_run(s);
}
