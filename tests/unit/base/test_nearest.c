#include "base/auto.h"
#include "base/nearest.h"

#include "suite.h"

#include <check.h>

static const char *nearest_of(const char *word)
{
    static const char *const names[] = {"listen", "threads", "max_connections", "max_ranges", "url", "docker.io"};
    struct nearest n;
    nearest_begin(&n, word);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        nearest_offer(&n, names[i]);
    return n.name ? n.name : "";
}

static const struct {
    const char *word, *name;
} cases[] = {
    {"listn", "listen"},    /* left out */
    {"listenn", "listen"},  /* too many */
    {"lisnet", "listen"},   /* swapped */
    {"Threads", "threads"}, /* another */
    {"maxconnections", "max_connections"},
    {"max_range", "max_ranges"},
    {"uri", "url"},
    {"dokcer.io", "docker.io"},
    {"x", ""},
    {"", ""},
    {"certificate", ""},
    {"threadsthreadsthreadsthreadsthreadsthreadsthreadsthreadsthreadsthreads", ""}, /* longer than is compared */
};

START_TEST(the_nearest_name_is_offered_and_nothing_that_is_far)
{
    ck_assert_str_eq(nearest_of(cases[_i].word), cases[_i].name);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("nearest");
    tcase_add_loop_test(t, the_nearest_name_is_offered_and_nothing_that_is_far, 0, ARRAY_SIZE(cases));
    Suite *s = suite_create("nearest");
    suite_add_tcase(s, t);
    return suite_run(s);
}
