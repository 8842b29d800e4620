#include "upstream/token.h"

#include "suite.h"

#include "base/limits.h"

#include <check.h>
#include <errno.h>
#include <string.h>

/* 2024-09-04T08:01:41Z */
#define NOW 1725436901000LL

static int64_t life(const char *text)
{
    struct token_reply r;
    ck_assert_msg(token_reply_parse(text, strlen(text), NOW, &r) == 0, "%s", text);
    ck_assert_str_eq(r.token, "t");
    free(r.token);
    return r.life_ms;
}

START_TEST(either_name_of_the_token_is_understood)
{
    ck_assert_int_eq(life("{\"token\":\"t\",\"access_token\":\"t\",\"expires_in\":300}"), 300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"access_token\":\"u\",\"expires_in\":300}"), 300000);
    ck_assert_int_eq(life("{\"access_token\":\"t\",\"expires_in\":300}"), 300000);
    ck_assert_int_eq(life("{\"token\":\"\",\"access_token\":\"t\",\"expires_in\":300}"), 300000);
    ck_assert_int_eq(life("{\"token\":null,\"access_token\":\"t\",\"expires_in\":300.5}"), 300500);
}
END_TEST

START_TEST(a_life_that_is_missing_or_too_short_is_a_minute)
{
    ck_assert_int_eq(life("{\"token\":\"t\"}"), 60000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":0}"), 60000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":5}"), 60000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":-1}"), 60000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":\"300\"}"), 60000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":null}"), 60000);
}
END_TEST

START_TEST(a_life_without_end_has_one)
{
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":9223372036854775807}"), TOKEN_LIFE_MAX_MS);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":1e300}"), TOKEN_LIFE_MAX_MS);
}
END_TEST

START_TEST(a_token_issued_before_has_lived_already)
{
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2024-09-04T08:01:41.048681016Z\"}"),
                     300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2024-09-04T08:00:41Z\"}"), 240000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2024-09-04T10:00:41+02:00\"}"), 240000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2024-09-04T05:30:41.5-02:30\"}"),
                     240000);
}
END_TEST

START_TEST(a_clock_that_disagrees_is_not_believed)
{
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2001-01-01T00:00:00Z\"}"), 300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2031-01-01T00:00:00Z\"}"), 300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"yesterday\"}"), 300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"2024-09-04T08:00:41 o'clock\"}"),
                     300000);
    ck_assert_int_eq(life("{\"token\":\"t\",\"expires_in\":300,\"issued_at\":17}"), 300000);
    static const char *const odd[] = {"2024-09-04T08:00:41",     "2024-9-4T8:0:41Z", "2024-09-04T08:00:41+0200", "",
                                      "2024-09-04T08:00:41+02:", "2024-09-04",       "2024-09-04T08:00:41.Zx"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "{\"token\":\"t\",\"expires_in\":300,\"issued_at\":\"%s\"}", odd[i]);
        ck_assert_int_eq(life(text), 300000);
    }
}
END_TEST

START_TEST(what_has_no_token_is_an_error)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "null",
        "\"t\"",
        "<!DOCTYPE html>",
        "{\"token\":17}",
        "{",
        "{\"token\":\"\"}",
        "{\"token\":\"t\"} x",
        "{\"token\":\"t\",\"token\":\"u\"}",
        "{\"token\":\"\xff\"}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct token_reply r = {.life_ms = 17};
        ck_assert_msg(token_reply_parse(texts[i], strlen(texts[i]), NOW, &r) == -EPROTO, "%s", texts[i]);
        ck_assert_int_eq(r.life_ms, 17);
    }
    struct token_reply r;
    ck_assert_int_eq(token_reply_parse(NULL, 0, NOW, &r), -EPROTO);
}
END_TEST

START_TEST(a_token_that_a_header_cannot_carry_is_an_error)
{
    static const char *const texts[] = {"{\"token\":\"a\\r\\nX-Evil: 1\"}", "{\"token\":\"a b\"}",
                                        "{\"token\":\"\\u00e9\"}", "{\"token\":\"a\\u0000b\"}"};
    struct token_reply r;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(token_reply_parse(texts[i], strlen(texts[i]), NOW, &r) == -EPROTO, "%s", texts[i]);
    static char large[LIMIT_TOKEN + 64];
    (void)snprintf(large, sizeof(large), "{\"token\":\"%0*d\"}", (int)LIMIT_TOKEN + 1, 0);
    ck_assert_int_eq(token_reply_parse(large, strlen(large), NOW, &r), -EPROTO);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("token");
    TCase *t = tcase_create("token");
    suite_add_tcase(s, t);
    tcase_add_test(t, either_name_of_the_token_is_understood);
    tcase_add_test(t, a_life_that_is_missing_or_too_short_is_a_minute);
    tcase_add_test(t, a_life_without_end_has_one);
    tcase_add_test(t, a_token_issued_before_has_lived_already);
    tcase_add_test(t, a_clock_that_disagrees_is_not_believed);
    tcase_add_test(t, what_has_no_token_is_an_error);
    tcase_add_test(t, a_token_that_a_header_cannot_carry_is_an_error);
    return suite_run(s);
}
