#include "client.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>

#define BODY_MAX (256u << 20)

uint16_t client_port(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in a;
        int listening = 0;
        socklen_t len = sizeof(listening), address_len = sizeof(a);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening &&
            getsockname(fd, (struct sockaddr *)&a, &address_len) == 0 && a.sin_family == AF_INET)
            return ntohs(a.sin_port);
    }
    ck_abort_msg("nobody listens");
    return 0;
}

int client_connect(uint16_t port)
{
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
        ck_abort_msg("connect: %s", strerror(errno));
    return fd;
}

void client_send(int fd, const char *text)
{
    size_t len = strlen(text);
    ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

void client_ask(int fd, const char *method, const char *target, const char *headers)
{
    AUTO_BUF struct buf b = BUF_INIT(1 << 20);
    ck_assert_int_eq(buf_addf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n%s\r\n", method, target, headers), 0);
    client_send(fd, b.data);
}

/* Bytes, or 0 with ret_end set. */
static size_t receive(int fd, void *data, size_t len, enum end *ret_end)
{
    ssize_t n = recv(fd, data, len, 0);
    if (n > 0)
        return (size_t)n;
    if (n < 0 && errno != ECONNRESET)
        ck_abort_msg("recv: %s", strerror(errno));
    *ret_end = n == 0 ? END_FIN : END_RST;
    return 0;
}

const char *response_header(const struct response *r, const char *name, char *value, size_t cap)
{
    size_t n = strlen(name);
    value[0] = '\0';
    for (const char *p = strstr(r->head, "\r\n"); p && p[2] != '\0'; p = strstr(p + 2, "\r\n")) {
        const char *line = p + 2;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1 + strspn(line + n + 1, " ");
            (void)snprintf(value, cap, "%.*s", (int)strcspn(line, "\r"), line);
            break;
        }
    }
    return value;
}

/* False: it has ended before. */
static bool read_body(int fd, struct response *r, size_t left)
{
    ck_assert_int_eq(buf_reserve(&r->body, left), 0);
    while (left > 0) {
        char piece[65536];
        size_t n = receive(fd, piece, left < sizeof(piece) ? left : sizeof(piece), &r->end);
        if (n == 0)
            return false;
        ck_assert_int_eq(buf_add(&r->body, piece, n), 0);
        left -= n;
    }
    return true;
}

static void read_chunks(int fd, struct response *r)
{
    for (size_t size = 1; size > 0;) {
        char line[32];
        size_t got = 0;
        while (got < 2 || memcmp(line + got - 2, "\r\n", 2) != 0) {
            ck_assert_uint_lt(got, sizeof(line) - 1);
            if (receive(fd, line + got, 1, &r->end) == 0)
                return;
            got++;
        }
        size = strtoull(line, NULL, 16);
        if (!read_body(fd, r, size) || receive(fd, line, 1, &r->end) == 0 || receive(fd, line, 1, &r->end) == 0)
            return;
    }
    r->end = END_COMPLETE;
}

void client_read(int fd, bool head_only, size_t body_max, struct response *ret_response)
{
    struct response *r = ret_response;
    char length[32];
    size_t got = 0;

    *r = (struct response){.body = BUF_INIT(BODY_MAX)};
    /* A byte at a time, so that nothing of the next response is taken. */
    while (got < 4 || memcmp(r->head + got - 4, "\r\n\r\n", 4) != 0) {
        ck_assert_uint_lt(got, sizeof(r->head) - 1);
        if (receive(fd, r->head + got, 1, &r->end) == 0)
            return;
        got++;
    }
    ck_assert_int_eq(sscanf(r->head, "HTTP/1.1 %d ", &r->status), 1);
    if (*response_header(r, "Transfer-Encoding", length, sizeof(length))) {
        read_chunks(fd, r);
        return;
    }
    response_header(r, "Content-Length", length, sizeof(length));
    size_t left = head_only || r->status == 304 ? 0 : strtoull(length, NULL, 10);
    if (left > body_max)
        left = body_max;
    if (read_body(fd, r, left))
        r->end = END_COMPLETE;
}

static void one(uint16_t port, const char *method, const char *target, const char *headers, struct response *r)
{
    int fd = client_connect(port);
    client_ask(fd, method, target, headers);
    client_read(fd, *method == 'H', SIZE_MAX, r);
    (void)close(fd);
}

void client_get(uint16_t port, const char *target, const char *headers, struct response *ret_response)
{
    one(port, "GET", target, headers, ret_response);
}

void client_head(uint16_t port, const char *target, const char *headers, struct response *ret_response)
{
    one(port, "HEAD", target, headers, ret_response);
}

enum end client_end(int fd, size_t *ret_bytes)
{
    char piece[65536];
    enum end end = END_COMPLETE;
    for (size_t n; (n = receive(fd, piece, sizeof(piece), &end)) > 0;)
        *ret_bytes += n;
    return end;
}

void client_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)close(fd);
}

void response_finish(struct response *r)
{
    buf_finish(&r->body);
}
