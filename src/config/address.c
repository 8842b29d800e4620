#include "config/address.h"

#include "base/ip.h"
#include "config/config.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define NAME_LIMIT 253 /* characters of a host name */

/* Characters of `s`. */
struct span {
    const char *s;
    size_t len;
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_port(struct span p, bool zero)
{
    unsigned n = 0;
    if (p.len == 0 || p.len > 5 || (p.len > 1 && p.s[0] == '0'))
        return false;
    for (size_t i = 0; i < p.len; i++) {
        if (p.s[i] < '0' || p.s[i] > '9')
            return false;
        n = n * 10 + (unsigned)(p.s[i] - '0');
    }
    return n <= 65535 && (n > 0 || zero);
}

static bool parse_ip(int family, struct span host, void *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.s, host.len);
    text[host.len] = '\0';
    return inet_pton(family, text, ret_address) == 1;
}

/* Labels of letters, digits, `-` and `_`, with single dots between them. */
static bool is_name(struct span host)
{
    if (host.len == 0 || host.len > NAME_LIMIT)
        return false;
    char before = '.';
    for (size_t i = 0; i < host.len; i++) {
        char c = host.s[i];
        if (c == '.' ? before == '.' || before == '-' : !is_alnum(c) && c != '_' && (c != '-' || before == '.'))
            return false;
        before = c;
    }
    return before != '.' && before != '-';
}

/* "host", "host:port", "[v6]", "[v6]:port": the host without its brackets, and the port, with .s NULL where none is
 * written. */
static const char *split_host(struct span text, struct span *ret_host, struct span *ret_port)
{
    struct span host = text, port = {NULL, 0};
    const char *end = text.s + text.len, *colon;
    if (text.len > 0 && text.s[0] == '[') {
        const char *close = memchr(text.s, ']', text.len);
        if (!close)
            return "the [ of an IPv6 address is not closed";
        host = (struct span){text.s + 1, (size_t)(close - text.s - 1)};
        struct in6_addr ip;
        if (!parse_ip(AF_INET6, host, &ip))
            return "there is no IPv6 address in the brackets";
        colon = close + 1 < end ? close + 1 : NULL;
        if (colon && *colon != ':')
            return "a port is expected after the ]";
    } else {
        colon = memchr(text.s, ':', text.len);
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            return "an IPv6 address stands in brackets: [::1]:5000";
        if (colon)
            host.len = (size_t)(colon - text.s);
    }
    if (colon)
        port = (struct span){colon + 1, (size_t)(end - colon - 1)};
    *ret_host = host;
    *ret_port = port;
    return NULL;
}

static const char *check_host_port(struct span text, struct span *ret_host)
{
    struct span port;
    const char *wrong = split_host(text, ret_host, &port);
    if (wrong)
        return wrong;
    if (text.s[0] != '[' && !is_name(*ret_host))
        return "there is no valid host name or address in it";
    if (port.s && !is_port(port, false))
        return "the port must be a number from 1 to 65535";
    return NULL;
}

const char *address_check_listen(const char *s)
{
    struct span host, port;
    const char *wrong = split_host((struct span){s, strlen(s)}, &host, &port);
    if (wrong)
        return wrong;
    if (host.len == 0)
        return "the address is missing; 0.0.0.0:PORT or [::]:PORT is every address of the machine";
    if (!port.s || !is_port(port, true))
        return "ADDRESS:PORT is expected, with a port from 0 (any that is free) to 65535";
    struct in_addr ip;
    if (s[0] != '[' && !parse_ip(AF_INET, host, &ip))
        return "an IPv4 address or an IPv6 address in brackets is expected before the port, not a name";
    return NULL;
}

const char *address_check_admin(const char *s)
{
    return strncmp(s, CONFIG_UNIX, strlen(CONFIG_UNIX)) == 0 ? NULL : address_check_listen(s);
}

const char *address_check_host(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            return "must be written in lower case";
    if (strstr(s, "://"))
        return "a host is expected, with or without a port, not a URL";
    struct span host;
    return check_host_port((struct span){s, strlen(s)}, &host);
}

struct url {
    struct span scheme, user, authority, rest; /* user.s is NULL where there is none */
};

