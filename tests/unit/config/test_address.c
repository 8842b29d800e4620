#include "base/auto.h"
#include "config/address.h"

#include "suite.h"

#include <check.h>

struct check {
    const char *text;
    const char *wrong; /* a part of the complaint; NULL: none */
};

static void hold(const char *(*check)(const char *), const struct check *c)
{
    const char *wrong = check(c->text);
    if (!c->wrong)
        ck_assert_msg(wrong == NULL, "%s: %s", c->text, wrong);
    else
        ck_assert_msg(wrong && strstr(wrong, c->wrong), "%s: %s", c->text, wrong ? wrong : "nothing wrong");
}

static const struct check listens[] = {
    {"127.0.0.1:5000", NULL},
    {"0.0.0.0:0", NULL},
    {"[::1]:5000", NULL},
    {"[::]:65535", NULL},
    {"[::ffff:127.0.0.1]:1", NULL},
    {"", "the address is missing"},
    {":5000", "the address is missing"},
    {"5000", "ADDRESS:PORT"},
    {"127.0.0.1", "ADDRESS:PORT"},
    {"127.0.0.1:", "ADDRESS:PORT"},
    {"127.0.0.1:65536", "ADDRESS:PORT"},
    {"127.0.0.1:99999999999", "ADDRESS:PORT"},
    {"127.0.0.1:050", "ADDRESS:PORT"},
    {"127.0.0.1:5a", "ADDRESS:PORT"},
    {"127.0.0.1:-1", "ADDRESS:PORT"},
    {"[::1]", "ADDRESS:PORT"},
    {"localhost:5000", "not a name"},
    {"127.1:5000", "not a name"},
    {"127.0.0.1 :5000", "not a name"},
    {"::1:5000", "in brackets"},
    {"[::1:5000", "not closed"},
    {"[127.0.0.1]:5000", "no IPv6"},
    {"[]:5000", "no IPv6"},
    {"[fe80::1%eth0]:5000", "no IPv6"},
    {"[::1]5000", "after the ]"},
    {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:80", "no IPv6"},
};

START_TEST(the_server_listens_on_addresses_with_ports)
{
    hold(address_check_listen, &listens[_i]);
}
END_TEST

static const struct check hosts[] = {
    {"docker.io", NULL},
    {"hub", NULL},
    {"registry.example:5000", NULL},
    {"10.0.0.1:5000", NULL},
    {"[fd00::1]:5000", NULL},
    {"[fd00::1]", NULL},
    {"my_registry.a-b.example", NULL},
    {"", "no valid host"},
    {"Docker.io", "lower case"},
    {"https://docker.io", "not a URL"},
    {"docker.io/library", "no valid host"},
    {"docker..io", "no valid host"},
    {".docker.io", "no valid host"},
    {"docker.io.", "no valid host"},
    {"-docker.io", "no valid host"},
    {"docker-.io", "no valid host"},
    {"docker.io-", "no valid host"},
    {"docker io", "no valid host"},
    {"d\xc3\xb6"
     "cker.io",
     "no valid host"},
    {"user@docker.io", "no valid host"},
    {"docker.io:", "port"},
    {"docker.io:0", "port"},
    {"docker.io:65536", "port"},
    {"docker.io:5000:5000", "brackets"},
    {"[fd00::1", "not closed"},
};

START_TEST(a_registry_is_named_by_its_host_in_lower_case)
{
    hold(address_check_host, &hosts[_i]);
}
END_TEST

START_TEST(a_host_name_has_at_most_253_characters)
{
    char name[255];
    memset(name, 'a', sizeof(name));
    name[253] = '\0';
    ck_assert(address_check_host(name) == NULL);
    name[253] = 'a';
    name[254] = '\0';
    ck_assert(address_check_host(name) != NULL);
}
END_TEST

static const struct check urls[] = {
    {"https://registry-1.docker.io", NULL},
    {"HTTPS://Registry.Example/", NULL},
    {"http://127.0.0.1:5000", NULL},
    {"http://[::1]:5000/a/b", NULL},
    {"https://a.example:443/prefix/", NULL},
    {"", "http:// or https://"},
    {"registry-1.docker.io", "http:// or https://"},
    {"//a.example", "http:// or https://"},
    {"ftp://a.example", "http:// or https://"},
    {"file:///etc/passwd", "http:// or https://"},
    {"xhttps://a.example", "http:// or https://"},
    {"https://", "no valid host"},
    {"https:///x", "no valid host"},
    {"https://:5000", "no valid host"},
    {"https://jo:secret@a.example", "no user"},
    {"https://@a.example", "no user"},
    {"https://a.example?x", "no query"},
    {"https://a.example/b?x", "no query"},
    {"https://a.example/#x", "no query"},
    {"https://a example", "character"},
    {"https://a.example/\xc3\xb6", "character"},
    {"https://a.example/\x7f", "character"},
    {"https://a.example\\b", "character"},
    {"https://a.example:port", "port"},
    {"https://[::1", "not closed"},
    {"https://::1/", "brackets"},
};

START_TEST(an_upstream_is_an_http_url_without_user_and_query)
{
    hold(address_check_url, &urls[_i]);
}
END_TEST

static const struct check proxies[] = {
    {"http://proxy.example:3128", NULL},       {"https://proxy.example/", NULL},
    {"socks5://10.0.0.1:1080", NULL},          {"socks5h://jo:p%40ss@proxy.example:1080", NULL},
    {"http://jo:p@ss@proxy.example", NULL}, /* the last @ ends the user */
    {"socks4://proxy.example", "is expected"}, {"proxy.example:3128", "is expected"},
    {"http://proxy.example/path", "no path"},  {"http://proxy.example?x", "no path"},
    {"http://jo@", "no valid host"},
};

START_TEST(a_proxy_is_an_http_or_socks_url_and_may_have_a_user)
{
    hold(address_check_proxy, &proxies[_i]);
}
END_TEST

static const struct {
    const char *url;
    bool private;
} nears[] = {
    {"http://localhost:5000", true},
    {"http://LOCALHOST", true},
    {"http://127.0.0.1", true},
    {"http://10.255.255.255/x", true},
    {"http://172.16.0.1", true},
    {"http://172.31.255.255", true},
    {"http://192.168.1.1", true},
    {"http://169.254.169.254", true},
    {"http://100.64.0.1", true},
    {"http://0.0.0.0", true},
    {"http://[::1]:5000", true},
    {"http://[fd00::1]", true},
    {"http://[fe80::1]", true},
    {"http://registry.localhost:5000", true},
    {"http://198.18.0.1", true}, /* of special purpose: nobody's on the Internet */
    {"http://[2001:db8::1]", true},
    {"http://[::ffff:10.0.0.1]", true},
    {"http://172.15.255.255", false},
    {"http://172.32.0.0", false},
    {"http://192.169.0.1", false},
    {"http://100.128.0.0", false},
    {"http://11.0.0.1", false},
    {"http://[2606:4700::1]", false},
    {"http://[::ffff:8.8.8.8]", false},
    {"https://registry-1.docker.io", false},
    {"https://localhost.example", false},
    {"https://10.0.0.1.example", false},
    {"https://[::1", false},
    {"10.0.0.1", false},
    {"", false},
};

START_TEST(a_private_url_has_a_literal_private_address_or_is_localhost)
{
    ck_assert_msg(address_url_is_private(nears[_i].url) == nears[_i].private, "%s", nears[_i].url);
}
END_TEST

static const struct {
    const char *network, *address;
    bool in;
} networks[] = {
    {"10.0.0.0/8", "10.255.1.2", true},     {"10.0.0.0/8", "11.0.0.1", false},  {"10.0.0.0/8", "::ffff:10.1.2.3", true},
    {"192.0.2.1", "192.0.2.1", true},       {"192.0.2.1", "192.0.2.2", false},  {"192.0.2.0/25", "192.0.2.127", true},
    {"192.0.2.0/25", "192.0.2.128", false}, {"0.0.0.0/0", "8.8.8.8", true},     {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},          {"fd00::/8", "fdff::1", true},      {"fd00::/8", "fc00::1", false},
    {"2001:db8::1", "2001:db8:0::1", true}, {"10.0.0.0/8", "10.0.0.1 ", false}, {"10.0.0.0/8", "", false},
};

START_TEST(an_address_is_in_a_network_by_its_first_bits)
{
    ck_assert(address_check_network(networks[_i].network) == NULL);
    ck_assert_msg(address_is_in(networks[_i].network, networks[_i].address) == networks[_i].in, "%s in %s",
                  networks[_i].address, networks[_i].network);
}
END_TEST

static const char *const no_networks[] = {"",        "10.0.0.0/33", "10.0.0/8",    "10.0.0.0/", "10.0.0.0/8x", "::/129",
                                          "example", "[::1]",       "10.0.0.0/-1", "::/0000",   "/8"};

START_TEST(what_is_no_network_is_refused)
{
    ck_assert_msg(address_check_network(no_networks[_i]) != NULL, "%s", no_networks[_i]);
    ck_assert(!address_is_in(no_networks[_i], "10.0.0.1"));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("address");
    tcase_add_loop_test(t, the_server_listens_on_addresses_with_ports, 0, ARRAY_SIZE(listens));
    tcase_add_loop_test(t, a_registry_is_named_by_its_host_in_lower_case, 0, ARRAY_SIZE(hosts));
    tcase_add_test(t, a_host_name_has_at_most_253_characters);
    tcase_add_loop_test(t, an_upstream_is_an_http_url_without_user_and_query, 0, ARRAY_SIZE(urls));
    tcase_add_loop_test(t, a_proxy_is_an_http_or_socks_url_and_may_have_a_user, 0, ARRAY_SIZE(proxies));
    tcase_add_loop_test(t, a_private_url_has_a_literal_private_address_or_is_localhost, 0, ARRAY_SIZE(nears));
    tcase_add_loop_test(t, an_address_is_in_a_network_by_its_first_bits, 0, ARRAY_SIZE(networks));
    tcase_add_loop_test(t, what_is_no_network_is_refused, 0, ARRAY_SIZE(no_networks));
    Suite *s = suite_create("address");
    suite_add_tcase(s, t);
    return suite_run(s);
}
