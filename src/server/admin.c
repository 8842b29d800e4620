#include "server/admin.h"

#include "admin/admin.h"
#include "base/clock.h"
#include "base/limits.h"
#include "server/admin_gate.h"
#include "server/client.h"
#include "server/framing.h"
#include "server/guard.h"
#include "server/listener.h"
#include "server/tls.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM_BLOCK (64 * KIB)

struct admin_server {
    struct admin *admin;
    struct admin_gate *gate;
    struct tls *tls; /* the guard's; NULL: it is not spoken here */
    struct listener *listener;
    struct headway_watch *headway;
    struct MHD_Daemon *daemon;
    struct MHD_Daemon *tls_daemon; /* of the addresses with a port, where there is `tls` */
};

/* One request, from its first line to the end of its answer. */
struct exchange {
    struct admin_request request;
    struct admin_reply reply;
    struct admin_caller caller;
    struct buf body;
    int64_t began_ms;
};

/* ------------------------------------------------------------------ answers */

static void exchange_destroy(struct exchange *x)
{
    buf_finish(&x->body);
    admin_reply_finish(&x->reply);
    admin_caller_finish(&x->caller);
    free(x);
}

static ssize_t read_stream(void *cls, uint64_t offset, char *data, size_t len)
{
    struct exchange *x = cls;
    (void)offset;
    ssize_t n = x->reply.read(x->reply.arg, data, len);
    return n > 0 ? n : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *make_response(struct exchange *x)
{
    struct admin_reply *reply = &x->reply;
    if (reply->read)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x, NULL);
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->len, reply->text, MHD_RESPMEM_MUST_FREE);
    if (response)
        reply->text = NULL;
    return response;
}

static void add_retry_after(struct MHD_Response *response, int seconds)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%d", seconds);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, text);
}

/* NULL: there was no memory for it. */
static struct client *get_client(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static enum MHD_Result queue(const struct admin_server *s, struct MHD_Connection *connection, struct exchange *x)
{
    const struct admin_reply *reply = &x->reply;
    struct MHD_Response *response = make_response(x);
    if (!response)
        return MHD_NO;
    const char *type = reply->content_type ? reply->content_type : "application/json";
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (*reply->allow)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->status == 401)
        admin_gate_challenge(s->gate, &x->caller, response);
    if (x->caller.identity.retry_after_s > 0)
        add_retry_after(response, x->caller.identity.retry_after_s);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ------------------------------------------------------------------ libmicrohttpd's callbacks */

/* MHD_KeyValueIterator */
static enum MHD_Result take_param(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct admin_request *request = cls;
    (void)kind;
    if (request->param_count < ADMIN_PARAMS_MAX)
        request->params[request->param_count] = (struct admin_param){name, value ? value : ""};
    request->param_count++;
    return MHD_YES;
}

/* The headers are there: whether it is answered before its body is read. */
static enum MHD_Result begin(const struct admin_server *s, struct MHD_Connection *connection, struct exchange *x)
{
    struct client *client = get_client(connection);
    if (client)
        headway_answering(&client->headway); /* a login may take a while */
    if (!framing_of_is_clear(connection)) {
        admin_refuse(&x->reply, 400, "bad_request", "the header fields leave it open where the request ends");
        return queue(s, connection, x);
    }
    const struct admin_refusal refusal = admin_gate_ask(s->gate, connection, client, &x->caller, &x->request);
    if (refusal.status != 0) {
        admin_refuse(&x->reply, refusal.status, refusal.code, refusal.message);
        return queue(s, connection, x);
    }
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_param, &x->request);
    if (x->request.param_count > ADMIN_PARAMS_MAX) {
        admin_refuse(&x->reply, 400, "bad_parameter", "there are too many parameters");
        return queue(s, connection, x);
    }
    if (client)
        headway_answered(&client->headway); /* the body, if there is one, is the client's to send */
    return MHD_YES;
}

/* Of a body that is too large the rest is not read. */
static enum MHD_Result take_body(struct exchange *x, const char *data, size_t len)
{
    bool late = clock_monotonic_ms() - x->began_ms > LIMIT_ADMIN_IDLE_MS;
    return late || buf_add(&x->body, data, len) < 0 ? MHD_NO : MHD_YES;
}

