#include "upstream/challenge.h"

#include "suite.h"

#include <check.h>
#include <string.h>

static struct challenge parse(const char *text)
{
    struct challenge c;
    ck_assert_int_eq(challenge_parse(text, strlen(text), &c), 0);
    return c;
}

static void expect_bearer(const char *text, const char *realm, const char *service, const char *scope)
{
    struct challenge c = parse(text);
    ck_assert_int_eq(c.scheme, CHALLENGE_BEARER);
    ck_assert_str_eq(c.realm, realm);
    ck_assert_pstr_eq(c.service, service);
    ck_assert_pstr_eq(c.scope, scope);
    challenge_finish(&c);
}

#define REALM "https://auth.example/token"
#define SCOPE "repository:library/a:pull"

START_TEST(the_forms_of_the_registries_are_understood)
{
    expect_bearer("Bearer realm=\"" REALM "\",service=\"registry.docker.io\",scope=\"" SCOPE "\"", REALM,
                  "registry.docker.io", SCOPE);
    expect_bearer("Bearer realm=" REALM ",service=s,scope=" SCOPE, REALM, "s", SCOPE);
    expect_bearer("bearer  Realm = \"" REALM "\" ,  SERVICE=\"s\" , scope=\"" SCOPE "\"", REALM, "s", SCOPE);
    expect_bearer("Bearer realm=\"" REALM "\",scope=\"" SCOPE "\"", REALM, NULL, SCOPE);
    expect_bearer("Bearer realm=\"" REALM "\",service=\"s\"", REALM, "s", NULL);
    expect_bearer("Bearer realm=\"" REALM "\",scope=\"\"", REALM, NULL, "");
    expect_bearer("Bearer realm=\"" REALM "/\",service=\"public.ecr.aws\",scope=\"aws\"", REALM "/", "public.ecr.aws",
                  "aws");
    expect_bearer("Bearer realm=\"" REALM "?a=1,b=2&c=3\",service=\"s\",scope=\"" SCOPE "\"", REALM "?a=1,b=2&c=3", "s",
                  SCOPE);
    expect_bearer("Bearer realm=\"" REALM "\",service=\"regi\\\"stry\",scope=\"" SCOPE "\"", REALM, "regi\"stry",
                  SCOPE);
    expect_bearer("BEARER\trealm=\"" REALM "\"", REALM, NULL, NULL);
}
END_TEST

START_TEST(of_several_challenges_the_bearer_is_taken)
{
    const char *bearer = "Bearer realm=\"" REALM "\",service=\"s\"";
    char text[512];
    (void)snprintf(text, sizeof(text), "Negotiate\nDigest realm=\"x, y\", nonce=\"Bearer realm=z\"\n%s", bearer);
    expect_bearer(text, REALM, "s", NULL);
    (void)snprintf(text, sizeof(text), "Negotiate, %s", bearer);
    expect_bearer(text, REALM, "s", NULL);
    (void)snprintf(text, sizeof(text), "Negotiate YIIabc==, %s", bearer);
    expect_bearer(text, REALM, "s", NULL);
    (void)snprintf(text, sizeof(text), "Basic realm=\"b\", %s", bearer);
    expect_bearer(text, REALM, "s", NULL);
    (void)snprintf(text, sizeof(text), "%s, Basic realm=\"b\"", bearer);
    expect_bearer(text, REALM, "s", NULL);
    expect_bearer("Bearer realm=\"" REALM "\"\nBearer realm=\"https://second/\"", REALM, NULL, NULL);
}
END_TEST

START_TEST(a_basic_challenge_is_taken_where_there_is_no_other)
{
    struct challenge c = parse("Digest realm=\"x\"\nbasic realm=\"Amazon ECR\"");
    ck_assert_int_eq(c.scheme, CHALLENGE_BASIC);
    ck_assert_str_eq(c.realm, "Amazon ECR");
    challenge_finish(&c);
    c = parse("Basic");
    ck_assert_int_eq(c.scheme, CHALLENGE_BASIC);
    challenge_finish(&c);
}
END_TEST

START_TEST(what_is_no_challenge_is_none)
{
    static const char *const texts[] = {
        "",
        ",",
        "Negotiate",
        "Bearer",
        "Bearer scope=\"x\"",
        "Bearer realm=\"\"",
        "Bearer realm=\"never ends",
        "Digest realm=\"Bearer realm=x\"",
        "Bearer realm=\"ends in a backslash\\",
        "=",
        "==,,==",
        "realm=x",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct challenge c = parse(texts[i]);
        ck_assert_msg(c.scheme == CHALLENGE_NONE, "%s", texts[i]);
        ck_assert_ptr_null(c.realm);
        challenge_finish(&c);
    }
}
END_TEST

START_TEST(half_a_challenge_does_not_spoil_those_in_other_lines)
{
    expect_bearer("Bearer realm=\"half\nBearer realm=\"" REALM "\"", REALM, NULL, NULL);
    expect_bearer("Bearer realm=\"" REALM "\"\nBearer realm=\"half", REALM, NULL, NULL);
}
END_TEST

START_TEST(the_error_is_kept)
{
    struct challenge c = parse("Bearer realm=\"r\",error=\"insufficient_scope\",scope=\"a b\"");
    ck_assert_str_eq(c.error, "insufficient_scope");
    ck_assert_str_eq(c.scope, "a b");
    struct challenge copy;
    ck_assert_int_eq(challenge_copy(&c, &copy), 0);
    challenge_finish(&c);
    ck_assert_str_eq(copy.error, "insufficient_scope");
    ck_assert_ptr_null(copy.service);
    challenge_finish(&copy);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("challenge");
    TCase *t = tcase_create("challenge");
    suite_add_tcase(s, t);
    tcase_add_test(t, the_forms_of_the_registries_are_understood);
    tcase_add_test(t, of_several_challenges_the_bearer_is_taken);
    tcase_add_test(t, a_basic_challenge_is_taken_where_there_is_no_other);
    tcase_add_test(t, what_is_no_challenge_is_none);
    tcase_add_test(t, half_a_challenge_does_not_spoil_those_in_other_lines);
    tcase_add_test(t, the_error_is_kept);
    return suite_run(s);
}
