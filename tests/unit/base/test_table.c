/* What the project counts on in uthash: the order of age, and that a failed allocation is no end. */
#include <stdbool.h>
#include <stdlib.h>

static void *scarce_malloc(size_t size);
#define uthash_malloc(size) scarce_malloc(size)
#include "base/table.h"

#include "suite.h"

#include <check.h>

#define MANY 5000 /* so many that buckets are added several times */

static unsigned left; /* allocations that succeed */

static void *scarce_malloc(size_t size)
{
    return left > 0 && left-- ? malloc(size) : NULL;
}

struct element {
    UT_hash_handle hh;
    unsigned number;
};

static struct element elements[MANY], *table;

static bool add(unsigned number)
{
    elements[number].number = number;
    HASH_ADD(hh, table, number, sizeof(number), &elements[number]);
    return TABLE_HAS(&elements[number]);
}

static bool has(unsigned number)
{
    struct element *e;
    HASH_FIND(hh, table, &number, sizeof(number), e);
    return e == &elements[number];
}

static void expect_order(const unsigned *numbers, size_t count)
{
    const struct element *e = table;
    for (size_t i = 0; i < count; i++, e = e->hh.next) {
        ck_assert_ptr_nonnull(e);
        ck_assert_uint_eq(e->number, numbers[i]);
    }
    ck_assert_ptr_null(e);
    ck_assert_uint_eq(HASH_COUNT(table), count);
}

static void remove_all(void)
{
    HASH_CLEAR(hh, table);
    ck_assert_ptr_null(table);
}

START_TEST(the_first_is_the_oldest_and_who_is_added_again_the_newest)
{
    left = 100;
    for (unsigned i = 1; i <= 3; i++)
        ck_assert(add(i));
    expect_order((const unsigned[]){1, 2, 3}, 3);
    HASH_DEL(table, &elements[1]);
    ck_assert(!has(1));
    ck_assert(add(1));
    expect_order((const unsigned[]){2, 3, 1}, 3);
    struct element *oldest = table;
    HASH_DEL(table, oldest);
    expect_order((const unsigned[]){3, 1}, 2);
    remove_all();
}
END_TEST

START_TEST(without_memory_there_is_no_table_and_later_there_is)
{
    unsigned needed = 0;
    for (left = 0; !add(7); left = ++needed) {
        ck_assert_ptr_null(table);
        ck_assert(!has(7));
    }
    ck_assert_uint_eq(needed, 2); /* itself, and its first buckets */
    expect_order((const unsigned[]){7}, 1);
    remove_all();
}
END_TEST

START_TEST(what_is_there_stays_when_there_is_no_memory_to_grow)
{
    bool added[MANY];
    unsigned refused = 0;
    left = 2; /* of the table itself */
    for (unsigned i = 0; i < MANY; i++) {
        if (i == MANY / 2)
            left = 100;
        added[i] = add(i);
        refused += !added[i];
        ck_assert(added[i] || i < MANY / 2);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_eq(HASH_COUNT(table), MANY - refused);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(has(i), added[i]);
    remove_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("table");
    TCase *tests = tcase_create("table");
    tcase_add_test(tests, the_first_is_the_oldest_and_who_is_added_again_the_newest);
    tcase_add_test(tests, without_memory_there_is_no_table_and_later_there_is);
    tcase_add_test(tests, what_is_there_stays_when_there_is_no_memory_to_grow);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
