/*
 * Clients' own accounts at an upstream: containerd sends a pod's imagePullSecrets to a mirror that challenges it
 * (protocol.md §4.2). Here they are taken, where they may be; the mirror asks the upstream (mirror/mirror.h, `login`).
 * They are not kept: what is remembered goes by a hash that is keyed by chance. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct pull_secrets;

#define PULL_SECRET_KEY 65 /* bytes of a hash as text */

/* What a request has brought along. */
struct pull_secret {
    const char *login;         /* "Basic …" of the request, or NULL */
    char key[PULL_SECRET_KEY]; /* whose it is */
    bool offered;              /* one would be taken here */
    int retry_after_s;         /* > 0: too many of this address were refused */
};

/* *ret_secrets is NULL where server.auth does not take them: switched off, or clients log in here themselves. */
MUST_CHECK int pull_secrets_create(const struct config *config, struct pull_secrets **ret_secrets);
void pull_secrets_destroy(struct pull_secrets *s); /* accepts NULL */
/* `authorization` is the value of the field, or NULL, and lives as long as *ret_secret. */
void pull_secrets_take(struct pull_secrets *s, const char *authorization, const char *address, bool secure,
                       struct pull_secret *ret_secret);
/* An upstream has shown nothing to it. To send the same again is no guess, and is not counted for a while: a pod whose
 * secret is wrong does so, and others on its node have right ones. */
void pull_secrets_note_refusal(struct pull_secrets *s, const struct pull_secret *secret, const char *address);
