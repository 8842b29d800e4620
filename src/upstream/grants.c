#include "upstream/grants.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "upstream/backoff.h"
#include "upstream/credentials.h"
#include "upstream/loop.h"
#include "upstream/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* For how long a failure stands for those that come after it. */
#define REFUSED_MS 10000LL
/* A token server that is asked too much: nobody asks it for a new token, for longer each time (protocol.md §1.6: locks
 * of about ten minutes). */
#define LIMITED_FIRST_MS 2000LL
#define LIMITED_MAX_MS (10 * 60000LL)
#define BROKEN_MS 500LL
/* A token that is still good although its renewal failed: the next try. */
#define RENEW_MS 5000LL
#define LOGINS_REFUSED 3

/* A repository that is known to ask for something. */
struct known {
    struct list link;
    uint32_t hash;
    char *repository;
    struct challenge challenge;
    int64_t refused_until;
};

struct grants {
    struct list known, grants; /* the last used first */
    unsigned known_count, grant_count;
    char *hint_repository; /* whose challenge was the last */
    struct challenge hint;
    unsigned logins_refused; /* in a row */
    int64_t login_after;
    unsigned limited; /* 429s of token servers in a row */
    int64_t tokens_after;
    uint64_t random;
};

struct grants *grants_create(void)
{
    struct grants *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    list_init(&g->known);
    list_init(&g->grants);
    if (getrandom(&g->random, sizeof(g->random), 0) != sizeof(g->random))
        g->random = (uint64_t)(uintptr_t)g;
    return g;
}

static void destroy_known(struct known *k)
{
    list_remove(&k->link);
    challenge_finish(&k->challenge);
    free(k->repository);
    free(k);
}

static void destroy_grant(struct grant *gr)
{
    list_remove(&gr->link);
    credentials_free(gr->authorization);
    buf_finish(&gr->reply);
    url_finish(&gr->realm);
    free(gr->key);
    free(gr->url);
    free(gr);
}

void grants_destroy(struct grants *g)
{
    if (!g)
        return;
    while (!list_empty(&g->known))
        destroy_known(CONTAINER_OF(g->known.next, struct known, link));
    while (!list_empty(&g->grants))
        destroy_grant(CONTAINER_OF(g->grants.next, struct grant, link));
    free(g->hint_repository);
    challenge_finish(&g->hint);
    free(g);
}

/* ------------------------------------------------------------------ challenges */

static struct known *find_known(struct grants *g, const char *repository)
{
    uint32_t hash = (uint32_t)hash_string(repository);
    for (struct list *i = g->known.next; i != &g->known; i = i->next) {
        struct known *k = CONTAINER_OF(i, struct known, link);
        if (k->hash == hash && strcmp(k->repository, repository) == 0) {
            list_remove(&k->link);
            list_prepend(&g->known, &k->link);
            return k;
        }
    }
    return NULL;
}

static struct known *add_known(struct grants *g, const char *repository)
{
    struct known *k = calloc(1, sizeof(*k));
    if (!k || !(k->repository = strdup(repository))) {
        free(k);
        return NULL;
    }
    k->hash = (uint32_t)hash_string(repository);
    list_prepend(&g->known, &k->link);
    if (g->known_count < LIMIT_GRANTS)
        g->known_count++;
    else
        destroy_known(CONTAINER_OF(g->known.prev, struct known, link));
    return k;
}

/* The scope of one repository as another one's. NULL, without an error: it cannot be told, or none is needed. */
static int adapt_scope(const char *scope, const char *from, const char *to, char **ret_scope)
{
    static const char prefix[] = "repository:";
    size_t n = sizeof(prefix) - 1, len = strlen(from);
    if (strncmp(scope, prefix, n) != 0) { /* "aws": for all */
        *ret_scope = strdup(scope);
        return *ret_scope ? 0 : -ENOMEM;
    }
    if (strncmp(scope + n, from, len) != 0 || scope[n + len] != ':' || strchr(scope, ' '))
        return -ENOENT;
    return asprintf(ret_scope, "%s%s%s", prefix, to, scope + n + len) < 0 ? -ENOMEM : 0;
}

