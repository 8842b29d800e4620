/*
 * The admin API's way over HTTP: its listening sockets, who asks, and what comes and goes (admin/admin.h answers). A
 * thread a connection, LIMIT_ADMIN_CONNECTIONS of them at the most, so that an answer may wait; the next wait for one
 * to end. Who asks, and what he may, is admin_gate.h's.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"

struct admin;
struct admin_server;
struct guard;

/* Listens, and logs event=admin for each address; *ret_server is NULL where there are none. `config`,
 * `admin` and `guard` (which may be NULL: nobody has an account, and there is no TLS) are the caller's and live until
 * admin_server_stop() has returned. On failure `error` has it in words, with the address. */
MUST_CHECK int admin_server_start(const struct config *config, struct admin *admin, const struct guard *guard,
                                  struct admin_server **ret_server, struct buf *error);
/* Cuts what is running, which is waited for, and frees. Accepts NULL. */
void admin_server_stop(struct admin_server *s);
