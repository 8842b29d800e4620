#include "upstream/url.h"

#include "base/limits.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void auto_curlu(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void auto_curl_string(char **s)
{
    curl_free(*s);
}

static int code_to_errno(CURLUcode code)
{
    return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : code == CURLUE_USER_NOT_ALLOWED ? -EPERM : -EPROTO;
}

/* Lower case, without the dot of the root; an IPv6 address without brackets, in its one canonical form. False: no
 * memory, or no address in the brackets. */
static bool tidy_host(const char *host, char **ret_host)
{
    size_t len = strlen(host);
    if (host[0] == '[') {
        struct in6_addr ip;
        char text[INET6_ADDRSTRLEN];
        AUTO_FREE char *inner = strndup(host + 1, len - 2);
        if (!inner || inet_pton(AF_INET6, inner, &ip) != 1 || !inet_ntop(AF_INET6, &ip, text, sizeof(text)))
            return false;
        return (*ret_host = strdup(text)) != NULL;
    }
    char *copy = strndup(host, len > 1 && host[len - 1] == '.' ? len - 1 : len);
    for (char *p = copy; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return (*ret_host = copy) != NULL;
}

static int describe(CURLU *u, struct url *ret_url)
{
    AUTO(auto_curl_string) char *scheme = NULL;
    AUTO(auto_curl_string) char *host = NULL;
    AUTO(auto_curl_string) char *port = NULL;
    AUTO(auto_curl_string) char *text = NULL;
    AUTO(auto_curl_string) char *user = NULL;
    CURLUcode code = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    if (code)
        return code_to_errno(code);
    bool https = strcasecmp(scheme, "https") == 0;
    if (!https && strcasecmp(scheme, "http") != 0)
        return -EPERM;
    if (curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_NO_USER)
        return -EPERM;
    code = curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    if (!code)
        code = curl_url_get(u, CURLUPART_HOST, &host, 0);
    if (!code)
        code = curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (!code)
        code = curl_url_get(u, CURLUPART_URL, &text, 0);
    if (code)
        return code_to_errno(code);
    if (host[0] == '\0' || strlen(text) > LIMIT_URL)
        return -EPROTO;

    struct url url = {.text = strdup(text), .https = https};
    const char *l = host[0] == '[' ? "[" : "", *r = host[0] == '[' ? "]" : "";
    bool usual = strcmp(port, https ? "443" : "80") == 0;
    if (tidy_host(host, &url.host)) {
        if (asprintf(&url.authority, "%s%s%s%s%s", l, url.host, r, usual ? "" : ":", usual ? "" : port) < 0)
            url.authority = NULL;
        if (asprintf(&url.origin, "%s://%s%s%s:%s", https ? "https" : "http", l, url.host, r, port) < 0)
            url.origin = NULL;
    }
    if (!url.text || !url.host || !url.authority || !url.origin) {
        url_finish(&url);
        return -ENOMEM;
    }
    *ret_url = url;
    return 0;
}

static int set(CURLU *u, const char *text)
{
    if (strlen(text) > LIMIT_URL)
        return -EPROTO;
    CURLUcode code = curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE);
    return code ? code_to_errno(code) : 0;
}

int url_parse(const char *text, struct url *ret_url)
{
    AUTO(auto_curlu) CURLU *u = curl_url();
    if (!u)
        return -ENOMEM;
    int r = set(u, text);
    return r < 0 ? r : describe(u, ret_url);
}

int url_redirect(const struct url *base, const char *location, struct url *ret_url)
{
    AUTO(auto_curlu) CURLU *u = curl_url();
    if (!u)
        return -ENOMEM;
    int r = set(u, base->text);
    if (r == 0)
        r = set(u, location);
    struct url url;
    if (r == 0)
        r = describe(u, &url);
    if (r < 0)
        return r;
    if (base->https && !url.https) {
        url_finish(&url);
        return -EPERM;
    }
    *ret_url = url;
    return 0;
}

void url_finish(struct url *u)
{
    free(u->text);
    free(u->host);
    free(u->authority);
    free(u->origin);
    *u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return strcmp(a->origin, b->origin) == 0;
}
