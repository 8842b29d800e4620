#include "server/admin_gate.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "server/authorization.h"
#include "server/client.h"
#include "server/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define TOKEN_MIN 16
#define CHALLENGE_MAX (16 * KIB)

struct admin_gate {
    const char *token_file; /* the configuration's, or NULL */
    struct auth *auth;      /* the guard's; NULL: nobody's account is of use here */

    pthread_mutex_t lock;
    pthread_cond_t stirred;
    bool cut; /* under lock */
};

/* ------------------------------------------------------------------ the token */

/* The first line of the token's file, without blanks at its end. */
static int read_token(const char *file, struct buf *token)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = buf_reserve(token, LIMIT_ADMIN_TOKEN);
    if (r < 0)
        return r;
    ssize_t n = read(fd, token->data, LIMIT_ADMIN_TOKEN);
    if (n < 0)
        return -errno;
    token->len = (size_t)n;
    token->data[n] = '\0';
    buf_cut(token, strcspn(token->data, " \t\r\n"));
    return token->len < TOKEN_MIN ? -EINVAL : 0;
}

/* In a time that says nothing about where they differ, nor how long the token is. */
static bool same_text(const char *a, const char *b)
{
    struct digest x, y;
    return digest_of(DIGEST_SHA256, a, strlen(a), &x) == 0 && digest_of(DIGEST_SHA256, b, strlen(b), &y) == 0 &&
           gnutls_memcmp(x.raw, y.raw, sizeof(x.raw)) == 0;
}

static bool is_token(const struct admin_gate *g, const char *header)
{
    AUTO(authorization_finish) struct authorization given = {.kind = AUTHORIZATION_NONE};
    AUTO_BUF struct buf token = BUF_INIT(LIMIT_ADMIN_TOKEN);
    return authorization_parse(header, &given) == 0 && given.kind == AUTHORIZATION_BEARER && g->token_file &&
           read_token(g->token_file, &token) == 0 && same_text(given.token, token.data);
}

static int check_token(const char *file, struct buf *error)
{
    AUTO_BUF struct buf token = BUF_INIT(LIMIT_ADMIN_TOKEN);
    int r = file ? read_token(file, &token) : 0;
    if (r < 0 &&
        buf_addf(error, "%s: %s", file, r == -EINVAL ? "the token is shorter than 16 characters" : strerror(-r)) < 0)
        return -ENOMEM;
    return r;
}

/* ------------------------------------------------------------------ begin and end */

int admin_gate_create(const struct config *config, const struct guard *guard, struct admin_gate **ret_gate,
                      struct buf *error)
{
    pthread_condattr_t attr;
    int r = check_token(config->admin.token_file, error);
    if (r < 0)
        return r;
    struct admin_gate *g = calloc(1, sizeof(*g));
    if (!g || pthread_condattr_init(&attr) != 0) {
        free(g);
        return -ENOMEM;
    }
    g->token_file = config->admin.token_file;
    g->auth = guard && config_has_admin_accounts(config) ? guard_auth(guard) : NULL;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_cond_init(&g->stirred, &attr);
    (void)pthread_condattr_destroy(&attr);
    *ret_gate = g;
    return 0;
}

void admin_gate_cut(struct admin_gate *g)
{
    (void)pthread_mutex_lock(&g->lock);
    g->cut = true;
    (void)pthread_cond_broadcast(&g->stirred);
    (void)pthread_mutex_unlock(&g->lock);
}

void admin_gate_destroy(struct admin_gate *g)
{
    if (!g)
        return;
    (void)pthread_mutex_destroy(&g->lock);
    (void)pthread_cond_destroy(&g->stirred);
    free(g);
}

void admin_caller_finish(struct admin_caller *caller)
{
    identity_finish(&caller->identity);
}

/* ------------------------------------------------------------------ accounts */

static void suspend(void *arg)
{
    struct admin_caller *c = arg;
    (void)pthread_mutex_lock(&c->gate->lock);
    c->suspended = true;
    (void)pthread_mutex_unlock(&c->gate->lock);
}

static void wake(void *arg)
{
    struct admin_caller *c = arg;
    (void)pthread_mutex_lock(&c->gate->lock);
    c->suspended = false;
    (void)pthread_cond_broadcast(&c->gate->stirred);
    (void)pthread_mutex_unlock(&c->gate->lock);
}

/* False: it is not to be waited for any longer. */
static bool wait_for_wake(struct admin_caller *c, int64_t until_ms)
{
    struct admin_gate *g = c->gate;
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    (void)pthread_mutex_lock(&g->lock);
    while (c->suspended && !g->cut && pthread_cond_timedwait(&g->stirred, &g->lock, &until) == 0)
        ;
    bool woken = !c->suspended;
    (void)pthread_mutex_unlock(&g->lock);
    return woken;
}

