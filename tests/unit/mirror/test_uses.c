#include "mirror/uses.h"

#include "scratch.h"

static struct digest digest_number(unsigned n)
{
    struct digest d;
    free(scratch_bytes(n, 8, &d));
    return d;
}

START_TEST(a_blob_is_in_use_until_its_last_reader_has_left)
{
    struct uses *u;
    struct use first = {0}, second = {0};
    const struct digest a = digest_number(1), b = digest_number(2);
    ck_ok(uses_create(&u));
    uses_enter(u, &first, &a);
    uses_enter(u, &second, &a);
    ck_assert(uses_has(u, &a));
    ck_assert(!uses_has(u, &b));
    uses_leave(u, &first);
    uses_leave(u, &first);
    ck_assert(uses_has(u, &a));
    uses_leave(u, &second);
    ck_assert(!uses_has(u, &a));
    uses_destroy(u);
    uses_destroy(NULL);
}
END_TEST

START_TEST(a_removed_blob_takes_room_once_until_its_last_reader_has_left)
{
    struct uses *u;
    struct use readers[3] = {0}, late = {0};
    const struct digest a = digest_number(1), b = digest_number(2);
    ck_ok(uses_create(&u));
    for (unsigned i = 0; i < 3; i++)
        uses_enter(u, &readers[i], &a);
    uses_note_removed(u, &b, 50); /* nobody reads it */
    ck_assert_uint_eq(uses_held(u), 0);
    uses_note_removed(u, &a, 100);
    ck_assert_uint_eq(uses_held(u), 100);
    uses_enter(u, &late, &a); /* it has been fetched again: another file */
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(uses_held(u), 100);
        uses_leave(u, &readers[(i + 1) % 3]);
    }
    ck_assert_uint_eq(uses_held(u), 0);
    uses_note_removed(u, &a, 7);
    ck_assert_uint_eq(uses_held(u), 7);
    uses_leave(u, &late);
    ck_assert_uint_eq(uses_held(u), 0);
    uses_destroy(u);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uses");
    TCase *tests = tcase_create("uses");
    tcase_add_test(tests, a_blob_is_in_use_until_its_last_reader_has_left);
    tcase_add_test(tests, a_removed_blob_takes_room_once_until_its_last_reader_has_left);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
