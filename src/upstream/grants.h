/*
 * What a source has learnt about being let in: the challenges of its repositories, so that the next job asks for a
 * token before it asks the registry, and the tokens, by (realm, service, scope, with or without the account). A token
 * is fetched once however many jobs wait for it, anew when four fifths of its life are over, and used to its end where
 * that fails. A refusal is remembered for seconds. Bounded: what was not used for longest goes first.
 *
 * Upstream's thread only, but for create and destroy.
 */
#pragma once

#include "base/auto.h"
#include "upstream/challenge.h"
#include "upstream/list.h"
#include "upstream/transfer.h"

#include <stdbool.h>
#include <stdint.h>

struct grants;
struct loop;
struct source;

struct grants *grants_create(void);    /* NULL: no memory */
void grants_destroy(struct grants *g); /* accepts NULL; no grant may be held */

/* ------------------------------------------------------------------ challenges */

/* The challenge to expect for a repository: its own last one, or that of another one with the scope made to fit, where
 * it is plain how. -ENOENT: none is known. -ENOMEM. */
MUST_CHECK int grants_recall(struct grants *g, const char *repository, struct challenge *ret_challenge);
/* Best effort: without memory it is asked for again. */
void grants_remember(struct grants *g, const char *repository, const struct challenge *c);
/* It was not to be answered: the next job begins with a bare request. */
void grants_forget(struct grants *g, const char *repository);
/* A repository refused what was fresh: for some seconds nothing newer is tried. */
void grants_note_refusal(struct grants *g, const char *repository);
bool grants_refused_lately(struct grants *g, const char *repository);

/* The account was accepted by somebody, or refused: after three refusals in a row it is not shown for some seconds,
 * whatever for. Registries lock accounts that fail too often (protocol.md §1.5). */
void grants_note_login(struct grants *g, bool accepted);
bool grants_login_allowed(const struct grants *g);

/* ------------------------------------------------------------------ tokens */

/* Read by jobs, changed here. */
struct grant {
    struct list link;
    struct grants *grants;
    uint32_t hash;
    char *key;
    unsigned users;
    bool with_account;
    bool withheld; /* there is an account, but the realm is not to be told */
    char *url;     /* the realm with its parameters */
    struct url realm;

    char *authorization; /* "Bearer …", NULL: none yet */
    uint64_t serial;     /* of the token */
    int64_t refresh_at, expires_at;

    struct transfer *fetch;
    struct buf reply;
    struct list waiters;

    /* how the last fetch failed; error is 0 where it did not, or where that is forgotten */
    int error;
    int64_t failed_until, retry_after_ms;
    char message[TRANSFER_MESSAGE];
};

struct grant_waiter {
    struct list link;
    void (*ready)(struct grant_waiter *w); /* call grant_take() again */
};

/* A Bearer challenge's grant, held until grant_release(). `repository` is for a challenge without a scope. The account
 * goes along where there is one, who sent the challenge is `trusted`, and source_trusts() the realm. -EPROTO: the realm
 * is no URL. -EPERM: it may not be asked. -ENOMEM. */
MUST_CHECK int grants_find(struct grants *g, const struct source *s, const struct challenge *c, const char *repository,
                           bool trusted, struct grant **ret_grant);
void grant_release(struct grant *grant); /* accepts NULL */
/* 0: grant->authorization is good now. -EINPROGRESS: it is being fetched, see grant_wait(). Other errors: it cannot be
 * had, grant->message says why, or is empty. *ret_asked: whether the call made a request. */
MUST_CHECK int grant_take(struct grant *grant, struct loop *loop, struct source *s, bool *ret_asked);
/* What an administrator should know when access is denied: the rest of a sentence, or "". */
const char *grant_remark(const struct grant *grant);
void grant_wait(struct grant *grant, struct grant_waiter *w);
/* The registry did not want the token with this serial: it is dropped, where it is still that one. */
void grant_reject(struct grant *grant, uint64_t serial);
