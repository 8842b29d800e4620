#include "server/reply.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "config/config.h"
#include "mirror/mirror.h"
#include "server/body.h"
#include "server/conditional.h"
#include "server/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ERROR_BODY_MAX (8 * KIB)
#define LINK_MAX (8 * KIB)
#define CHALLENGE_MAX (16 * KIB)
/* protocol.md §3.8: a Warning header has at most 4096 bytes. Nothing else of ours is longer. */
#define HEADER_MAX 4096

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    /* Fails without memory, and for a value with a line break. An answer lacks one header then. */
    if (value && *value)
        (void)MHD_add_response_header(response, name, value);
}

/* Queues the response and lets go of it. NULL is an answer that could not be made. */
static enum MHD_Result queue(struct request *r, int status, struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    add_header(response, "Docker-Distribution-Api-Version", "registry/2.0");
    if (r->secure && r->door->hsts[0])
        add_header(response, MHD_HTTP_HEADER_STRICT_TRANSPORT_SECURITY, r->door->hsts);
    if (r->door->draining || r->verdict == ROUTE_BAD_FRAMING)
        add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    r->status = status;
    if (!r->streamed)
        r->first_us = clock_monotonic_us();
    if (r->route.head)
        r->length = 0;
    enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *error_response(struct request *r, const char *code, const char *message)
{
    AUTO_BUF struct buf body = BUF_INIT(ERROR_BODY_MAX);
    char id[REQUEST_ID_TEXT];
    if (buf_adds(&body, "{\"errors\":[{\"code\":") < 0 || buf_add_json(&body, code) < 0 ||
        buf_adds(&body, ",\"message\":") < 0 || buf_add_json(&body, message) < 0 || buf_adds(&body, "}]}\n") < 0)
        return NULL;
    size_t len = body.len;
    char *data = buf_take(&body);
    struct MHD_Response *response = data ? body_owned(r, data, len) : NULL;
    if (response) {
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
        add_header(response, "X-Request-Id", request_id(r, id));
    }
    return response;
}

/* Relative, so that it leads back here; `ns` has to come along (protocol.md §3.5). */
static void add_link(struct MHD_Response *response, const struct request *r, const char *query)
{
    AUTO_BUF struct buf link = BUF_INIT(LINK_MAX);
    const struct route *route = &r->route;
    int e = route->kind == ROUTE_TAGS
                ? buf_addf(&link, "</v2/%s/tags/list?%s", route->name, query)
                : buf_addf(&link, "</v2/%s/referrers/%s?%s", route->name, route->reference, query);
    if (e == 0 && route->ns) {
        e = buf_adds(&link, "&ns=");
        if (e == 0)
            e = buf_add_urlencoded(&link, route->ns);
    }
    if (e == 0)
        e = buf_adds(&link, ">; rel=\"next\"");
    if (e == 0)
        add_header(response, MHD_HTTP_HEADER_LINK, link.data);
}

static void add_retry_after(struct MHD_Response *response, int seconds)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%d", seconds);
    add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, text);
}

/* The headers that do not depend on the part of the body that is sent. */
static void add_common(struct MHD_Response *response, const struct request *r, const struct mirror_answer *a)
{
    struct mirror_account account;
    mirror_account(r->session, &account);
    add_header(response, "OCI-Namespace", account.registry);
    add_header(response, MHD_HTTP_HEADER_WARNING, a->warning);
    if (a->retry_after_s >= 0)
        add_retry_after(response, a->retry_after_s);
}

/* What an entity tag has behind the digest where the body is encoded: other bytes of the same content. */
#define ENCODED_SUFFIX "-zstd"

static void add_digest(struct MHD_Response *response, const char *digest, const char *suffix)
{
    char etag[HEADER_MAX];
    if (!digest)
        return;
    (void)snprintf(etag, sizeof(etag), "\"%s%s\"", digest, suffix);
    add_header(response, "Docker-Content-Digest", digest);
    add_header(response, MHD_HTTP_HEADER_ETAG, etag);
}

static enum MHD_Result reply_error(struct request *r, const struct mirror_answer *a)
{
    struct MHD_Response *response =
        error_response(r, a->error_code ? a->error_code : "UNSUPPORTED", a->error_message ? a->error_message : "");
    if (response)
        add_common(response, r, a);
    return queue(r, a->status, response);
}

/* What to do about a Range header: only a GET of content that has a digest is served in parts. */
static int select_ranges(struct request *r, const struct mirror_answer *a, enum range_verdict *ret_verdict,
                         struct ranges *ret_ranges)
{
    *ret_verdict = RANGE_WHOLE;
    const char *range = r->route.head || !a->digest ? NULL : request_header(r, MHD_HTTP_HEADER_RANGE);
    if (!range)
        return 0;
    r->range = range;
    const char *if_range = request_header(r, MHD_HTTP_HEADER_IF_RANGE);
    if (if_range && !conditional_if_range(if_range, a->digest))
        return 0;
    return range_parse(range, a->size, r->door->config->server.max_ranges, ret_verdict, ret_ranges);
}