int grants_recall(struct grants *g, const char *repository, struct challenge *ret_challenge)
{
    const struct known *k = find_known(g, repository);
    if (k && k->challenge.scheme != CHALLENGE_NONE)
        return challenge_copy(&k->challenge, ret_challenge);
    if (g->hint.scheme == CHALLENGE_NONE || !g->hint_repository)
        return -ENOENT;
    AUTO_FREE char *scope = NULL;
    if (g->hint.scope && g->hint.scope[0]) {
        int r = adapt_scope(g->hint.scope, g->hint_repository, repository, &scope);
        if (r < 0)
            return r;
    }
    struct challenge c;
    int r = challenge_copy(&g->hint, &c);
    if (r < 0)
        return r;
    free(c.scope);
    c.scope = TAKE_PTR(scope);
    *ret_challenge = c;
    return 0;
}

/* Without memory there is none: the next job asks for it again. */
static void replace(struct challenge *to, const struct challenge *c)
{
    challenge_finish(to);
    if (challenge_copy(c, to) < 0)
        *to = (struct challenge){0};
}

void grants_remember(struct grants *g, const char *repository, const struct challenge *c)
{
    struct known *k = find_known(g, repository);
    if (!k)
        k = add_known(g, repository);
    if (k)
        replace(&k->challenge, c);
    free(g->hint_repository);
    g->hint_repository = strdup(repository);
    replace(&g->hint, g->hint_repository ? c : &(struct challenge){0});
}

void grants_forget(struct grants *g, const char *repository)
{
    struct known *k = find_known(g, repository);
    if (k)
        challenge_finish(&k->challenge);
    challenge_finish(&g->hint);
}

void grants_note_refusal(struct grants *g, const char *repository)
{
    struct known *k = find_known(g, repository);
    if (!k)
        k = add_known(g, repository);
    if (k)
        k->refused_until = clock_monotonic_ms() + REFUSED_MS;
}

bool grants_refused_lately(struct grants *g, const char *repository)
{
    const struct known *k = find_known(g, repository);
    return k && clock_monotonic_ms() < k->refused_until;
}

void grants_note_login(struct grants *g, bool accepted)
{
    g->logins_refused = accepted ? 0 : g->logins_refused + 1;
    g->login_after = g->logins_refused >= LOGINS_REFUSED ? clock_monotonic_ms() + REFUSED_MS : 0;
}

bool grants_login_allowed(const struct grants *g)
{
    return clock_monotonic_ms() >= g->login_after;
}

/* ------------------------------------------------------------------ finding a grant */

static int add_parameter(struct buf *url, const char *name, const char *value)
{
    int r = buf_addf(url, "%s%s=", url->data && strchr(url->data, '?') ? "&" : "?", name);
    return r < 0 ? r : buf_add_urlencoded(url, value);
}

/* realm?service=…&scope=…&scope=…: the realm may have a query of its own. */
static int token_url(const char *realm, const char *service, const char *scope, char **ret_url)
{
    struct buf url = BUF_INIT(LIMIT_URL);
    int r = buf_adds(&url, realm);
    if (r == 0 && service && service[0])
        r = add_parameter(&url, "service", service);
    for (const char *p = scope; r == 0 && *(p += strspn(p, " "));) {
        AUTO_FREE char *one = strndup(p, strcspn(p, " "));
        r = one ? add_parameter(&url, "scope", one) : -ENOMEM;
        p += strcspn(p, " ");
    }
    if (r == 0 && !(*ret_url = buf_take(&url)))
        r = -ENOMEM;
    buf_finish(&url);
    return r == -EFBIG ? -EPROTO : r;
}

static void evict(struct grants *g)
{
    for (struct list *i = g->grants.prev; i != &g->grants; i = i->prev) {
        struct grant *gr = CONTAINER_OF(i, struct grant, link);
        if (gr->users == 0) {
            destroy_grant(gr);
            g->grant_count--;
            return;
        }
    }
}

static void auto_url(struct url *u)
{
    url_finish(u);
}

