#include "server/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "folder.h"
#include "suite.h"
#include "token.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RIGHT "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC"   /* of "right" */
#define SLOWLY "$2y$09$abcdefghijklmnopqrstuulMZf6jtM3mHTB9FndCo./ZQ5Frbrp8C"  /* of "right", and slow */
#define ANOTHER "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiD" /* of a password that is not known */
#define JO "Basic am86cmlnaHQ="                                                /* jo:right */
#define JO_WRONG "Basic am86d3Jvbmc="                                          /* jo:wrong */
#define AL "Basic YWw6cmlnaHQ="                                                /* al:right */
#define HOME "192.0.2.1"

static char file[256];
static struct config config;
static struct auth *auth;
static struct token_key key;

/* A request that is suspended and woken, in place of libmicrohttpd's. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool suspended;
} request = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void suspend(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&request.lock);
    ck_assert(!request.suspended);
    request.suspended = true;
    (void)pthread_mutex_unlock(&request.lock);
}

static void wake(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&request.lock);
    request.suspended = false;
    (void)pthread_cond_broadcast(&request.changed);
    (void)pthread_mutex_unlock(&request.lock);
}

static const struct mirror_waiter waiter = {.suspend = suspend, .wake = wake};

static enum auth_verdict identify(const char *authorization, const char *address, struct identity *identity)
{
    *identity = (struct identity){.certificate = ""};
    enum auth_verdict v;
    while ((v = auth_identify(auth, authorization, address, &waiter, identity)) == AUTH_WAITS) {
        (void)pthread_mutex_lock(&request.lock);
        while (request.suspended)
            (void)pthread_cond_wait(&request.changed, &request.lock);
        (void)pthread_mutex_unlock(&request.lock);
    }
    identity_finish(identity);
    return v;
}

static void setup(void)
{
    log_configure(LOG_ERROR, LOG_TEXT);
    folder_create();
    (void)snprintf(file, sizeof(file), "%s", folder_path("users"));
    folder_put("users", "jo:" RIGHT "\nal:" RIGHT "\n");
    config.server.auth.htpasswd = file;
    config.server.auth.remember_ms = 300000;
    config.server.auth.failures = 5;
}

static void create(void)
{
    AUTO_BUF struct buf error = BUF_INIT(1024);
    int r = auth_create(&config, &auth, &error);
    ck_assert_msg(r == 0, "%s", error.data);
}

static void teardown(void)
{
    auth_destroy(auth);
    folder_remove();
    if (key.key)
        token_key_finish(&key);
}

/* ------------------------------------------------------------------ who */

START_TEST(without_file_and_rules_there_is_nothing_to_ask_for)
{
    config.server.auth.htpasswd = NULL;
    create();
    ck_assert_ptr_null(auth);
}
END_TEST

START_TEST(the_right_password_makes_a_user_known)
{
    struct identity i;
    create();
    for (int turn = 0; turn < 2; turn++) { /* checked, then remembered */
        ck_assert_int_eq(identify(JO, HOME, &i), AUTH_KNOWN);
        ck_assert_str_eq(i.user, "jo");
    }
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_KNOWN);
    ck_assert_str_eq(i.user, "al");
    ck_assert_int_eq(identify(NULL, HOME, &i), AUTH_KNOWN);
    ck_assert_str_eq(i.user, "");
}
END_TEST

static const char *const wrongs[] = {JO_WRONG, "Basic bm9ib2R5OnJpZ2h0" /* nobody:right */, "Basic rubbish!",
                                     "Bearer x", "Digest x"};

START_TEST(anything_else_is_wrong)
{
    struct identity i;
    create();
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(identify(wrongs[_i], HOME, &i), AUTH_WRONG);
        ck_assert_str_eq(i.user, "");
    }
}
END_TEST

