#include "server/verdicts.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct verdicts *m;

static void setup(void)
{
    ck_assert_int_eq(verdicts_create(&m), 0);
}

static void teardown(void)
{
    verdicts_destroy(m);
}

static struct verdicts_key key_of(const char *a, const char *b)
{
    struct verdicts_key key;
    verdicts_key(m, (const char *const[]){a, b}, 2, &key);
    return key;
}

START_TEST(what_is_noted_is_known_until_its_time_is_over)
{
    struct verdicts_key good = key_of("jo", "right"), bad = key_of("jo", "wrong");
    bool value;
    ck_assert(!verdicts_recall(m, &good, 0, &value));
    verdicts_note(m, &good, true, 100);
    verdicts_note(m, &bad, false, 50);
    ck_assert(verdicts_recall(m, &good, 99, &value) && value);
    ck_assert(verdicts_recall(m, &bad, 49, &value) && !value);
    ck_assert(!verdicts_recall(m, &bad, 50, &value));
    ck_assert(!verdicts_recall(m, &good, 100, &value));
    verdicts_note(m, &good, false, 200);
    ck_assert(verdicts_recall(m, &good, 150, &value) && !value);
}
END_TEST

START_TEST(texts_do_not_run_into_each_other)
{
    struct verdicts_key a = key_of("ab", "c"), b = key_of("a", "bc"), c = key_of("ab", "c");
    ck_assert(memcmp(&a, &b, sizeof(a)) != 0);
    ck_assert(memcmp(&a, &c, sizeof(a)) == 0);
}
END_TEST

START_TEST(keys_are_others_in_another_memory)
{
    struct verdicts_key a = key_of("ab", "c"), b;
    AUTO(auto_verdicts_destroy) struct verdicts *other = NULL;
    ck_assert_int_eq(verdicts_create(&other), 0);
    verdicts_key(other, (const char *const[]){"ab", "c"}, 2, &b);
    ck_assert(memcmp(&a, &b, sizeof(a)) != 0);
}
END_TEST

START_TEST(of_too_much_the_oldest_is_forgotten)
{
    char text[32];
    bool value;
    for (unsigned i = 1; i <= 20000; i++) {
        (void)snprintf(text, sizeof(text), "%u", i);
        struct verdicts_key key = key_of(text, "");
        verdicts_note(m, &key, true, 1000 + i);
        ck_assert(verdicts_recall(m, &key, 500, &value) && value);
    }
    struct verdicts_key first = key_of("1", "");
    ck_assert(!verdicts_recall(m, &first, 500, &value));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("verdicts");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_is_noted_is_known_until_its_time_is_over);
    tcase_add_test(t, texts_do_not_run_into_each_other);
    tcase_add_test(t, keys_are_others_in_another_memory);
    tcase_add_test(t, of_too_much_the_oldest_is_forgotten);
    Suite *s = suite_create("verdicts");
    suite_add_tcase(s, t);
    return suite_run(s);
}
