#include "upstream/proxy.h"

#include "suite.h"

#include <check.h>
#include <stdlib.h>

START_TEST(hosts_that_need_none_are_known)
{
    static const struct {
        const char *list, *host;
        bool bypassed;
    } cases[] = {
        {NULL, "a.example", false},
        {"", "a.example", false},
        {"*", "a.example", true},
        {"b, *", "a.example", true},
        {"a.example", "a.example", true},
        {"A.Example", "a.example", true},
        {"example", "a.example", true},
        {".example", "a.example", true},
        {".example.", "a.example", true},
        {"xample", "a.example", false},
        {"b.a.example", "a.example", false},
        {"x,y example\tz", "a.example", true},
        {",,,", "a.example", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.11", false},
        {"0.0.1", "127.0.0.1", false},
        {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.0/8", "11.1.2.3", false},
        {"10.0.0.0/33", "10.0.0.0", false},
        {"10.0.0.0/x", "10.0.0.0", false},
        {"10.0.0.0/", "10.0.0.0", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"192.168.128.0/17", "192.168.127.1", false},
        {"192.168.128.0/17", "192.168.129.1", true},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe12::1", false},
        {"[::1]", "::1", true},
        {"::1", "::1", true},
        {"fd00::/8", "10.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(proxy_is_bypassed(cases[i].list, cases[i].host) == cases[i].bypassed, "%s in %s", cases[i].host,
                      cases[i].list ? cases[i].list : "(none)");
}
END_TEST

START_TEST(the_environment_is_read_as_libcurl_does)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",   "no_proxy",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unsetenv(names[i]);
    ck_assert_ptr_null(proxy_from_environment(false));
    ck_assert_ptr_null(proxy_from_environment(true));
    ck_assert_ptr_null(proxy_no_proxy_from_environment());
    (void)setenv("HTTP_PROXY", "http://capitals", 1);
    ck_assert_ptr_null(proxy_from_environment(false));
    (void)setenv("ALL_PROXY", "http://all", 1);
    ck_assert_str_eq(proxy_from_environment(false), "http://all");
    (void)setenv("HTTPS_PROXY", "http://secure", 1);
    ck_assert_str_eq(proxy_from_environment(true), "http://secure");
    (void)setenv("http_proxy", "http://plain", 1);
    ck_assert_str_eq(proxy_from_environment(false), "http://plain");
    (void)setenv("NO_PROXY", "a", 1);
    ck_assert_str_eq(proxy_no_proxy_from_environment(), "a");
    (void)setenv("no_proxy", "b", 1);
    ck_assert_str_eq(proxy_no_proxy_from_environment(), "b");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("proxy");
    TCase *t = tcase_create("proxy");
    suite_add_tcase(s, t);
    tcase_add_test(t, hosts_that_need_none_are_known);
    tcase_add_test(t, the_environment_is_read_as_libcurl_does);
    return suite_run(s);
}