START_TEST(who_fails_too_often_has_to_wait_and_others_do_not)
{
    struct identity i;
    create();
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_KNOWN);
    for (int turn = 0; turn < 5; turn++)
        ck_assert_int_eq(identify(JO_WRONG, HOME, &i), AUTH_WRONG);
    ck_assert_int_eq(identify(JO_WRONG, HOME, &i), AUTH_SLOW);
    ck_assert(i.retry_after_s >= 1 && i.retry_after_s <= 13);
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_SLOW);  /* who may be guessing */
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_KNOWN); /* is remembered */
    ck_assert_int_eq(identify(AL, "192.0.2.2", &i), AUTH_KNOWN);
    ck_assert_int_eq(identify(NULL, HOME, &i), AUTH_KNOWN);
}
END_TEST

/* Several requests at once: how many of them are suspended. */
static unsigned waiting;

static void suspend_one(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&request.lock);
    waiting++;
    (void)pthread_mutex_unlock(&request.lock);
}

static void wake_one(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&request.lock);
    waiting--;
    (void)pthread_cond_broadcast(&request.changed);
    (void)pthread_mutex_unlock(&request.lock);
}

/* How many are found wrong at once or wait for it, the threads being slow, is theirs to say: each of them counts. */
START_TEST(who_guesses_many_at_once_has_to_wait_for_all_of_them)
{
    static const struct mirror_waiter waiters = {.suspend = suspend_one, .wake = wake_one};
    struct identity guesses[20], i;
    char texts[20][32];
    int64_t wrong = 0;
    folder_put("users", "jo:" SLOWLY "\n");
    create();
    int64_t began_ms = clock_monotonic_ms();
    for (int n = 0; n < 20; n++) {
        guesses[n] = (struct identity){.certificate = ""};
        (void)snprintf(texts[n], sizeof(texts[n]), "Basic am86cmln%cHQ=", 'b' + n);
        wrong += auth_identify(auth, texts[n], HOME, &waiters, &guesses[n]) == AUTH_WRONG;
    }
    (void)pthread_mutex_lock(&request.lock);
    while (waiting > 0)
        (void)pthread_cond_wait(&request.changed, &request.lock);
    (void)pthread_mutex_unlock(&request.lock);
    for (int n = 0; n < 20; n++)
        if (guesses[n].login)
            wrong += auth_identify(auth, texts[n], HOME, &waiters, &guesses[n]) == AUTH_WRONG;
    ck_assert_int_ge(wrong, 5);
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_SLOW);
    int64_t elapsed_ms = clock_monotonic_ms() - began_ms;
    ck_assert_int_ge((int64_t)i.retry_after_s * 1000 + elapsed_ms, (wrong - 5) * 12000);
}
END_TEST

static void wait_for_wake(void)
{
    (void)pthread_mutex_lock(&request.lock);
    while (request.suspended)
        (void)pthread_cond_wait(&request.changed, &request.lock);
    (void)pthread_mutex_unlock(&request.lock);
}

START_TEST(a_password_that_was_changed_while_it_was_checked_is_not_taken)
{
    struct identity i = {.certificate = ""};
    folder_put("users", "jo:" SLOWLY "\n");
    create();
    while (auth_identify(auth, JO, HOME, &waiter, &i) != AUTH_WAITS) { /* it was checked before one could wait */
        auth_destroy(auth);
        create();
    }
    wait_for_wake();
    folder_put("users", "jo:" ANOTHER "\n");
    auth_reload(auth);
    enum auth_verdict v;
    while ((v = auth_identify(auth, JO, HOME, &waiter, &i)) == AUTH_WAITS)
        wait_for_wake();
    ck_assert_int_eq(v, AUTH_WRONG);
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_WRONG);
}
END_TEST

START_TEST(nobody_has_the_password_of_somebody_else)
{
    struct identity i;
    folder_put("users", "jo:" RIGHT "\n");
    create();
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_WRONG);
    folder_put("users", "jo:" RIGHT "\nal:" RIGHT "\n");
    auth_reload(auth);
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_KNOWN);
}
END_TEST

