#include "base/clock.h"
#include "base/limits.h"
#include "config/config.h"
#include "config/schema.h"

#include "suite.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MINUTE CLOCK_MINUTE
#define DAY (24 * 60 * MINUTE)

static struct config *parse(const char *text)
{
    AUTO_BUF struct buf errors = BUF_INIT(64 * KIB);
    struct config *c = NULL;
    int r = config_parse(text, strlen(text), "c.yaml", &c, &errors);
    ck_assert_msg(r == 0, "%s", errors.data ? errors.data : strerror(-r));
    ck_assert_uint_eq(errors.len, 0);
    return c;
}

static void expect_errors(const char *text, const char *wanted)
{
    AUTO_BUF struct buf errors = BUF_INIT(64 * KIB);
    struct config *c = NULL;
    ck_assert_int_eq(config_parse(text, strlen(text), "c.yaml", &c, &errors), -EINVAL);
    ck_assert(c == NULL);
    ck_assert_str_eq(errors.data, wanted);
}

static const struct config_registry *find(const struct config *c, const char *name)
{
    return config_find_registry(c, name, strlen(name));
}

/* ------------------------------------------------------------------ defaults */

START_TEST(an_empty_file_is_a_mirror_of_the_known_registries_for_this_machine)
{
    AUTO(auto_config_destroy) struct config *c = NULL;
    ck_assert_int_eq(config_default(&c), 0);
    ck_assert_str_eq(c->file, "");
    ck_assert_uint_eq(c->server.listen.count, 1);
    ck_assert_str_eq(c->server.listen.items[0], "127.0.0.1:5000");
    ck_assert(c->server.listen.items[1] == NULL);
    ck_assert(c->server.threads >= 2 && c->server.threads <= 64);
    ck_assert_uint_eq(c->server.max_connections, 4096);
    ck_assert_uint_eq(c->server.max_ranges, 2048);
    ck_assert_int_eq(c->server.idle_timeout_ms, 75000);
    ck_assert_int_eq(c->server.answer_timeout_ms, 8000);
    ck_assert_int_eq(c->server.drain_timeout_ms, 25000);
    ck_assert_str_eq(c->store.path, "./var");
    ck_assert(c->store.max_size.percent == 90 && c->store.min_free.percent == 5 && c->store.low_watermark == 90);
    ck_assert(c->store.verify_every_ms == DAY && c->store.scrub_interval_ms == 7 * DAY);
    ck_assert_uint_eq(c->store.scrub_rate, 10 * MIB);
    ck_assert_uint_eq(c->admin.listen.count, 1);
    ck_assert_str_eq(c->admin.listen.items[0], "unix:./var/admin.sock");
    ck_assert_ptr_null(c->admin.token_file);
    ck_assert(c->log.level == CONFIG_LOG_INFO && c->log.format == CONFIG_LOG_TEXT);
    ck_assert_int_eq(c->tags.ttl_ms, 5 * MINUTE);
    ck_assert_uint_eq(c->tags.rule_count, 0);
    ck_assert_int_eq(c->upstream.connect_timeout_ms, 5000);
    ck_assert_int_eq(c->upstream.header_timeout_ms, 20000);
    ck_assert_int_eq(c->upstream.stall_timeout_ms, 20000);
    ck_assert_int_eq(c->upstream.flight_timeout_ms, 120000);
    ck_assert_uint_eq(c->upstream.max_connections_per_host, 16);
    ck_assert(c->server.miss_status == CONFIG_MISS_503 && c->ops.listen.count == 0);
    ck_assert_int_eq(c->tags.stale_for_ms, 30 * DAY);
    ck_assert(!c->tags.stale_while_revalidate && !c->tags.stale_on_absence);
    ck_assert_uint_eq(c->budget.reserve_revalidation, 10);
    ck_assert_uint_eq(c->budget.reserve_seeding, 30);
    ck_assert_int_eq(c->budget.probe_after_ms, 5 * MINUTE);
    ck_assert(c->prefetch.enabled && c->prefetch.max_flights == 16);
    ck_assert(c->seeding.max_flights == 4 && c->seeding.platforms.count == 0 && c->seed_count == 0);
    ck_assert(c->default_registry == find(c, "docker.io"));

    static const struct {
        const char *name, *url;
    } known[] = {
        {"docker.io", "https://registry-1.docker.io"},
        {"ghcr.io", "https://ghcr.io"},
        {"quay.io", "https://quay.io"},
        {"registry.k8s.io", "https://registry.k8s.io"},
        {"gcr.io", "https://gcr.io"},
        {"mcr.microsoft.com", "https://mcr.microsoft.com"},
        {"public.ecr.aws", "https://public.ecr.aws"},
        {"nvcr.io", "https://nvcr.io"},
    };
    ck_assert_uint_eq(c->registry_count, ARRAY_SIZE(known));
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        const struct config_registry *r = find(c, known[i].name);
        ck_assert_str_eq(r->url, known[i].url);
        ck_assert(!r->allow_private && r->tag_ttl_ms == 5 * MINUTE && r->auth_hosts.count == 0);
        ck_assert(!r->credentials && !r->ca_file && !r->proxy && !r->no_proxy && r->open.count == 0);
        ck_assert_uint_eq(r->source_count, 1);
        ck_assert_str_eq(r->sources[0].url, known[i].url);
        ck_assert_str_eq(r->sources[0].name, strchr(known[i].url, ':') + 3);
        ck_assert(r->sources[0].tags && !r->sources[0].sibling && !r->sources[0].credentials);
    }
    ck_assert(find(c, "index.docker.io") == find(c, "docker.io"));
    ck_assert(find(c, "registry-1.docker.io") == find(c, "docker.io"));
}
END_TEST

