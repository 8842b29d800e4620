#include "upstream/outcome.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>
#include <errno.h>

static struct failure failure(int error, unsigned source)
{
    return (struct failure){.error = error, .retry_after_ms = -1, .source = source, .first = source == 0};
}

static const struct {
    int errors[4]; /* of sources 0, 1 …; 0 ends them */
    unsigned told;
} cases[] = {
    {{-ENOENT}, 0},
    {{-ENOENT, -EAGAIN}, 0}, /* the first is believed */
    {{-EAGAIN, -ENOENT}, 0}, /* the second does not have everything */
    {{-EACCES, -ENOENT}, 0},
    {{-EACCES, -ECONNREFUSED, -EPROTO}, 1}, /* which may pass */
    {{-ETIMEDOUT, -EACCES, -ENOENT}, 0},
    {{-EPERM, -EACCES}, 1},
    {{-EREMOTEIO, -EAGAIN}, 0},
    {{-EFBIG, -ENOENT, -EACCES, -EHOSTUNREACH}, 3},
};

START_TEST(the_most_telling_failure_is_told)
{
    struct outcome o = {0};
    for (unsigned i = 0; i < 4 && cases[_i].errors[i]; i++) {
        const struct failure f = failure(cases[_i].errors[i], i);
        outcome_add(&o, &f);
    }
    ck_assert_uint_eq(o.told.source, cases[_i].told);
    ck_assert_int_eq(o.told.error, cases[_i].errors[cases[_i].told]);
}
END_TEST

START_TEST(the_first_that_may_be_asked_again_says_when)
{
    struct outcome o = {0};
    struct failure f = failure(-EAGAIN, 0);
    f.retry_after_ms = 60000;
    outcome_add(&o, &f);
    f.source = 1;
    f.retry_after_ms = 90000;
    outcome_add(&o, &f);
    ck_assert_int_eq(o.told.retry_after_ms, 60000);
    f.retry_after_ms = 3000;
    outcome_add(&o, &f);
    ck_assert_int_eq(o.told.retry_after_ms, 3000);
    ck_assert_uint_eq(o.told.source, 0);
    f.retry_after_ms = -1; /* at any time */
    outcome_add(&o, &f);
    ck_assert_int_eq(o.told.retry_after_ms, -1);
    const struct failure absent = failure(-ENOENT, 0);
    outcome_add(&o, &absent);
    ck_assert_int_eq(o.told.error, -ENOENT);
}
END_TEST

START_TEST(a_sibling_is_not_believed_about_anything)
{
    struct outcome o = {0};
    struct failure f = failure(-ENOENT, 1);
    f.sibling = true;
    outcome_add(&o, &f);
    ck_assert_int_eq(o.told.error, -EREMOTEIO);
    const struct failure odd = failure(-EPERM, 2);
    outcome_add(&o, &odd);
    ck_assert_int_eq(o.told.error, -EPERM);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("outcome");
    TCase *t = tcase_create("outcome");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, the_most_telling_failure_is_told, 0, ARRAY_SIZE(cases));
    tcase_add_test(t, the_first_that_may_be_asked_again_says_when);
    tcase_add_test(t, a_sibling_is_not_believed_about_anything);
    return suite_run(s);
}
