/*
 * Passwords are checked here, on threads of their own: that is slow on purpose, and the threads of connections do not
 * wait. Whoever asks is suspended meanwhile, by the same rules as at the mirror (mirror/mirror.h). Any thread.
 */
#pragma once

#include "base/auto.h"
#include "mirror/mirror.h"

#include <stdbool.h>

struct login;
struct logins;

#define LOGINS_THREADS 2
#define LOGINS_MAX 64 /* that wait for a thread */

MUST_CHECK int logins_create(struct logins **ret_logins);
/* From now on nobody waits: all are woken, and login_wait() says -ECANCELED. */
void logins_cut(struct logins *l);
/* When no login is open. Accepts NULL. */
void logins_destroy(struct logins *l);

/* Copies both, and overwrites the copies. -EAGAIN: too many are waiting. -ENOMEM. */
MUST_CHECK int login_open(struct logins *l, const char *hash, const char *password, const struct mirror_waiter *waiter,
                          struct login **ret_login);
/* 0: *ret_good says it. MIRROR_WAIT: suspended; call again after the wake-up. -ECANCELED. */
MUST_CHECK int login_wait(struct login *login, bool *ret_good);
/* That it was opened with. */
const char *login_hash(const struct login *login);
/* A waiter that is still there is forgotten. Accepts NULL. */
void login_close(struct login *login);
