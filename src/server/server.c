#include "server/server.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/mirror.h"
#include "server/auth.h"
#include "server/client.h"
#include "server/crowd.h"
#include "server/door.h"
#include "server/guard.h"
#include "server/headway.h"
#include "server/listener.h"
#include "server/patience.h"
#include "server/pull_secrets.h"
#include "server/request.h"
#include "server/tls.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Holds a request's head, of 32 KiB at most, what is parsed of it and the answer's head. Lazy podman pulls ask for 1024
 * ranges at once (protocol.md §7). libmicrohttpd touches all of it on a connection that is kept alive, so that it is
 * most of what a thousand connections cost. */
#define CONNECTION_MEMORY (36 * KIB)
/* libmicrohttpd's epoll loop takes 128 events at a time, and where it gets just as many it waits for more before it
 * looks at them: a crowd of 128 that asks at once, as 256 nodes on two threads do, would be answered when the idle
 * timeout ends that wait (MHD_epoll(), 0.9.75 to 1.0.1). So no worker has as many sockets: its own eventfd and these.
 */
#define WORKER_CONNECTIONS 126
#define CUT_GRACE (1 * CLOCK_SECOND)
#define WAKE_GRACE (10 * CLOCK_SECOND)
/* What a client may still be sending when its connection is closed, and is thrown away. */
#define DRAINED_MAX (256 * KIB)

/* One of libmicrohttpd's threads, with its connections. */
struct worker {
    struct pool *pool;
    struct MHD_Daemon *daemon;
    _Atomic unsigned open;
};

/* The addresses of one kind, and the threads of their connections. */
struct pool {
    struct server *server;
    struct tls *tls; /* NULL: plain HTTP */
    struct listener *listener;
    /* set at start, then owned by the listener's thread until that has ended */
    unsigned count;
    unsigned next;
    unsigned max; /* as many as the connections that are allowed may need */
    struct worker *workers;
};

enum { PLAIN, SECURE, POOLS };

struct server {
    const struct config *config;
    struct door door;
    struct crowd *crowd; /* NULL: connections are not counted by client */
    struct headway_watch *headway;
    struct pool pools[POOLS];
};

/* A socket that is closed with bytes unread resets its connection, and the client loses what was sent to it last: a
 * short body has to end in a FIN (protocol.md §0.5). */
static void drain_socket(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return;
    for (size_t drained = 0; drained < DRAINED_MAX;) {
        ssize_t n = recv(info->connect_fd, NULL, DRAINED_MAX, MSG_TRUNC | MSG_DONTWAIT);
        if (n <= 0)
            return;
        drained += (size_t)n;
    }
}

/* Those of trusted proxies are of many clients. */
static bool is_counted(const struct server *s, const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    if (!s->crowd)
        return false;
    client_address(address, text);
    return !config_has_address(&s->config->server.trusted_proxies, text);
}

static void leave_crowd(struct server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char text[INET6_ADDRSTRLEN];
    if (info && is_counted(s, info->client_addr, text))
        crowd_leave(s->crowd, text);
}

/* MHD_OPTION_NOTIFY_CONNECTION */
static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct worker *w = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = client_create(connection, w->pool->tls, w->pool->server->headway);
        return;
    }
    drain_socket(connection);
    leave_crowd(w->pool->server, connection);
    client_destroy(*context);
    *context = NULL;
    w->open--;
    metrics_add(METRIC_CONNECTIONS, -1, NO_LABELS);
    listener_closed(w->pool->listener);
}

/* MHD_OPTION_UNESCAPE_CALLBACK: route_parse() decodes, and sees what was not well-formed. */
static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *s)
{
    (void)cls;
    (void)connection;
    return strlen(s);
}

/* MHD_OPTION_EXTERNAL_LOGGER: what clients do wrong, by and large. */
static void log_message(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    if (!log_wanted(LOG_DEBUG))
        return;
    char text[512];
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_event(LOG_DEBUG, "http", LOG_S("message", text));
}

static int start_worker(struct pool *p)
{
    struct worker *w = &p->workers[p->count];
    w->pool = p;
    const struct config *config = p->server->config;
    const unsigned timeout_s = (unsigned)((config->server.idle_timeout_ms + CLOCK_SECOND - 1) / CLOCK_SECOND);
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_message, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, 2 * WORKER_CONNECTIONS, NULL}, /* the real one is take_connection()'s */
        {MHD_OPTION_CONNECTION_TIMEOUT, timeout_s, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escaped, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_create, &p->server->door},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_completed, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)notify_connection, w},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(intptr_t)tls_choose},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities(config)},
        {MHD_OPTION_END, 0, NULL},
    };
    w->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                                     MHD_USE_ERROR_LOG | (p->tls ? MHD_USE_TLS : 0),
                                 0, NULL, NULL, request_handle, NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_ARRAY,
                                 p->tls ? tls : &tls[ARRAY_SIZE(tls) - 1], MHD_OPTION_END);
    if (!w->daemon)
        return -(errno ? errno : EIO);
    p->count++;
    return 0;
}

/* The worker that has the fewest connections; one more worker where all have what they may. NULL where none can be had.
 */
static struct worker *find_worker(struct pool *p)
{
    struct worker *best = &p->workers[p->next++ % p->count];
    for (unsigned i = 0; i < p->count; i++)
        if (p->workers[i].open < best->open)
            best = &p->workers[i];
    if (best->open < WORKER_CONNECTIONS)
        return best;
    int r = p->count < p->max ? start_worker(p) : -EAGAIN;
    if (r < 0) {
        log_event(LOG_WARN, "refused", LOG_S("reason", strerror(-r)), LOG_U("threads", p->count));
        return NULL;
    }
    return &p->workers[p->count - 1];
}

