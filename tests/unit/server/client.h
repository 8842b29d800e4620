/*
 * An HTTP/1.1 client on a bare socket, for the server's tests: tells FIN from RST. Fails the test where anything takes
 * longer than a minute.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum end { END_COMPLETE, END_FIN, END_RST };

struct response {
    int status; /* 0: the connection ended before there was one */
    char head[16384];
    struct buf body;
    enum end end;
};

/* The port of the only listening socket of this process. */
uint16_t client_port(void);
int client_connect(uint16_t port);
void client_send(int fd, const char *text);
/* "GET target HTTP/1.1" with a Host header; `headers` are whole lines, each with "\r\n". */
void client_ask(int fd, const char *method, const char *target, const char *headers);
/* Reads the head, and `body_max` bytes of the body or all of it if there are fewer. The connection stays open. */
void client_read(int fd, bool head_only, size_t body_max, struct response *ret_response);
/* On a connection of its own. */
void client_get(uint16_t port, const char *target, const char *headers, struct response *ret_response);
void client_head(uint16_t port, const char *target, const char *headers, struct response *ret_response);
/* How the connection ends, having read the rest of what comes. */
enum end client_end(int fd, size_t *ret_bytes);
void client_reset(int fd); /* closes with an RST */

/* The header's value in `value`; "" where there is none. */
const char *response_header(const struct response *r, const char *name, char *value, size_t cap);
void response_finish(struct response *r);
