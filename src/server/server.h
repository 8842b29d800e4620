/*
 * The front door: the only floor that knows libmicrohttpd. HTTP/1.1 requests in, OCI distribution API answers out. Owns
 * libmicrohttpd's pool of threads. One log line a request.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"

#include <stddef.h>

struct guard;
struct mirror;
struct server;

/* Listens on every address of config->server.listen, and logs event=ready for each. `config`, `mirror` and `guard`
 * are the caller's and live until server_stop() has returned; without accounts and TLS `guard` may be NULL. On failure
 * `error` has it in words, with the address. */
MUST_CHECK int server_start(const struct config *config, struct mirror *mirror, const struct guard *guard,
                            struct server **ret_server, struct buf *error);
/* Drains: accepts nothing more, lets running requests end within config->server.drain_timeout, then cuts the rest short
 * (mirror_cut()), and frees the server. Accepts NULL. */
void server_stop(struct server *s);
