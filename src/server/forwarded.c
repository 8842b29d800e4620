#include "server/forwarded.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The last element of the list before `*end`, which is moved to before it; NULL at the beginning. */
static const char *take_last(const char *list, const char **end, size_t *ret_len)
{
    const char *to = *end, *from;
    if (!to)
        return NULL;
    for (from = to; from > list && from[-1] != ','; from--)
        ;
    *end = from > list ? from - 1 : NULL;
    while (from < to && is_space(*from))
        from++;
    while (to > from && is_space(to[-1]))
        to--;
    *ret_len = (size_t)(to - from);
    return from;
}

/* An address, which some proxies write with a port: "192.0.2.1:4711", "[2001:db8::1]:4711". */
static bool read_address(const char *s, size_t len, char text[INET6_ADDRSTRLEN])
{
    static const char mapped[] = "::ffff:";
    unsigned char bytes[16];
    char copy[INET6_ADDRSTRLEN + 8];
    char *start = copy, *end;
    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, s, len);
    copy[len] = '\0';
    if (*start == '[') {
        start++;
        end = strchr(start, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        *end = '\0';
    } else if ((end = strchr(start, ':')) && !strchr(end + 1, ':')) {
        *end = '\0';
    }
    /* Written anew, so that one client has one name; proxies with a socket for both kinds write those of IPv4 within
     * IPv6. */
    if (strncasecmp(start, mapped, strlen(mapped)) == 0 && strchr(start, '.'))
        start += strlen(mapped);
    return (inet_pton(AF_INET, start, bytes) == 1 && inet_ntop(AF_INET, bytes, text, INET6_ADDRSTRLEN)) ||
           (inet_pton(AF_INET6, start, bytes) == 1 && inet_ntop(AF_INET6, bytes, text, INET6_ADDRSTRLEN));
}

void forwarded_read(const struct config_list *proxies, const char *peer, const char *forwarded_for, const char *proto,
                    struct forwarded *ret_forwarded)
{
    struct forwarded *f = ret_forwarded;
    *f = (struct forwarded){.trusted = config_has_address(proxies, peer)};
    (void)snprintf(f->address, sizeof(f->address), "%s", peer);
    if (!f->trusted)
        return;
    const char *end = forwarded_for ? forwarded_for + strlen(forwarded_for) : NULL, *element;
    size_t len;
    for (unsigned i = 0; i < FORWARDED_MAX && (element = take_last(forwarded_for, &end, &len)); i++) {
        char address[INET6_ADDRSTRLEN];
        if (!read_address(element, len, address))
            break; /* the last one who is known */
        memcpy(f->address, address, sizeof(address));
        if (!config_has_address(proxies, address))
            break;
    }
    end = proto ? proto + strlen(proto) : NULL;
    element = take_last(proto, &end, &len);
    f->secure = element && len == 5 && strncasecmp(element, "https", 5) == 0;
}
