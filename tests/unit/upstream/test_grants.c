/* Times that no test can wait for, and the trust of a source. The loop is turned by the test itself. */
#include "upstream/grants.h"

#include "base/clock.h"
#include "base/limits.h"
#include "suite.h"
#include "upstream/loop.h"
#include "world.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct world world;
static struct loop loop;
static struct source *source;
static struct httpd *httpd;
static int status;
static const char *token;
static char realm[128];

static void answer(struct exchange *x)
{
    char reply[128];
    (void)snprintf(reply, sizeof(reply), "{\"token\":\"%s\",\"expires_in\":300}", token);
    exchange_reply(x, status, "", reply);
}

static void start(void)
{
    status = 200;
    token = "one";
    httpd = httpd_start("127.0.0.1", answer, NULL);
    world_init(&world);
    (void)world_add(&world, httpd);
    (void)snprintf(realm, sizeof(realm), "http://127.0.0.1:%u/token", httpd_port(httpd));
    ck_assert_int_eq(loop_init(&loop), 0);
    ck_assert_int_eq(world_source(&world, &world.registries[0], &world.sources[0][0], &source), 0);
}

static void stop(void)
{
    loop_stop(&loop);
    loop_finish(&loop);
    source_unref(source);
    world_finish(&world);
    httpd_stop(httpd);
}

static struct grant *find(const char *scope)
{
    struct challenge c = {.scheme = CHALLENGE_BEARER, .realm = realm, .scope = (char *)(uintptr_t)scope};
    struct grant *g;
    ck_assert_int_eq(grants_find(source->grants[0], source, &c, "library/a", false, &g), 0);
    return g;
}

static int take(struct grant *g)
{
    bool asked;
    return grant_take(g, &loop, source, &asked);
}

static void turn_until_fetched(struct grant *g)
{
    for (loop_turn(&loop); g->fetch; loop_turn(&loop))
        loop_wait(&loop);
}

START_TEST(a_token_is_renewed_while_the_old_one_serves)
{
    start();
    struct grant *g = find("x");
    ck_assert_int_eq(take(g), -EINPROGRESS);
    ck_assert_int_eq(take(g), -EINPROGRESS);
    turn_until_fetched(g);
    ck_assert_int_eq(take(g), 0);
    ck_assert_str_eq(g->authorization, "Bearer one");
    int64_t left = g->refresh_at - clock_monotonic_ms();
    ck_assert(left > 200000 && left <= 240000); /* four fifths of 300 s */

    token = "two";
    g->refresh_at = 0;
    ck_assert_int_eq(take(g), 0);
    ck_assert_str_eq(g->authorization, "Bearer one");
    ck_assert_int_eq(take(g), 0);
    turn_until_fetched(g);
    ck_assert_int_eq(take(g), 0);
    ck_assert_str_eq(g->authorization, "Bearer two");
    ck_assert_uint_eq(httpd_count(httpd, "GET /token"), 2);
    grant_release(g);
    stop();
}
END_TEST

START_TEST(a_token_serves_to_its_end_when_it_cannot_be_renewed)
{
    start();
    struct grant *g = find("x");
    ck_assert_int_eq(take(g), -EINPROGRESS);
    turn_until_fetched(g);
    status = 503;
    g->refresh_at = 0;
    ck_assert_int_eq(take(g), 0);
    turn_until_fetched(g);
    ck_assert_int_eq(take(g), 0);
    ck_assert_str_eq(g->authorization, "Bearer one");
    ck_assert_int_gt(g->refresh_at, 0); /* not again at once */
    ck_assert_uint_eq(httpd_count(httpd, "GET /token"), 2);
    g->expires_at = 0;
    g->failed_until = INT64_MAX;
    ck_assert_int_eq(take(g), -EREMOTEIO);
    ck_assert_uint_eq(httpd_count(httpd, "GET /token"), 2);
    g->failed_until = 0;
    ck_assert_int_eq(take(g), -EINPROGRESS);
    turn_until_fetched(g);
    ck_assert_int_eq(g->error, -EREMOTEIO);
    ck_assert_int_gt(g->failed_until, 0);
    ck_assert_uint_eq(httpd_count(httpd, "GET /token"), 3);
    grant_release(g);
    stop();
}
END_TEST

START_TEST(only_the_token_that_was_refused_is_dropped)
{
    start();
    struct grant *g = find("x");
    ck_assert_int_eq(take(g), -EINPROGRESS);
    turn_until_fetched(g);
    uint64_t serial = g->serial;
    grant_reject(g, serial - 1);
    ck_assert_int_eq(take(g), 0);
    grant_reject(g, serial);
    ck_assert_int_eq(take(g), -EINPROGRESS);
    turn_until_fetched(g);
    ck_assert_int_eq(take(g), 0);
    grant_release(g);
    stop();
}
END_TEST

START_TEST(what_is_remembered_is_bounded_and_what_is_held_is_kept)
{
    start();
    struct grant *held = find("held");
    struct challenge c = {.scheme = CHALLENGE_BEARER, .realm = realm, .scope = (char[]){"repository:n0:pull"}};
    char name[64];
    for (unsigned i = 0; i < 2 * LIMIT_GRANTS; i++) {
        (void)snprintf(name, sizeof(name), "n%u", i);
        grant_release(find(name));
        grants_remember(source->grants[0], name, &c);
    }
    ck_assert_ptr_eq(find("held"), held);
    grant_release(held);
    grant_release(held);
    ck_assert_ptr_nonnull(held->key);
    stop();
}
END_TEST

