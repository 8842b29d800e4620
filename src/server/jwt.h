/*
 * A JSON Web Token in its compact form (RFC 7519, RFC 7515), as registries are shown it: who signed it, until when it
 * is good and for whom, and what its `access` lets one do (the distribution project's token specification). Pure; any
 * thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jwt;
struct jwt_keys;

#define JWT_MAX ((size_t)16 * 1024)
#define JWT_ACCESS_MAX 256 /* members of an `access` */

/* What a token has to say. */
struct jwt_terms {
    const char *issuer;
    const char *audience; /* among others, maybe */
    int64_t now_ms;       /* wall clock */
    int64_t leeway_ms;    /* by which clocks may differ */
};

/* Takes it apart, and believes nothing of it: -EINVAL where it is not well-formed, has a member twice, asks for
 * something critical, or is too large. */
MUST_CHECK int jwt_create(const char *token, struct jwt **ret_jwt);
void jwt_destroy(struct jwt *t); /* accepts NULL */
/* NULL: it is signed by one of the keys and keeps the terms; else what is wrong, in words. */
const char *jwt_find_flaw(const struct jwt *t, const struct jwt_keys *keys, const struct jwt_terms *terms);
/* `sub`, or "". */
const char *jwt_subject(const struct jwt *t);
/* Whether its `access` has the action, or all of them ("*"), on exactly this: "repository", "library/alpine". */
bool jwt_grants(const struct jwt *t, const char *type, const char *name, const char *action);

AUTO_DEFINE(struct jwt, jwt_destroy);
