#include "server/auth.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/authorization.h"
#include "server/file.h"
#include "server/htpasswd.h"
#include "server/logins.h"
#include "server/patience.h"
#include "server/verdicts.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A wrong password is not checked again for so long, however often it is sent. */
#define WRONG_FOR_MS CLOCK_MINUTE

/* For users that are not there, so that it takes as long to find that out. Of no password that is known. */
static const char nobody[] = "$2y$10$abcdefghijklmnopqrstuuK1x0FX4oaeDoZzxlM2h9EhU9hYY7a0S";

struct auth {
    /* set at create */
    const struct config *config;
    struct logins *logins;
    struct verdicts *verdicts;
    struct patience *patience; /* with failures */

    /* of auth_reload() */
    struct file_mark seen;
    bool bad;

    pthread_mutex_t lock;
    struct htpasswd *htpasswd; /* under lock */
};

/* ------------------------------------------------------------------ the file */

static int load(struct auth *a, bool *ret_new, struct buf *why)
{
    AUTO(file_finish_secret) struct buf text = BUF_INIT(HTPASSWD_MAX);
    struct htpasswd *h;
    int r = file_read(a->config->server.auth.htpasswd, &text, why);
    *ret_new = file_has_changed(&a->seen, r == 0 ? &text : NULL, NULL);
    if (r < 0 || !*ret_new)
        return r;
    r = htpasswd_parse(text.data, text.len, &h, why);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&a->lock);
    struct htpasswd *old = a->htpasswd;
    a->htpasswd = h;
    (void)pthread_mutex_unlock(&a->lock);
    htpasswd_destroy(old);
    return 0;
}

void auth_reload(struct auth *a)
{
    AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
    const char *file = a->config->server.auth.htpasswd;
    bool is_new;
    int r = file ? load(a, &is_new, &why) : 0;
    if (!file || !is_new)
        return;
    if (r < 0)
        log_event(LOG_ERROR, "auth_reload", LOG_S("file", file), LOG_S("result", "failed, the old one stays"),
                  LOG_S("error", why.len ? why.data : strerror(-r)));
    else
        log_event(LOG_INFO, "auth_reload", LOG_S("file", file), LOG_S("result", "done"));
    metrics_set(METRIC_AUTH_RELOAD_SUCCESS, r == 0, NO_LABELS);
}

int auth_create(const struct config *config, struct auth **ret_auth, struct buf *error)
{
    *ret_auth = NULL;
    if (!config->server.auth.htpasswd && config->server.auth.rule_count == 0)
        return 0;
    AUTO(auto_auth_destroy) struct auth *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->config = config;
    (void)pthread_mutex_init(&a->lock, NULL);
    const unsigned failures = config->server.auth.failures;
    int r = verdicts_create(&a->verdicts);
    if (r == 0)
        r = patience_create(failures, CLOCK_MINUTE, failures, &a->patience);
    if (r == 0)
        r = logins_create(&a->logins);
    if (r == 0 && config->server.auth.htpasswd) {
        AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
        bool is_new;
        r = load(a, &is_new, &why);
        if (r < 0 && buf_addf(error, "%s: %s", config->server.auth.htpasswd, why.len ? why.data : strerror(-r)) < 0)
            r = -ENOMEM;
        metrics_set(METRIC_AUTH_RELOAD_SUCCESS, 1, NO_LABELS);
    }
    if (r == 0)
        *ret_auth = TAKE_PTR(a);
    return r;
}

void auth_cut(struct auth *a)
{
    logins_cut(a->logins);
}