static bool split_url(const char *s, struct url *ret_url)
{
    const char *colon = strstr(s, "://");
    if (!colon)
        return false;
    const char *start = colon + 3;
    size_t len = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', len);
    *ret_url = (struct url){
        .scheme = {s, (size_t)(colon - s)},
        .user = {at ? start : NULL, at ? (size_t)(at - start) : 0},
        .authority = {at ? at + 1 : start, len - (at ? (size_t)(at + 1 - start) : 0)},
        .rest = {start + len, strlen(start + len)},
    };
    return true;
}

static bool is_scheme(struct span scheme, const char *const *schemes)
{
    for (; *schemes; schemes++)
        if (strlen(*schemes) == scheme.len && strncasecmp(*schemes, scheme.s, scheme.len) == 0)
            return true;
    return false;
}

static bool has_odd_characters(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || strchr("\"<>\\^`{|}", *s)) /* `char` may be signed: bytes above ASCII too */
            return true;
    return false;
}

const char *address_check_url(const char *s)
{
    static const char *const schemes[] = {"http", "https", NULL};
    struct url url;
    struct span host;
    if (!split_url(s, &url) || !is_scheme(url.scheme, schemes))
        return "a URL that begins with http:// or https:// is expected";
    if (has_odd_characters(s))
        return "there is a character in it that a URL may not have";
    if (url.user.s)
        return "a URL has no user and no password here; accounts come from `credentials`";
    if (memchr(url.rest.s, '?', url.rest.len) || memchr(url.rest.s, '#', url.rest.len))
        return "a URL has no query and no fragment here";
    return check_host_port(url.authority, &host);
}

const char *address_check_proxy(const char *s)
{
    static const char *const schemes[] = {"http", "https", "socks5", "socks5h", NULL};
    struct url url;
    struct span host;
    if (!split_url(s, &url) || !is_scheme(url.scheme, schemes))
        return "a URL that begins with http://, https://, socks5:// or socks5h:// is expected";
    if (has_odd_characters(s))
        return "there is a character in it that a URL may not have";
    if (url.rest.len > 0 && strcmp(url.rest.s, "/") != 0)
        return "a proxy has no path and no query";
    return check_host_port(url.authority, &host);
}

bool address_url_is_private(const char *s)
{
    struct url url;
    struct span host, port;
    if (!split_url(s, &url) || split_host(url.authority, &host, &port))
        return false;
    char text[NAME_LIMIT + 1];
    if (host.len > NAME_LIMIT)
        return false;
    memcpy(text, host.s, host.len);
    text[host.len] = '\0';
    return ip_host_is_private(text);
}

/* Of either family as IPv6 has it, so that both are compared alike. */
struct network {
    uint8_t address[16];
    unsigned bits; /* that count */
};

static bool parse_address(struct span text, struct network *ret_network)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct network n = {.bits = 128};
    memcpy(n.address, mapped, sizeof(mapped));
    if (!parse_ip(AF_INET, text, n.address + 12) && !parse_ip(AF_INET6, text, n.address))
        return false;
    *ret_network = n;
    return true;
}

static bool parse_network(const char *s, struct network *ret_network)
{
    size_t len = strcspn(s, "/");
    struct network n;
    if (!parse_address((struct span){s, len}, &n))
        return false;
    unsigned most = memchr(s, ':', len) ? 128 : 32, bits = most;
    if (s[len]) {
        const char *p = s + len + 1;
        size_t digits = strspn(p, "0123456789");
        if (digits == 0 || digits > 3 || p[digits])
            return false;
        for (bits = 0; *p; p++)
            bits = bits * 10 + (unsigned)(*p - '0');
        if (bits > most)
            return false;
    }
    n.bits = 128 - most + bits;
    *ret_network = n;
    return true;
}

const char *address_check_network(const char *s)
{
    struct network n;
    return parse_network(s, &n) ? NULL
                                : "an address or a network is expected, such as 192.0.2.1, 10.0.0.0/8 or fd00::/8";
}

bool address_is_in(const char *network, const char *address)
{
    struct network n, a;
    return parse_network(network, &n) && parse_address((struct span){address, strlen(address)}, &a) &&
           ip_has_prefix(a.address, n.address, n.bits);
}
