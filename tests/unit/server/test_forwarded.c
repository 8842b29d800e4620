#include "server/forwarded.h"

#include "suite.h"

#include <check.h>
#include <string.h>

static char *items[] = {(char[]){"10.0.0.0/8"}, (char[]){"fd00::/8"}, NULL};
static const struct config_list proxies = {.items = items, .count = 2};

static const struct {
    const char *peer, *forwarded_for, *client;
    bool trusted;
} clients[] = {
    {"192.0.2.1", NULL, "192.0.2.1", false},
    {"192.0.2.1", "203.0.113.5", "192.0.2.1", false}, /* whoever comes by himself is believed nothing */
    {"10.0.0.1", NULL, "10.0.0.1", true},
    {"10.0.0.1", "", "10.0.0.1", true},
    {"10.0.0.1", "203.0.113.5", "203.0.113.5", true},
    {"10.0.0.1", "1.2.3.4, 203.0.113.5", "203.0.113.5",
     true}, /* what the client itself has written counts for nothing */
    {"10.0.0.1", "1.2.3.4, 203.0.113.5, 10.9.9.9", "203.0.113.5", true},
    {"10.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1", true},
    {"10.0.0.1", "1.2.3.4, rubbish, 10.2.2.2", "10.2.2.2", true},
    {"10.0.0.1", "1.2.3.4,,", "10.0.0.1", true},
    {"10.0.0.1", " 203.0.113.5:4711 ", "203.0.113.5", true},
    {"10.0.0.1", "[2001:DB8::0:1]:4711", "2001:db8::1", true},
    {"10.0.0.1", "2001:db8::1", "2001:db8::1", true},
    {"10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5", true},
    {"10.0.0.1", "[::FFFF:203.0.113.5]:4711", "203.0.113.5", true},
    {"10.0.0.1", "1.2.3.4, ::ffff:203.0.113.5, ::ffff:10.9.9.9", "203.0.113.5", true},
    {"10.0.0.1", "::ffff:203.0.113.5.6", "10.0.0.1", true},
    {"10.0.0.1", "[2001:db8::1", "10.0.0.1", true},
    {"10.0.0.1", "[2001:db8::1]x", "10.0.0.1", true},
    {"10.0.0.1", "unknown", "10.0.0.1", true},
    {"10.0.0.1", "12345678901234567890123456789012345678901234567890123456789012345678901234567890", "10.0.0.1", true},
    {"fd00::1", "203.0.113.5", "203.0.113.5", true},
    {"", "203.0.113.5", "", false},
};

START_TEST(the_last_who_is_no_proxy_of_ours_is_the_client)
{
    struct forwarded f;
    forwarded_read(&proxies, clients[_i].peer, clients[_i].forwarded_for, NULL, &f);
    ck_assert_str_eq(f.address, clients[_i].client);
    ck_assert(f.trusted == clients[_i].trusted && !f.secure);
}
END_TEST

START_TEST(a_chain_without_end_is_read_so_far)
{
    char list[8192] = "203.0.113.5";
    struct forwarded f;
    for (size_t n = strlen(list); n + 12 < sizeof(list); n += 9)
        memcpy(list + n, ",10.0.0.2", 10);
    forwarded_read(&proxies, "10.0.0.1", list, NULL, &f);
    ck_assert_str_eq(f.address, "10.0.0.2");
}
END_TEST

static const struct {
    const char *peer, *proto;
    bool secure;
} protos[] = {
    {"10.0.0.1", "https", true},   {"10.0.0.1", "HTTPS ", true},       {"10.0.0.1", "http, https", true},
    {"10.0.0.1", "http", false},   {"10.0.0.1", "https, http", false}, {"10.0.0.1", NULL, false},
    {"10.0.0.1", "https,", false}, {"10.0.0.1", "httpsx", false},      {"192.0.2.1", "https", false},
};

START_TEST(only_a_trusted_proxy_says_that_a_client_came_over_tls)
{
    struct forwarded f;
    forwarded_read(&proxies, protos[_i].peer, NULL, protos[_i].proto, &f);
    ck_assert(f.secure == protos[_i].secure);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("forwarded");
    tcase_add_loop_test(t, the_last_who_is_no_proxy_of_ours_is_the_client, 0, ARRAY_SIZE(clients));
    tcase_add_test(t, a_chain_without_end_is_read_so_far);
    tcase_add_loop_test(t, only_a_trusted_proxy_says_that_a_client_came_over_tls, 0, ARRAY_SIZE(protos));
    Suite *s = suite_create("forwarded");
    suite_add_tcase(s, t);
    return suite_run(s);
}
