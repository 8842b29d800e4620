/*
 * Who is at the other end of a connection: libmicrohttpd's socket context, made when a connection begins and freed when
 * it has ended. The connection's worker thread.
 */
#pragma once

#include "base/auto.h"
#include "server/headway.h"
#include "server/tls.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdbool.h>

struct client {
    char address[INET6_ADDRSTRLEN]; /* of the socket's other end: a client's, or a proxy's */
    bool secure;                    /* over TLS */
    struct tls_peer peer;
    struct headway_watch *watch;
    struct headway headway;
};

/* "" where it has none. */
void client_address(const struct sockaddr *address, char text[INET6_ADDRSTRLEN]);
/* `tls` is NULL for a connection without. NULL: no memory. */
struct client *client_create(struct MHD_Connection *connection, struct tls *tls, struct headway_watch *watch);
void client_destroy(struct client *c); /* accepts NULL */
