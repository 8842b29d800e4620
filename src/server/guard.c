#include "server/guard.h"

#include "base/clock.h"
#include "server/auth.h"
#include "server/tls.h"
#include "server/watch.h"

#include <errno.h>

/* Files are looked at so often where the system tells nothing of them. */
#define LOOK_EVERY (30 * CLOCK_SECOND)

struct guard {
    struct auth *auth;
    struct tls *tls;
    struct watch *watch;
    const char **watched; /* the names of the files */
};

/* watch_changed */
static void look_at_files(void *arg)
{
    struct guard *g = arg;
    if (g->tls)
        tls_reload(g->tls);
    if (g->auth)
        auth_reload(g->auth);
}

static int watch_files(struct guard *g, const struct config *config)
{
    size_t n = 0;
    g->watched = calloc(2 * config->server.tls.certificate_count + 3, sizeof(g->watched[0]));
    if (!g->watched)
        return -ENOMEM;
    for (size_t i = 0; g->tls && i < config->server.tls.certificate_count; i++) {
        g->watched[n++] = config->server.tls.certificates[i].certificate;
        g->watched[n++] = config->server.tls.certificates[i].key;
    }
    if (g->tls && config->server.tls.client_ca)
        g->watched[n++] = config->server.tls.client_ca;
    if (config->server.auth.htpasswd)
        g->watched[n++] = config->server.auth.htpasswd;
    if (config->server.auth.token.keys)
        g->watched[n++] = config->server.auth.token.keys;
    return n > 0 ? watch_create(g->watched, n, LOOK_EVERY, look_at_files, g, &g->watch) : 0;
}

int guard_create(const struct config *config, struct guard **ret_guard, struct buf *error)
{
    AUTO(auto_guard_destroy) struct guard *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    int r = auth_create(config, &g->auth, error);
    if (r == 0 && (config->server.tls.listen.count > 0 || config->admin.tls))
        r = tls_create(config, &g->tls, error);
    if (r == 0)
        r = watch_files(g, config);
    if (r == 0)
        *ret_guard = TAKE_PTR(g);
    return r;
}

void guard_destroy(struct guard *g)
{
    if (!g)
        return;
    watch_destroy(g->watch);
    auth_destroy(g->auth);
    tls_destroy(g->tls);
    free(g->watched);
    free(g);
}

struct auth *guard_auth(const struct guard *g)
{
    return g->auth;
}

struct tls *guard_tls(const struct guard *g)
{
    return g->tls;
}
