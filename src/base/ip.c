#include "base/ip.h"

#include "base/auto.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* IANA's special-purpose registry (RFC 6890 and what followed), multicast and the reserved rest. */
static const struct {
    uint32_t net;
    unsigned bits;
} private4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared by carriers (CGNAT) */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link local, cloud metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, broadcast */
};

static bool ipv4_is_private(uint32_t ip)
{
    for (size_t i = 0; i < ARRAY_SIZE(private4); i++)
        if ((ip ^ private4[i].net) >> (32 - private4[i].bits) == 0)
            return true;
    return false;
}

static uint32_t ipv4_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool ip_has_prefix(const void *ip, const void *prefix, unsigned bits)
{
    const uint8_t *a = ip, *b = prefix;
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool ipv6_is_private(const uint8_t *ip)
{
    if (ip_has_prefix(ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 96)) /* mapped */
        return ipv4_is_private(ipv4_at(ip + 12));
    if (ip_has_prefix(ip, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 96)) /* NAT64 */
        return ipv4_is_private(ipv4_at(ip + 12));
    if (ip_has_prefix(ip, "\x20\x02", 16)) /* 6to4 */
        return ipv4_is_private(ipv4_at(ip + 2));
    if (!ip_has_prefix(ip, "\x20", 3))
        return true; /* all that is not global unicast: loopback, link and unique local, multicast … */
    return ip_has_prefix(ip, "\x20\x01\x00", 23) ||     /* protocol assignments, Teredo among them */
           ip_has_prefix(ip, "\x20\x01\x0d\xb8", 32) || /* documentation */
           ip_has_prefix(ip, "\x3f\xff\x00", 20);       /* documentation */
}

bool ip_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return ipv4_is_private(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        return ipv6_is_private(in6.sin6_addr.s6_addr);
    }
    return true;
}

static bool parse(const char *host, bool *ret_private)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        *ret_private = ipv4_is_private(ntohl(v4.s_addr));
        return true;
    }
    char text[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%"); /* a zone says which link, not which address */
    struct in6_addr v6;
    if (len >= sizeof(text))
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    *ret_private = ipv6_is_private(v6.s6_addr);
    return true;
}

bool ip_is_literal(const char *host)
{
    bool private;
    return parse(host, &private);
}

bool ip_host_is_private(const char *host)
{
    bool private;
    if (parse(host, &private))
        return private;
    static const char name[] = "localhost";
    size_t len = strlen(host), n = sizeof(name) - 1;
    if (len > 0 && host[len - 1] == '.')
        len--;
    return len >= n && strncasecmp(host + len - n, name, n) == 0 && (len == n || host[len - n - 1] == '.');
}
