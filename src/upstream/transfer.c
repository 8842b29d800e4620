#include "upstream/transfer.h"

#include "base/clock.h"
#include "base/ip.h"
#include "base/limits.h"
#include "upstream/limit429.h"
#include "upstream/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (256 * KIB)

int transfer_fail(struct transfer *t, int error, const char *fmt, ...)
{
    if (t->error < 0)
        return t->error;
    t->error = error;
    int n = snprintf(t->message, sizeof(t->message), "%s: ", t->url.authority);
    if (n > 0 && (size_t)n < sizeof(t->message)) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(t->message + n, sizeof(t->message) - (size_t)n, fmt, ap);
        va_end(ap);
    }
    return error;
}

/* ------------------------------------------------------------------ what libcurl calls */

/* Refuses before anything is dialled. This is where a public name that resolves to a private address ends. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct transfer *t = arg;
    if (t->guarded && !t->proxied && ip_is_private(&address->addr)) {
        t->refused++;
        return CURL_SOCKET_BAD;
    }
    t->dialled++;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* A connection is there, new or used before; the request goes out next. A used one may be another source's, for which
 * other rules held, so that its address is looked at again. */
static int before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    (void)local;
    (void)peer_port;
    (void)local_port;
    struct transfer *t = arg;
    if (t->guarded && !t->proxied && (!ip_is_literal(peer) || ip_host_is_private(peer))) {
        (void)transfer_fail(t, -EPERM, "has a private address, to which it may not lead");
        return CURL_PREREQFUNC_ABORT;
    }
    t->phase = TRANSFER_ASKED;
    timer_set(&t->loop->timers, &t->timer, clock_monotonic_ms() + t->source->header_timeout_ms);
    return CURL_PREREQFUNC_OK;
}

static int64_t body_deadline(const struct transfer *t)
{
    int64_t stalled = t->last_byte + t->source->stall_timeout_ms;
    return stalled < t->body_end ? stalled : t->body_end;
}

static void answered(struct transfer *t)
{
    t->phase = TRANSFER_ANSWERED;
    t->last_byte = clock_monotonic_ms();
    t->body_end = t->bulk ? INT64_MAX : t->last_byte + LIMIT_SMALL_BODY_MS;
    timer_set(&t->loop->timers, &t->timer, body_deadline(t));
}

static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;
    bool was = t->header.complete;
    int r = header_line(&t->header, line, len);
    if (r < 0) {
        (void)transfer_fail(t, r, r == -EFBIG ? "the header is too large" : "the header makes no sense");
        return 0;
    }
    if (r == 0 || was)
        return len;
    answered(t);
    r = t->owner->header(t->arg, t);
    if (r < 0) {
        (void)transfer_fail(t, r, "ended");
        return 0;
    }
    t->ignore = r == TRANSFER_IGNORE;
    return len;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;
    t->last_byte = clock_monotonic_ms();
    if (t->ignore) {
        t->ignored += len;
        if (t->header.status == 429 && t->remark.len < t->remark.max) {
            size_t room = t->remark.max - t->remark.len;
            int e = buf_add(&t->remark, data, len < room ? len : room);
            (void)e; /* without it, it is taken for the worst */
        }
        return t->ignored > LIMIT_IDLE_BODY ? CURL_WRITEFUNC_ERROR : len;
    }
    int r = t->owner->body(t->arg, data, len);
    if (r == 0)
        return len;
    (void)transfer_fail(t, r < 0 ? r : -ECANCELED, "ended");
    return CURL_WRITEFUNC_ERROR;
}

/* ------------------------------------------------------------------ deadlines */

static void on_timer(struct timer *timer)
{
    struct transfer *t = CONTAINER_OF(timer, struct transfer, timer);
    if (t->phase == TRANSFER_ANSWERED && body_deadline(t) > clock_monotonic_ms()) {
        timer_set(&t->loop->timers, &t->timer, body_deadline(t)); /* bytes came, and did not move it */
        return;
    }
    static const char *const late[] = {
        [TRANSFER_QUEUED] = "no connection became free in time",
        [TRANSFER_CONNECTING] = "no connection in time",
        [TRANSFER_ASKED] = "no answer in time",
        [TRANSFER_ANSWERED] = "the answer stalled",
    };
    (void)transfer_fail(t, -ETIMEDOUT, "%s", late[t->phase]);
    loop_end(t->loop, t);
}