/* listener_accept */
static void take_connection(void *arg, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct pool *p = arg;
    char text[INET6_ADDRSTRLEN];
    const bool counted = is_counted(p->server, address, text);
    const bool enters = !counted || crowd_enter(p->server->crowd, text);
    struct worker *w = enters ? find_worker(p) : NULL;
    if (!enters)
        metrics_add(METRIC_CONNECTIONS_REFUSED, 1, NO_LABELS);
    if (!w) {
        if (counted && enters)
            crowd_leave(p->server->crowd, text);
        (void)close(fd);
        listener_closed(p->listener);
        return;
    }
    w->open++;
    metrics_add(METRIC_CONNECTIONS, 1, NO_LABELS);
    if (MHD_add_connection(w->daemon, fd, address, address_len) != MHD_YES) { /* which has closed it */
        w->open--;
        metrics_add(METRIC_CONNECTIONS, -1, NO_LABELS);
        if (counted)
            crowd_leave(p->server->crowd, text);
        listener_closed(p->listener);
    }
}

/* Listens, and has its threads, but accepts nothing yet. */
static int create_pool(struct server *s, struct pool *p, const struct config_list *addresses, struct buf *error)
{
    const struct config *config = s->config;
    const unsigned needed = config->server.max_connections / WORKER_CONNECTIONS + 1;
    p->server = s;
    p->max = needed > config->server.threads ? needed : config->server.threads;
    p->workers = calloc(p->max, sizeof(p->workers[0]));
    if (!p->workers)
        return -ENOMEM;
    int r = listener_create(addresses->items, config->server.max_connections, &p->listener, error);
    for (unsigned i = 0; r == 0 && i < config->server.threads; i++) {
        r = start_worker(p);
        if (r < 0 && buf_addf(error, "cannot start the HTTP threads: %s", strerror(-r)) < 0)
            r = -ENOMEM;
    }
    return r;
}

static void stop_pool(struct pool *p)
{
    for (unsigned i = 0; i < p->count; i++)
        MHD_stop_daemon(p->workers[i].daemon);
    listener_destroy(p->listener);
    free(p->workers);
}

/* Ends what never served, or serves no more. */
static void destroy(struct server *s)
{
    for (unsigned i = 0; i < POOLS; i++)
        stop_pool(&s->pools[i]);
    pull_secrets_destroy(s->door.pull_secrets);
    headway_watch_destroy(s->headway);
    patience_destroy(s->door.requests);
    crowd_destroy(s->crowd);
    door_finish(&s->door);
    free(s);
}

static int start(struct server *s, const struct guard *guard, struct buf *error)
{
    const struct config *config = s->config;
    const struct headway_terms terms = {
        .header_ms = config->server.limits.header_timeout_ms,
        .min_rate = config->server.limits.min_rate,
        .over_ms = config->server.limits.min_rate_over_ms,
    };
    if (config_has_logins(config))
        s->door.auth = guard_auth(guard);
    int r = headway_watch_create(&terms, &s->headway);
    if (r == 0)
        r = pull_secrets_create(config, &s->door.pull_secrets);
    if (r == 0 && config->server.limits.requests_per_second > 0)
        r = patience_create(config->server.limits.requests_per_second, CLOCK_SECOND,
                            config->server.limits.request_burst, &s->door.requests);
    if (r == 0 && config->server.limits.connections_per_client > 0)
        r = crowd_create(config->server.limits.connections_per_client, &s->crowd);
    if (r == 0 && config->server.listen.count > 0)
        r = create_pool(s, &s->pools[PLAIN], &config->server.listen, error);
    if (r == 0 && config->server.tls.listen.count > 0) {
        s->pools[SECURE].tls = guard_tls(guard);
        r = create_pool(s, &s->pools[SECURE], &config->server.tls.listen, error);
    }
    if (r == 0 && s->pools[SECURE].listener)
        r = listener_start(s->pools[SECURE].listener, "ready_tls", take_connection, &s->pools[SECURE]);
    if (r == 0 && s->pools[PLAIN].listener)
        r = listener_start(s->pools[PLAIN].listener, "ready", take_connection, &s->pools[PLAIN]);
    return r;
}

int server_start(const struct config *config, struct mirror *mirror, const struct guard *guard,
                 struct server **ret_server, struct buf *error)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->config = config;
    metrics_set(METRIC_CONNECTIONS_LIMIT, config->server.max_connections, NO_LABELS);
    int r = door_init(&s->door, config, mirror);
    if (r < 0) {
        free(s);
        return r;
    }
    r = start(s, guard, error);
    if (r < 0)
        destroy(s);
    else
        *ret_server = s;
    return r;
}

/* The order is libmicrohttpd's: to stop a daemon while a connection is suspended kills the process. */
void server_stop(struct server *s)
{
    if (!s)
        return;
    int64_t began_ms = clock_monotonic_ms();
    door_drain(&s->door);
    for (unsigned i = 0; i < POOLS; i++)
        if (s->pools[i].listener)
            listener_stop(s->pools[i].listener);
    unsigned late = door_wait_active(&s->door, s->config->server.drain_timeout_ms);
    /* In any case, since a connection that is kept alive may ask again until the end. */
    mirror_cut(s->door.mirror);
    if (s->door.auth)
        auth_cut(s->door.auth);
    unsigned cut = late ? door_wait_active(&s->door, CUT_GRACE) : 0;
    unsigned suspended = door_wait_suspended(&s->door, WAKE_GRACE);
    assert(suspended == 0); /* mirror_cut() wakes everybody, and nobody waits any more after it */
    log_event(LOG_INFO, "drained", LOG_U("late", late), LOG_U("cut", cut),
              LOG_I("ms", clock_monotonic_ms() - began_ms));
    destroy(s);
}
