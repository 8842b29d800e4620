#include "server/request.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "config/config.h"
#include "mirror/mirror.h"
#include "server/client.h"
#include "server/conditional.h"
#include "server/framing.h"
#include "server/patience.h"
#include "server/reply.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A GET may come with a body; it means nothing, and one that is longer than this ends the connection. */
#define UPLOAD_MAX (64 * KIB)
#define HEADER_MAX (64 * KIB) /* of a list that is joined; a head has less, so that nobody's list hides its own end */
#define LOGGED_TEXT_MAX 200   /* of what a client may choose at will */

void *request_create(void *cls, const char *target, struct MHD_Connection *connection)
{
    size_t n = target ? strlen(target) : 0;
    struct request *r = malloc(sizeof(*r) + n + 1);
    if (!r)
        return NULL;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    *r = (struct request){
        .door = cls,
        .connection = connection,
        .connected = info ? info->socket_context : NULL,
        .id = ++((struct door *)cls)->ids,
        .began_us = clock_monotonic_us(),
    };
    memcpy(r->target, target ? target : "", n + 1);
    door_enter(r->door);
    return r;
}

const char *request_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *request_id(const struct request *r, char *text)
{
    (void)snprintf(text, REQUEST_ID_TEXT, "%08x-%08x", r->door->boot, r->id);
    return text;
}

bool request_abandoned(const struct request *r)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return true;
    /* Not by a look at what has come: TLS says goodbye before it closes. */
    struct pollfd fd = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&fd, 1, 0) > 0;
}

struct joined {
    const char *name;
    struct buf value;
};

/* MHD_KeyValueIterator: several fields of one name are one list (RFC 9110 §5.3). */
static enum MHD_Result join(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct joined *j = cls;
    (void)kind;
    if (strcasecmp(name, j->name) != 0 || !value)
        return MHD_YES;
    return buf_addf(&j->value, "%s%s", j->value.len ? "," : "", value) == 0 ? MHD_YES : MHD_NO;
}

/* Who is at the other end, or behind a proxy that is trusted. */
static void identify(struct request *r)
{
    const struct config *config = r->door->config;
    const char *peer = r->connected ? r->connected->address : "";
    struct joined from = {.name = "X-Forwarded-For", .value = BUF_INIT(HEADER_MAX)};
    struct joined proto = {.name = "X-Forwarded-Proto", .value = BUF_INIT(HEADER_MAX)};
    if (config->server.trusted_proxies.count > 0) {
        (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, join, &from);
        (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, join, &proto);
    }
    forwarded_read(&config->server.trusted_proxies, peer, from.value.data, proto.value.data, &r->forwarded);
    r->secure = r->forwarded.secure || (r->connected && r->connected->secure);
    buf_finish(&from.value);
    buf_finish(&proto.value);
}

/* The mirror calls this on our own thread, in mirror_step() or mirror_read(), with its lock held. */
static void suspend(void *arg)
{
    struct request *r = arg;
    r->waited = true;
    door_suspended(r->door);
    MHD_suspend_connection(r->connection);
}

/* And this from any thread, with the same lock held: the request cannot go away meanwhile, since mirror_close() takes
 * that lock. */
static void wake(void *arg)
{
    struct request *r = arg;
    struct door *door = r->door;
    MHD_resume_connection(r->connection);
    door_resumed(door);
}

static bool has_upload(const struct request *r)
{
    const char *length = request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length && strcmp(length, "0") != 0) || request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* MHD_KeyValueIterator: a request may have several fields of one name. */
static enum MHD_Result look_for_only_if_cached(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    bool *found = cls;
    (void)kind;
    if (value && strcasecmp(name, MHD_HTTP_HEADER_CACHE_CONTROL) == 0 && conditional_only_if_cached(value))
        *found = true;
    return MHD_YES;
}

static bool is_only_if_cached(const struct request *r)
{
    bool found = false;
    (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, look_for_only_if_cached, &found);
    return found;
}