/* ------------------------------------------------------------------ create */

static int add_field(struct transfer *t, const char *name, const char *value)
{
    AUTO_FREE char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    struct curl_slist *fields = curl_slist_append(t->fields, line);
    if (!fields)
        return -ENOMEM;
    t->fields = fields;
    return 0;
}

static int add_fields(struct transfer *t, const struct transfer_request *request)
{
    /* CURLOPT_ACCEPT_ENCODING would have libcurl decode, and the bytes would not be the registry's any more */
    int r = add_field(t, "Accept-Encoding", "identity");
    if (r == 0 && request->accept)
        r = add_field(t, "Accept", request->accept);
    if (r == 0 && request->authorization)
        r = add_field(t, "Authorization", request->authorization);
    if (r == 0 && request->hop)
        r = add_field(t, "Cache-Control", "only-if-cached");
    if (r == 0 && request->hop)
        r = add_field(t, "Entrepot-Hop", request->hop);
    if (r == 0 && (request->offset > 0 || request->length > 0)) {
        char range[64];
        unsigned long long from = request->offset, length = request->length;
        if (length > 0)
            (void)snprintf(range, sizeof(range), "bytes=%llu-%llu", from, from + length - 1);
        else
            (void)snprintf(range, sizeof(range), "bytes=%llu-", from);
        r = add_field(t, "Range", range);
    }
    return r;
}

/* The first failure of many settings is kept: each of them can only fail for want of memory, or of a feature. */
#define SET(t, option, value)                                                                                          \
    do {                                                                                                               \
        if (code == CURLE_OK)                                                                                          \
            code = curl_easy_setopt((t)->easy, option, value);                                                         \
    } while (0)