/* ------------------------------------------------------------------ registries */

START_TEST(a_registry_is_found_by_name_and_alias_in_any_case)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("registries: {a.example:5000: {aliases: [b.example, \"[fd00::1]:80\"]}}");
    const struct config_registry *r = find(c, "a.example:5000");
    ck_assert_str_eq(r->name, "a.example:5000");
    ck_assert(find(c, "A.Example:5000") == r && find(c, "B.EXAMPLE") == r && find(c, "[FD00::1]:80") == r);
    ck_assert(!find(c, "a.example") && !find(c, "a.example:5") && !find(c, "a.example:50000") && !find(c, ""));
    ck_assert(config_find_registry(c, "b.example/library", 9) == r);
}
END_TEST

START_TEST(what_is_said_of_a_builtin_registry_replaces_the_same_key_only)
{
    AUTO(auto_config_destroy)
    struct config *c =
        parse("registries: {docker.io: {url: 'http://127.0.0.1:5001/'}, ghcr.io: {aliases: [g]}, quay.io: }");
    ck_assert_uint_eq(c->registry_count, 8);
    ck_assert_str_eq(find(c, "docker.io")->url, "http://127.0.0.1:5001");
    ck_assert(find(c, "index.docker.io") == find(c, "docker.io"));
    ck_assert_str_eq(find(c, "g")->url, "https://ghcr.io");
    ck_assert_str_eq(find(c, "quay.io")->url, "https://quay.io");
}
END_TEST

START_TEST(a_builtin_registry_is_taken_away_by_false)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("default_registry: ghcr.io\nregistries: {docker.io: false, nvcr.io: false}\n");
    ck_assert_uint_eq(c->registry_count, 6);
    ck_assert(!find(c, "docker.io") && !find(c, "index.docker.io") && !find(c, "nvcr.io"));
    ck_assert(c->default_registry == find(c, "ghcr.io"));
}
END_TEST

START_TEST(a_registry_of_which_nothing_is_said_is_at_its_name)
{
    AUTO(auto_config_destroy) struct config *c = parse("registries: {r.example:5000: }");
    ck_assert_str_eq(find(c, "r.example:5000")->url, "https://r.example:5000");
}
END_TEST

START_TEST(slashes_at_the_end_of_a_url_are_left_out)
{
    AUTO(auto_config_destroy) struct config *c = parse("registries: {a: {url: 'https://a.example/b//'}}");
    ck_assert_str_eq(find(c, "a")->url, "https://a.example/b");
}
END_TEST

START_TEST(the_default_registry_may_be_said_by_an_alias)
{
    AUTO(auto_config_destroy) struct config *c = parse("default_registry: registry-1.docker.io\n");
    ck_assert(c->default_registry == find(c, "docker.io"));
    ck_assert_str_eq(c->default_registry_name, "registry-1.docker.io");
}
END_TEST

START_TEST(registries_inherit_what_is_said_for_all)
{
    AUTO(auto_config_destroy)
    struct config *c =
        parse("registries: {quay.io: {proxy: 'socks5://10.0.0.1', tag_ttl: 1h, ca_file: /dev/../etc/hosts}}\n"
              "upstream: {proxy: 'http://jo:s3cret@p:3128', no_proxy: '.example,10.0.0.0/8', ca_file: /etc/passwd}\n"
              "tags: {ttl: 7m}\n");
    const struct config_registry *docker = find(c, "docker.io"), *quay = find(c, "quay.io");
    ck_assert_str_eq(docker->proxy, "http://jo:s3cret@p:3128");
    ck_assert_str_eq(docker->no_proxy, ".example,10.0.0.0/8");
    ck_assert_str_eq(docker->ca_file, "/etc/passwd");
    ck_assert_int_eq(docker->tag_ttl_ms, 7 * MINUTE);
    ck_assert_str_eq(quay->proxy, "socks5://10.0.0.1");
    ck_assert_str_eq(quay->no_proxy, ".example,10.0.0.0/8");
    ck_assert_str_eq(quay->ca_file, "/dev/../etc/hosts");
    ck_assert_int_eq(quay->tag_ttl_ms, 60 * MINUTE);
}
END_TEST