START_TEST(a_file_that_changes_is_read_again)
{
    struct identity i;
    create();
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_KNOWN);
    folder_put("users", "al:" RIGHT "\n");
    auth_reload(auth);
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_WRONG);
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_KNOWN);
    folder_put("users", "jo:rubbish\n");
    for (int turn = 0; turn < 2; turn++) {
        auth_reload(auth);
        ck_assert_int_eq(metrics_value(METRIC_AUTH_RELOAD_SUCCESS, NO_LABELS), 0);
        ck_assert_int_eq(identify(AL, HOME, &i), AUTH_KNOWN);
    }
    folder_put("users", "jo:" RIGHT "\n");
    auth_reload(auth);
    ck_assert_int_eq(metrics_value(METRIC_AUTH_RELOAD_SUCCESS, NO_LABELS), 1);
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_KNOWN);
    ck_assert_int_eq(identify(AL, HOME, &i), AUTH_WRONG);
}
END_TEST

START_TEST(a_bad_file_at_the_start_is_said)
{
    AUTO_BUF struct buf error = BUF_INIT(1024);
    folder_put("users", "jo\n");
    ck_assert_int_eq(auth_create(&config, &auth, &error), -EINVAL);
    ck_assert(strstr(error.data, "/users: line 1: user:hash is expected"));
    auth = NULL;
}
END_TEST

START_TEST(after_the_cut_nobody_waits)
{
    struct identity i = {.certificate = ""};
    create();
    auth_cut(auth);
    ck_assert_int_eq(identify(JO, HOME, &i), AUTH_BUSY);
}
END_TEST

START_TEST(who_leaves_while_his_password_is_checked_is_forgotten)
{
    create();
    for (int turn = 0; turn < 20; turn++) {
        struct identity i = {.certificate = ""};
        char authorization[64];
        (void)snprintf(authorization, sizeof(authorization), "Basic am86cmlnaH%c=", 'A' + turn);
        if (auth_identify(auth, authorization, "", &waiter, &i) == AUTH_WAITS)
            identity_finish(&i);
        (void)pthread_mutex_lock(&request.lock);
        request.suspended = false;
        (void)pthread_mutex_unlock(&request.lock);
    }
}
END_TEST

/* ------------------------------------------------------------------ what */

#define LIST(...)                                                                                                      \
    {                                                                                                                  \
        .items = (char *[]){__VA_ARGS__, NULL}, .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)              \
    }
#define T(s) ((char[]){s})

static const struct {
    const char *user, *certificate, *registry, *repository;
    bool allowed, private;
} asks[] = {
    {"jo", "", "docker.io", "library/alpine", true, false},
    {"", "", "docker.io", "library/alpine", true, false},
    {"jo", "", "docker.io", "company/app", true, true},
    {"al", "", "docker.io", "company/app", false, false},
    {"", "", "docker.io", "company/app", false, false},
    {"", "node-7", "docker.io", "company/app", true, false},
    {"", "edge-7", "docker.io", "company/app", false, false},
    {"ci-1", "", "quay.io", "a/b/c", true, false},
    {"ci", "", "quay.io", "a/b/c", false, false},
    {"ci-1", "", "docker.io", "x/y", false, false},
    {"", "", "", "", false, false},
};

START_TEST(one_rule_that_allows_it_is_enough)
{
    struct config_auth_rule rules[] = {
        {.anonymous = true, .repositories = LIST(T("docker.io/library/*")), .rights = CONFIG_MAY_PULL},
        {.users = LIST(T("jo"), T("zoe")),
         .repositories = LIST(T("docker.io/company/*")),
         .private = true,
         .rights = CONFIG_MAY_PULL},
        {.certificates = LIST(T("node-*")), .repositories = LIST(T("*")), .rights = CONFIG_MAY_PULL},
        {.users = LIST(T("ci-*")), .repositories = LIST(T("quay.io/*"), T("ghcr.io/*")), .rights = CONFIG_MAY_PULL},
    };
    struct identity i = {.certificate = asks[_i].certificate};
    bool private;
    config.server.auth.rules = rules;
    config.server.auth.rule_count = ARRAY_SIZE(rules);
    create();
    (void)snprintf(i.user, sizeof(i.user), "%s", asks[_i].user);
    ck_assert(auth_allows(auth, &i, asks[_i].registry, asks[_i].repository, &private) == asks[_i].allowed);
    ck_assert(private == asks[_i].private);
}
END_TEST

