#include "upstream/proxy.h"

#include "base/ip.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Bytes of the address, 0 where the text is none. */
static size_t parse_address(const char *text, uint8_t ret_address[16])
{
    if (inet_pton(AF_INET, text, ret_address) == 1)
        return 4;
    return inet_pton(AF_INET6, text, ret_address) == 1 ? 16 : 0;
}

/* "10.0.0.0/8", "fd00::/8", or an address alone. */
static bool network_has(const char *entry, const uint8_t *ip, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    size_t len = strcspn(entry, "/");
    if (len >= sizeof(text))
        return false;
    memcpy(text, entry, len);
    text[len] = '\0';
    uint8_t net[16];
    if (parse_address(text, net) != size)
        return false;
    unsigned long bits = size * 8;
    if (entry[len] == '/') {
        char *end;
        bits = strtoul(entry + len + 1, &end, 10);
        if (end == entry + len + 1 || *end || bits > size * 8)
            return false;
    }
    return ip_has_prefix(ip, net, (unsigned)bits);
}

static bool name_is_below(const char *host, const char *name)
{
    size_t n = strlen(name), len = strlen(host);
    return n > 0 && len >= n && strcasecmp(host + len - n, name) == 0 && (len == n || host[len - n - 1] == '.');
}

static bool entry_matches(char *entry, const char *host)
{
    size_t len = strlen(entry);
    if (len > 1 && entry[0] == '[' && entry[len - 1] == ']') {
        entry[len - 1] = '\0';
        entry++;
    }
    uint8_t ip[16];
    size_t size = parse_address(host, ip);
    if (size > 0)
        return network_has(entry, ip, size);
    if (entry[0] == '.')
        entry++;
    len = strlen(entry);
    if (len > 0 && entry[len - 1] == '.')
        entry[len - 1] = '\0';
    return name_is_below(host, entry);
}

bool proxy_is_bypassed(const char *no_proxy, const char *host)
{
    static const char separators[] = ", \t";
    if (!no_proxy)
        return false;
    for (const char *p = no_proxy; *(p += strspn(p, separators));) {
        char entry[256];
        size_t len = strcspn(p, separators);
        if (len == 1 && *p == '*')
            return true;
        if (len < sizeof(entry)) {
            memcpy(entry, p, len);
            entry[len] = '\0';
            if (entry_matches(entry, host))
                return true;
        }
        p += len;
    }
    return false;
}

static const char *get(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

const char *proxy_from_environment(bool https)
{
    /* HTTP_PROXY in capitals is what a CGI program has from a client's `Proxy:` field */
    const char *proxy = https ? get("https_proxy") : get("http_proxy");
    if (!proxy && https)
        proxy = get("HTTPS_PROXY");
    if (!proxy)
        proxy = get("all_proxy");
    return proxy ? proxy : get("ALL_PROXY");
}

const char *proxy_no_proxy_from_environment(void)
{
    const char *list = get("no_proxy");
    return list ? list : get("NO_PROXY");
}