int grants_find(struct grants *g, const struct source *s, const struct challenge *c, const char *repository,
                bool trusted, struct grant **ret_grant)
{
    AUTO(auto_url) struct url realm = {0};
    int r = url_parse(c->realm, &realm);
    if (r == 0 && s->url.https && !realm.https)
        r = -EPERM;
    if (r < 0)
        return r;
    AUTO_FREE char *usual = NULL;
    const char *scope = c->scope;
    if (!scope || !scope[0]) {
        if (asprintf(&usual, "repository:%s:pull", repository) < 0) {
            usual = NULL;
            return -ENOMEM;
        }
        scope = usual;
    }
    AUTO_FREE char *url = NULL;
    r = token_url(realm.text, c->service, scope, &url);
    if (r < 0)
        return r;
    bool with_account = s->basic && trusted && source_trusts(s, &realm);
    AUTO_FREE char *key = NULL;
    if (asprintf(&key, "%c %s", with_account ? '+' : '-', url) < 0) {
        key = NULL;
        return -ENOMEM;
    }
    uint32_t hash = (uint32_t)hash_string(key);
    struct grant *gr = NULL;
    for (struct list *i = g->grants.next; i != &g->grants && !gr; i = i->next) {
        struct grant *other = CONTAINER_OF(i, struct grant, link);
        if (other->hash == hash && strcmp(other->key, key) == 0)
            gr = other;
    }
    if (gr) {
        list_remove(&gr->link);
    } else {
        gr = calloc(1, sizeof(*gr));
        if (!gr)
            return -ENOMEM;
        if (g->grant_count >= LIMIT_GRANTS)
            evict(g);
        g->grant_count++;
        gr->grants = g;
        gr->hash = hash;
        gr->key = TAKE_PTR(key);
        gr->url = TAKE_PTR(url);
        gr->realm = realm;
        realm = (struct url){0};
        gr->with_account = with_account;
        gr->withheld = s->basic && trusted && !with_account;
        gr->reply = BUF_INIT(LIMIT_TOKEN_BODY);
        list_init(&gr->waiters);
    }
    list_prepend(&g->grants, &gr->link);
    gr->users++;
    *ret_grant = gr;
    return 0;
}

void grant_release(struct grant *grant)
{
    if (grant)
        grant->users--;
}

/* ------------------------------------------------------------------ fetching a token */

static bool is_good(const struct grant *gr, int64_t now)
{
    return gr->authorization && now < gr->expires_at;
}

static int fetch_header(void *arg, struct transfer *t)
{
    (void)arg;
    if (t->header.status != 200)
        return TRANSFER_IGNORE;
    return t->header.encoded ? transfer_fail(t, -EPROTO, "the token is encoded, which was not asked for") : 0;
}

static int fetch_body(void *arg, const void *data, size_t len)
{
    struct grant *gr = arg;
    return buf_add(&gr->reply, data, len);
}

static int accept_reply(struct grant *gr, struct transfer *t)
{
    struct token_reply reply;
    int r = token_reply_parse(gr->reply.data, gr->reply.len, clock_real_ms(), &reply);
    if (r < 0)
        return transfer_fail(t, r, "gave no token");
    char *authorization = NULL;
    r = asprintf(&authorization, "Bearer %s", reply.token);
    credentials_free(reply.token);
    if (r < 0)
        return transfer_fail(t, -ENOMEM, "no memory");
    credentials_free(gr->authorization);
    gr->authorization = authorization;
    gr->serial++;
    int64_t now = clock_monotonic_ms();
    gr->expires_at = now + reply.life_ms;
    gr->refresh_at = now + reply.life_ms / 5 * 4;
    return 0;
}

const char *grant_remark(const struct grant *grant)
{
    return grant->withheld ? "; the token server is not among auth_hosts, and was not told the account" : "";
}

/* An answer that is no token, as an error. */
static int refuse(struct grant *gr, struct transfer *t)
{
    int status = t->header.status;
    if (status == 401 || status == 403)
        return transfer_fail(t, -EACCES, "%s refused (%d)%s", gr->with_account ? "login" : "token", status,
                             grant_remark(gr));
    if (status == 429)
        return transfer_fail(t, -EAGAIN, "too many token requests (429)");
    if (status >= 300 && status < 400)
        return transfer_fail(t, -EPROTO, "a redirect (%d) in place of a token", status);
    return transfer_fail(t, -EREMOTEIO, "the token server answered %d", status);
}

static int64_t stands_for(const struct grant *gr)
{
    return gr->error == -EACCES || gr->error == -EPERM ? REFUSED_MS : BROKEN_MS;
}

/* It holds for all tokens, whosever they are. Those that live are used to their end. */
static void note_limit(struct grants *g, int64_t retry_after_ms, int64_t now)
{
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    int64_t wait = backoff_ms(g->limited++, LIMITED_FIRST_MS, LIMITED_MAX_MS, g->random >> 16);
    if (wait < retry_after_ms)
        wait = retry_after_ms < LIMITED_MAX_MS ? retry_after_ms : LIMITED_MAX_MS;
    if (g->tokens_after < now + wait)
        g->tokens_after = now + wait;
}

