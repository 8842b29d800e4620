#include "mirror/eldest.h"

#include "scratch.h"

#define OFFERS (4 * ELDEST_MAX + 3)

static struct digest number(unsigned n)
{
    return (struct digest){.algorithm = DIGEST_SHA256, .raw = {(uint8_t)(n >> 8), (uint8_t)n}};
}

/* Every number once, in an order that is neither. */
static unsigned shuffled(unsigned i)
{
    return (unsigned)((uint64_t)i * 1031 % OFFERS);
}

START_TEST(of_many_the_eldest_are_left_in_order)
{
    AUTO_FREE struct eldest *e = calloc(1, sizeof(*e));
    ck_assert_ptr_nonnull(e);
    for (unsigned i = 0; i < OFFERS; i++) {
        struct digest d = number(shuffled(i));
        eldest_offer(e, &d, 1000 + shuffled(i));
    }
    ck_assert_uint_eq(e->count, ELDEST_MAX);
    ck_assert(!eldest_wants(e, 1000 + ELDEST_MAX));
    ck_assert(eldest_wants(e, 999));
    eldest_sort(e);
    for (unsigned i = 0; i < ELDEST_MAX; i++) {
        struct digest d = number(i);
        ck_assert_int_eq(e->heap[i].used_at, 1000 + i);
        ck_assert(digest_equal(&e->heap[i].digest, &d));
    }
}
END_TEST

START_TEST(few_are_all_taken_and_those_of_one_age_too)
{
    AUTO_FREE struct eldest *e = calloc(1, sizeof(*e));
    ck_assert_ptr_nonnull(e);
    for (unsigned i = 0; i < 5; i++) {
        struct digest d = number(i);
        ck_assert(eldest_wants(e, INT64_MAX));
        eldest_offer(e, &d, 7);
    }
    ck_assert_uint_eq(e->count, 5);
    eldest_clear(e);
    eldest_sort(e);
    ck_assert_uint_eq(e->count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("eldest");
    TCase *tests = tcase_create("eldest");
    tcase_add_test(tests, of_many_the_eldest_are_left_in_order);
    tcase_add_test(tests, few_are_all_taken_and_those_of_one_age_too);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
