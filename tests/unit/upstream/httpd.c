#include "httpd.h"

#include "upstream/list.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    struct list link;
    struct httpd *httpd;
    pthread_t thread;
    int fd;
};

struct httpd {
    httpd_fn answer;
    void *arg;
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct list connections;
    unsigned connection_count, at_once, most_at_once;
    char *log; /* "\nMETHOD target" */
    size_t log_len;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

void exchange_send(struct exchange *x, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    must(n >= 0, "vasprintf");
    for (int done = 0; done < n && x->fd >= 0;) {
        ssize_t w = send(x->fd, text + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (w <= 0)
            break;
        done += (int)w;
    }
    free(text);
}

void exchange_reply(struct exchange *x, int status, const char *fields, const char *body)
{
    exchange_send(x, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), fields,
                  strcmp(x->method, "HEAD") == 0 ? "" : body);
}

void exchange_end(struct exchange *x)
{
    (void)shutdown(x->fd, SHUT_RDWR);
}

void exchange_reset(struct exchange *x)
{
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)shutdown(x->fd, SHUT_RD);
    exchange_end(x);
}

void exchange_hang(struct exchange *x)
{
    char c;
    while (recv(x->fd, &c, 1, 0) > 0)
        ;
}

const char *exchange_field(struct exchange *x, const char *name)
{
    static _Thread_local char value[8192];
    for (char *line = x->head; (line = strchr(line, '\n'));) {
        line++;
        size_t n = strlen(name);
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1 + strspn(line + n + 1, " ");
            (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

bool exchange_has(struct exchange *x, const char *text)
{
    char line[4200];
    (void)snprintf(line, sizeof(line), "%s %s", x->method, x->target);
    return strstr(line, text) != NULL;
}

/* False: the peer has gone. */
static bool read_head(struct exchange *x)
{
    size_t n = 0;
    while (n < 4 || memcmp(x->head + n - 4, "\r\n\r\n", 4) != 0) {
        if (n + 1 >= sizeof(x->head) || recv(x->fd, x->head + n, 1, 0) != 1)
            return false;
        x->head[++n] = '\0';
    }
    return sscanf(x->head, "%15s %4095s", x->method, x->target) == 2;
}

static void note(struct httpd *h, struct exchange *x)
{
    (void)pthread_mutex_lock(&h->lock);
    size_t n = strlen(x->method) + strlen(x->target) + 2;
    h->log = realloc(h->log, h->log_len + n + 1);
    must(h->log, "realloc");
    (void)snprintf(h->log + h->log_len, n + 1, "\n%s %s", x->method, x->target);
    h->log_len += n;
    if (++h->at_once > h->most_at_once)
        h->most_at_once = h->at_once;
    (void)pthread_mutex_unlock(&h->lock);
}

static void answered(struct httpd *h)
{
    (void)pthread_mutex_lock(&h->lock);
    h->at_once--;
    (void)pthread_mutex_unlock(&h->lock);
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct exchange *x = calloc(1, sizeof(*x));
    must(x, "calloc");
    x->httpd = c->httpd;
    x->arg = c->httpd->arg;
    x->fd = c->fd;
    while (read_head(x)) {
        note(c->httpd, x);
        c->httpd->answer(x);
        answered(c->httpd);
    }
    free(x);
    (void)shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void *listen_on(void *arg)
{
    struct httpd *h = arg;
    int fd;
    while ((fd = accept(h->fd, NULL, NULL)) >= 0) {
        struct connection *c = calloc(1, sizeof(*c));
        must(c, "calloc");
        *c = (struct connection){.httpd = h, .fd = fd};
        (void)pthread_mutex_lock(&h->lock);
        h->connection_count++;
        list_append(&h->connections, &c->link);
        (void)pthread_mutex_unlock(&h->lock);
        must(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
    }
    return NULL;
}

struct httpd *httpd_start(const char *address, httpd_fn answer, void *arg)
{
    struct httpd *h = calloc(1, sizeof(*h));
    must(h, "calloc");
    *h = (struct httpd){.answer = answer, .arg = arg};
    (void)pthread_mutex_init(&h->lock, NULL);
    list_init(&h->connections);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    must(inet_pton(AF_INET, address, &in.sin_addr) == 1, "inet_pton");
    h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(h->fd, (struct sockaddr *)&in, len) == 0, "bind");
    must(listen(h->fd, 1024) == 0, "listen");
    must(getsockname(h->fd, (struct sockaddr *)&in, &len) == 0, "getsockname");
    h->port = ntohs(in.sin_port);
    must(pthread_create(&h->thread, NULL, listen_on, h) == 0, "pthread_create");
    return h;
}

void httpd_stop(struct httpd *h)
{
    (void)shutdown(h->fd, SHUT_RDWR);
    (void)pthread_join(h->thread, NULL);
    (void)close(h->fd);
    for (struct list *i = h->connections.next; i != &h->connections; i = i->next)
        (void)shutdown(CONTAINER_OF(i, struct connection, link)->fd, SHUT_RDWR);
    for (struct list *i; (i = list_take_first(&h->connections));) {
        struct connection *c = CONTAINER_OF(i, struct connection, link);
        (void)pthread_join(c->thread, NULL);
        (void)close(c->fd);
        free(c);
    }
    (void)pthread_mutex_destroy(&h->lock);
    free(h->log);
    free(h);
}

unsigned httpd_port(const struct httpd *h)
{
    return h->port;
}

unsigned httpd_count(struct httpd *h, const char *prefix)
{
    unsigned count = 0;
    (void)pthread_mutex_lock(&h->lock);
    for (const char *p = h->log; p && *p;) {
        p++; /* the newline */
        count += strncmp(p, prefix, strlen(prefix)) == 0;
        p += strcspn(p, "\n");
    }
    (void)pthread_mutex_unlock(&h->lock);
    return count;
}

unsigned httpd_connections(struct httpd *h)
{
    (void)pthread_mutex_lock(&h->lock);
    unsigned n = h->connection_count;
    (void)pthread_mutex_unlock(&h->lock);
    return n;
}

unsigned httpd_most_at_once(struct httpd *h)
{
    (void)pthread_mutex_lock(&h->lock);
    unsigned n = h->most_at_once;
    (void)pthread_mutex_unlock(&h->lock);
    return n;
}