static int set_up(struct transfer *t, const struct transfer_request *request)
{
    const struct source *s = t->source;
    const char *proxy = source_proxy(s, &t->url);
    t->proxied = proxy != NULL;
    t->guarded = !source_may_be_private(s, &t->url);
    if (t->guarded && ip_host_is_private(t->url.host))
        return -EPERM;
    t->easy = curl_easy_init();
    if (!t->easy || add_fields(t, request) < 0)
        return -ENOMEM;

    CURLcode code = CURLE_OK;
    SET(t, CURLOPT_PRIVATE, t);
    SET(t, CURLOPT_ERRORBUFFER, t->curl_error);
    SET(t, CURLOPT_NOSIGNAL, 1L);
    /* Otherwise a name server that does not answer would hold the whole thread whenever a transfer is given up. */
    SET(t, CURLOPT_QUICK_EXIT, 1L);
    SET(t, CURLOPT_URL, t->url.text);
    SET(t, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(t, CURLOPT_FOLLOWLOCATION, 0L);
    SET(t, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(t, CURLOPT_USERAGENT, "entrepot/" ENTREPOT_VERSION);
    SET(t, CURLOPT_HTTPHEADER, t->fields);
    SET(t, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* nothing of it for a proxy */
    SET(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(t, CURLOPT_NOBODY, t->head ? 1L : 0L);
    SET(t, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
    SET(t, CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_timeout_ms);
    SET(t, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(t, CURLOPT_PROXY, proxy ? proxy : "");
    SET(t, CURLOPT_NOPROXY, ""); /* decided by source_proxy() */
    if (s->ca) {
        struct curl_blob blob = {.data = s->ca, .len = s->ca_len, .flags = CURL_BLOB_NOCOPY};
        SET(t, CURLOPT_CAINFO_BLOB, &blob);
    }
    SET(t, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(t, CURLOPT_OPENSOCKETDATA, t);
    SET(t, CURLOPT_PREREQFUNCTION, before_request);
    SET(t, CURLOPT_PREREQDATA, t);
    SET(t, CURLOPT_HEADERFUNCTION, take_header);
    SET(t, CURLOPT_HEADERDATA, t);
    SET(t, CURLOPT_WRITEFUNCTION, take_body);
    SET(t, CURLOPT_WRITEDATA, t);
    return code == CURLE_OK ? 0 : code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EPROTO;
}

static int copy_url(const struct url *url, struct url *ret_copy)
{
    *ret_copy = (struct url){.text = strdup(url->text),
                             .host = strdup(url->host),
                             .authority = strdup(url->authority),
                             .origin = strdup(url->origin),
                             .https = url->https};
    return ret_copy->text && ret_copy->host && ret_copy->authority && ret_copy->origin ? 0 : -ENOMEM;
}

static void auto_transfer(struct transfer **t)
{
    transfer_destroy(*t);
}

int transfer_create(struct loop *loop, const struct transfer_request *request, const struct transfer_owner *owner,
                    void *arg, struct transfer **ret_transfer)
{
    AUTO(auto_transfer) struct transfer *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->loop = loop;
    t->source = source_ref(request->source);
    t->owner = owner;
    t->arg = arg;
    t->head = request->head;
    t->bulk = request->bulk;
    t->spare = request->spare;
    t->timer.fire = on_timer;
    list_init(&t->link);
    header_init(&t->header);
    t->remark = BUF_INIT(LIMIT429_BODY_MAX);
    int r = copy_url(request->url, &t->url);
    if (r == 0)
        r = set_up(t, request);
    if (r < 0)
        return r;
    *ret_transfer = TAKE_PTR(t);
    return 0;
}

void transfer_destroy(struct transfer *t)
{
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->fields);
    header_finish(&t->header);
    buf_finish(&t->remark);
    url_finish(&t->url);
    source_unref(t->source);
    free(t);
}

/* ------------------------------------------------------------------ how it ended */

static void conclude_unconnected(struct transfer *t)
{
    long code = 0;
    if (t->refused > 0 && t->dialled == 0) {
        (void)transfer_fail(t, -EPERM, "has a private address, to which it may not lead");
        return;
    }
    (void)curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &code);
    if (code == ENETUNREACH || code == EHOSTUNREACH || code == EADDRNOTAVAIL)
        (void)transfer_fail(t, -EHOSTUNREACH, "no route to it");
    else if (code == ETIMEDOUT)
        (void)transfer_fail(t, -ETIMEDOUT, "no connection in time");
    else
        (void)transfer_fail(t, -ECONNREFUSED, "connection refused");
}

static void conclude_broken(struct transfer *t)
{
    long code = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &code);
    if (t->proxied && code >= 300)
        (void)transfer_fail(t, -EHOSTUNREACH, "the proxy answered %ld", code);
    else
        (void)transfer_fail(t, -ECONNRESET, t->header.complete ? "the answer broke off" : "closed without an answer");
}

void transfer_conclude(struct transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        if (!t->header.complete)
            (void)transfer_fail(t, -EPROTO, "no HTTP answer");
        return;
    case CURLE_COULDNT_RESOLVE_HOST:
        (void)transfer_fail(t, -EHOSTUNREACH, "its name cannot be resolved");
        return;
    case CURLE_COULDNT_RESOLVE_PROXY:
        (void)transfer_fail(t, -EHOSTUNREACH, "the name of its proxy cannot be resolved");
        return;
    case CURLE_PROXY:
        (void)transfer_fail(t, -EHOSTUNREACH, "the proxy refused");
        return;
    case CURLE_COULDNT_CONNECT:
        conclude_unconnected(t);
        return;
    case CURLE_OPERATION_TIMEDOUT:
        (void)transfer_fail(t, -ETIMEDOUT, "no connection in time");
        return;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        conclude_broken(t);
        return;
    case CURLE_OUT_OF_MEMORY: /* libcurl's word for a header line that does not end, too */
        if (t->phase == TRANSFER_ASKED)
            (void)transfer_fail(t, -EFBIG, "the header is too large");
        else
            (void)transfer_fail(t, -ENOMEM, "no memory");
        return;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        (void)transfer_fail(t, -EPROTO, "TLS: %s", t->curl_error[0] ? t->curl_error : curl_easy_strerror(code));
        return;
    default: /* no message of libcurl's own: some of them quote the URL, which may be signed */
        (void)transfer_fail(t, -EPROTO, "%s", curl_easy_strerror(code));
    }
}