static enum MHD_Result reply_unsatisfiable(struct request *r, const struct mirror_answer *a)
{
    char text[64];
    struct MHD_Response *response = error_response(r, "SIZE_INVALID", "the range is not within the content");
    (void)snprintf(text, sizeof(text), "bytes */%" PRIu64, a->size);
    if (response) {
        add_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
        add_common(response, r, a);
    }
    return queue(r, MHD_HTTP_RANGE_NOT_SATISFIABLE, response);
}

/* Whether the body goes out as it is stored, compressed: never in parts, and a HEAD is about the content. */
static bool takes_packed(const struct request *r, const struct mirror_answer *a)
{
    const char *accepted = request_header(r, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    return a->packed_size > 0 && !r->route.head && accepted && conditional_accepts_zstd(accepted) &&
           !request_header(r, MHD_HTTP_HEADER_RANGE);
}

static enum MHD_Result reply_content(struct request *r, const struct mirror_answer *a, struct ranges *ranges)
{
    struct MHD_Response *response;
    char text[HEADER_MAX];
    int status = MHD_HTTP_OK;
    const char *content_type = a->content_type, *suffix = "";

    if (takes_packed(r, a)) {
        /* Without a Content-Length: containerd would take it for that of the content, and ask for the rest of it in
         * ranges (concurrent_layer_fetch_buffer). */
        response = body_packed(r, a);
        suffix = ENCODED_SUFFIX;
        if (response)
            add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "zstd");
    } else if (ranges->count > 1) {
        response = body_ranges(r, a, ranges);
        status = MHD_HTTP_PARTIAL_CONTENT;
        if (response) {
            (void)snprintf(text, sizeof(text), "multipart/byteranges; boundary=%s", multipart_boundary(r->parts));
            content_type = text;
        }
    } else if (ranges->count == 1) {
        struct range range = ranges->items[0];
        response = body_range(r, a, range);
        status = MHD_HTTP_PARTIAL_CONTENT;
        (void)snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first, range.last, a->size);
        if (response)
            add_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
    } else {
        response = r->route.head ? body_absent(r, a->size) : body_whole(r, a);
    }
    if (!response)
        return MHD_NO;
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    add_digest(response, a->digest, suffix);
    if (a->packed_size > 0)
        add_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    if (r->route.kind == ROUTE_BLOB)
        add_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    add_header(response, "OCI-Filters-Applied", a->filters);
    if (a->link)
        add_link(response, r, a->link);
    add_common(response, r, a);
    return queue(r, status, response);
}

static enum MHD_Result reply_not_modified(struct request *r, const struct mirror_answer *a, const char *suffix)
{
    /* Its Content-Length is that of the 200 that it stands for (RFC 9110 §8.6). */
    struct MHD_Response *response = body_absent(r, a->size);
    if (response) {
        add_digest(response, a->digest, suffix);
        add_common(response, r, a);
    }
    return queue(r, MHD_HTTP_NOT_MODIFIED, response);
}

enum MHD_Result reply_answer(struct request *r, const struct mirror_answer *a)
{
    AUTO(ranges_finish) struct ranges ranges = {0};
    enum range_verdict verdict;

    if (a->status != MHD_HTTP_OK)
        return reply_error(r, a);
    const char *none_match = a->digest ? request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH) : NULL;
    if (none_match) {
        char encoded[HEADER_MAX];
        (void)snprintf(encoded, sizeof(encoded), "%s" ENCODED_SUFFIX, a->digest);
        if (conditional_none_match(none_match, a->digest))
            return reply_not_modified(r, a, "");
        if (conditional_none_match(none_match, encoded))
            return reply_not_modified(r, a, ENCODED_SUFFIX);
    }
    if (select_ranges(r, a, &verdict, &ranges) < 0)
        return MHD_NO;
    if (verdict == RANGE_UNSATISFIABLE)
        return reply_unsatisfiable(r, a);
    if (verdict == RANGE_TOO_MANY)
        return reply_refusal(r, &(struct route_refusal){400, "UNSUPPORTED", "too many ranges in one request"});
    return reply_content(r, a, &ranges);
}

/* Clients that take the first that they know are sent for a token. */
static void add_challenges(struct MHD_Response *response, const struct request *r)
{
    AUTO_BUF struct buf bearer = BUF_INIT(CHALLENGE_MAX);
    struct mirror_account account = {0};
    if (r->session)
        mirror_account(r->session, &account);
    if (r->door->auth &&
        auth_challenge(r->door->auth, &r->identity, account.registry, account.repository, &bearer) == 0)
        add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, bearer.data);
    if (!r->door->auth || auth_takes_passwords(r->door->auth))
        add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"entrepot\", charset=\"UTF-8\"");
}

enum MHD_Result reply_refusal(struct request *r, const struct route_refusal *refusal)
{
    struct MHD_Response *response = error_response(r, refusal->code, refusal->message);
    if (response && refusal->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (response && refusal->status == MHD_HTTP_UNAUTHORIZED)
        add_challenges(response, r);
    if (response && refusal->status == MHD_HTTP_TOO_MANY_REQUESTS)
        add_retry_after(response, r->retry_after_s + r->identity.retry_after_s + r->secret.retry_after_s);
    return queue(r, refusal->status, response);
}

enum MHD_Result reply_ping(struct request *r)
{
    struct MHD_Response *response = body_text(r, "{}");
    if (response)
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    return queue(r, MHD_HTTP_OK, response);
}
