#include "upstream/url.h"

#include "suite.h"

#include "base/limits.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static void expect(const char *text, const char *whole, const char *host, const char *authority, const char *origin)
{
    struct url u;
    ck_assert_msg(url_parse(text, &u) == 0, "%s", text);
    ck_assert_str_eq(u.text, whole);
    ck_assert_str_eq(u.host, host);
    ck_assert_str_eq(u.authority, authority);
    ck_assert_str_eq(u.origin, origin);
    url_finish(&u);
}

START_TEST(a_url_is_taken_apart)
{
    expect("https://Registry-1.Docker.IO/v2/", "https://Registry-1.Docker.IO/v2/", "registry-1.docker.io",
           "registry-1.docker.io", "https://registry-1.docker.io:443");
    expect("http://a:5000/x?y=1#z", "http://a:5000/x?y=1", "a", "a:5000", "http://a:5000");
    expect("http://[FD00:0::1]:80/", "http://[fd00::1]:80/", "fd00::1", "[fd00::1]", "http://[fd00::1]:80");
    expect("https://a.example./", "https://a.example./", "a.example", "a.example", "https://a.example:443");
}
END_TEST

START_TEST(every_spelling_of_an_address_is_the_address)
{
    static const char *const texts[] = {"http://127.1/", "http://0x7f000001/", "http://2130706433/",
                                        "http://0177.0.0.1/", "http://127.0.0.1./"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct url u;
        ck_assert_msg(url_parse(texts[i], &u) == 0, "%s", texts[i]);
        ck_assert_str_eq(u.host, "127.0.0.1");
        url_finish(&u);
    }
}
END_TEST

START_TEST(what_is_no_url_to_ask_is_refused)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"", -EPROTO},
        {"/only/a/path", -EPROTO},
        {"http://", -EPROTO},
        {"http://a\r\nb/", -EPROTO},
        {"http://a:99999/", -EPROTO},
        {"file:///etc/passwd", -EPERM},
        {"ftp://a/x", -EPERM},
        {"gopher://127.0.0.1:70/_x", -EPERM},
        {"http://user@a/", -EPERM},
        {"http://user:word@a/", -EPERM},
    };
    struct url u = {.text = NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(url_parse(cases[i].text, &u) == cases[i].error, "%s", cases[i].text);
    ck_assert_ptr_null(u.text);
    static char large[LIMIT_URL + 64];
    (void)snprintf(large, sizeof(large), "http://a/%0*d", (int)LIMIT_URL, 0);
    ck_assert_int_eq(url_parse(large, &u), -EPROTO);
}
END_TEST

static void expect_redirect(const char *base, const char *location, const char *whole)
{
    struct url from, to;
    ck_assert_int_eq(url_parse(base, &from), 0);
    ck_assert_msg(url_redirect(&from, location, &to) == 0, "%s", location);
    ck_assert_str_eq(to.text, whole);
    url_finish(&to);
    url_finish(&from);
}

START_TEST(a_location_is_absolute_or_relative)
{
    const char *base = "https://r.example/v2/a/blobs/sha256:aa?x=1";
    expect_redirect(base, "https://cdn.example/b?X-Amz-Signature=a%2Fb+c~&Expires=1",
                    "https://cdn.example/b?X-Amz-Signature=a%2Fb+c~&Expires=1");
    expect_redirect(base, "/v2/b", "https://r.example/v2/b");
    expect_redirect(base, "//cdn.example/b", "https://cdn.example/b");
    expect_redirect(base, "?y=2", "https://r.example/v2/a/blobs/sha256:aa?y=2");
    expect_redirect(base, "b", "https://r.example/v2/a/blobs/b");
    expect_redirect(base, "https://cdn.example/with blank", "https://cdn.example/with%20blank");
    expect_redirect("http://r.example/a", "http://cdn.example/b", "http://cdn.example/b");
    expect_redirect("http://r.example/a", "https://cdn.example/b", "https://cdn.example/b");
}
END_TEST

START_TEST(a_location_of_a_lower_kind_is_refused)
{
    struct url from, to;
    ck_assert_int_eq(url_parse("https://r.example/a", &from), 0);
    ck_assert_int_eq(url_redirect(&from, "http://r.example/a", &to), -EPERM);
    ck_assert_int_eq(url_redirect(&from, "file:///etc/passwd", &to), -EPERM);
    ck_assert_int_eq(url_redirect(&from, "ftp://r.example/a", &to), -EPERM);
    ck_assert_int_eq(url_redirect(&from, "https://u:p@r.example/a", &to), -EPERM);
    ck_assert_int_eq(url_redirect(&from, "http://", &to), -EPROTO);
    url_finish(&from);
}
END_TEST

START_TEST(an_origin_is_scheme_host_and_port)
{
    struct url a, b;
    ck_assert_int_eq(url_parse("https://a.example/x", &a), 0);
    static const struct {
        const char *text;
        bool same;
    } cases[] = {
        {"https://A.example:443/y?z", true}, {"https://a.example./", true},    {"https://a.example:444/x", false},
        {"http://a.example:443/x", false},   {"https://b.a.example/x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(url_parse(cases[i].text, &b), 0);
        ck_assert_msg(url_same_origin(&a, &b) == cases[i].same, "%s", cases[i].text);
        url_finish(&b);
    }
    url_finish(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("url");
    TCase *t = tcase_create("url");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_url_is_taken_apart);
    tcase_add_test(t, every_spelling_of_an_address_is_the_address);
    tcase_add_test(t, what_is_no_url_to_ask_is_refused);
    tcase_add_test(t, a_location_is_absolute_or_relative);
    tcase_add_test(t, a_location_of_a_lower_kind_is_refused);
    tcase_add_test(t, an_origin_is_scheme_host_and_port);
    return suite_run(s);
}