START_TEST(private_addresses_are_allowed_where_the_url_is_one_unless_it_is_said)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("registries:\n"
                             "  a: {url: 'http://10.0.0.1'}\n"
                             "  b: {allow_private: false, url: 'http://10.0.0.1'}\n"
                             "  c: {allow_private: true, url: 'https://c.example'}\n"
                             "  d: {url: 'https://d.example'}\n"
                             "  localhost: {url: 'http://localhost:5000'}\n");
    ck_assert(find(c, "a")->allow_private && !find(c, "b")->allow_private && find(c, "c")->allow_private);
    ck_assert(!find(c, "d")->allow_private && find(c, "localhost")->allow_private);
}
END_TEST

START_TEST(a_registry_without_sources_is_its_own)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("registries: {a: {url: 'http://10.0.0.1/x/', credentials: /c, auth_hosts: [b, c], "
                             "ca_file: /etc/passwd, proxy: 'http://p', no_proxy: q}}");
    const struct config_registry *r = find(c, "a");
    ck_assert_uint_eq(r->source_count, 1);
    const struct config_source *s = &r->sources[0];
    ck_assert_str_eq(s->name, "10.0.0.1");
    ck_assert_str_eq(s->url, "http://10.0.0.1/x");
    ck_assert_str_eq(s->credentials, "/c");
    ck_assert_str_eq(s->ca_file, "/etc/passwd");
    ck_assert_str_eq(s->proxy, "http://p");
    ck_assert_str_eq(s->no_proxy, "q");
    ck_assert_uint_eq(s->auth_hosts.count, 2);
    ck_assert_str_eq(s->auth_hosts.items[1], "c");
    ck_assert(s->allow_private && s->tags && !s->sibling && !s->prefix);
}
END_TEST

START_TEST(a_source_has_what_its_registry_has_unless_it_says_otherwise)
{
    AUTO(auto_config_destroy)
    struct config *c =
        parse("registries:\n"
              "  docker.io:\n"
              "    auth_hosts: login.example\n"
              "    proxy: http://p\n"
              "    allow_private: true\n"
              "    sources:\n"
              "      - {credentials: /a}\n"
              "      - {}\n"
              "      - {name: e, url: 'https://public.ecr.aws/', prefix: docker, tags: false}\n"
              "      - {url: 'http://10.0.0.1:5000', sibling: true, proxy: 'http://q', credentials: /s}\n");
    const struct config_registry *r = find(c, "docker.io");
    const struct config_source *s = r->sources;
    ck_assert_uint_eq(r->source_count, 4);
    ck_assert_str_eq(s[0].name, "registry-1.docker.io");
    ck_assert_str_eq(s[1].name, "registry-1.docker.io-2");
    ck_assert_str_eq(s[2].name, "e");
    ck_assert_str_eq(s[3].name, "10.0.0.1:5000");
    ck_assert_str_eq(s[0].credentials, "/a");
    ck_assert_str_eq(s[3].credentials, "/s");
    ck_assert(!s[1].credentials);
    ck_assert_str_eq(s[1].url, "https://registry-1.docker.io");
    ck_assert_str_eq(s[2].url, "https://public.ecr.aws");
    ck_assert_str_eq(s[2].prefix, "docker");
    ck_assert_str_eq(s[2].proxy, "http://p");
    ck_assert_str_eq(s[3].proxy, "http://q");
    ck_assert(s[0].allow_private && s[1].allow_private && !s[2].allow_private && s[3].allow_private);
    ck_assert(s[0].auth_hosts.count == 1 && s[1].auth_hosts.count == 1 && s[2].auth_hosts.count == 0);
    ck_assert(s[0].tags && s[1].tags && !s[2].tags && !s[3].tags);
    ck_assert(s[3].sibling && !s[0].sibling);
}
END_TEST

START_TEST(the_certificate_that_is_said_first_comes_before_the_others)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("server: {listen: [], tls: {listen: '[::1]:0', certificate: a, key: b, certificates: "
                             "[{certificate: c, key: d}], min_version: 1.3, client_ca: e, hsts: 1h}}");
    ck_assert(c->server.listen.count == 0 && c->server.tls.listen.count == 1);
    ck_assert_uint_eq(c->server.tls.certificate_count, 2);
    ck_assert_str_eq(c->server.tls.certificates[0].certificate, "a");
    ck_assert_str_eq(c->server.tls.certificates[0].key, "b");
    ck_assert_str_eq(c->server.tls.certificates[1].certificate, "c");
    ck_assert_str_eq(c->server.tls.certificates[1].key, "d");
    ck_assert(c->server.tls.min_version == CONFIG_TLS_1_3);
    ck_assert(c->server.tls.client_certificates == CONFIG_CLIENTS_REQUIRED);
    ck_assert_int_eq(c->server.tls.hsts_ms, 3600000);
}
END_TEST

START_TEST(tokens_are_for_the_service_unless_another_audience_is_said)
{
#define TOKEN "keys: k, realm: 'https://a/token', service: s, issuer: i"
    AUTO(auto_config_destroy) struct config *c = parse("server: {auth: {token: {" TOKEN "}}}");
    AUTO(auto_config_destroy) struct config *other = parse("server: {auth: {token: {" TOKEN ", audience: o}}}");
    AUTO(auto_config_destroy) struct config *none = parse("");
    ck_assert_str_eq(c->server.auth.token.audience, "s");
    ck_assert_str_eq(other->server.auth.token.audience, "o");
    ck_assert(config_has_logins(c) && !config_has_logins(none) && !none->server.auth.token.audience);
}
END_TEST

