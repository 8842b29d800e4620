#include "base/ip.h"

#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <string.h>

static bool connected_is_private(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return ip_is_private((struct sockaddr *)&in);
    ck_assert_msg(inet_pton(AF_INET6, text, &in6.sin6_addr) == 1, "%s", text);
    return ip_is_private((struct sockaddr *)&in6);
}

static const char *const private[] = {
    "0.0.0.0",     "0.1.2.3",     "10.0.0.1",         "10.255.255.255",  "100.64.0.1",        "100.127.255.255",
    "127.0.0.1",   "127.255.0.1", "169.254.169.254",  "172.16.0.1",      "172.31.255.255",    "192.0.0.8",
    "192.0.2.1",   "192.88.99.1", "192.168.0.1",      "198.18.0.1",      "198.19.255.255",    "198.51.100.1",
    "203.0.113.1", "224.0.0.1",   "239.255.255.255",  "240.0.0.1",       "255.255.255.255",   "::",
    "::1",         "::7f00:1",    "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8",
    "100::1",      "2001::1",     "2001:10::1",       "2001:db8::1",     "2002:7f00:1::1",    "2002:a00:1::1",
    "3fff:1::1",   "5f00::1",     "fc00::1",          "fdff::1",         "fe80::1",           "fec0::1",
    "ff02::1",
};

static const char *const public[] = {
    "1.1.1.1",     "8.8.8.8",        "9.255.255.255",    "11.0.0.0",        "100.63.255.255", "100.128.0.0",
    "126.0.0.1",   "128.0.0.1",      "172.15.255.255",   "172.32.0.0",      "192.0.1.0",      "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0",       "223.255.255.255", "2606:4700::1",   "2a00:1450::1",
    "2001:4860::", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
};

START_TEST(private_addresses_are_known)
{
    for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
        ck_assert_msg(connected_is_private(private[i]), "%s", private[i]);
        ck_assert_msg(ip_host_is_private(private[i]), "%s", private[i]);
        ck_assert_msg(ip_is_literal(private[i]), "%s", private[i]);
    }
    ck_assert(ip_host_is_private("fe80::1%eth0"));
}
END_TEST

START_TEST(public_addresses_are_known)
{
    for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
        ck_assert_msg(!connected_is_private(public[i]), "%s", public[i]);
        ck_assert_msg(!ip_host_is_private(public[i]), "%s", public[i]);
        ck_assert_msg(ip_is_literal(public[i]), "%s", public[i]);
    }
}
END_TEST

START_TEST(names_are_private_only_where_they_mean_this_machine)
{
    ck_assert(ip_host_is_private("localhost"));
    ck_assert(ip_host_is_private("LocalHost."));
    ck_assert(ip_host_is_private("a.b.localhost"));
    ck_assert(!ip_host_is_private("notlocalhost"));
    ck_assert(!ip_host_is_private("localhost.example"));
    ck_assert(!ip_host_is_private("registry-1.docker.io"));
    ck_assert(!ip_host_is_private(""));
    ck_assert(!ip_is_literal("10.0.0.1.example"));
    ck_assert(!ip_is_literal(""));
}
END_TEST

START_TEST(other_families_are_private)
{
    struct sockaddr_storage s = {.ss_family = AF_UNIX};
    ck_assert(ip_is_private((struct sockaddr *)&s));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ip");
    TCase *t = tcase_create("ip");
    suite_add_tcase(s, t);
    tcase_add_test(t, private_addresses_are_known);
    tcase_add_test(t, public_addresses_are_known);
    tcase_add_test(t, names_are_private_only_where_they_mean_this_machine);
    tcase_add_test(t, other_families_are_private);
    return suite_run(s);
}