/* The access handler. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *upload, size_t *upload_len, void **context)
{
    const struct admin_server *s = cls;
    struct exchange *x = *context;
    (void)version;
    if (!x) {
        x = calloc(1, sizeof(*x));
        if (!x)
            return MHD_NO;
        *context = x;
        x->body = BUF_INIT(LIMIT_ADMIN_BODY);
        x->began_ms = clock_monotonic_ms();
        x->request.method = method;
        x->request.path = path;
        return begin(s, connection, x);
    }
    if (*upload_len > 0) {
        enum MHD_Result result = take_body(x, upload, *upload_len);
        *upload_len = 0;
        return result;
    }
    struct client *client = get_client(connection);
    if (client)
        headway_answering(&client->headway);
    x->request.body = x->body.data;
    x->request.body_len = x->body.len;
    admin_handle(s->admin, &x->request, &x->reply);
    return queue(s, connection, x);
}

/* MHD_OPTION_NOTIFY_COMPLETED: the answer is out, or its connection lost. */
static void completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)why;
    struct client *client = get_client(connection);
    if (client)
        headway_answered(&client->headway);
    if (*context)
        exchange_destroy(*context);
    *context = NULL;
}

/* MHD_OPTION_NOTIFY_CONNECTION */
static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct admin_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = client_create(connection, s->tls, s->headway);
        return;
    }
    client_destroy(*context);
    *context = NULL;
    listener_closed(s->listener);
}

/* listener_accept */
static void take_connection(void *arg, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct admin_server *s = arg;
    struct MHD_Daemon *daemon = s->tls_daemon && address->sa_family != AF_UNIX ? s->tls_daemon : s->daemon;
    if (MHD_add_connection(daemon, fd, address, address_len) != MHD_YES) /* which has closed it */
        listener_closed(s->listener);
}

/* ------------------------------------------------------------------ start and stop */

/* `priorities` are those of TLS; NULL: it is not spoken. */
static int start_daemon(struct admin_server *s, const char *priorities, struct MHD_Daemon **ret_daemon)
{
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, LIMIT_ADMIN_HEADER, NULL},
        /* one is closed before it is not counted any more */
        {MHD_OPTION_CONNECTION_LIMIT, LIMIT_ADMIN_CONNECTIONS + 1, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, LIMIT_ADMIN_IDLE_MS / 1000, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)completed, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)notify_connection, s},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem of_tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(intptr_t)tls_choose},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    *ret_daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                                       MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC | (priorities ? MHD_USE_TLS : 0),
                                   0, NULL, NULL, handle, s, MHD_OPTION_ARRAY, options, MHD_OPTION_ARRAY,
                                   priorities ? of_tls : &of_tls[ARRAY_SIZE(of_tls) - 1], MHD_OPTION_END);
    return *ret_daemon ? 0 : -(errno ? errno : EIO);
}

int admin_server_start(const struct config *config, struct admin *admin, const struct guard *guard,
                       struct admin_server **ret_server, struct buf *error)
{
    if (config->admin.listen.count == 0) {
        *ret_server = NULL;
        return 0;
    }
    struct admin_server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->admin = admin;
    s->tls = config->admin.tls && guard ? guard_tls(guard) : NULL;
    const struct headway_terms terms = {.header_ms = config->server.limits.header_timeout_ms};
    int r = admin_gate_create(config, guard, &s->gate, error);
    if (r == 0)
        r = headway_watch_create(&terms, &s->headway);
    if (r == 0)
        r = listener_create(config->admin.listen.items, LIMIT_ADMIN_CONNECTIONS, &s->listener, error);
    if (r == 0)
        r = start_daemon(s, NULL, &s->daemon);
    if (r == 0 && s->tls)
        r = start_daemon(s, tls_priorities(config), &s->tls_daemon);
    if (r == 0)
        r = listener_start(s->listener, "admin", take_connection, s);
    if (r < 0)
        admin_server_stop(s);
    else
        *ret_server = s;
    return r;
}

void admin_server_stop(struct admin_server *s)
{
    if (!s)
        return;
    if (s->listener)
        listener_stop(s->listener);
    admin_cut(s->admin);
    if (s->gate)
        admin_gate_cut(s->gate);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (s->tls_daemon)
        MHD_stop_daemon(s->tls_daemon);
    headway_watch_destroy(s->headway);
    listener_destroy(s->listener);
    admin_gate_destroy(s->gate);
    free(s);
}
