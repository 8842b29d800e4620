#include "server/ops.h"

#include "base/limits.h"
#include "base/metrics.h"
#include "server/listener.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <string.h>

/* Probes and a scraper or two. Those beyond wait until one is closed, which takes these seconds at most unless it keeps
 * sending. */
#define CONNECTIONS_MAX 32
#define TIMEOUT_S 5
#define CONNECTION_MEMORY (8 * KIB)

struct ops {
    struct MHD_Daemon *daemon;
    struct listener *listener;
    _Atomic enum ops_phase phase;
};

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value); /* without memory the answer lacks it */
}

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, const char *content_type,
                             struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text)
{
    return queue(connection, status, "text/plain",
                 MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection)
{
    AUTO_BUF struct buf page = BUF_INIT(LIMIT_METRICS_PAGE);
    int r = metrics_page(&page);
    if (r < 0)
        return say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, r == -EFBIG ? "too many metrics\n" : "out of memory\n");
    size_t len = page.len;
    char *text = buf_take(&page);
    struct MHD_Response *response = text ? MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response)
        free(text);
    return queue(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", response);
}

/* The access handler. Everything is answered at its first call, which leaves unread what a client may send, and the
 * connection is closed. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *upload, size_t *upload_len, void **context)
{
    static const char *const phases[] = {
        [OPS_STARTING] = "starting\n", [OPS_SERVING] = "ok\n", [OPS_STOPPING] = "stopping\n"};
    struct ops *o = cls;
    enum ops_phase phase = o->phase;
    (void)version;
    (void)upload;
    (void)upload_len;
    (void)context;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this can only be read\n");
    if (strcmp(path, "/metrics") == 0)
        return answer_metrics(connection);
    if (strcmp(path, "/livez") == 0)
        return say(connection, MHD_HTTP_OK, "ok\n");
    if (strcmp(path, "/readyz") == 0)
        return say(connection, phase == OPS_SERVING ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, phases[phase]);
    if (strcmp(path, "/startupz") == 0)
        return say(connection, phase == OPS_STARTING ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, phases[phase]);
    return say(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /livez, /readyz and /startupz\n");
}

/* MHD_OPTION_NOTIFY_CONNECTION */
static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct ops *o = cls;
    (void)connection;
    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        listener_closed(o->listener);
}

/* listener_accept */
static void take_connection(void *arg, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct ops *o = arg;
    if (MHD_add_connection(o->daemon, fd, address, address_len) != MHD_YES) /* which has closed it */
        listener_closed(o->listener);
}

static int start_daemon(struct ops *o)
{
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX + 1, NULL}, /* one is closed before it is not counted any more */
        {MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)notify_connection, o},
        {MHD_OPTION_END, 0, NULL},
    };
    o->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, 0, NULL, NULL,
                                 handle, o, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    return o->daemon ? 0 : -(errno ? errno : EIO);
}

int ops_start(const struct config *config, struct ops **ret_ops, struct buf *error)
{
    if (config->ops.listen.count == 0) {
        *ret_ops = NULL;
        return 0;
    }
    struct ops *o = calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    int r = listener_create(config->ops.listen.items, CONNECTIONS_MAX, &o->listener, error);
    if (r == 0)
        r = start_daemon(o);
    if (r == 0)
        r = listener_start(o->listener, "ops", take_connection, o);
    if (r < 0)
        ops_stop(o);
    else
        *ret_ops = o;
    return r;
}

void ops_enter(struct ops *o, enum ops_phase phase)
{
    if (o)
        o->phase = phase;
}

void ops_stop(struct ops *o)
{
    if (!o)
        return;
    if (o->listener)
        listener_stop(o->listener);
    if (o->daemon)
        MHD_stop_daemon(o->daemon);
    listener_destroy(o->listener);
    free(o);
}