static int open_session(struct request *r)
{
    static const enum mirror_object objects[] = {
        [ROUTE_MANIFEST] = MIRROR_MANIFEST,
        [ROUTE_BLOB] = MIRROR_BLOB,
        [ROUTE_TAGS] = MIRROR_TAGS,
        [ROUTE_REFERRERS] = MIRROR_REFERRERS,
    };
    const struct mirror_request request = {
        .object = objects[r->route.kind],
        .head = r->route.head,
        .ns = r->route.ns,
        .name = r->route.name,
        .reference = r->route.reference,
        .artifact_type = r->route.artifact_type,
        .page_size = r->route.page_size,
        .last = r->route.last,
        .client = r->forwarded.address,
        .only_if_cached = is_only_if_cached(r),
        .hop = request_header(r, "Entrepot-Hop"), /* another mirror asks what we have, and never more than that */
        .login = r->secret.login,
        .login_key = r->secret.key,
        .waiter = {.suspend = suspend, .wake = wake, .arg = r},
    };
    return mirror_open(r->door->mirror, &request, &r->session);
}

static void count_against_limit(struct request *r)
{
    struct patience *p = r->door->requests;
    int64_t wait_ms = p ? patience_ask(p, r->forwarded.address, clock_monotonic_ms(), /* take= */ true) : 0;
    r->retry_after_s = (int)((wait_ms + CLOCK_SECOND - 1) / CLOCK_SECOND);
}

/* AUTH_KNOWN: the way is free. AUTH_WAITS: suspended. Else *ret_result is what came of the refusal. */
static enum auth_verdict identify_user(struct request *r, enum MHD_Result *ret_result)
{
    static const struct route_refusal wrong = {401, "UNAUTHORIZED", "the user or the password is not right"};
    static const struct route_refusal slow = {429, "TOOMANYREQUESTS", "too many failed logins from this address"};
    static const struct route_refusal busy = {503, "UNAVAILABLE", "too many are logging in at once"};
    static const struct route_refusal *const refusals[] = {
        [AUTH_WRONG] = &wrong, [AUTH_SLOW] = &slow, [AUTH_BUSY] = &busy, [AUTH_CANCELLED] = &busy};
    const struct mirror_waiter waiter = {.suspend = suspend, .wake = wake, .arg = r};
    if (!r->door->auth || r->identified)
        return AUTH_KNOWN;
    r->identity.certificate = r->connected ? r->connected->peer.name : "";
    enum auth_verdict v = auth_identify(r->door->auth, request_header(r, MHD_HTTP_HEADER_AUTHORIZATION),
                                        r->forwarded.address, &waiter, &r->identity);
    r->identified = v == AUTH_KNOWN;
    if (r->identity.flaw)
        *ret_result = reply_refusal(r, &(struct route_refusal){401, "UNAUTHORIZED", r->identity.flaw});
    else if (v != AUTH_KNOWN && v != AUTH_WAITS)
        *ret_result = reply_refusal(r, refusals[v]);
    return v;
}

static bool is_anonymous(const struct request *r)
{
    return !*r->identity.user && !*r->identity.certificate && !r->identity.token;
}

static const struct route_refusal *check_rules(struct request *r)
{
    static const struct route_refusal log_in = {401, "UNAUTHORIZED", "log in to pull this"};
    static const struct route_refusal denied = {403, "DENIED", "no rule lets you pull this (server.auth.rules)"};
    static const struct route_refusal lacks = {401, "UNAUTHORIZED", "the token is not for this"};
    struct mirror_account account;
    bool private;
    if (!r->door->auth || r->admitted)
        return NULL;
    mirror_account(r->session, &account);
    if (!auth_allows(r->door->auth, &r->identity, account.registry, account.repository, &private))
        return is_anonymous(r)                                                                       ? &log_in
               : auth_token_lacks(r->door->auth, &r->identity, account.registry, account.repository) ? &lacks
                                                                                                     : &denied;
    r->admitted = true;
    if (private)
        mirror_admit(r->session);
    return NULL;
}

/* What is private is shown to whom the upstream shows it: so he is asked for his account there. */
static enum MHD_Result ask_for_secret(struct request *r)
{
    static const struct route_refusal none = {401, "UNAUTHORIZED", "private: log in as at the registry itself"};
    static const struct route_refusal refused = {401, "UNAUTHORIZED", "the registry does not show this to the account"};
    static const struct route_refusal slow = {429, "TOOMANYREQUESTS", "too many refused accounts from this address"};
    if (r->secret.retry_after_s > 0)
        return reply_refusal(r, &slow);
    if (!r->secret.login)
        return reply_refusal(r, &none);
    pull_secrets_note_refusal(r->door->pull_secrets, &r->secret, r->forwarded.address);
    return reply_refusal(r, &refused);
}

