#include "server/auth.h"

#include "base/clock.h"
#include "base/controls.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "server/authorization.h"
#include "server/file.h"
#include "server/htpasswd.h"
#include "server/jwt.h"
#include "server/jwt_keys.h"
#include "server/logins.h"
#include "server/patience.h"
#include "server/verdicts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A wrong password is not checked again for so long, however often it is sent. */
#define WRONG_FOR_MS CLOCK_MINUTE

/* Where a file has no users at all. Of no password that is known. */
static const char nobody[] = "$2y$10$abcdefghijklmnopqrstuuK1x0FX4oaeDoZzxlM2h9EhU9hYY7a0S";

/* Its file, and what was made of it. */
struct source {
    const char *file; /* NULL: there is none */
    size_t max;
    int (*take)(struct auth *a, const struct buf *text, struct buf *why);

    /* of auth_reload() */
    struct file_mark seen;
    bool bad;
};

struct auth {
    /* set at create */
    const struct config *config;
    struct logins *logins;
    struct verdicts *verdicts;
    struct patience *patience; /* with failures */
    struct source users, keys;

    pthread_mutex_t lock;
    /* under lock */
    struct htpasswd *htpasswd;
    struct jwt_keys *jwt_keys;
};

/* ------------------------------------------------------------------ the files */

static int take_users(struct auth *a, const struct buf *text, struct buf *why)
{
    struct htpasswd *h;
    int r = htpasswd_parse(text->data, text->len, &h, why);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&a->lock);
    struct htpasswd *old = a->htpasswd;
    a->htpasswd = h;
    (void)pthread_mutex_unlock(&a->lock);
    htpasswd_destroy(old);
    return 0;
}

static int take_keys(struct auth *a, const struct buf *text, struct buf *why)
{
    struct jwt_keys *k;
    int r = jwt_keys_create(text->data, text->len, &k, why);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&a->lock);
    struct jwt_keys *old = a->jwt_keys;
    a->jwt_keys = k;
    (void)pthread_mutex_unlock(&a->lock);
    jwt_keys_unref(old);
    return 0;
}

static int load(struct auth *a, struct source *s, bool *ret_new, struct buf *why)
{
    AUTO(file_finish_secret) struct buf text = BUF_INIT(s->max);
    int r = file_read(s->file, &text, why);
    *ret_new = file_has_changed(&s->seen, r == 0 ? &text : NULL, NULL);
    if (r == 0 && *ret_new)
        r = s->take(a, &text, why);
    if (r == -ENOMEM)
        file_forget(&s->seen);
    return r;
}

static void reload(struct auth *a, struct source *s)
{
    AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
    bool is_new;
    int r = s->file ? load(a, s, &is_new, &why) : 0;
    if (!s->file || !is_new)
        return;
    s->bad = r < 0;
    file_log_reload("auth_reload", s->file, r, &why);
}

void auth_reload(struct auth *a)
{
    reload(a, &a->users);
    reload(a, &a->keys);
    if (a->users.file || a->keys.file)
        metrics_set(METRIC_AUTH_RELOAD_SUCCESS, !a->users.bad && !a->keys.bad, NO_LABELS);
}

static int load_first(struct auth *a, struct source *s, struct buf *error)
{
    AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
    bool is_new;
    int r = s->file ? load(a, s, &is_new, &why) : 0;
    if (r < 0)
        return file_fail(s->file, r, &why, error);
    if (s->file)
        metrics_set(METRIC_AUTH_RELOAD_SUCCESS, 1, NO_LABELS);
    return 0;
}