/* As auth_identify(), here and now. */
static enum auth_verdict identify(struct admin_caller *c, const char *header, const char *address)
{
    const struct mirror_waiter waiter = {.suspend = suspend, .wake = wake, .arg = c};
    const int64_t until_ms = clock_monotonic_ms() + LIMIT_ADMIN_WAIT_MS;
    enum auth_verdict v;
    while ((v = auth_identify(c->gate->auth, header, address, &waiter, &c->identity)) == AUTH_WAITS)
        if (!wait_for_wake(c, until_ms)) {
            identity_finish(&c->identity); /* so that nobody wakes him later */
            return AUTH_BUSY;
        }
    return v;
}

static bool may_seed(const void *arg, const char *registry, const char *repository)
{
    const struct admin_caller *c = arg;
    return auth_may_seed(c->gate->auth, &c->identity, registry, repository);
}

static void set_rights(const struct admin_caller *c, struct admin_rights *rights)
{
    const struct auth *a = c->gate->auth;
    *rights = (struct admin_rights){
        .admin = auth_may_administer(a, &c->identity),
        .seed = auth_may_seed_somewhere(a, &c->identity),
        .seed_everywhere = auth_may_seed_everywhere(a, &c->identity),
        .may_seed = may_seed,
        .arg = c,
        .limit = auth_token_bounds_admin(a, &c->identity) ? "the token is not for it (registry:admin:…)" : NULL,
    };
}

static struct admin_refusal ask_for_account(struct admin_caller *c, const char *header, const char *address,
                                            struct admin_request *request)
{
    const struct identity *i = &c->identity;
    switch (identify(c, header, address)) {
    case AUTH_KNOWN:
        break;
    case AUTH_SLOW:
        return (struct admin_refusal){429, "too_many_failures", "too many failed logins from this address"};
    case AUTH_BUSY:
    case AUTH_CANCELLED:
    case AUTH_WAITS:
        return (struct admin_refusal){503, "busy", "too many are logging in at once"};
    case AUTH_WRONG:
        return (struct admin_refusal){401, "unauthorized", i->flaw ? i->flaw : "the login is not right"};
    }
    if (!*i->user && !*i->certificate)
        return (struct admin_refusal){401, "unauthorized", "log in, or show the token of admin.token_file"};
    (void)snprintf(request->who, sizeof(request->who), "%s %.128s %s", *i->user ? "user" : "certificate",
                   *i->user ? i->user : i->certificate, address);
    set_rights(c, &request->rights);
    return (struct admin_refusal){0};
}

/* ------------------------------------------------------------------ who asks */

static int get_fd(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static bool is_unix(int fd)
{
    int domain;
    socklen_t len = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

struct admin_refusal admin_gate_ask(struct admin_gate *g, struct MHD_Connection *connection,
                                    const struct client *client, struct admin_caller *caller,
                                    struct admin_request *request)
{
    const int fd = get_fd(connection);
    const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    const char *address = client && *client->address ? client->address : "?";
    struct ucred peer;
    socklen_t len = sizeof(peer);
    caller->gate = g;
    caller->identity.certificate = client ? client->peer.name : "";
    if (is_unix(fd)) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
            (void)snprintf(request->who, sizeof(request->who), "uid=%u pid=%d", peer.uid, (int)peer.pid);
        request->rights.admin = true;
        return (struct admin_refusal){0};
    }
    (void)snprintf(request->who, sizeof(request->who), "token %s", address);
    request->rights.admin = is_token(g, header);
    if (request->rights.admin)
        return (struct admin_refusal){0};
    if (g->auth)
        return ask_for_account(caller, header, address, request);
    return (struct admin_refusal){401, "unauthorized", "the token of admin.token_file is to be shown"};
}

void admin_gate_challenge(const struct admin_gate *g, const struct admin_caller *caller, struct MHD_Response *response)
{
    AUTO_BUF struct buf bearer = BUF_INIT(CHALLENGE_MAX);
    if (g->auth && auth_admin_challenge(g->auth, &caller->identity, &bearer) < 0)
        return;
    if (bearer.len == 0 && g->token_file && buf_adds(&bearer, "Bearer realm=\"entrepot\"") < 0)
        return;
    if (bearer.len > 0)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, bearer.data);
    if (g->auth && auth_takes_passwords(g->auth))
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                      "Basic realm=\"entrepot\", charset=\"UTF-8\"");
}
