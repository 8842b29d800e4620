#include "upstream/credentials.h"

#include "suite.h"

#include "base/limits.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* jo:s3cret:word */
#define JO "am86czNjcmV0OndvcmQ="
#define NAMES(...)                                                                                                     \
    &(struct credentials_names)                                                                                        \
    {                                                                                                                  \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)                \
    }

static struct buf why = {.max = 4096};

static char *read_as(const char *text, const struct credentials_names *names)
{
    char *basic = NULL;
    ck_assert_msg(credentials_parse(text, strlen(text), names, &basic, &why) == 0, "%s: %s", text, why.data);
    return basic;
}

static int fails(const char *text, const struct credentials_names *names)
{
    char *basic = NULL;
    buf_reset(&why);
    int r = credentials_parse(text, strlen(text), names, &basic, &why);
    ck_assert_ptr_null(basic);
    ck_assert_uint_gt(why.len, 0);
    return r;
}

START_TEST(an_account_is_found_by_any_spelling_of_its_registry)
{
    static const char *const keys[] = {
        "https://index.docker.io/v1/", "index.docker.io",  "http://index.docker.io",
        "index.docker.io/v1/",         "Index.Docker.IO/", "https://index.docker.io/v2/"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "{\"auths\":{\"%s\":{\"auth\":\"" JO "\"}}}", keys[i]);
        char *basic = read_as(text, NAMES("docker.io", "index.docker.io"));
        ck_assert_str_eq(basic, "Basic " JO);
        credentials_free(basic);
    }
}
END_TEST

START_TEST(the_best_name_wins_wherever_it_stands)
{
    char *basic =
        read_as("{\"auths\":{\"b\":{\"auth\":\"Yjpi\"},\"a:5000\":{\"auth\":\"YTph\"}}}", NAMES("a:5000", "b"));
    ck_assert_str_eq(basic, "Basic YTph");
    credentials_free(basic);
}
END_TEST

START_TEST(user_and_password_may_be_apart)
{
    char *basic = read_as("{\"auths\":{\"a\":{\"username\":\"jo\",\"password\":\"s3cret:word\"}}}", NAMES("a"));
    ck_assert_str_eq(basic, "Basic " JO);
    credentials_free(basic);
    basic = read_as("{\"auths\":{\"a\":{\"auth\":\"\",\"username\":\"u\",\"password\":\"\"}}}", NAMES("a"));
    ck_assert_str_eq(basic, "Basic dTo=");
    credentials_free(basic);
}
END_TEST

START_TEST(base64_may_lack_its_padding)
{
    char *basic = read_as("{\"auths\":{\"a\":{\"auth\":\"am86czNjcmV0OndvcmQ\"}}}", NAMES("a"));
    ck_assert_str_eq(basic, "Basic " JO);
    credentials_free(basic);
}
END_TEST

START_TEST(a_registry_that_is_not_named_has_no_account)
{
    ck_assert_int_eq(fails("{}", NAMES("a")), -ESRCH);
    ck_assert_int_eq(fails("{\"auths\":{}}", NAMES("a")), -ESRCH);
    ck_assert_int_eq(fails("{\"auths\":{\"a.example\":{\"auth\":\"YTph\"}}}", NAMES("a", "example")), -ESRCH);
    ck_assert_int_eq(fails("{\"auths\":{\"a/org\":{\"auth\":\"YTph\"}}}", NAMES("a")), -ESRCH);
    ck_assert_int_eq(fails("{\"auths\":{\"a:5000\":{\"auth\":\"YTph\"}}}", NAMES("a")), -ESRCH);
    ck_assert_int_eq(fails("{\"auths\":[1]}", NAMES("a")), -ESRCH);
    ck_assert_int_eq(fails("{\"credsStore\":\"pass\"}", NAMES("a")), -ESRCH);
    ck_assert_ptr_nonnull(strstr(why.data, "credential helpers"));
}
END_TEST

START_TEST(what_cannot_be_understood_is_said_and_not_quoted)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"auths\":{\"a\":{\"auth\":\"s3cret\"}",
        "{\"auths\":{\"a\":{\"auth\":\"s3cret!\"}}}",
        "{\"auths\":{\"a\":{\"auth\":\"c2VjcmV0\"}}}",             /* without a colon */
        "{\"auths\":{\"a\":{\"auth\":\"OnMzY3JldA==\"}}}",         /* without a user */
        "{\"auths\":{\"a\":{\"auth\":\"am86czNjcmV0DQpYOiB5\"}}}", /* with a line break */
        "{\"auths\":{\"a\":{\"auth\":17}}}",
        "{\"auths\":{\"a\":\"s3cret\"}}",
        "{\"auths\":{\"a\":{\"username\":\"jo\"}}}",
        "{\"auths\":{\"a\":{\"username\":\"j:o\",\"password\":\"s3cret\"}}}",
        "{\"auths\":{\"a\":{\"identitytoken\":\"s3cret\"}}}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(fails(texts[i], NAMES("a")) == -EINVAL, "%s", texts[i]);
        ck_assert_ptr_null(strstr(why.data, "s3cret"));
    }
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_said)
{
    char *basic = NULL;
    buf_reset(&why);
    ck_assert_int_eq(credentials_read("/nonexistent/config.json", NAMES("a"), &basic, &why), -ENOENT);
    ck_assert_str_eq(why.data, "No such file or directory");
    ck_assert_int_eq(credentials_read("/", NAMES("a"), &basic, &why), -EISDIR);

    char name[] = "/tmp/test_credentials.XXXXXX";
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(dprintf(fd, "{\"auths\":{\"a\":{\"auth\":\"" JO "\"}}}"), 47);
    ck_assert_int_eq(credentials_read(name, NAMES("a"), &basic, &why), 0);
    ck_assert_str_eq(basic, "Basic " JO);
    credentials_free(basic);
    basic = NULL;
    ck_assert_int_eq(ftruncate(fd, LIMIT_CREDENTIALS_FILE + 1), 0);
    ck_assert_int_eq(credentials_read(name, NAMES("a"), &basic, &why), -EFBIG);
    ck_assert_int_eq(unlink(name), 0);
    (void)close(fd);
}
END_TEST

START_TEST(the_user_is_told_and_nothing_else)
{
    static const struct {
        const char *basic, *user;
    } cases[] = {
        {"Basic am86czNjcmV0", "jo"}, {"Basic am8=", "jo"}, {"Basic ***", ""}, {"Bearer am86czNjcmV0", ""}, {"", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *user = NULL;
        ck_assert_int_eq(credentials_user(cases[i].basic, &user), 0);
        ck_assert_str_eq(user, cases[i].user);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("credentials");
    TCase *t = tcase_create("credentials");
    suite_add_tcase(s, t);
    tcase_add_test(t, the_user_is_told_and_nothing_else);
    tcase_add_test(t, an_account_is_found_by_any_spelling_of_its_registry);
    tcase_add_test(t, the_best_name_wins_wherever_it_stands);
    tcase_add_test(t, user_and_password_may_be_apart);
    tcase_add_test(t, base64_may_lack_its_padding);
    tcase_add_test(t, a_registry_that_is_not_named_has_no_account);
    tcase_add_test(t, what_cannot_be_understood_is_said_and_not_quoted);
    tcase_add_test(t, a_file_that_cannot_be_read_is_said);
    return suite_run(s);
}