START_TEST(a_rule_gives_pulls_unless_it_says_something_else)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("server: {auth: {rules: [{users: jo}, {users: jo, may: seed, repositories: [quay.io/*]}, "
                             "{users: al, may: [admin, pull]}]}}");
    const struct config_auth_rule *rules = c->server.auth.rules;
    ck_assert_uint_eq(rules[0].rights, CONFIG_MAY_PULL);
    ck_assert_uint_eq(rules[1].rights, CONFIG_MAY_SEED);
    ck_assert_uint_eq(rules[2].rights, CONFIG_MAY_ADMIN | CONFIG_MAY_PULL);
    ck_assert(config_rule_is_everywhere(&rules[0]) && !config_rule_is_everywhere(&rules[1]));
}
END_TEST

static const struct {
    const char *text;
    bool accounts, logins, admins;
} logins[] = {
    {"", false, false, false},
    {"server: {auth: {htpasswd: h}}", true, true, false},
    {"server: {auth: {rules: [{anonymous: true}]}}", true, true, false},
    {"server: {auth: {htpasswd: h, rules: [{users: jo, may: admin}]}}", true, true, true},
    {"server: {auth: {htpasswd: h, rules: [{anonymous: true}, {users: jo, may: admin}]}}", true, false, true},
    {"server: {auth: {htpasswd: h, rules: [{anonymous: true, repositories: quay.io/*}, {users: jo, may: admin}]}}",
     true, true, true},
    {"server: {auth: {htpasswd: h, rules: [{anonymous: true}, {users: jo, may: seed}, {users: jo, private: true}]}}",
     true, true, true},
    {"server: {auth: {rules: [{users: jo, may: admin}]}}", true, true, false},
    {"server: {auth: {rules: [{certificates: ci, may: seed}]}}", true, true, false},
    {"server: {tls: {certificate: a, key: b, client_ca: c}, auth: {rules: [{certificates: ci, may: seed}]}}", true,
     true, false},
    {"admin: {tls: true}\nserver: {tls: {certificate: a, key: b, client_ca: c}, auth: {rules: [{certificates: ci, may: "
     "seed}]}}",
     true, true, true},
};

START_TEST(pulls_and_the_admin_api_ask_for_logins_where_rules_say_so)
{
    AUTO(auto_config_destroy) struct config *c = parse(logins[_i].text);
    ck_assert(config_has_accounts(c) == logins[_i].accounts);
    ck_assert(config_has_logins(c) == logins[_i].logins);
    ck_assert(config_has_admin_accounts(c) == logins[_i].admins);
}
END_TEST

START_TEST(users_who_may_administer_need_no_token_file)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("admin: {listen: '127.0.0.1:1'}\nserver: {auth: {htpasswd: h, rules: [{users: jo, may: "
                             "admin}]}}");
    ck_assert(!c->admin.token_file && !c->admin.tls);
}
END_TEST

START_TEST(what_everybody_may_pull_is_said_by_patterns)
{
    AUTO(auto_config_destroy) struct config *c = parse("registries: {a: {open: [company/*, exact]}}");
    const struct config_registry *r = find(c, "a");
    ck_assert(config_is_open(r, "company/a/b") && config_is_open(r, "exact"));
    ck_assert(!config_is_open(r, "company") && !config_is_open(r, "exactly") && !config_is_open(r, "x/company/a"));
    ck_assert(!config_is_open(find(c, "docker.io"), "company/a"));
}
END_TEST

START_TEST(credentials_that_are_not_there_yet_are_no_error)
{
    AUTO(auto_config_destroy) struct config *c = parse("registries: {ghcr.io: {credentials: /nowhere/auth.json}}");
    ck_assert_str_eq(find(c, "ghcr.io")->credentials, "/nowhere/auth.json");
}
END_TEST