static enum MHD_Result answer(struct request *r)
{
    static const struct route_refusal log_in = {401, "UNAUTHORIZED", "log in"};
    static const struct route_refusal too_many = {429, "TOOMANYREQUESTS", "too many requests from this address"};
    enum MHD_Result result;
    if (r->connected)
        headway_answering(&r->connected->headway);
    if (r->retry_after_s > 0)
        return reply_refusal(r, &too_many);
    if (r->verdict != ROUTE_OK)
        return reply_refusal(r, route_refusal(r->verdict));
    if (r->waited && request_abandoned(r))
        return MHD_NO;
    r->waited = false;
    if (!r->session && r->route.kind != ROUTE_PING) { /* first, since a refusal says what it was about */
        if (r->door->pull_secrets)
            pull_secrets_take(r->door->pull_secrets, request_header(r, MHD_HTTP_HEADER_AUTHORIZATION),
                              r->forwarded.address, r->secure, &r->secret);
        if (r->secret.retry_after_s > 0)
            r->secret.login = NULL;
        if (open_session(r) < 0)
            return MHD_NO;
    }
    enum auth_verdict v = identify_user(r, &result);
    if (v != AUTH_KNOWN)
        return v == AUTH_WAITS ? MHD_YES : result;
    /* Clients learn here how to log in, and do not ask again. */
    if (r->route.kind == ROUTE_PING)
        return r->door->auth && is_anonymous(r) ? reply_refusal(r, &log_in) : reply_ping(r);
    const struct route_refusal *refusal = check_rules(r);
    if (refusal)
        return reply_refusal(r, refusal);
    struct mirror_answer a;
    if (mirror_step(r->session, &a) == MIRROR_WAIT)
        return MHD_YES; /* suspended: anything but MHD_YES would be a use after free */
    return a.hidden && r->secret.offered ? ask_for_secret(r) : reply_answer(r, &a);
}

enum MHD_Result request_handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                               const char *version, const char *upload, size_t *upload_len, void **context)
{
    struct request *r = *context;
    (void)cls;
    (void)version;
    (void)upload;
    if (!r)
        return MHD_NO;
    if (!r->parsed) {
        r->parsed = true;
        r->path = path;
        r->method = method;
        identify(r);
        count_against_limit(r);
        r->verdict = route_parse(method, r->target, &r->route);
        if (!framing_of_is_clear(connection))
            r->verdict = ROUTE_BAD_FRAMING;
        /* Who waits for leave to send something is told at once, and so is he whose request has no certain end; the
         * connection ends with it. All other answers have to come with the last call, lest libmicrohttpd close the
         * connection after them. */
        return r->verdict == ROUTE_BAD_FRAMING || (r->verdict == ROUTE_BAD_METHOD && has_upload(r)) ? answer(r)
                                                                                                    : MHD_YES;
    }
    if (*upload_len > 0) {
        r->discarded += *upload_len;
        *upload_len = 0;
        return r->discarded <= UPLOAD_MAX ? MHD_YES : MHD_NO;
    }
    return answer(r);
}

/* A text of the client's for the log, shortened to what `copy` holds. */
static const char *shorten(const char *text, char copy[LOGGED_TEXT_MAX + 1])
{
    if (!text || strlen(text) <= LOGGED_TEXT_MAX)
        return text;
    memcpy(copy, text, LOGGED_TEXT_MAX);
    copy[LOGGED_TEXT_MAX] = '\0';
    return copy;
}

static const char *const outcomes[] = {
    [MIRROR_NONE] = NULL,   [MIRROR_HIT] = "hit",     [MIRROR_JOINED] = "joined",
    [MIRROR_MISS] = "miss", [MIRROR_STALE] = "stale", [MIRROR_ERROR] = "error",
};

static bool is_complete(const struct request *r, enum MHD_RequestTerminationCode why)
{
    return why == MHD_REQUEST_TERMINATED_COMPLETED_OK || (r->refused && why == MHD_REQUEST_TERMINATED_WITH_ERROR);
}

/* Bytes of the body that were sent, or -1: how far sendfile came before a client left is not known. */
static int64_t sent(const struct request *r, enum MHD_RequestTerminationCode why)
{
    if (r->streamed)
        return (int64_t)r->handed_out;
    return is_complete(r, why) && !r->refused ? (int64_t)r->length : -1;
}

