/*
 * Accounts from a file in the format of Docker's config.json: `auths`, with `auth` (base64 of user:password) or
 * `username` and `password`. Any thread. What is wrong is said without quoting the file.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stddef.h>

/* The names that a registry may have in such a file, best first; each a host with or without a port. */
struct credentials_names {
    const char *const *items;
    size_t count;
};

/* *ret_basic: the value of an Authorization field, "Basic …", which the caller frees with credentials_free().
 * -ENOENT: no such file. -ESRCH: the file names no such registry. -EINVAL: it cannot be understood. -EFBIG, -EACCES,
 * -EIO … `why` has it in words. */
MUST_CHECK int credentials_read(const char *file, const struct credentials_names *names, char **ret_basic,
                                struct buf *why);
/* The same of text in memory. */
MUST_CHECK int credentials_parse(const char *text, size_t len, const struct credentials_names *names, char **ret_basic,
                                 struct buf *why);
/* The user of a "Basic …"; "" where it has none that can be read. -ENOMEM. */
MUST_CHECK int credentials_user(const char *basic, char **ret_user);
/* Overwrites it first. Accepts NULL. */
void credentials_free(char *secret);