static const struct {
    const char *text, *errors;
} wrongs[] = {
    {"version: 2\n", "c.yaml:1:10: version: \"2\" must be 1\n"},
    {"server: {listn: x}\n", "c.yaml:1:10: server.listn: unknown key; did you mean \"listen\"?\n"},
    {"admin: {listen: ['127.0.0.1:1']}\n",
     "c.yaml:1:18: admin.listen: 127.0.0.1:1 asks for a token: admin.token_file; or for users to whom "
     "server.auth.rules gives seed or admin\n"},
    {"server: {auth: {rules: [{}, {users: jo, may: [pull, push]}]}}\n",
     "c.yaml:1:53: server.auth.rules[1].may[1]: is none of pull, seed, admin\n"},
    {"server: {auth: {rules: [{users: jo, may: []}]}}\n",
     "c.yaml:1:37: server.auth.rules[0].may: has 0 members; 1 to 3 are allowed\n"},
    {"server: {auth: {rules: [{users: jo}, {anonymous: true, may: [pull, seed]}]}}\n",
     "c.yaml:1:62: server.auth.rules[1].may: nobody may seed or administer without logging in (anonymous)\n"},
    {"server: {auth: {rules: [{users: jo, may: admin, repositories: [quay.io/*]}]}}\n",
     "c.yaml:1:64: server.auth.rules[0].repositories: who may administer may so everywhere: \"*\", or leave it out\n"},
    {"server: {auth: {rules: [{users: jo, may: seed, private: true}]}}\n",
     "c.yaml:1:57: server.auth.rules[0].private: is about pulls, which this rule does not give (may)\n"},
    {"admin: {tls: true}\n", "c.yaml:1:14: admin.tls: needs server.tls.certificate and server.tls.key\n"},
    {"admin: {listen: '127.0.0.1:1'}\nserver: {auth: {htpasswd: h, rules: [{users: jo}]}}\n",
     "c.yaml:1:17: admin.listen: 127.0.0.1:1 asks for a token: admin.token_file; or for users to whom "
     "server.auth.rules gives seed or admin\n"},
    {"server: {listen: []}\n", "c.yaml:1:10: server.listen: there must be an address here, or in server.tls.listen\n"},
    {"server: {tls: {listen: '127.0.0.1:1'}}\n",
     "c.yaml:1:24: server.tls.listen: needs server.tls.certificate and server.tls.key\n"},
    {"server: {tls: {certificate: a}}\n", "c.yaml:1:29: server.tls.certificate: needs server.tls.key\n"},
    {"server: {auth: {token: {keys: k, realm: 'http://a/', issuer: i}}}\n",
     "c.yaml:1:25: server.auth.token.service: is needed where there are tokens\n"},
    {"server: {auth: {token: {service: 'a\"b'}}}\n",
     "c.yaml:1:34: server.auth.token.service: must have neither quotes nor backslashes\n"},
    {"server: {tls: {key: a}}\n", "c.yaml:1:21: server.tls.key: needs server.tls.certificate\n"},
    {"server: {tls: {certificates: [{key: a}]}}\n",
     "c.yaml:1:32: server.tls.certificates[0].certificate: is missing: a text must be given\n"},
    {"server: {trusted_proxies: 10.0.0.0/33}\n", "c.yaml:1:27: server.trusted_proxies: an address or a network is "
                                                 "expected, such as 192.0.2.1, 10.0.0.0/8 or fd00::/8\n"},
    {"registry: {}\n", "c.yaml:1:1: registry: unknown key; did you mean \"registries\"?\n"},
    {"default_registry: dockr.io\n",
     "c.yaml:1:19: default_registry: is none of the registries; did you mean \"docker.io\"?\n"},
    {"registries: {docker.io: false}\n", "c.yaml:1:1: default_registry: is none of the registries\n"},
    {"registries: {a: {aliases: [b, a, b, ghcr.io, c]}, d: {aliases: c}}\n",
     "c.yaml:1:28: registries.a.aliases: a is said twice\n"
     "c.yaml:1:28: registries.a.aliases: b is said twice\n"
     "c.yaml:1:28: registries.a.aliases: ghcr.io is a name of ghcr.io already\n"
     "c.yaml:1:64: registries.d.aliases: c is a name of a already\n"},
    {"registries: {index.docker.io: {}}\n",
     "c.yaml:1:14: registries.docker.io.aliases: index.docker.io is a name of index.docker.io already\n"},
    {"upstream: {ca_file: /nowhere/ca.pem}\n", "c.yaml:1:21: upstream.ca_file: there is no such file\n"},
    {"upstream: {ca_file: /etc}\n", "c.yaml:1:21: upstream.ca_file: this is no file\n"},
    {"upstream: {proxy: 'http://jo:s3cret@p/x'}\n", "c.yaml:1:19: upstream.proxy: a proxy has no path and no query\n"},
    {"registries: {a: {url: 'https://jo:s3cret@a.example'}}\n",
     "c.yaml:1:23: registries.a.url: a URL has no user and no password here; accounts come from `credentials`\n"},
    {"tags: {rules: [{match: '*'}]}\n", "c.yaml:1:17: tags.rules[0].ttl: is missing: a duration must be given\n"},
    {"registries: {a: {credentials: /x, sources: [{name: b}, {name: b}]}}\n",
     "c.yaml:1:46: registries.a.sources: b is said twice\n"
     "c.yaml:1:31: registries.a.credentials: where there are sources, they stand there\n"},
    {"registries: {a: {sources: [{sibling: true, credentials: /x}]}}\n",
     "c.yaml:1:29: registries.a.sources: one of them must be believed what a tag means (tags)\n"},
    {"registries: {a: {sources: []}}\n", "c.yaml:1:18: registries.a.sources: has 0 members; 1 to 16 are allowed\n"},
    {"registries: {a: {sources: [{name: 'a b', prefix: a/../b}, {prefix: /a}]}}\n",
     "c.yaml:1:35: registries.a.sources[0].name: a name has letters, digits and any of . _ : - [ ] only\n"
     "c.yaml:1:50: registries.a.sources[0].prefix: is no part of a repository's name\n"
     "c.yaml:1:68: registries.a.sources[1].prefix: is no part of a repository's name\n"},
    {"server: {miss_status: 5000000}\n", "c.yaml:1:23: server.miss_status: \"5000000\" is none of 503, 404, 429\n"},
    {"tags: {ttl: 400d}\n", "c.yaml:1:13: tags.ttl: \"400d\" is out of range: 0s to 366d\n"},
};

