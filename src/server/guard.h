/*
 * What both doors, the clients' and the administrator's, know of who comes by: certificates and accounts, and the watch
 * over their files. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"

struct auth;
struct guard;
struct tls;

/* Reads the files; on failure `error` has it in words. `config` is the caller's and lives as long. */
MUST_CHECK int guard_create(const struct config *config, struct guard **ret_guard, struct buf *error);
/* When nobody uses what it has. Accepts NULL. */
void guard_destroy(struct guard *g);
/* NULL: nobody has an account here. */
struct auth *guard_auth(const struct guard *g);
/* NULL: TLS is spoken nowhere. */
struct tls *guard_tls(const struct guard *g);

AUTO_DEFINE(struct guard, guard_destroy);
