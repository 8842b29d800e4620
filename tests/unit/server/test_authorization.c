#include "server/authorization.h"

#include "suite.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *value;
    enum authorization_kind kind;
    const char *first, *second; /* user and password, or the token */
} cases[] = {
    {NULL, AUTHORIZATION_NONE, NULL, NULL},
    {"", AUTHORIZATION_NONE, NULL, NULL},
    {"Basic am86cGFzcw==", AUTHORIZATION_BASIC, "jo", "pass"},
    {"basic   am86cGFzcw", AUTHORIZATION_BASIC, "jo", "pass"},
    {"Basic am86cGFzcw== ", AUTHORIZATION_BASIC, "jo", "pass"},
    {"Basic am86YTpi", AUTHORIZATION_BASIC, "jo", "a:b"},
    {"Basic am86", AUTHORIZATION_BASIC, "jo", ""},
    {"Basic OnB3", AUTHORIZATION_BASIC, "", "pw"},
    {"Basic Og==", AUTHORIZATION_NONE, NULL, NULL}, /* podman has no account and says it so */
    {"Basic am8=", AUTHORIZATION_OTHER, NULL, NULL},
    {"Basic", AUTHORIZATION_OTHER, NULL, NULL},
    {"Basic !!", AUTHORIZATION_OTHER, NULL, NULL},
    {"Basic am8AOnB3", AUTHORIZATION_OTHER, NULL, NULL}, /* a NUL in it */
    {"Basic am8KOnB3", AUTHORIZATION_OTHER, NULL, NULL}, /* a line break */
    {"Bearer abc.def", AUTHORIZATION_BEARER, "abc.def", NULL},
    {"BEARER abc ", AUTHORIZATION_BEARER, "abc", NULL},
    {"Bearer ", AUTHORIZATION_OTHER, NULL, NULL},
    {"Bearer a b", AUTHORIZATION_OTHER, NULL, NULL},
    {"Digest x", AUTHORIZATION_OTHER, NULL, NULL},
    {"Basicam86cGFzcw==", AUTHORIZATION_OTHER, NULL, NULL},
};

START_TEST(the_field_is_taken_apart)
{
    struct authorization a;
    ck_assert_int_eq(authorization_parse(cases[_i].value, &a), 0);
    ck_assert_int_eq(a.kind, cases[_i].kind);
    if (a.kind == AUTHORIZATION_BASIC) {
        ck_assert_str_eq(a.user, cases[_i].first);
        ck_assert_str_eq(a.password, cases[_i].second);
    } else if (a.kind == AUTHORIZATION_BEARER) {
        ck_assert_str_eq(a.token, cases[_i].first);
    }
    authorization_finish(&a);
    authorization_finish(&a);
}
END_TEST

START_TEST(what_is_too_long_is_nobody_s)
{
    char value[AUTHORIZATION_MAX + 16] = "Bearer ";
    struct authorization a;
    memset(value + 7, 'a', AUTHORIZATION_MAX);
    ck_assert_int_eq(authorization_parse(value, &a), 0);
    ck_assert_int_eq(a.kind, AUTHORIZATION_OTHER);
    authorization_finish(&a);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("authorization");
    tcase_add_loop_test(t, the_field_is_taken_apart, 0, ARRAY_SIZE(cases));
    tcase_add_test(t, what_is_too_long_is_nobody_s);
    Suite *s = suite_create("authorization");
    suite_add_tcase(s, t);
    return suite_run(s);
}