#define SEED CONFIG_MAY_SEED
#define ADMINISTER CONFIG_MAY_ADMIN

static struct config_auth_rule roles[] = {
    {.users = LIST(T("jo"), T("al")), .repositories = LIST(T("docker.io/library/*")), .rights = CONFIG_MAY_PULL},
    {.users = LIST(T("jo")), .repositories = LIST(T("quay.io/company/*")), .rights = SEED},
    {.users = LIST(T("bo")), .repositories = LIST(T("*")), .rights = SEED},
    {.users = LIST(T("root")), .repositories = LIST(T("*")), .rights = ADMINISTER},
    {.certificates = LIST(T("ci")), .repositories = LIST(T("quay.io/ci")), .rights = SEED | CONFIG_MAY_PULL},
};

static void take_roles(void)
{
    config.server.auth.rules = roles;
    config.server.auth.rule_count = ARRAY_SIZE(roles);
}

static const struct {
    const char *user, *certificate, *registry, *repository;
    bool pull, seed, somewhere, everywhere, administer;
} players[] = {
    {"jo", "", "docker.io", "library/a", true, false, true, false, false},
    {"jo", "", "quay.io", "company/a", false, true, true, false, false},
    {"jo", "", "quay.io", "other/a", false, false, true, false, false},
    {"al", "", "docker.io", "library/a", true, false, false, false, false},
    {"bo", "", "docker.io", "library/a", false, true, true, true, false},
    {"root", "", "docker.io", "library/a", false, true, true, true, true},
    {"", "ci", "quay.io", "ci", true, true, true, false, false},
    {"", "ci", "quay.io", "company/a", false, false, true, false, false},
    {"", "", "quay.io", "company/a", false, false, false, false, false},
    {"al", "ci", "quay.io", "ci", true, true, true, false, false},
};

START_TEST(a_rule_gives_what_it_says_and_nothing_else)
{
    struct identity i = {.certificate = players[_i].certificate};
    const char *registry = players[_i].registry, *repository = players[_i].repository;
    bool private;
    take_roles();
    create();
    (void)snprintf(i.user, sizeof(i.user), "%s", players[_i].user);
    ck_assert(auth_allows(auth, &i, registry, repository, &private) == players[_i].pull);
    ck_assert(auth_may_seed(auth, &i, registry, repository) == players[_i].seed);
    ck_assert(auth_may_seed_somewhere(auth, &i) == players[_i].somewhere);
    ck_assert(auth_may_seed_everywhere(auth, &i) == players[_i].everywhere);
    ck_assert(auth_may_administer(auth, &i) == players[_i].administer);
    ck_assert(!auth_token_bounds_admin(auth, &i));
}
END_TEST

START_TEST(rules_that_give_no_pulls_leave_them_to_who_has_logged_in)
{
    struct identity i = {.user = "jo", .certificate = ""};
    bool private;
    config.server.auth.rules = &roles[3];
    config.server.auth.rule_count = 1;
    create();
    ck_assert(auth_allows(auth, &i, "docker.io", "a/b", &private) && !private);
    i.user[0] = '\0';
    ck_assert(!auth_allows(auth, &i, "docker.io", "a/b", &private));
}
END_TEST

START_TEST(without_rules_who_has_logged_in_may_pull_what_is_public)
{
    struct identity i = {.user = "jo", .certificate = ""};
    bool private = true;
    create();
    ck_assert(auth_allows(auth, &i, "docker.io", "a/b", &private) && !private);
    i.user[0] = '\0';
    ck_assert(!auth_allows(auth, &i, "docker.io", "a/b", &private));
}
END_TEST

/* ------------------------------------------------------------------ tokens */

static char keys[256];
static struct config_registry docker = {.name = (char[]){"docker.io"}};

#define GRANTS(name) "\"access\":[{\"type\":\"repository\",\"name\":\"" name "\",\"actions\":[\"pull\"]}]"
#define CLAIMS "\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":99999999999"

