/*
 * The WWW-Authenticate parser (RFC 9110 §11, protocol.md §2): schemes in any case, quoted and bare values, several
 * challenges in one line or in several, and of all that the one that can be answered. Pure functions; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

/* Strings are NULL where the parameter is absent. */
struct challenge {
    enum challenge_scheme scheme;
    char *realm;
    char *service;
    char *scope;
    char *error;
};

/* `text` is the values of all WWW-Authenticate fields, one a line. The first Bearer challenge that has a realm is
 * taken, else the first Basic; where neither is there, the scheme is CHALLENGE_NONE. -ENOMEM. */
MUST_CHECK int challenge_parse(const char *text, size_t len, struct challenge *ret_challenge);
MUST_CHECK int challenge_copy(const struct challenge *c, struct challenge *ret_copy);
void challenge_finish(struct challenge *c);