START_TEST(a_challenge_of_another_repository_is_made_to_fit_or_left)
{
    static const struct {
        const char *scope, *expected;
        int result;
    } cases[] = {
        {"repository:library/a:pull", "repository:library/b:pull", 0},
        {"repository:library/a:pull,push", "repository:library/b:pull,push", 0},
        {"aws", "aws", 0},
        {NULL, NULL, 0},
        {"", NULL, 0},
        {"repository:other:pull", NULL, -ENOENT},
        {"repository:library/ab:pull", NULL, -ENOENT},
        {"repository:library/a:pull repository:library/a:push", NULL, -ENOENT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct grants *g = grants_create();
        struct challenge c = {.scheme = CHALLENGE_BEARER,
                              .realm = (char[]){"http://a/"},
                              .scope = (char *)(uintptr_t)cases[i].scope},
                         got = {0};
        grants_remember(g, "library/a", &c);
        ck_assert_msg(grants_recall(g, "library/b", &got) == cases[i].result, "%zu", i);
        ck_assert_pstr_eq(got.scope, cases[i].expected);
        challenge_finish(&got);
        ck_assert_int_eq(grants_recall(g, "library/a", &got), 0);
        ck_assert_pstr_eq(got.scope, cases[i].scope);
        challenge_finish(&got);
        grants_forget(g, "library/a");
        ck_assert_int_eq(grants_recall(g, "library/a", &got), -ENOENT);
        ck_assert_int_eq(grants_recall(g, "library/b", &got), -ENOENT);
        ck_assert(!grants_refused_lately(g, "library/a"));
        grants_note_refusal(g, "library/a");
        ck_assert(grants_refused_lately(g, "library/a"));
        ck_assert(!grants_refused_lately(g, "library/b"));
        grants_destroy(g);
    }
}
END_TEST

START_TEST(the_account_is_for_the_registrys_own)
{
    static const struct {
        const char *registry, *realm;
        bool trusted;
    } cases[] = {
        {"https://registry-1.docker.io", "https://auth.docker.io/token", true},
        {"https://registry-1.docker.io", "http://auth.docker.io/token", false},
        {"https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", false},
        {"https://registry-1.docker.io", "https://evil.example/token", false},
        {"https://nvcr.io", "https://authn.nvidia.com/token", false},
        {"https://registry.example.com", "https://login.trusted.example/", true}, /* in auth_hosts */
        {"https://registry.example.com", "https://a.login.trusted.example/", false},
        {"https://a.github.io", "https://b.github.io/", false}, /* a public suffix */
        {"https://a.co.uk", "https://b.co.uk/", false},
        {"http://registry", "http://registry:81/", true},
        {"http://registry", "http://other/", false},
        {"http://10.0.0.1:5000", "http://10.0.0.1:5001/", true},
        {"http://10.0.0.1:5000", "http://10.0.0.2:5000/", false},
        {"http://[::1]:5000", "http://[0:0::1]:1/", true},
    };
    world_init(&world);
    char *hosts[] = {(char[]){"login.trusted.example"}, NULL};
    struct config_registry r = {.name = (char[]){"r"}};
    struct config_source c = {.name = r.name, .auth_hosts = {hosts, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        r.url = c.url = (char *)(uintptr_t)cases[i].registry;
        struct url url;
        ck_assert_int_eq(world_source(&world, &r, &c, &source), 0);
        ck_assert_int_eq(url_parse(cases[i].realm, &url), 0);
        ck_assert_msg(source_trusts(source, &url) == cases[i].trusted, "%s", cases[i].realm);
        url_finish(&url);
        source_unref(source);
    }
    world_finish(&world);
}
END_TEST

START_TEST(a_realm_in_plain_text_is_not_asked_for_a_secure_registry)
{
    start();
    source_unref(source);
    world.sources[0][0].url = (char[]){"https://registry.example"};
    ck_assert_int_eq(world_source(&world, &world.registries[0], &world.sources[0][0], &source), 0);
    struct challenge c = {.scheme = CHALLENGE_BEARER, .realm = realm};
    struct grant *g = NULL;
    ck_assert_int_eq(grants_find(source->grants[0], source, &c, "a", false, &g), -EPERM);
    c.realm = (char[]){"not a url"};
    ck_assert_int_eq(grants_find(source->grants[0], source, &c, "a", false, &g), -EPROTO);
    ck_assert_ptr_null(g);
    stop();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grants");
    TCase *t = tcase_create("grants");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, a_token_is_renewed_while_the_old_one_serves);
    tcase_add_test(t, a_token_serves_to_its_end_when_it_cannot_be_renewed);
    tcase_add_test(t, only_the_token_that_was_refused_is_dropped);
    tcase_add_test(t, what_is_remembered_is_bounded_and_what_is_held_is_kept);
    tcase_add_test(t, a_challenge_of_another_repository_is_made_to_fit_or_left);
    tcase_add_test(t, the_account_is_for_the_registrys_own);
    tcase_add_test(t, a_realm_in_plain_text_is_not_asked_for_a_secure_registry);
    return suite_run(s);
}
