/*
 * A file of users and the hashes of their passwords, as htpasswd -B makes it: a line each, "user:hash", with # for
 * comments. Hashes are bcrypt's, or others that crypt(3) of the system takes for strong. Immutable. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define HTPASSWD_MAX (1024 * 1024) /* bytes of a file */
#define HTPASSWD_HASH_MAX 384      /* bytes of a hash, with the NUL */
/*
 * What the check of one password may cost, about a second of a processor at the most: it cannot be cut short, so a
 * login and the end of the program wait for it. Each step of a cost doubles it; 10 takes some 50 ms.
 */
#define HTPASSWD_COST_MAX 14         /* of bcrypt */
#define HTPASSWD_ROUNDS_MAX 1000000U /* of SHA-crypt; those of yescrypt and scrypt are bounded at 64 MiB */

struct htpasswd;

/* Takes the text as a whole or not at all: -EINVAL with what is wrong, and in which line, in `why`; no line is quoted.
 */
MUST_CHECK int htpasswd_parse(const char *text, size_t len, struct htpasswd **ret_htpasswd, struct buf *why);
void htpasswd_destroy(struct htpasswd *h); /* accepts NULL */
size_t htpasswd_count(const struct htpasswd *h);
/* The user's hash, or NULL. */
const char *htpasswd_find(const struct htpasswd *h, const char *user);
/* Somebody's hash, always the same for one name: what a password of a user who is not there is held against, so that it
 * takes as long as for those who are. NULL: there is nobody. */
const char *htpasswd_decoy(const struct htpasswd *h, const char *user);
/* Whether the password is the one of the hash. Slow on purpose: some tens of milliseconds, a second at the most. */
bool htpasswd_verify(const char *hash, const char *password);

AUTO_DEFINE(struct htpasswd, htpasswd_destroy);
