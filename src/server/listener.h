/*
 * The listening sockets and the thread that accepts: gives every new connection, non-blocking, to a function, and
 * leaves waiting ones to the kernel while the limit is reached. Knows nothing of HTTP.
 *
 * libmicrohttpd could listen by itself. Then every new connection wakes all of its threads and lands with any of them
 * (pitfalls.md 1), the limit is one of each thread, and MHD_quiesce_daemon() of 0.9.75 aborts the process if a thread
 * removes the socket from its epoll set at the same moment.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stddef.h>
#include <sys/socket.h>

struct listener;

/* Takes over `fd`. Called by the listener's thread; must not block. */
typedef void listener_accept(void *arg, int fd, const struct sockaddr *address, socklen_t address_len);

/* Binds and listens, without accepting yet: what arrives waits. Addresses are "host:port", "[v6]:port" or "unix:path",
 * NULL-terminated; port 0 takes any that is free. A Unix socket is its owner's alone (mode 0600), takes the place of
 * one that a dead process left, and goes at the stop. On failure `error` has it in words. */
MUST_CHECK int listener_create(char *const *addresses, unsigned max_connections, struct listener **ret_listener,
                               struct buf *error);
/* Starts the thread and logs `event` for each socket. Until listener_stop(). */
MUST_CHECK int listener_start(struct listener *l, const char *event, listener_accept *accept, void *arg);
/* A connection that was handed over is closed. Any thread. */
void listener_closed(struct listener *l);
/* Accepts nothing more: new connections are refused. Idempotent. Not with listener_start(). */
void listener_stop(struct listener *l);
void listener_destroy(struct listener *l); /* accepts NULL; stops first */

AUTO_DEFINE(struct listener, listener_destroy);