/* "Bearer …" of the claims, which the caller frees. */
static char *bearer(const char *claims)
{
    char *token = token_sign(&key, "{\"alg\":\"EdDSA\"}", claims), *value;
    ck_assert_int_ge(asprintf(&value, "Bearer %s", token), 0);
    free(token);
    return value;
}

static void create_for_tokens(void)
{
    static char realm[] = "https://auth.example/token", service[] = "mirror", issuer[] = "issuer";
    token_key_create(&key, TOKEN_ED25519);
    (void)snprintf(keys, sizeof(keys), "%s", folder_path("keys"));
    folder_put("keys", key.pem);
    config.server.auth.htpasswd = NULL;
    config.server.auth.token.keys = keys;
    config.server.auth.token.realm = realm;
    config.server.auth.token.service = config.server.auth.token.audience = service;
    config.server.auth.token.issuer = issuer;
    config.default_registry = &docker;
    create();
}

static enum auth_verdict show(const char *claims, struct identity *identity)
{
    AUTO_FREE char *authorization = bearer(claims);
    *identity = (struct identity){.certificate = ""};
    return auth_identify(auth, authorization, HOME, &waiter, identity);
}

static const struct {
    const char *granted, *registry, *repository;
    bool allowed;
} scopes[] = {
    {"{" CLAIMS "," GRANTS("a/b") "}", "docker.io", "a/b", true},
    {"{" CLAIMS "," GRANTS("docker.io/a/b") "}", "docker.io", "a/b", true},
    {"{" CLAIMS "," GRANTS("quay.io/a/b") "}", "quay.io", "a/b", true},
    {"{" CLAIMS "," GRANTS("a/b") "}", "quay.io", "a/b", false},
    {"{" CLAIMS "," GRANTS("quay.io/a/b") "}", "docker.io", "a/b", false},
    {"{" CLAIMS "," GRANTS("a/b") "}", "docker.io", "a/c", false},
    {"{" CLAIMS "}", "docker.io", "a/b", false},
};

START_TEST(a_token_is_for_what_it_grants_and_a_name_without_registry_for_the_default_one)
{
    struct identity i;
    bool private;
    create_for_tokens();
    ck_assert_int_eq(show(scopes[_i].granted, &i), AUTH_KNOWN);
    ck_assert(auth_allows(auth, &i, scopes[_i].registry, scopes[_i].repository, &private) == scopes[_i].allowed);
    ck_assert(auth_token_lacks(auth, &i, scopes[_i].registry, scopes[_i].repository) != scopes[_i].allowed);
    ck_assert(!private);
    identity_finish(&i);
}
END_TEST

#define ACCESS(type, name, action)                                                                                     \
    "\"access\":[{\"type\":\"" type "\",\"name\":\"" name "\",\"actions\":[\"" action "\"]}]"

static const struct {
    const char *user, *access;
    bool seed, administer, bounded;
} tokens[] = {
    {"root", ACCESS("registry", "admin", "admin"), true, true, false},
    {"root", ACCESS("registry", "admin", "*"), true, true, false},
    {"root", ACCESS("registry", "admin", "seed"), true, false, true},
    {"root", ACCESS("registry", "catalog", "*"), false, false, true},
    {"root", ACCESS("repository", "admin", "*"), false, false, true},
    {"root", ACCESS("repository", "quay.io/company/a", "pull"), false, false, true},
    {"jo", ACCESS("registry", "admin", "*"), true, false, false},
    {"jo", ACCESS("registry", "admin", "seed"), true, false, false},
    {"jo", ACCESS("repository", "quay.io/company/a", "*"), false, false, true},
    {"al", ACCESS("registry", "admin", "*"), false, false, false},
};