int auth_create(const struct config *config, struct auth **ret_auth, struct buf *error)
{
    *ret_auth = NULL;
    if (!config_has_accounts(config))
        return 0;
    AUTO(auto_auth_destroy) struct auth *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->config = config;
    a->users = (struct source){.file = config->server.auth.htpasswd, .max = HTPASSWD_MAX, .take = take_users};
    a->keys = (struct source){.file = config->server.auth.token.keys, .max = JWT_KEYS_TEXT_MAX, .take = take_keys};
    (void)pthread_mutex_init(&a->lock, NULL);
    const unsigned failures = config->server.auth.failures;
    int r = verdicts_create(&a->verdicts);
    if (r == 0)
        r = patience_create(failures, CLOCK_MINUTE, failures, &a->patience);
    if (r == 0)
        r = logins_create(&a->logins);
    if (r == 0)
        r = load_first(a, &a->users, error);
    if (r == 0)
        r = load_first(a, &a->keys, error);
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
    jwt_keys_unref(a->jwt_keys);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ------------------------------------------------------------------ who it is */

/* False: there is no such user, and `hash` is another's, so that it takes as long to find that out. */
static bool find_hash(struct auth *a, const char *user, char hash[HTPASSWD_HASH_MAX])
{
    (void)pthread_mutex_lock(&a->lock);
    const char *found = a->htpasswd ? htpasswd_find(a->htpasswd, user) : NULL;
    const char *decoy = a->htpasswd ? htpasswd_decoy(a->htpasswd, user) : NULL;
    (void)snprintf(hash, HTPASSWD_HASH_MAX, "%s", found ? found : decoy ? decoy : nobody);
    (void)pthread_mutex_unlock(&a->lock);
    return found != NULL;
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
    const bool exists = find_hash(a, given->user, hash);
    verdicts_key(a->verdicts, (const char *const[]){exists ? hash : nobody, given->user, given->password}, 3, &key);
    /* The file has changed while the old password was checked: that says nothing of the new one. */
    if (identity->login && strcmp(login_hash(identity->login), hash) != 0)
        login_close(TAKE_PTR(identity->login));
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
    good = good && exists;
    verdicts_note(a->verdicts, &key, good, now + (good ? a->config->server.auth.remember_ms : WRONG_FOR_MS));
    if (!good)
        patience_charge(a->patience, address, now);
    return conclude(given->user, good, identity);
}

/* It is written to the log. */
static bool is_user(const char *s)
{
    size_t len = strlen(s);
    return len < AUTH_USER_MAX && !has_controls(s, len);
}

/* There is nothing to guess here, so that failures are not counted: a token that has expired is everyday life. */
static enum auth_verdict check_token(struct auth *a, const char *text, struct identity *identity)
{
    const struct jwt_terms terms = {
        .issuer = a->config->server.auth.token.issuer,
        .audience = a->config->server.auth.token.audience,
        .now_ms = clock_real_ms(),
        .leeway_ms = a->config->server.auth.token.leeway_ms,
    };
    AUTO(auto_jwt_destroy) struct jwt *token = NULL;
    int r = jwt_create(text, &token);
    if (r == -ENOMEM)
        return AUTH_BUSY;
    identity->flaw = "this is no token";
    if (r == 0) {
        (void)pthread_mutex_lock(&a->lock);
        AUTO(auto_jwt_keys_unref) struct jwt_keys *keys = jwt_keys_ref(a->jwt_keys);
        (void)pthread_mutex_unlock(&a->lock);
        identity->flaw = jwt_find_flaw(token, keys, &terms);
    }
    if (!identity->flaw && !is_user(jwt_subject(token)))
        identity->flaw = "the token's subject is no name";
    if (!identity->flaw) {
        (void)snprintf(identity->user, sizeof(identity->user), "%s", jwt_subject(token));
        identity->token = TAKE_PTR(token);
    }
    metrics_add(METRIC_AUTH_LOGINS, 1, LABELS(identity->flaw ? "wrong" : "good"));
    return identity->flaw ? AUTH_WRONG : AUTH_KNOWN;
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
        if (a->keys.file)
            return check_token(a, given.token, identity);
        break;
    case AUTHORIZATION_OTHER:
        break;
    }
    return AUTH_WRONG;
}

void identity_finish(struct identity *identity)
{
    login_close(TAKE_PTR(identity->login));
    jwt_destroy(TAKE_PTR(identity->token));
}

/* ------------------------------------------------------------------ what he may do */

#define NAME_MAX_FULL (256 + LIMIT_NAME + 2)

static void full_name(const char *registry, const char *repository, char name[NAME_MAX_FULL])
{
    (void)snprintf(name, NAME_MAX_FULL, "%s/%s", registry, repository);
}

static bool is_default(const struct auth *a, const char *registry)
{
    return a->config->default_registry && strcmp(a->config->default_registry->name, registry) == 0;
}

/* Clients make a token's scope of the path that they ask for, which does not say the registry. So a name without one is
 * of the default registry, and of no other. */
bool auth_token_lacks(const struct auth *a, const struct identity *identity, const char *registry,
                      const char *repository)
{
    char name[NAME_MAX_FULL];
    if (!identity->token)
        return false;
    full_name(registry, repository, name);
    return !jwt_grants(identity->token, "repository", name, "pull") &&
           !(is_default(a, registry) && jwt_grants(identity->token, "repository", repository, "pull"));
}

static bool is_about(const struct config_auth_rule *rule, const char *user, const char *certificate)
{
    return rule->anonymous || (*user && config_has_match(&rule->users, user)) ||
           (*certificate && config_has_match(&rule->certificates, certificate));
}

