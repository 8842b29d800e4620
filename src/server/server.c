#include "server/server.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/mirror.h"
#include "server/door.h"
#include "server/listener.h"
#include "server/request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
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
    struct server *server;
    struct MHD_Daemon *daemon;
    _Atomic unsigned open;
};

struct server {
    const struct config *config;
    struct door door;
    struct listener *listener;
    /* set at start, then owned by the listener's thread until that has ended */
    unsigned worker_count;
    unsigned next;
    unsigned worker_max; /* as many as the connections that are allowed may need */
    struct worker workers[];
};

/* What a request needs of its connection; libmicrohttpd's socket context. */
struct client {
    char address[INET6_ADDRSTRLEN];
};

static struct client *client_create(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct client *c = calloc(1, sizeof(*c));
    if (!c || !info)
        return c;
    const struct sockaddr *address = info->client_addr;
    const void *ip = address->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, ip, c->address, sizeof(c->address)))
        c->address[0] = '\0';
    return c;
}

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

/* MHD_OPTION_NOTIFY_CONNECTION */
static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct worker *w = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = client_create(connection);
        return;
    }
    drain_socket(connection);
    free(*context);
    *context = NULL;
    w->open--;
    metrics_add(METRIC_CONNECTIONS, -1, NO_LABELS);
    listener_closed(w->server->listener);
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

static int start_worker(struct server *s)
{
    struct worker *w = &s->workers[s->worker_count];
    w->server = s;
    const struct config *config = s->config;
    const unsigned timeout_s = (unsigned)((config->server.idle_timeout_ms + CLOCK_SECOND - 1) / CLOCK_SECOND);
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_message, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, 2 * WORKER_CONNECTIONS, NULL}, /* the real one is take_connection()'s */
        {MHD_OPTION_CONNECTION_TIMEOUT, timeout_s, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escaped, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_create, &s->door},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_completed, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)notify_connection, w},
        {MHD_OPTION_END, 0, NULL},
    };
    w->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                                     MHD_USE_ERROR_LOG,
                                 0, NULL, NULL, request_handle, NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!w->daemon)
        return -(errno ? errno : EIO);
    s->worker_count++;
    return 0;
}

/* The worker that has the fewest connections; one more worker where all have what they may. NULL where none can be had.
 */
static struct worker *find_worker(struct server *s)
{
    struct worker *best = &s->workers[s->next++ % s->worker_count];
    for (unsigned i = 0; i < s->worker_count; i++)
        if (s->workers[i].open < best->open)
            best = &s->workers[i];
    if (best->open < WORKER_CONNECTIONS)
        return best;
    int r = s->worker_count < s->worker_max ? start_worker(s) : -EAGAIN;
    if (r < 0) {
        log_event(LOG_WARN, "refused", LOG_S("reason", strerror(-r)), LOG_U("threads", s->worker_count));
        return NULL;
    }
    return &s->workers[s->worker_count - 1];
}

/* listener_accept */
static void take_connection(void *arg, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct server *s = arg;
    struct worker *w = find_worker(s);
    if (!w) {
        (void)close(fd);
        listener_closed(s->listener);
        return;
    }
    w->open++;
    metrics_add(METRIC_CONNECTIONS, 1, NO_LABELS);
    if (MHD_add_connection(w->daemon, fd, address, address_len) != MHD_YES) { /* which has closed it */
        w->open--;
        metrics_add(METRIC_CONNECTIONS, -1, NO_LABELS);
        listener_closed(s->listener);
    }
}

/* Ends what never served, or serves no more. */
static void destroy(struct server *s)
{
    for (unsigned i = 0; i < s->worker_count; i++)
        MHD_stop_daemon(s->workers[i].daemon);
    listener_destroy(s->listener);
    door_finish(&s->door);
    free(s);
}

int server_start(const struct config *config, struct mirror *mirror, struct server **ret_server, struct buf *error)
{
    const unsigned needed = config->server.max_connections / WORKER_CONNECTIONS + 1;
    const unsigned count = config->server.threads, max = needed > count ? needed : count;
    struct server *s = calloc(1, sizeof(*s) + max * sizeof(s->workers[0]));
    if (!s)
        return -ENOMEM;
    s->config = config;
    s->worker_max = max;
    metrics_set(METRIC_CONNECTIONS_LIMIT, config->server.max_connections, NO_LABELS);
    int r = door_init(&s->door, mirror, config->server.max_ranges);
    if (r < 0) {
        free(s);
        return r;
    }
    r = listener_create(config->server.listen.items, config->server.max_connections, &s->listener, error);
    for (unsigned i = 0; r == 0 && i < count; i++) {
        r = start_worker(s);
        if (r < 0 && buf_addf(error, "cannot start the HTTP threads: %s", strerror(-r)) < 0)
            r = -ENOMEM;
    }
    if (r == 0)
        r = listener_start(s->listener, "ready", take_connection, s);
    if (r < 0) {
        destroy(s);
        return r;
    }
    *ret_server = s;
    return 0;
}

/* The order is libmicrohttpd's: to stop a daemon while a connection is suspended kills the process. */
void server_stop(struct server *s)
{
    if (!s)
        return;
    int64_t began_ms = clock_monotonic_ms();
    door_drain(&s->door);
    listener_stop(s->listener);
    unsigned late = door_wait_active(&s->door, s->config->server.drain_timeout_ms);
    /* In any case, since a connection that is kept alive may ask again until the end. */
    mirror_cut(s->door.mirror);
    unsigned cut = late ? door_wait_active(&s->door, CUT_GRACE) : 0;
    unsigned suspended = door_wait_suspended(&s->door, WAKE_GRACE);
    assert(suspended == 0); /* mirror_cut() wakes everybody, and nobody waits any more after it */
    log_event(LOG_INFO, "drained", LOG_U("late", late), LOG_U("cut", cut),
              LOG_I("ms", clock_monotonic_ms() - began_ms));
    destroy(s);
}
