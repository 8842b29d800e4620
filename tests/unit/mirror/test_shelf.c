#include "mirror/shelf.h"

#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SHELF_BYTES (64u << 10)
#define DOCUMENT_BYTES (4u << 10)
/* So many find room, with their heads. */
#define FIT ((unsigned)(SHELF_BYTES / (sizeof(struct document) + DOCUMENT_BYTES)))

static struct shelf *shelf;

static void setup(void)
{
    ck_ok(shelf_create(SHELF_BYTES, &shelf));
}

static void cleanup(void)
{
    shelf_destroy(shelf);
}

static struct digest digest_number(unsigned n)
{
    struct digest d;
    ck_ok(digest_of(DIGEST_SHA256, &n, sizeof(n), &d));
    return d;
}

static struct document *document_number(unsigned n, size_t len)
{
    struct digest digest = digest_number(n);
    AUTO_FREE char *data = calloc(1, len + 1);
    struct document *d;
    memset(data, 'a' + (int)(n % 26), len);
    ck_ok(document_create(&digest, MEDIA_TYPE_JSON, data, len, &d));
    return d;
}

static void put(unsigned n, size_t len)
{
    AUTO(auto_document_unref) struct document *d = document_number(n, len);
    shelf_put(shelf, d);
}

static bool has(unsigned n)
{
    struct digest digest = digest_number(n);
    AUTO(auto_document_unref) struct document *d = shelf_get(shelf, &digest);
    return d != NULL;
}

START_TEST(a_document_has_its_bytes_and_a_nul_behind_them)
{
    AUTO(auto_document_unref) struct document *d = document_number(1, 10);
    ck_assert_uint_eq(d->len, 10);
    ck_assert_str_eq(d->data, "bbbbbbbbbb");
    ck_assert_str_eq(d->media_type, MEDIA_TYPE_JSON);
    AUTO(auto_document_unref) struct document *empty = document_number(1, 0);
    ck_assert_uint_eq(empty->len, 0);
    ck_assert_str_eq(empty->data, "");
}
END_TEST

START_TEST(a_media_type_that_does_not_fit_is_refused)
{
    struct digest digest = digest_number(1);
    struct document *d = NULL;
    char type[MEDIA_TYPE_MAX + 1];
    memset(type, 'x', sizeof(type));
    type[MEDIA_TYPE_MAX] = '\0';
    ck_assert_int_eq(document_create(&digest, type, "", 0, &d), -EFBIG);
    type[MEDIA_TYPE_MAX - 1] = '\0';
    ck_ok(document_create(&digest, type, "", 0, &d));
    document_unref(d);
}
END_TEST

START_TEST(what_was_put_is_found)
{
    ck_assert(!has(1));
    put(1, DOCUMENT_BYTES);
    put(2, DOCUMENT_BYTES);
    ck_assert(has(1));
    ck_assert(has(2));
    ck_assert(!has(3));
}
END_TEST

START_TEST(what_is_there_stays_when_it_is_put_again)
{
    AUTO(auto_document_unref) struct document *first = document_number(1, 8), *second = document_number(1, 8);
    shelf_put(shelf, first);
    shelf_put(shelf, second);
    shelf_put(shelf, first);
    AUTO(auto_document_unref) struct document *got = shelf_get(shelf, &first->digest);
    ck_assert_ptr_eq(got, first);
}
END_TEST

START_TEST(the_least_recently_used_leaves_first)
{
    for (unsigned n = 0; n < FIT; n++)
        put(n, DOCUMENT_BYTES);
    ck_assert(has(0)); /* used now: 1 is the oldest */
    put(FIT, DOCUMENT_BYTES);
    put(FIT + 1, DOCUMENT_BYTES);
    ck_assert(has(0));
    ck_assert(!has(1));
    ck_assert(!has(2));
    for (unsigned n = 3; n <= FIT + 1; n++)
        ck_assert_msg(has(n), "%u", n);
}
END_TEST

START_TEST(one_that_is_too_large_is_not_put_and_drives_nobody_away)
{
    put(1, DOCUMENT_BYTES);
    put(2, SHELF_BYTES / 4);
    ck_assert(has(1));
    ck_assert(!has(2));
}
END_TEST

START_TEST(who_holds_a_document_may_read_it_after_it_has_left)
{
    put(1, DOCUMENT_BYTES);
    struct digest digest = digest_number(1);
    AUTO(auto_document_unref) struct document *d = shelf_get(shelf, &digest);
    for (unsigned n = 2; n < 40; n++)
        put(n, DOCUMENT_BYTES);
    ck_assert(!has(1));
    ck_assert_uint_eq(strspn(d->data, "b"), DOCUMENT_BYTES);
}
END_TEST

START_TEST(one_that_has_left_can_be_put_again)
{
    struct document *first = document_number(0, DOCUMENT_BYTES);
    AUTO(auto_document_unref) struct document *second = document_number(1, DOCUMENT_BYTES);
    shelf_put(shelf, first);
    shelf_put(shelf, second);
    for (unsigned n = 2; n < FIT; n++)
        put(n, DOCUMENT_BYTES);
    put(FIT, 3 * DOCUMENT_BYTES); /* the two leave together */
    ck_assert(!has(0) && !has(1));
    shelf_put(shelf, second);
    shelf_put(shelf, first);
    ck_assert(has(0) && has(1));
    shelf_drop(shelf, &first->digest);
    document_unref(first);
    shelf_drop(shelf, &second->digest);
    ck_assert(!has(0) && !has(1));
}
END_TEST

START_TEST(one_that_is_dropped_is_gone)
{
    struct digest digest = digest_number(1);
    put(1, DOCUMENT_BYTES);
    put(2, DOCUMENT_BYTES);
    shelf_drop(shelf, &digest);
    shelf_drop(shelf, &digest);
    ck_assert(!has(1));
    ck_assert(has(2));
}
END_TEST

static void *crowd_member(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned n = (unsigned)rand_r(&seed) % 40;
        struct digest digest = digest_number(n);
        AUTO(auto_document_unref) struct document *d = shelf_get(shelf, &digest);
        if (!d) {
            d = document_number(n, DOCUMENT_BYTES);
            shelf_put(shelf, d);
        }
        ck_assert_int_eq(d->data[DOCUMENT_BYTES - 1], 'a' + (int)(n % 26));
        if (i % 97 == 0)
            shelf_drop(shelf, &digest);
    }
    return NULL;
}

START_TEST(a_crowd_uses_it_at_once)
{
    pthread_t threads[4];
    unsigned seeds[ARRAY_SIZE(threads)];
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
        seeds[i] = i + 1;
        ck_ok(pthread_create(&threads[i], NULL, crowd_member, &seeds[i]));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
        ck_ok(pthread_join(threads[i], NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shelf");
    TCase *tests = tcase_create("shelf");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_document_has_its_bytes_and_a_nul_behind_them);
    tcase_add_test(tests, a_media_type_that_does_not_fit_is_refused);
    tcase_add_test(tests, what_was_put_is_found);
    tcase_add_test(tests, what_is_there_stays_when_it_is_put_again);
    tcase_add_test(tests, the_least_recently_used_leaves_first);
    tcase_add_test(tests, one_that_is_too_large_is_not_put_and_drives_nobody_away);
    tcase_add_test(tests, who_holds_a_document_may_read_it_after_it_has_left);
    tcase_add_test(tests, one_that_has_left_can_be_put_again);
    tcase_add_test(tests, one_that_is_dropped_is_gone);
    tcase_add_test(tests, a_crowd_uses_it_at_once);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