bool auth_allows(const struct auth *a, const struct identity *identity, const char *registry, const char *repository,
                 bool *ret_private)
{
    char name[NAME_MAX_FULL];
    bool ruled = false, allowed = false, private = false;
    const bool lacks = auth_token_lacks(a, identity, registry, repository);
    full_name(registry, repository, name);
    for (size_t i = 0; i < a->config->server.auth.rule_count; i++) {
        const struct config_auth_rule *rule = &a->config->server.auth.rules[i];
        if (!(rule->rights & CONFIG_MAY_PULL))
            continue;
        ruled = true;
        if (!is_about(rule, lacks ? "" : identity->user, identity->certificate) ||
            !config_has_match(&rule->repositories, name))
            continue;
        allowed = true;
        private = private || rule->private;
    }
    *ret_private = private;
    return allowed || (!ruled && !lacks && (*identity->user || identity->token));
}

/* ------------------------------------------------------------------ what he may do of the admin API */

/* Whether some rule gives him one of the rights: in the repository of that name, everywhere (""), somewhere (NULL). */
static bool has_right(const struct auth *a, const struct identity *identity, unsigned rights, const char *name)
{
    for (size_t i = 0; i < a->config->server.auth.rule_count; i++) {
        const struct config_auth_rule *rule = &a->config->server.auth.rules[i];
        if ((rule->rights & rights) && is_about(rule, identity->user, identity->certificate) &&
            (!name || config_has_match(&rule->repositories, name)))
            return true;
    }
    return false;
}

/* Tokens lie about wherever something is pulled. One for pulls is none for this, whosever it is; which repositories its
 * owner may seed is too much to say in a token. */
static bool is_granted(const struct identity *identity, const char *action)
{
    return !identity->token || jwt_grants(identity->token, "registry", "admin", action);
}

bool auth_may_administer(const struct auth *a, const struct identity *identity)
{
    return is_granted(identity, "admin") && has_right(a, identity, CONFIG_MAY_ADMIN, NULL);
}

static bool may_seed(const struct auth *a, const struct identity *identity, const char *name)
{
    return (is_granted(identity, "seed") || is_granted(identity, "admin")) &&
           has_right(a, identity, CONFIG_MAY_SEED | CONFIG_MAY_ADMIN, name);
}

bool auth_may_seed(const struct auth *a, const struct identity *identity, const char *registry, const char *repository)
{
    char name[NAME_MAX_FULL];
    full_name(registry, repository, name);
    return may_seed(a, identity, name);
}

bool auth_may_seed_everywhere(const struct auth *a, const struct identity *identity)
{
    return may_seed(a, identity, "");
}

bool auth_may_seed_somewhere(const struct auth *a, const struct identity *identity)
{
    return may_seed(a, identity, NULL);
}

bool auth_token_bounds_admin(const struct auth *a, const struct identity *identity)
{
    const bool admin = is_granted(identity, "admin");
    return (!admin && has_right(a, identity, CONFIG_MAY_ADMIN, NULL)) ||
           (!admin && !is_granted(identity, "seed") && has_right(a, identity, CONFIG_MAY_SEED, NULL));
}

/* ------------------------------------------------------------------ how he can say who he is */

static int begin_challenge(const struct auth *a, struct buf *value)
{
    return buf_addf(value, "Bearer realm=\"%s\",service=\"%s\"", a->config->server.auth.token.realm,
                    a->config->server.auth.token.service);
}

static int end_challenge(const struct identity *identity, struct buf *value)
{
    if (!identity->flaw && !identity->token)
        return 0;
    return buf_addf(value, ",error=\"%s\"", identity->flaw ? "invalid_token" : "insufficient_scope");
}

int auth_challenge(const struct auth *a, const struct identity *identity, const char *registry, const char *repository,
                   struct buf *value)
{
    if (!a->keys.file)
        return 0;
    int r = begin_challenge(a, value);
    if (r == 0 && repository)
        r = is_default(a, registry) || !*registry
                ? buf_addf(value, ",scope=\"repository:%s:pull\"", repository)
                : buf_addf(value, ",scope=\"repository:%s/%s:pull\"", registry, repository);
    return r == 0 ? end_challenge(identity, value) : r;
}

int auth_admin_challenge(const struct auth *a, const struct identity *identity, struct buf *value)
{
    if (!a->keys.file)
        return 0;
    int r = begin_challenge(a, value);
    if (r == 0)
        r = buf_adds(value, ",scope=\"registry:admin:seed,admin\"");
    return r == 0 ? end_challenge(identity, value) : r;
}

bool auth_takes_passwords(const struct auth *a)
{
    return a->users.file || !a->keys.file;
}
