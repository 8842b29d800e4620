#include "server/admin.h"

#include "admin/admin.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "server/authorization.h"
#include "server/client.h"
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>

#define TOKEN_MIN 16
#define STREAM_BLOCK (64 * KIB)

struct admin_server {
    struct admin *admin;
    const char *token_file; /* the configuration's, or NULL */
    struct listener *listener;
    struct MHD_Daemon *daemon;
};

/* One request, from its first line to the end of its answer. */
struct exchange {
    struct admin_request request;
    struct admin_reply reply;
    struct buf body;
    int64_t began_ms;
};

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

static bool has_token(const struct admin_server *s, struct MHD_Connection *connection)
{
    const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    AUTO(authorization_finish) struct authorization given = {.kind = AUTHORIZATION_NONE};
    AUTO_BUF struct buf token = BUF_INIT(LIMIT_ADMIN_TOKEN);
    return authorization_parse(header, &given) == 0 && given.kind == AUTHORIZATION_BEARER && s->token_file &&
           read_token(s->token_file, &token) == 0 && same_text(given.token, token.data);
}

static void name_peer(char *who, int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "";
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
        client_address((struct sockaddr *)&address, text);
    (void)snprintf(who, ADMIN_WHO_MAX, "token %s", *text ? text : "?");
}

/* Whether it may ask; `who` says who it is. */
static bool is_let_in(const struct admin_server *s, struct MHD_Connection *connection, char *who)
{
    int fd = get_fd(connection);
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (!is_unix(fd)) {
        name_peer(who, fd);
        return has_token(s, connection);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        (void)snprintf(who, ADMIN_WHO_MAX, "uid=%u pid=%d", peer.uid, (int)peer.pid);
    return true;
}

/* ------------------------------------------------------------------ answers */

static void exchange_destroy(struct exchange *x)
{
    buf_finish(&x->body);
    admin_reply_finish(&x->reply);
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

static enum MHD_Result queue(struct MHD_Connection *connection, struct exchange *x)
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
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"entrepot\"");
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
    if (!is_let_in(s, connection, x->request.who)) {
        admin_refuse(&x->reply, 401, "unauthorized", "the token of admin.token_file is to be shown");
        return queue(connection, x);
    }
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_param, &x->request);
    if (x->request.param_count > ADMIN_PARAMS_MAX) {
        admin_refuse(&x->reply, 400, "bad_parameter", "there are too many parameters");
        return queue(connection, x);
    }
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
    x->request.body = x->body.data;
    x->request.body_len = x->body.len;
    admin_handle(s->admin, &x->request, &x->reply);
    return queue(connection, x);
}

/* MHD_OPTION_NOTIFY_COMPLETED: the answer is out, or its connection lost. */
static void completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)connection;
    (void)why;
    if (*context)
        exchange_destroy(*context);
    *context = NULL;
}

/* MHD_OPTION_NOTIFY_CONNECTION */
static void notify_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct admin_server *s = cls;
    (void)connection;
    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        listener_closed(s->listener);
}

/* listener_accept */
static void take_connection(void *arg, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct admin_server *s = arg;
    if (MHD_add_connection(s->daemon, fd, address, address_len) != MHD_YES) /* which has closed it */
        listener_closed(s->listener);
}

/* ------------------------------------------------------------------ start and stop */

static int start_daemon(struct admin_server *s)
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
    s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                                     MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
                                 0, NULL, NULL, handle, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    return s->daemon ? 0 : -(errno ? errno : EIO);
}

/* Whoever needs a token must be able to have one. */
static int check_token(const struct config *config, struct buf *error)
{
    AUTO_BUF struct buf token = BUF_INIT(LIMIT_ADMIN_TOKEN);
    if (!config->admin.token_file)
        return 0;
    int r = read_token(config->admin.token_file, &token);
    if (r < 0 && buf_addf(error, "%s: %s", config->admin.token_file,
                          r == -EINVAL ? "the token is shorter than 16 characters" : strerror(-r)) < 0)
        return -ENOMEM;
    return r;
}

int admin_server_start(const struct config *config, struct admin *admin, struct admin_server **ret_server,
                       struct buf *error)
{
    if (config->admin.listen.count == 0) {
        *ret_server = NULL;
        return 0;
    }
    struct admin_server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->admin = admin;
    s->token_file = config->admin.token_file;
    int r = check_token(config, error);
    if (r == 0)
        r = listener_create(config->admin.listen.items, LIMIT_ADMIN_CONNECTIONS, &s->listener, error);
    if (r == 0)
        r = start_daemon(s);
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
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    listener_destroy(s->listener);
    free(s);
}