START_TEST(what_does_not_fit_together_is_refused_with_its_place)
{
    expect_errors(wrongs[_i].text, wrongs[_i].errors);
}
END_TEST

START_TEST(no_error_shows_a_password)
{
    const char text[] = "upstream: {proxy: 'htp://jo:s3cret@p'}\n"
                        "registries: {a: {url: 'https://jo:s3cret@a', proxy: 'http://jo:s3cret@:1'}}\n";
    AUTO_BUF struct buf errors = BUF_INIT(64 * KIB);
    struct config *c = NULL;
    ck_assert_int_eq(config_parse(text, strlen(text), "c.yaml", &c, &errors), -EINVAL);
    ck_assert(strstr(errors.data, "upstream.proxy") && strstr(errors.data, "registries.a.proxy"));
    ck_assert(strstr(errors.data, "s3cret") == NULL);
}
END_TEST

/* ------------------------------------------------------------------ tags */

START_TEST(the_first_rule_that_matches_says_how_long_a_tag_is_fresh)
{
    AUTO(auto_config_destroy)
    struct config *c = parse("tags:\n"
                             "  ttl: 5m\n"
                             "  rules:\n"
                             "    - {match: 'docker.io/library/*:latest', ttl: 1m}\n"
                             "    - {match: 'docker.io/*:v[0-9]*', ttl: 30d}\n"
                             "    - {match: '*/secret/*', ttl: 0s}\n"
                             "    - {match: 'ghcr.io/a:?', ttl: 2m}\n"
                             "registries: {ghcr.io: {tag_ttl: 9m}}\n");
    const struct config_registry *docker = find(c, "index.docker.io"), *ghcr = find(c, "ghcr.io");
    ck_assert_int_eq(config_tag_ttl_ms(c, docker, "library/alpine", "latest"), 1 * MINUTE);
    ck_assert_int_eq(config_tag_ttl_ms(c, docker, "library/a/b/c", "latest"), 1 * MINUTE); /* * is slashes too */
    ck_assert_int_eq(config_tag_ttl_ms(c, docker, "library/alpine", "latest2"), 5 * MINUTE);
    ck_assert_int_eq(config_tag_ttl_ms(c, docker, "org/x", "v1.2"), 30 * DAY);
    ck_assert_int_eq(config_tag_ttl_ms(c, docker, "org/x", "vnext"), 5 * MINUTE);
    ck_assert_int_eq(config_tag_ttl_ms(c, ghcr, "org/secret/x", "v1"), 0);
    ck_assert_int_eq(config_tag_ttl_ms(c, ghcr, "a", "1"), 2 * MINUTE);
    ck_assert_int_eq(config_tag_ttl_ms(c, ghcr, "a", "10"), 9 * MINUTE);
}
END_TEST

START_TEST(a_name_of_any_length_has_a_time)
{
    AUTO(auto_config_destroy) struct config *c = parse("tags: {rules: [{match: '*', ttl: 1m}]}");
    char name[5000];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(config_tag_ttl_ms(c, find(c, "docker.io"), name, "1"), 5 * MINUTE);
    name[LIMIT_NAME] = '\0';
    ck_assert_int_eq(config_tag_ttl_ms(c, find(c, "docker.io"), name, "1"), 1 * MINUTE);
}
END_TEST

/* ------------------------------------------------------------------ files */

static void write_file(char *path, size_t size)
{
    AUTO_CLOSE int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    AUTO_FREE char *text = malloc(size);
    memset(text, '#', size);
    ck_assert_int_eq(write(fd, text, size), size);
}

START_TEST(a_file_of_one_mebibyte_is_read_and_a_larger_one_refused)
{
    for (size_t over = 0; over < 2; over++) {
        char path[] = "/tmp/entrepot-test-XXXXXX";
        AUTO_BUF struct buf errors = BUF_INIT(KIB);
        struct config *c = NULL;
        write_file(path, CONFIG_FILE_MAX + over);
        int r = config_load(path, &c, &errors);
        (void)unlink(path);
        ck_assert_int_eq(r, over ? -EFBIG : 0);
        ck_assert_str_eq(errors.data ? errors.data + (over ? strlen(path) : 0) : "",
                         over ? ": is larger than 1024 KiB\n" : "");
        if (c)
            ck_assert_str_eq(c->file, path);
        config_destroy(c);
    }
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named)
{
    AUTO_BUF struct buf errors = BUF_INIT(KIB);
    struct config *c = NULL;
    ck_assert_int_eq(config_load("/nowhere/c.yaml", &c, &errors), -ENOENT);
    ck_assert_str_eq(errors.data, "/nowhere/c.yaml: cannot be read: No such file or directory\n");
    buf_reset(&errors);
    ck_assert_int_eq(config_load("/tmp", &c, &errors), -EISDIR);
    ck_assert_str_eq(errors.data, "/tmp: cannot be read: Is a directory\n");
    ck_assert(c == NULL);
}
END_TEST

