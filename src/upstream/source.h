/*
 * A source: one way to a registry, as one configuration had it. Immutable and counted: a job keeps the one it began
 * with, while a reload puts another in its place. What is learnt of it is in the ledger, and outlives it (ledger.h,
 * standing.h).
 *
 * References may be taken and dropped by any thread. `grants` alone changes, and is touched by the upstream's thread
 * only.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"
#include "upstream/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account;
struct grants;
struct health;
struct ledger;

struct source {
    struct source *lender; /* whose texts these are: source_with_login(); NULL: its own */

    char *registry; /* its name in the configuration */
    char *name;     /* in the registry */
    struct url url; /* where /v2/ is appended */
    char *prefix;   /* before the repository; "" */
    char *account;  /* the user's name, for people; "": anonymous */
    bool sibling, tags;
    bool home;   /* it is the registry's own host */
    char *hop;   /* who we are to a sibling */
    char *basic; /* the account, as the value of an Authorization field; NULL: anonymous */
    char *ca;    /* PEM: the system's and the source's own; NULL: libcurl's default */
    size_t ca_len;
    char *proxy[2]; /* for http, for https; NULL: none */
    char *no_proxy;
    bool allow_private;
    char **auth_hosts; /* NULL-terminated */
    int64_t connect_timeout_ms;
    int64_t header_timeout_ms;
    int64_t stall_timeout_ms;
    unsigned max_connections; /* to one host */

    struct grants *grants[2]; /* tokens and challenges: with the account, and without */

    struct ledger *ledger;
    struct health *health;
    struct account *accounts[2]; /* whose budget is spent: the account's, everybody's */

    unsigned references; /* atomic */
};

/* What all of them are given. */
struct source_needs {
    const struct config *config;
    struct ledger *ledger; /* lives longer than any source */
    const char *hop;
    struct buf *errors;
};

/* Reads the account and the CA file; one that cannot be read is said in `errors` ("FILE: why"), and done without.
 * -ENOMEM, -EINVAL: the URL. */
MUST_CHECK int source_create(const struct source_needs *needs, const struct config_registry *registry,
                             const struct config_source *source, struct source **ret_source);
/* The same, of which nothing is copied, with another account ("Basic …"). What it learns goes with it. -ENOMEM. */
MUST_CHECK int source_with_login(struct source *from, const char *login, struct source **ret_source);
struct source *source_ref(struct source *s);
void source_unref(struct source *s); /* accepts NULL */

/* May this URL be told the account? Only what is the registry's own: its host, its registrable domain, its IP address,
 * and the auth_hosts; and in plain text only where the registry is spoken to so. */
bool source_trusts(const struct source *s, const struct url *url);
/* The proxy for a URL, or NULL. */
const char *source_proxy(const struct source *s, const struct url *url);
/* Whether a URL may lead to a private address: everywhere where the administrator said so; otherwise only to the
 * registry itself, where its configured URL is such an address. */
bool source_may_be_private(const struct source *s, const struct url *url);

AUTO_DEFINE(struct source, source_unref);