void auth_destroy(struct auth *a)
{
    if (!a)
        return;
    logins_destroy(a->logins);
    patience_destroy(a->patience);
    verdicts_destroy(a->verdicts);
    htpasswd_destroy(a->htpasswd);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ------------------------------------------------------------------ who it is */

/* False: there is no such user, and `hash` is nobody's. */
static void find_hash(struct auth *a, const char *user, char hash[HTPASSWD_HASH_MAX])
{
    (void)pthread_mutex_lock(&a->lock);
    const char *found = a->htpasswd ? htpasswd_find(a->htpasswd, user) : NULL;
    (void)snprintf(hash, HTPASSWD_HASH_MAX, "%s", found ? found : nobody);
    (void)pthread_mutex_unlock(&a->lock);
}

static enum auth_verdict conclude(const char *user, bool good, struct identity *identity)
{
    metrics_add(METRIC_AUTH_LOGINS, 1, LABELS(good ? "good" : "wrong"));
    if (good)
        (void)snprintf(identity->user, sizeof(identity->user), "%s", user);
    return good ? AUTH_KNOWN : AUTH_WRONG;
}

static enum auth_verdict check_password(struct auth *a, const struct authorization *given, const char *address,
                                        const struct mirror_waiter *waiter, struct identity *identity)
{
    char hash[HTPASSWD_HASH_MAX];
    struct verdicts_key key;
    bool good = false;
    int64_t now = clock_monotonic_ms();
    find_hash(a, given->user, hash);
    verdicts_key(a->verdicts, (const char *const[]){hash, given->user, given->password}, 3, &key);
    if (!identity->login) {
        if (verdicts_recall(a->verdicts, &key, now, &good) && good)
            return conclude(given->user, true, identity);
        int64_t wait_ms = patience_ask(a->patience, address, now, /* take= */ false);
        if (wait_ms > 0) {
            identity->retry_after_s = (int)((wait_ms + CLOCK_SECOND - 1) / CLOCK_SECOND);
            metrics_add(METRIC_AUTH_LOGINS, 1, LABELS("slowed"));
            return AUTH_SLOW;
        }
        if (verdicts_recall(a->verdicts, &key, now, &good)) {
            (void)patience_ask(a->patience, address, now, /* take= */ true);
            return conclude(given->user, false, identity);
        }
        if (login_open(a->logins, hash, given->password, waiter, &identity->login) < 0)
            return AUTH_BUSY;
    }
    int r = login_wait(identity->login, &good);
    if (r == MIRROR_WAIT)
        return AUTH_WAITS;
    login_close(TAKE_PTR(identity->login));
    if (r < 0)
        return AUTH_CANCELLED;
    good = good && strcmp(hash, nobody) != 0;
    verdicts_note(a->verdicts, &key, good, now + (good ? a->config->server.auth.remember_ms : WRONG_FOR_MS));
    if (!good)
        (void)patience_ask(a->patience, address, now, /* take= */ true);
    return conclude(given->user, good, identity);
}

enum auth_verdict auth_identify(struct auth *a, const char *authorization, const char *address,
                                const struct mirror_waiter *waiter, struct identity *identity)
{
    AUTO(authorization_finish) struct authorization given;
    if (authorization_parse(authorization, &given) < 0)
        return AUTH_BUSY;
    switch (given.kind) {
    case AUTHORIZATION_NONE:
        return AUTH_KNOWN;
    case AUTHORIZATION_BASIC:
        if (strlen(given.user) < AUTH_USER_MAX && a->config->server.auth.htpasswd)
            return check_password(a, &given, address, waiter, identity);
        break;
    case AUTHORIZATION_BEARER:
    case AUTHORIZATION_OTHER:
        break;
    }
    return AUTH_WRONG;
}

void identity_finish(struct identity *identity)
{
    login_close(TAKE_PTR(identity->login));
}

/* ------------------------------------------------------------------ what he may do */

static bool matches(const struct config_list *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (fnmatch(patterns->items[i], text, 0) == 0)
            return true;
    return false;
}

static bool is_about(const struct config_auth_rule *rule, const struct identity *identity)
{
    return rule->anonymous || (*identity->user && matches(&rule->users, identity->user)) ||
           (*identity->certificate && matches(&rule->certificates, identity->certificate));
}

bool auth_allows(const struct auth *a, const struct identity *identity, const char *registry, const char *repository,
                 bool *ret_private)
{
    char name[256 + LIMIT_NAME + 2];
    bool allowed = false, private = false;
    (void)snprintf(name, sizeof(name), "%s/%s", registry, repository);
    for (size_t i = 0; i < a->config->server.auth.rule_count; i++) {
        const struct config_auth_rule *rule = &a->config->server.auth.rules[i];
        if (!is_about(rule, identity) || !matches(&rule->repositories, name))
            continue;
        allowed = true;
        private = private || rule->private;
    }
    *ret_private = private;
    return allowed || (a->config->server.auth.rule_count == 0 && *identity->user);
}
