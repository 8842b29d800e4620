/*
 * Who a client is, and what he may pull, seed and administer (server.auth): passwords of a file, tokens, certificates;
 * the rules. A file that changes is read again; one that is not right leaves what was there. What was found out is
 * remembered for minutes under a keyed hash, and who fails too often has to wait.
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
struct jwt;
struct login;

#define AUTH_USER_MAX 128 /* bytes, with the NUL */

enum auth_verdict {
    AUTH_KNOWN,     /* identity->user says who, "" is everybody */
    AUTH_WAITS,     /* suspended: call again after the wake-up */
    AUTH_WRONG,     /* no such user, not his password, or a token that is not taken: identity->flaw */
    AUTH_SLOW,      /* failed too often: identity->retry_after_s */
    AUTH_BUSY,      /* too many logins at once, or no memory */
    AUTH_CANCELLED, /* the server stops */
};

struct identity {
    char user[AUTH_USER_MAX];
    const char *certificate; /* common name of a certificate that was shown; "" */
    int retry_after_s;
    struct login *login; /* while the password is checked */
    struct jwt *token;   /* that was shown and taken; it bounds what the user may */
    const char *flaw;    /* of one that was not taken, in words; or NULL */
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
/* Whether he has shown a token, and it is not for that. */
bool auth_token_lacks(const struct auth *a, const struct identity *identity, const char *registry,
                      const char *repository);
/* Whether he may do everything of the admin API. */
bool auth_may_administer(const struct auth *a, const struct identity *identity);
/* Whether he may seed in this repository; in all; in some. Who may administer may. */
bool auth_may_seed(const struct auth *a, const struct identity *identity, const char *registry, const char *repository);
bool auth_may_seed_everywhere(const struct auth *a, const struct identity *identity);
bool auth_may_seed_somewhere(const struct auth *a, const struct identity *identity);
/* Whether a rule gives him what the token that he has shown is not for. */
bool auth_token_bounds_admin(const struct auth *a, const struct identity *identity);
/* What clients are told of how to get a token (RFC 6750 §3): a WWW-Authenticate field's value, and
 * nothing where none are taken. `registry` and `repository` are what it is to be for, or NULL. */
MUST_CHECK int auth_challenge(const struct auth *a, const struct identity *identity, const char *registry,
                              const char *repository, struct buf *value);
/* The same for the admin API. */
MUST_CHECK int auth_admin_challenge(const struct auth *a, const struct identity *identity, struct buf *value);
/* Whether passwords are taken, so that a Basic challenge makes sense. */
bool auth_takes_passwords(const struct auth *a);

AUTO_DEFINE(struct auth, auth_destroy);