START_TEST(a_token_is_for_the_admin_api_where_it_says_so_and_rules_say_for_what)
{
    char claims[512];
    struct identity i;
    take_roles();
    create_for_tokens();
    (void)snprintf(claims, sizeof(claims), "{" CLAIMS ",\"sub\":\"%s\",%s}", tokens[_i].user, tokens[_i].access);
    ck_assert_int_eq(show(claims, &i), AUTH_KNOWN);
    ck_assert(auth_may_seed(auth, &i, "quay.io", "company/a") == tokens[_i].seed);
    ck_assert(auth_may_seed_somewhere(auth, &i) == tokens[_i].seed);
    ck_assert(auth_may_administer(auth, &i) == tokens[_i].administer);
    ck_assert(auth_token_bounds_admin(auth, &i) == tokens[_i].bounded);
    identity_finish(&i);
}
END_TEST

START_TEST(who_has_no_token_for_the_admin_api_is_told_where_to_get_one)
{
    AUTO_BUF struct buf value = BUF_INIT(4096);
    struct identity i = {.certificate = ""};
    create_for_tokens();
    ck_assert_int_eq(auth_admin_challenge(auth, &i, &value), 0);
    ck_assert_str_eq(value.data,
                     "Bearer realm=\"https://auth.example/token\",service=\"mirror\",scope=\"registry:admin:"
                     "seed,admin\"");
}
END_TEST

START_TEST(rules_bound_a_token_and_a_token_bounds_rules)
{
    struct config_auth_rule rules[] = {
        {.anonymous = true, .repositories = LIST(T("docker.io/open/*")), .rights = CONFIG_MAY_PULL},
        {.users = LIST(T("jo")), .repositories = LIST(T("docker.io/a/*")), .private = true, .rights = CONFIG_MAY_PULL},
    };
    struct identity i;
    bool private;
    config.server.auth.rules = rules;
    config.server.auth.rule_count = ARRAY_SIZE(rules);
    create_for_tokens();
    ck_assert_int_eq(show("{" CLAIMS ",\"sub\":\"jo\"," GRANTS("a/b") "}", &i), AUTH_KNOWN);
    ck_assert_str_eq(i.user, "jo");
    ck_assert(auth_allows(auth, &i, "docker.io", "a/b", &private) && private);
    ck_assert(!auth_allows(auth, &i, "docker.io", "a/c", &private) && !private);
    ck_assert(auth_allows(auth, &i, "docker.io", "open/c", &private) && !private);
    identity_finish(&i);
    ck_assert_int_eq(show("{" CLAIMS ",\"sub\":\"al\"," GRANTS("a/b") "}", &i), AUTH_KNOWN);
    ck_assert(!auth_allows(auth, &i, "docker.io", "a/b", &private));
    ck_assert(!auth_token_lacks(auth, &i, "docker.io", "a/b"));
    identity_finish(&i);
}
END_TEST

static const struct {
    const char *claims, *flaw;
} refused[] = {
    {"{\"iss\":\"issuer\",\"aud\":\"mirror\",\"exp\":1}", "the token has expired"},
    {"{" CLAIMS ",\"sub\":\"j\\no\"}", "the token's subject is no name"},
    {"{" CLAIMS ",\"sub\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
     "0123456789012345678901234567890123456789012345678901234567\"}",
     "the token's subject is no name"},
    {"no claims", "this is no token"},
};

START_TEST(a_token_that_is_not_taken_has_a_flaw)
{
    struct identity i;
    create_for_tokens();
    for (int turn = 0; turn < 20; turn++) /* never AUTH_SLOW */
        ck_assert_int_eq(show(refused[_i].claims, &i), AUTH_WRONG);
    ck_assert_str_eq(i.flaw, refused[_i].flaw);
    ck_assert_str_eq(i.user, "");
    ck_assert_ptr_null(i.token);
}
END_TEST

START_TEST(keys_that_change_are_read_again_and_bad_ones_are_not_taken)
{
    struct identity i;
    struct token_key old;
    create_for_tokens();
    old = key;
    token_key_create(&key, TOKEN_ED25519);
    ck_assert_int_eq(show("{" CLAIMS "}", &i), AUTH_WRONG);
    folder_put("keys", key.pem);
    auth_reload(auth);
    folder_put("keys", "none\n");
    for (int turn = 0; turn < 2; turn++) {
        auth_reload(auth);
        ck_assert_int_eq(metrics_value(METRIC_AUTH_RELOAD_SUCCESS, NO_LABELS), 0);
        ck_assert_int_eq(show("{" CLAIMS "}", &i), AUTH_KNOWN);
        identity_finish(&i);
    }
    token_key_finish(&old);
}
END_TEST