START_TEST(every_sample_configuration_is_good)
{
    ck_assert_int_eq(chdir(SOURCE_ROOT), 0);
    DIR *dir = opendir("config");
    ck_assert(dir != NULL);
    int count = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *suffix = strrchr(e->d_name, '.');
        if (!suffix || strcmp(suffix, ".yaml") != 0)
            continue;
        AUTO_BUF struct buf path = BUF_INIT(KIB), errors = BUF_INIT(64 * KIB);
        AUTO(auto_config_destroy) struct config *c = NULL;
        ck_assert_int_eq(buf_addf(&path, "config/%s", e->d_name), 0);
        ck_assert_msg(config_load(path.data, &c, &errors) == 0, "%s", errors.data);
        count++;
    }
    (void)closedir(dir);
    ck_assert_int_ge(count, 2);
}
END_TEST

START_TEST(the_admin_socket_is_in_the_store_unless_it_is_said)
{
    AUTO(auto_config_destroy) struct config *in_store = parse("store: {path: /a b}\n");
    ck_assert_str_eq(in_store->admin.listen.items[0], "unix:/a b/admin.sock");
    AUTO(auto_config_destroy)
    struct config *both = parse("admin: {listen: ['unix:/run/e.sock', 'unix:', '127.0.0.1:1'], token_file: t}\n");
    ck_assert_uint_eq(both->admin.listen.count, 3);
    ck_assert_str_eq(both->admin.listen.items[0], "unix:/run/e.sock");
    ck_assert_str_eq(both->admin.listen.items[1], "unix:./var/admin.sock");
    AUTO(auto_config_destroy) struct config *off = parse("admin: {listen: []}\n");
    ck_assert_uint_eq(off->admin.listen.count, 0);
}
END_TEST

START_TEST(the_sample_that_is_served_says_nothing_but_defaults)
{
    ck_assert_int_eq(chdir(SOURCE_ROOT), 0);
    AUTO_BUF struct buf errors = BUF_INIT(64 * KIB), keys = BUF_INIT(KIB);
    AUTO(auto_config_destroy) struct config *sample = NULL, *defaults = NULL;
    ck_assert_int_eq(config_load("config/entrepot.yaml", &sample, &errors), 0);
    ck_assert_int_eq(config_default(&defaults), 0);
    ck_assert_int_eq(config_restart_keys(defaults, sample, &keys), 0);
    ck_assert_str_eq(keys.data ? keys.data : "", "ops.listen"); /* nobody else's choice than who runs it */
    ck_assert_uint_eq(sample->registry_count, defaults->registry_count);
}
END_TEST

START_TEST(what_a_reload_cannot_change_is_named)
{
    AUTO(auto_config_destroy) struct config *was = parse("");
    AUTO(auto_config_destroy)
    struct config *now =
        parse("server: {listen: ['127.0.0.1:5000', '[::1]:5000'], answer_timeout: 1s}\nstore: {path: x}\n"
              "tags: {ttl: 0}\nlog: {level: debug}\nregistries: {quay.io: false}\n");
    AUTO_BUF struct buf keys = BUF_INIT(KIB);
    ck_assert_int_eq(config_restart_keys(was, now, &keys), 0);
    ck_assert_str_eq(keys.data, "server.listen, store.path, admin.listen");
}
END_TEST

/* ------------------------------------------------------------------ room */

START_TEST(room_is_bytes_or_a_percentage_of_the_file_system)
{
    AUTO(auto_config_destroy) struct config *c = parse("store: {max_size: 10GiB, min_free: 25%}");
    ck_assert_uint_eq(c->store.max_size.bytes, 10ULL << 30);
    ck_assert_uint_eq(c->store.max_size.percent, 0);
    ck_assert_uint_eq(config_room_bytes(&c->store.max_size, 1000), 10ULL << 30);
    ck_assert_uint_eq(config_room_bytes(&c->store.min_free, 1000), 250);
    AUTO(auto_config_destroy) struct config *none = parse("store: {min_free: 0}");
    ck_assert_uint_eq(config_room_bytes(&none->store.min_free, 1000), 0);
    expect_errors("store: {max_size: 0, min_free: 0%}",
                  "c.yaml:1:19: store.max_size: \"0\" is out of range: 1 to 9223372036854775807\n"
                  "c.yaml:1:32: store.min_free: \"0%\" is not a percentage of 1% to 100%\n");
    expect_errors("store: {max_size: 5GB}",
                  "c.yaml:1:19: store.max_size: \"5GB\" is not a size or percentage, such as 10GiB or 90%\n");
}
END_TEST

/* ------------------------------------------------------------------ the table and its documentation */

