#include "server/route.h"

#include "base/digest.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes percent escapes in place; in a query `+` is a space. Control characters are refused, escaped or not. */
static bool decode(char *s, bool query)
{
    char *to = s;
    for (const char *from = s; *from; from++) {
        char c = *from;
        if (c == '%') {
            int hi = hex_value(from[1]), lo = hi < 0 ? -1 : hex_value(from[2]);
            if (lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            from += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Past the separator between two alphanumeric runs of a component: `.`, `_`, `__` or any number of `-`. */
static const char *skip_separator(const char *p)
{
    if (*p == '.')
        return p + 1;
    if (*p == '_')
        return p[1] == '_' ? p + 2 : p + 1;
    while (*p == '-')
        p++;
    return p;
}

/* Past one component of a name, or NULL where there is none. */
static const char *skip_component(const char *p)
{
    for (;;) {
        if (!is_alnum(*p))
            return NULL;
        while (is_alnum(*p))
            p++;
        const char *next = skip_separator(p);
        if (next == p)
            return p;
        p = next;
    }
}

/* `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`; the first component may be a registry with a port. */
static bool is_name(const char *name)
{
    if (strlen(name) > LIMIT_NAME)
        return false;
    const char *p = skip_component(name);
    if (p && *p == ':' && is_digit(p[1])) {
        do
            p++;
        while (is_digit(*p));
        if (*p != '/')
            return false;
    }
    while (p && *p == '/')
        p = skip_component(p + 1);
    return p && *p == '\0';
}

static bool is_tag(const char *tag)
{
    size_t n = 0;
    for (; tag[n]; n++) {
        char c = tag[n];
        bool word = is_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
        if (!word && (n == 0 || (c != '.' && c != '-')))
            return false;
    }
    return n >= 1 && n <= LIMIT_TAG;
}

static bool is_digest(const char *text)
{
    struct digest d;
    return digest_parse(text, strlen(text), &d) == 0;
}

static bool page_size(const char *text, int64_t *ret_n)
{
    int64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (!is_digit(*text) || n > (INT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (*text - '0');
    }
    *ret_n = n;
    return true;
}

/* The first of several parameters of one name counts; an empty one counts as none; unknown ones are ignored. */
static enum route_verdict parse_query(char *query, struct route *r)
{
    enum route_verdict verdict = ROUTE_OK;
    const char *n = NULL;
    while (query) {
        char *key = strsep(&query, "&");
        char *value = strchr(key, '=');
        if (value)
            *value++ = '\0';
        if (!decode(key, true) || (value && !decode(value, true)))
            return ROUTE_BAD_TARGET;
        if (!value || !*value)
            continue;
        const char **slot = strcmp(key, "ns") == 0             ? &r->ns
                            : strcmp(key, "n") == 0            ? &n
                            : strcmp(key, "last") == 0         ? &r->last
                            : strcmp(key, "artifactType") == 0 ? &r->artifact_type
                                                               : NULL;
        if (slot == &r->ns && strlen(value) > LIMIT_NAME)
            verdict = ROUTE_BAD_NAMESPACE;
        else if (slot && !*slot)
            *slot = value;
    }
    if (n && r->kind == ROUTE_TAGS && !page_size(n, &r->page_size))
        verdict = ROUTE_BAD_PAGE_SIZE;
    return verdict;
}

/* Cuts the last component off `path` and returns it; NULL where there is no slash. */
static char *cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* `rest` is what follows "/v2/": <name>/manifests/<reference> and its kin. A name may itself have components that are
 * called like ours, so it is the end of the path that decides. */
static enum route_verdict parse_object(char *rest, struct route *r)
{
    char *last = cut_last(rest);
    if (!last)
        return ROUTE_NOT_FOUND;
    if (ends_with(rest, "/blobs/uploads") || (ends_with(rest, "/blobs") && strcmp(last, "uploads") == 0))
        return ROUTE_BAD_METHOD; /* there is nothing to GET of an upload that was never begun */
    char *what = cut_last(rest);
    if (!what)
        return ROUTE_NOT_FOUND;
    if (strcmp(what, "manifests") == 0)
        r->kind = ROUTE_MANIFEST;
    else if (strcmp(what, "blobs") == 0)
        r->kind = ROUTE_BLOB;
    else if (strcmp(what, "referrers") == 0)
        r->kind = ROUTE_REFERRERS;
    else if (strcmp(what, "tags") == 0 && strcmp(last, "list") == 0)
        r->kind = ROUTE_TAGS;
    else
        return ROUTE_NOT_FOUND;
    if (!is_name(rest))
        return ROUTE_BAD_NAME;
    r->name = rest;
    if (r->kind == ROUTE_TAGS)
        return ROUTE_OK;
    bool tag = r->kind == ROUTE_MANIFEST && !strchr(last, ':');
    if (tag ? !is_tag(last) : !is_digest(last))
        return tag ? ROUTE_BAD_TAG : ROUTE_BAD_DIGEST;
    r->reference = last;
    return ROUTE_OK;
}

/* A target may come in absolute form, "http://host/v2/…" (RFC 9112 §3.2.2). */
static char *skip_authority(char *target)
{
    for (size_t i = 0; i < 2; i++) {
        const char *scheme = i == 0 ? "http://" : "https://";
        if (strncasecmp(target, scheme, strlen(scheme)) == 0)
            return target + strlen(scheme) + strcspn(target + strlen(scheme), "/?");
    }
    return target;
}

enum route_verdict route_parse(const char *method, char *target, struct route *ret_route)
{
    struct route r = {.kind = ROUTE_OTHER, .page_size = -1, .head = strcmp(method, "HEAD") == 0};
    enum route_verdict verdict = ROUTE_NOT_FOUND;
    char *query = skip_authority(target);
    char *path = strsep(&query, "?");

    if (!r.head && strcmp(method, "GET") != 0)
        verdict = ROUTE_BAD_METHOD;
    else if (!decode(path, false))
        verdict = ROUTE_BAD_TARGET;
    else if (strcmp(path, "/v2") == 0 || strcmp(path, "/v2/") == 0)
        r.kind = ROUTE_PING;
    else if (strncmp(path, "/v2/", 4) == 0)
        verdict = parse_object(path + 4, &r);
    if (r.kind == ROUTE_PING || verdict == ROUTE_OK)
        verdict = parse_query(query, &r);
    *ret_route = r;
    return verdict;
}

const struct route_refusal *route_refusal(enum route_verdict v)
{
    static const struct route_refusal refusals[] = {
        [ROUTE_NOT_FOUND] = {404, "UNSUPPORTED", "no such endpoint"},
        [ROUTE_BAD_METHOD] = {405, "UNSUPPORTED", "this registry is a mirror: it can only be pulled from"},
        [ROUTE_BAD_TARGET] = {400, "UNSUPPORTED", "the request target is not well-formed"},
        [ROUTE_BAD_NAME] = {400, "NAME_INVALID", "invalid repository name"},
        [ROUTE_BAD_TAG] = {400, "MANIFEST_INVALID", "invalid tag"},
        [ROUTE_BAD_DIGEST] = {400, "DIGEST_INVALID", "invalid digest, or of an unknown algorithm"},
        [ROUTE_BAD_NAMESPACE] = {400, "NAME_INVALID", "the ns parameter is too long"},
        [ROUTE_BAD_PAGE_SIZE] = {400, "PAGINATION_NUMBER_INVALID", "the n parameter is not a number"},
        [ROUTE_BAD_FRAMING] = {400, "UNSUPPORTED", "the header fields leave it open where the request ends"},
    };
    return v == ROUTE_OK ? NULL : &refusals[v];
}

const char *route_kind_name(enum route_kind k)
{
    static const char *const names[] = {
        [ROUTE_OTHER] = "other", [ROUTE_PING] = "ping", [ROUTE_MANIFEST] = "manifest",
        [ROUTE_BLOB] = "blob",   [ROUTE_TAGS] = "tags", [ROUTE_REFERRERS] = "referrers",
    };
    return names[k];
}
