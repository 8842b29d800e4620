/*
 * The value of an Authorization field (RFC 9110 §11.6.2, RFC 7617, RFC 6750), taken apart. What is secret is
 * overwritten when it is let go. Pure; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>

#define AUTHORIZATION_MAX (16 * 1024)

enum authorization_kind {
    AUTHORIZATION_NONE,   /* no field; or Basic with an empty user and password, which is how some clients say so */
    AUTHORIZATION_BASIC,  /* user and password */
    AUTHORIZATION_BEARER, /* token */
    AUTHORIZATION_OTHER,  /* another scheme, or not well-formed */
};

struct authorization {
    enum authorization_kind kind;
    const char *user, *password; /* neither has control characters */
    const char *token;
    char *memory; /* what they point into */
    size_t size;
};

/* `value` may be NULL. -ENOMEM. */
MUST_CHECK int authorization_parse(const char *value, struct authorization *ret_authorization);
void authorization_finish(struct authorization *a);
