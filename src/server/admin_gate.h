/*
 * Who asks the admin API, and what he may. At a Unix socket the kernel says who, and he may everything; at an address
 * with a port it is the token of admin.token_file, which may everything too, or an account of server.auth to whom a
 * rule gives `seed` or `admin`. Any thread; a caller is one request's.
 */
#pragma once

#include "admin/admin.h"
#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"
#include "server/auth.h"

#include <microhttpd.h>

struct admin_gate;
struct client;
struct guard;

/* One that asks; zeroed before. */
struct admin_caller {
    struct admin_gate *gate;
    struct identity identity; /* retry_after_s: for the answer */
    bool suspended;           /* under the gate's lock: his password is being checked */
};

struct admin_refusal {
    int status; /* 0: he is let in */
    const char *code, *message;
};

/* `config` and `guard` are the caller's and live as long; `guard` may be NULL: nobody has an account. Whoever needs the
 * token must be able to have one: on failure `error` has it in words. */
MUST_CHECK int admin_gate_create(const struct config *config, const struct guard *guard, struct admin_gate **ret_gate,
                                 struct buf *error);
/* From now on nobody waits. */
void admin_gate_cut(struct admin_gate *g);
void admin_gate_destroy(struct admin_gate *g); /* accepts NULL */

/* Sets `who` and `rights` of the request, which refers to `caller` from then on. `client` is the connection's, or NULL;
 * it stays until admin_caller_finish(). May wait, for LIMIT_ADMIN_WAIT_MS at the most. */
struct admin_refusal admin_gate_ask(struct admin_gate *g, struct MHD_Connection *connection,
                                    const struct client *client, struct admin_caller *caller,
                                    struct admin_request *request);
/* How he could say who he is: fields of a 401. */
void admin_gate_challenge(const struct admin_gate *g, const struct admin_caller *caller, struct MHD_Response *response);
void admin_caller_finish(struct admin_caller *caller);

AUTO_DEFINE(struct admin_gate, admin_gate_destroy);
