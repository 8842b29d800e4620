#include "server/pull_secrets.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define JO "Basic am86cmlnaHQ=" /* jo:right */
#define HOME "192.0.2.1"

static struct config config;
static struct pull_secrets *secrets;

static void create(enum config_pull_secrets how)
{
    config.server.auth.failures = 3;
    config.server.auth.pull_secrets = how;
    ck_assert_int_eq(pull_secrets_create(&config, &secrets), 0);
}

static void teardown(void)
{
    pull_secrets_destroy(secrets);
}

START_TEST(there_are_none_where_they_are_off_or_clients_log_in_here)
{
    create(CONFIG_PULL_SECRETS_OFF);
    ck_assert_ptr_null(secrets);
    static struct config_auth_rule rule = {.rights = CONFIG_MAY_PULL};
    config.server.auth.rules = &rule;
    config.server.auth.rule_count = 1;
    create(CONFIG_PULL_SECRETS_ALWAYS);
    ck_assert_ptr_null(secrets);
    config.server.auth.rule_count = 0;
    static char file[] = "file";
    config.server.auth.htpasswd = file;
    create(CONFIG_PULL_SECRETS_ALWAYS);
    ck_assert_ptr_null(secrets);
}
END_TEST

START_TEST(they_are_taken_over_tls_or_always)
{
    struct pull_secret secret;
    create(CONFIG_PULL_SECRETS_TLS);
    pull_secrets_take(secrets, JO, HOME, false, &secret);
    ck_assert(!secret.offered && !secret.login);
    pull_secrets_take(secrets, JO, HOME, true, &secret);
    ck_assert(secret.offered && secret.login && secret.retry_after_s == 0);
    pull_secrets_destroy(secrets);
    create(CONFIG_PULL_SECRETS_ALWAYS);
    pull_secrets_take(secrets, JO, HOME, false, &secret);
    ck_assert(secret.offered && secret.login);
}
END_TEST

static const char *const nothings[] = {NULL, "", "Basic Og==", "Bearer token", "Basic OnB3", "Basic !"};

START_TEST(only_a_user_with_a_password_is_one)
{
    struct pull_secret secret;
    create(CONFIG_PULL_SECRETS_TLS);
    pull_secrets_take(secrets, nothings[_i], HOME, true, &secret);
    ck_assert(secret.offered && !secret.login);
}
END_TEST

START_TEST(the_key_stands_for_the_account_and_says_nothing_of_it)
{
    struct pull_secret a, b, c;
    create(CONFIG_PULL_SECRETS_TLS);
    pull_secrets_take(secrets, JO, HOME, true, &a);
    pull_secrets_take(secrets, "basic  am86cmlnaHQ", "192.0.2.2", true, &b);
    pull_secrets_take(secrets, "Basic am86d3Jvbmc=", HOME, true, &c);
    ck_assert_uint_eq(strlen(a.key), 64);
    ck_assert_str_eq(a.key, b.key);
    ck_assert_str_ne(a.key, c.key);
    pull_secrets_destroy(secrets);
    create(CONFIG_PULL_SECRETS_TLS);
    pull_secrets_take(secrets, JO, HOME, true, &b);
    ck_assert_str_ne(a.key, b.key);
}
END_TEST

static void refuse(const char *authorization)
{
    struct pull_secret secret;
    pull_secrets_take(secrets, authorization, HOME, true, &secret);
    pull_secrets_note_refusal(secrets, &secret, HOME);
}

START_TEST(guesses_are_counted_and_repetitions_are_not)
{
    struct pull_secret secret;
    char guess[32];
    create(CONFIG_PULL_SECRETS_TLS);
    for (int i = 0; i < 20; i++)
        refuse(JO);
    pull_secrets_take(secrets, JO, HOME, true, &secret);
    ck_assert_int_eq(secret.retry_after_s, 0);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(guess, sizeof(guess), "Basic am86cm%cnaHQ=", 'a' + i);
        refuse(guess);
    }
    pull_secrets_take(secrets, JO, HOME, true, &secret);
    ck_assert_int_gt(secret.retry_after_s, 0);
    pull_secrets_take(secrets, JO, "192.0.2.2", true, &secret);
    ck_assert_int_eq(secret.retry_after_s, 0);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("pull_secrets");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, there_are_none_where_they_are_off_or_clients_log_in_here);
    tcase_add_test(t, they_are_taken_over_tls_or_always);
    tcase_add_loop_test(t, only_a_user_with_a_password_is_one, 0, ARRAY_SIZE(nothings));
    tcase_add_test(t, the_key_stands_for_the_account_and_says_nothing_of_it);
    tcase_add_test(t, guesses_are_counted_and_repetitions_are_not);
    Suite *s = suite_create("pull_secrets");
    suite_add_tcase(s, t);
    return suite_run(s);
}
