/*
 * A scripted HTTP server in the test's own process: a thread a connection, on the loopback interface. The script writes
 * what it likes, right or wrong. Counters are the tests' oracle.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>

struct httpd;

struct exchange {
    struct httpd *httpd;
    void *arg;
    int fd;
    char method[16];
    char target[4096];
    char head[16384]; /* the request's lines */
};

typedef void (*httpd_fn)(struct exchange *x);

/* On 127.0.0.1, or another loopback address; a port of its own. Aborts the test where it cannot. */
struct httpd *httpd_start(const char *address, httpd_fn answer, void *arg);
void httpd_stop(struct httpd *h); /* connections are reset */
unsigned httpd_port(const struct httpd *h);

/* Requests so far whose "METHOD target" begins so, connections so far, and requests at once at most. */
unsigned httpd_count(struct httpd *h, const char *prefix);
unsigned httpd_connections(struct httpd *h);
unsigned httpd_most_at_once(struct httpd *h);

/* Value of a request field, copied into a buffer of the exchange's thread; NULL: absent. */
const char *exchange_field(struct exchange *x, const char *name);
bool exchange_has(struct exchange *x, const char *text); /* in "METHOD target" */
void exchange_send(struct exchange *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With Content-Length; `fields` are whole lines, or "". HEAD gets no body. */
void exchange_reply(struct exchange *x, int status, const char *fields, const char *body);
void exchange_end(struct exchange *x);   /* FIN */
void exchange_reset(struct exchange *x); /* RST */
void exchange_hang(struct exchange *x);  /* until the peer goes, or the server is stopped */