static void check_table(const struct schema_item *items, unsigned depth)
{
    ck_assert_uint_lt(depth, SCHEMA_DEPTH_MAX);
    size_t count = 0;
    for (const struct schema_item *item = items; item->name; item++, count++) {
        ck_assert_msg(item->doc && item->doc[strlen(item->doc) - 1] == '.', "%s has no documentation", item->name);
        ck_assert_msg(!item->derive || item->derived, "%s does not say what its default is", item->name);
        ck_assert_msg(item->min <= item->max, "%s has no range", item->name);
        bool bounded = item->type == SCHEMA_COUNT || item->type == SCHEMA_DURATION || item->type == SCHEMA_SIZE ||
                       item->type == SCHEMA_ROOM || item->type == SCHEMA_TEXTS || item->type == SCHEMA_LIST ||
                       item->type == SCHEMA_MAP;
        ck_assert_msg(bounded == (item->max > 0), "%s: limits and type do not fit", item->name);
        bool nests = item->type == SCHEMA_SECTION || item->type == SCHEMA_LIST || item->type == SCHEMA_MAP;
        ck_assert_msg(nests == (item->items != NULL), "%s: table and type do not fit", item->name);
        ck_assert_msg((item->type == SCHEMA_CHOICE) == (item->choices != NULL), "%s: choices", item->name);
        bool has_default = item->fallback || item->derive || item->required;
        bool may_be_unset = nests || item->type == SCHEMA_TEXT || item->type == SCHEMA_TEXTS;
        ck_assert_msg(has_default || may_be_unset, "%s has no default", item->name);
        for (const struct schema_item *other = items; other != item; other++)
            ck_assert_str_ne(item->name, other->name);
        if (item->items)
            check_table(item->items, depth + 1);
    }
    ck_assert_uint_le(count, SCHEMA_ITEMS_MAX);
}

START_TEST(every_row_of_the_table_is_whole)
{
    check_table(config_schema, 1);
}
END_TEST

START_TEST(the_reference_in_docs_is_what_the_table_says)
{
    AUTO_BUF struct buf wanted = BUF_INIT(MIB), found = BUF_INIT(MIB);
    ck_assert_int_eq(config_reference(&wanted), 0);
    AUTO_FCLOSE FILE *f = fopen(SOURCE_ROOT "/docs/configuration.md", "r");
    ck_assert(f != NULL);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        ck_assert_int_eq(buf_add(&found, block, n), 0);
    ck_assert_msg(strcmp(wanted.data, found.data) == 0, "write it anew: entrepot reference >docs/configuration.md");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("config");
    tcase_add_test(t, an_empty_file_is_a_mirror_of_the_known_registries_for_this_machine);
    tcase_add_test(t, a_registry_is_found_by_name_and_alias_in_any_case);
    tcase_add_test(t, what_is_said_of_a_builtin_registry_replaces_the_same_key_only);
    tcase_add_test(t, a_builtin_registry_is_taken_away_by_false);
    tcase_add_test(t, a_registry_of_which_nothing_is_said_is_at_its_name);
    tcase_add_test(t, slashes_at_the_end_of_a_url_are_left_out);
    tcase_add_test(t, the_default_registry_may_be_said_by_an_alias);
    tcase_add_test(t, registries_inherit_what_is_said_for_all);
    tcase_add_test(t, private_addresses_are_allowed_where_the_url_is_one_unless_it_is_said);
    tcase_add_test(t, a_registry_without_sources_is_its_own);
    tcase_add_test(t, a_source_has_what_its_registry_has_unless_it_says_otherwise);
    tcase_add_test(t, the_certificate_that_is_said_first_comes_before_the_others);
    tcase_add_test(t, tokens_are_for_the_service_unless_another_audience_is_said);
    tcase_add_test(t, what_everybody_may_pull_is_said_by_patterns);
    tcase_add_test(t, a_rule_gives_pulls_unless_it_says_something_else);
    tcase_add_loop_test(t, pulls_and_the_admin_api_ask_for_logins_where_rules_say_so, 0, ARRAY_SIZE(logins));
    tcase_add_test(t, users_who_may_administer_need_no_token_file);
    tcase_add_test(t, credentials_that_are_not_there_yet_are_no_error);
    tcase_add_loop_test(t, what_does_not_fit_together_is_refused_with_its_place, 0, ARRAY_SIZE(wrongs));
    tcase_add_test(t, no_error_shows_a_password);
    tcase_add_test(t, the_first_rule_that_matches_says_how_long_a_tag_is_fresh);
    tcase_add_test(t, a_name_of_any_length_has_a_time);
    tcase_add_test(t, a_file_of_one_mebibyte_is_read_and_a_larger_one_refused);
    tcase_add_test(t, a_file_that_cannot_be_read_is_named);
    tcase_add_test(t, every_sample_configuration_is_good);
    tcase_add_test(t, the_admin_socket_is_in_the_store_unless_it_is_said);
    tcase_add_test(t, the_sample_that_is_served_says_nothing_but_defaults);
    tcase_add_test(t, what_a_reload_cannot_change_is_named);
    tcase_add_test(t, room_is_bytes_or_a_percentage_of_the_file_system);
    tcase_add_test(t, every_row_of_the_table_is_whole);
    tcase_add_test(t, the_reference_in_docs_is_what_the_table_says);
    Suite *s = suite_create("config");
    suite_add_tcase(s, t);
    return suite_run(s);
}