START_TEST(a_challenge_says_where_tokens_are_and_what_for)
{
    struct identity i = {.certificate = ""};
    AUTO_BUF struct buf value = BUF_INIT(1024);
    create_for_tokens();
    ck_assert(!auth_takes_passwords(auth));
    ck_assert_int_eq(auth_challenge(auth, &i, NULL, NULL, &value), 0);
    ck_assert_str_eq(value.data, "Bearer realm=\"https://auth.example/token\",service=\"mirror\"");
    buf_reset(&value);
    ck_assert_int_eq(auth_challenge(auth, &i, "quay.io", "a/b", &value), 0);
    ck_assert(strstr(value.data, ",scope=\"repository:quay.io/a/b:pull\""));
    buf_reset(&value);
    ck_assert_int_eq(show("{" CLAIMS "}", &i), AUTH_KNOWN);
    ck_assert_int_eq(auth_challenge(auth, &i, "docker.io", "a/b", &value), 0);
    ck_assert(strstr(value.data, ",scope=\"repository:a/b:pull\",error=\"insufficient_scope\""));
    identity_finish(&i);
    buf_reset(&value);
    ck_assert_int_eq(show("no claims", &i), AUTH_WRONG);
    ck_assert_int_eq(auth_challenge(auth, &i, NULL, NULL, &value), 0);
    ck_assert(strstr(value.data, ",error=\"invalid_token\""));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("auth");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, anything_else_is_wrong, 0, ARRAY_SIZE(wrongs));
    tcase_add_loop_test(t, one_rule_that_allows_it_is_enough, 0, ARRAY_SIZE(asks));
    tcase_add_test(t, without_file_and_rules_there_is_nothing_to_ask_for);
    tcase_add_test(t, the_right_password_makes_a_user_known);
    tcase_add_test(t, who_fails_too_often_has_to_wait_and_others_do_not);
    tcase_add_test(t, who_guesses_many_at_once_has_to_wait_for_all_of_them);
    tcase_add_test(t, a_password_that_was_changed_while_it_was_checked_is_not_taken);
    tcase_add_test(t, nobody_has_the_password_of_somebody_else);
    tcase_add_test(t, a_file_that_changes_is_read_again);
    tcase_add_test(t, a_bad_file_at_the_start_is_said);
    tcase_add_test(t, after_the_cut_nobody_waits);
    tcase_add_test(t, who_leaves_while_his_password_is_checked_is_forgotten);
    tcase_add_test(t, without_rules_who_has_logged_in_may_pull_what_is_public);
    tcase_add_loop_test(t, a_rule_gives_what_it_says_and_nothing_else, 0, ARRAY_SIZE(players));
    tcase_add_test(t, rules_that_give_no_pulls_leave_them_to_who_has_logged_in);
    tcase_add_loop_test(t, a_token_is_for_the_admin_api_where_it_says_so_and_rules_say_for_what, 0, ARRAY_SIZE(tokens));
    tcase_add_test(t, who_has_no_token_for_the_admin_api_is_told_where_to_get_one);
    tcase_add_loop_test(t, a_token_is_for_what_it_grants_and_a_name_without_registry_for_the_default_one, 0,
                        ARRAY_SIZE(scopes));
    tcase_add_test(t, rules_bound_a_token_and_a_token_bounds_rules);
    tcase_add_loop_test(t, a_token_that_is_not_taken_has_a_flaw, 0, ARRAY_SIZE(refused));
    tcase_add_test(t, keys_that_change_are_read_again_and_bad_ones_are_not_taken);
    tcase_add_test(t, a_challenge_says_where_tokens_are_and_what_for);
    Suite *s = suite_create("auth");
    suite_add_tcase(s, t);
    return suite_run(s);
}