static void fetch_done(void *arg, struct transfer *t)
{
    struct grant *gr = arg;
    int64_t now = clock_monotonic_ms();
    gr->fetch = NULL;
    if (gr->with_account && (t->header.status == 200 || t->header.status == 401))
        grants_note_login(gr->grants, t->header.status == 200);
    gr->error = t->ignore ? refuse(gr, t) : t->error;
    if (gr->error == 0)
        gr->error = accept_reply(gr, t);
    if (gr->error == -EFBIG)
        (void)snprintf(gr->message, sizeof(gr->message), "%s: the token is too large", t->url.authority);
    else if (gr->error < 0)
        memcpy(gr->message, t->message, sizeof(gr->message));
    buf_finish(&gr->reply);
    gr->retry_after_ms = header_retry_after_ms(&t->header, clock_real_ms());
    if (gr->error == -EAGAIN) {
        metrics_add(METRIC_UPSTREAM_LIMITED, 1, LABELS(t->source->registry, "token"));
        note_limit(gr->grants, gr->retry_after_ms, now);
    } else if (gr->error == 0) {
        gr->grants->limited = 0;
    }
    if (gr->error < 0) {
        gr->failed_until = now + stands_for(gr);
        gr->refresh_at = now + RENEW_MS;
    }
    struct list waiters;
    list_init(&waiters);
    list_splice(&waiters, &gr->waiters);
    for (struct list *i; (i = list_take_first(&waiters));) {
        struct grant_waiter *w = CONTAINER_OF(i, struct grant_waiter, link);
        w->ready(w);
    }
    gr->users--;
}

static const struct transfer_owner fetch_owner = {fetch_header, fetch_body, fetch_done};

static int fetch(struct grant *gr, struct loop *loop, struct source *s)
{
    struct url url;
    int r = url_parse(gr->url, &url);
    if (r < 0)
        return r;
    struct transfer_request request = {
        .source = s,
        .url = &url,
        .authorization = gr->with_account ? s->basic : NULL,
        .accept = "application/json",
    };
    struct transfer *t;
    r = transfer_create(loop, &request, &fetch_owner, gr, &t);
    if (r == -EPERM)
        (void)snprintf(gr->message, sizeof(gr->message), "%s: a private address may not be asked for a token",
                       url.authority);
    url_finish(&url);
    if (r < 0)
        return r;
    gr->fetch = t;
    gr->users++;
    r = loop_start(loop, t);
    if (r < 0) {
        gr->fetch = NULL;
        gr->users--;
        transfer_destroy(t);
    }
    return r;
}

int grant_take(struct grant *gr, struct loop *loop, struct source *s, bool *ret_asked)
{
    int64_t now = clock_monotonic_ms();
    bool good = is_good(gr, now);
    *ret_asked = false;
    if (good && now < gr->refresh_at)
        return 0;
    if (gr->fetch)
        return good ? 0 : -EINPROGRESS;
    if (!good && gr->error < 0 && gr->error != -EAGAIN && now < gr->failed_until)
        return gr->error;
    if (now < gr->grants->tokens_after) {
        if (good)
            return 0;
        gr->retry_after_ms = gr->grants->tokens_after - now;
        (void)snprintf(gr->message, sizeof(gr->message), "%s: too many token requests (429), again in %lld s",
                       gr->realm.authority, (long long)((gr->retry_after_ms + 999) / 1000));
        return -EAGAIN;
    }
    if (gr->with_account && !grants_login_allowed(gr->grants)) {
        (void)snprintf(gr->message, sizeof(gr->message), "%s: login refused a moment ago", gr->realm.authority);
        return good ? 0 : -EACCES;
    }
    gr->error = 0;
    gr->message[0] = '\0';
    gr->retry_after_ms = -1;
    int r = fetch(gr, loop, s);
    *ret_asked = r == 0;
    if (good)
        return 0; /* renewed while the old one serves */
    return r < 0 ? r : -EINPROGRESS;
}

void grant_wait(struct grant *grant, struct grant_waiter *w)
{
    list_append(&grant->waiters, &w->link);
}

void grant_reject(struct grant *grant, uint64_t serial)
{
    if (grant->serial != serial)
        return;
    credentials_free(grant->authorization);
    grant->authorization = NULL;
}
