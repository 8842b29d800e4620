#include "blobstore/touch.h"

#include "helper.h"

#define NOW 1760000000000

/* Number n as a digest, without the cost of one. */
static struct digest number(unsigned n)
{
    struct digest digest = {.algorithm = DIGEST_SHA256};
    uint64_t mixed = (n + 1) * 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < 8; i++)
        digest.raw[i] = (uint8_t)(mixed >> 8 * i);
    for (size_t i = 0; i < 4; i++)
        digest.raw[8 + i] = (uint8_t)(n >> 8 * i);
    return digest;
}

static size_t count_due(struct touches *t)
{
    struct touch some[64];
    size_t cursor = 0, total = 0, count;
    while ((count = touches_collect(t, &cursor, some, ARRAY_SIZE(some))) > 0)
        total += count;
    return total;
}

START_TEST(the_latest_use_is_known_and_collected_until_it_is_written)
{
    AUTO(auto_touches_destroy) struct touches *t = NULL;
    struct digest a = number(1), b = number(2);
    struct touch some[64];
    size_t cursor = 0;
    ck_ok(touches_create(&t));
    ck_assert_int_eq(touches_known(t, &a), 0);
    touches_note(t, &a, NOW);
    touches_note(t, &a, NOW + 5);
    ck_assert_int_eq(touches_known(t, &a), NOW + 5);
    ck_assert_int_eq(touches_known(t, &b), 0);
    ck_assert_uint_eq(touches_collect(t, &cursor, some, ARRAY_SIZE(some)), 1);
    ck_assert(digest_equal(&some[0].digest, &a));
    ck_assert_int_eq(some[0].used_at, NOW + 5);
    touches_written(t, &a, NOW + 5);
    ck_assert_uint_eq(count_due(t), 0);
    touches_note(t, &a, NOW + 5 + TOUCH_COARSE - 1);
    ck_assert_uint_eq(count_due(t), 0);
    touches_note(t, &a, NOW + 5 + TOUCH_COARSE);
    ck_assert_uint_eq(count_due(t), 1);
}
END_TEST

START_TEST(a_clock_that_was_set_back_is_followed)
{
    AUTO(auto_touches_destroy) struct touches *t = NULL;
    struct digest a = number(1);
    ck_ok(touches_create(&t));
    touches_note(t, &a, NOW);
    touches_written(t, &a, NOW);
    touches_note(t, &a, NOW - 10 * TOUCH_COARSE);
    ck_assert_int_eq(touches_known(t, &a), NOW - 10 * TOUCH_COARSE);
    ck_assert_uint_eq(count_due(t), 1);
}
END_TEST

START_TEST(many_blobs_find_room_and_none_is_collected_twice)
{
    enum { MANY = 10000 };
    AUTO(auto_touches_destroy) struct touches *t = NULL;
    ck_ok(touches_create(&t));
    for (unsigned n = 0; n < MANY; n++) {
        struct digest digest = number(n);
        touches_note(t, &digest, NOW + n);
    }
    ck_assert_uint_eq(count_due(t), MANY);
}
END_TEST

START_TEST(a_full_table_forgets_what_is_written_first_and_then_the_newcomers)
{
    enum { TOO_MANY = 300000 };
    AUTO(auto_touches_destroy) struct touches *t = NULL;
    ck_ok(touches_create(&t));
    for (unsigned n = 0; n < TOO_MANY; n++) {
        struct digest digest = number(n);
        touches_note(t, &digest, NOW);
    }
    size_t full = count_due(t);
    ck_assert_uint_lt(full, TOO_MANY);
    struct digest first = number(0), newcomer = number(TOO_MANY);
    ck_assert_int_eq(touches_known(t, &first), NOW); /* what waits to be written is not driven out */
    for (unsigned n = 0; n < TOO_MANY; n++) {
        struct digest digest = number(n);
        touches_written(t, &digest, NOW);
    }
    ck_assert_uint_eq(count_due(t), 0);
    touches_note(t, &newcomer, NOW);
    ck_assert_int_eq(touches_known(t, &newcomer), NOW);
    ck_assert_uint_eq(count_due(t), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("touch");
    TCase *tc = tcase_create("touch");
    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_latest_use_is_known_and_collected_until_it_is_written);
    tcase_add_test(tc, a_clock_that_was_set_back_is_followed);
    tcase_add_test(tc, many_blobs_find_room_and_none_is_collected_twice);
    tcase_add_test(tc, a_full_table_forgets_what_is_written_first_and_then_the_newcomers);
    return helper_run(suite);
}