static void count_request(const struct request *r, enum MHD_RequestTerminationCode why)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct mirror_account account = {.outcome = MIRROR_NONE};
    if (r->session)
        mirror_account(r->session, &account);
    const char *object = route_kind_name(r->route.kind);
    const char *outcome = outcomes[account.outcome] ? outcomes[account.outcome] : "none";
    int64_t bytes = sent(r, why);
    metrics_add(METRIC_REQUESTS, 1, LABELS(object, outcome, classes[r->status / 100 % 6]));
    metrics_observe(METRIC_REQUEST_DURATION, clock_monotonic_us() - r->began_us, LABELS(object, outcome));
    if (r->first_us)
        metrics_observe(METRIC_REQUEST_FIRST_BYTE, r->first_us - r->began_us, LABELS(object, outcome));
    if (bytes > 0)
        metrics_add(METRIC_RESPONSE_BYTES, bytes, LABELS(object, outcome));
}

static void log_request(const struct request *r, enum MHD_RequestTerminationCode why)
{
    struct mirror_account account = {.registry = ""};
    char id[REQUEST_ID_TEXT];
    char method[LOGGED_TEXT_MAX + 1], path[LOGGED_TEXT_MAX + 1], ns[LOGGED_TEXT_MAX + 1];
    char range[LOGGED_TEXT_MAX + 1], agent[LOGGED_TEXT_MAX + 1];
    struct log_field fields[24];
    unsigned n = 0;
    int64_t now = clock_monotonic_us(), bytes = sent(r, why);

    if (r->session)
        mirror_account(r->session, &account);
    bool cut = r->cut || why == MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN;
    fields[n++] = LOG_S("id", request_id(r, id));
    fields[n++] = LOG_S("client", r->parsed ? r->forwarded.address : r->connected ? r->connected->address : NULL);
    if (r->forwarded.trusted)
        fields[n++] = LOG_S("proxy", r->connected->address);
    fields[n++] = LOG_S("user", *r->identity.user ? r->identity.user : NULL);
    fields[n++] = LOG_S("token", r->identity.flaw);
    fields[n++] = LOG_S("method", shorten(r->method, method));
    fields[n++] = LOG_S("object", route_kind_name(r->route.kind));
    if (r->verdict != ROUTE_OK)
        fields[n++] = LOG_S("path", shorten(r->path, path));
    fields[n++] = LOG_S("registry", *account.registry ? account.registry : NULL);
    fields[n++] = LOG_S("repository", account.repository ? account.repository : r->route.name);
    fields[n++] = LOG_S("reference", r->route.reference);
    fields[n++] = LOG_S("ns", shorten(r->route.ns, ns));
    fields[n++] = LOG_S("range", shorten(r->range, range));
    fields[n++] = LOG_I("status", r->status);
    fields[n++] = LOG_S("outcome", outcomes[account.outcome]);
    if (bytes >= 0)
        fields[n++] = LOG_I("bytes", bytes);
    fields[n++] = LOG_I("ms", (now - r->began_us) / 1000);
    if (r->streamed && r->first_us)
        fields[n++] = LOG_I("first_ms", (r->first_us - r->began_us) / 1000);
    if (r->session)
        fields[n++] = LOG_U("upstream_requests", account.upstream_requests);
    fields[n++] = LOG_S("end", cut ? "cut" : is_complete(r, why) ? "complete" : "gone");
    fields[n++] = LOG_S("agent", shorten(request_header(r, MHD_HTTP_HEADER_USER_AGENT), agent));
    log_write(LOG_INFO, "request", fields, n);
}

void request_completed(void *cls, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why)
{
    struct request *r = *context;
    (void)cls;
    if (!r)
        return;
    *context = NULL;
    if (r->status == 0) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
        r->refused = info != NULL;
        r->status = info ? (int)info->http_status : 0;
    }
    count_request(r, why);
    if (log_wanted(LOG_INFO))
        log_request(r, why);
    identity_finish(&r->identity);
    mirror_close(r->session);
    multipart_destroy(r->parts);
    if (r->parsed && r->connected)
        headway_answered(&r->connected->headway);
    struct door *door = r->door;
    if (r->streamed)
        door->streams--;
    free(r);
    door_leave(door);
}
