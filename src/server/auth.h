/*
 * Who a client is, and what he may pull (server.auth): passwords of a file, tokens, certificates; the rules. A file
 * that changes is read again; one that is not right leaves what was there. What was found out is remembered for minutes
 * under a keyed hash, and who fails too often has to wait.
 *
 * auth_reload() is one thread's at a time, the rest any thread's; an identity is one request's.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"
#include "mirror/mirror.h"

#include <stdbool.h>
#include <stddef.h>

struct auth;
struct login;

#define AUTH_USER_MAX 128

enum auth_verdict {
    AUTH_KNOWN,     /* identity->user says who, "" is everybody */
    AUTH_WAITS,     /* suspended: call again after the wake-up */
    AUTH_WRONG,     /* no such user, or not his password */
    AUTH_SLOW,      /* failed too often: identity->retry_after_s */
    AUTH_BUSY,      /* too many logins at once, or no memory */
    AUTH_CANCELLED, /* the server stops */
};

struct identity {
    char user[AUTH_USER_MAX];
    const char *certificate; /* common name of a certificate that was shown; "" */
    int retry_after_s;
    struct login *login; /* while the password is checked */
};

/* *ret_auth is NULL where server.auth asks for nothing. Reads its files; on failure `error` has it in words. `config`
 * must live as long. */
MUST_CHECK int auth_create(const struct config *config, struct auth **ret_auth, struct buf *error);
/* As logins_cut(). */
void auth_cut(struct auth *a);
void auth_destroy(struct auth *a); /* accepts NULL */
void auth_reload(struct auth *a);

/* `authorization` is the value of the field, or NULL; `address` whose failures are counted; identity->certificate is
 * set. */
enum auth_verdict auth_identify(struct auth *a, const char *authorization, const char *address,
                                const struct mirror_waiter *waiter, struct identity *identity);
void identity_finish(struct identity *identity);
/* Whether some rule lets him pull there; *ret_private: also what only the registry's accounts may see. */
bool auth_allows(const struct auth *a, const struct identity *identity, const char *registry, const char *repository,
                 bool *ret_private);

AUTO_DEFINE(struct auth, auth_destroy);
