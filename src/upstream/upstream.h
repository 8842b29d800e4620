/*
 * The outside world: the only floor that knows libcurl. One thread around a multi handle, with an inbox. It knows
 * registries, tokens, redirects, proxies and addresses that must not be reached; it does not know blobs, files,
 * clients.
 *
 * A job is one question to a registry. It walks the registry's sources, in the order that health and budgets say, until
 * one has answered or none is left; with each it gets its token and follows redirects (never with the token, never to
 * where the registry may not lead). It ends in exactly one on_done. Once a source has answered, a break ends the job:
 * to go on from an offset, with another source, is the flight's business (src/mirror/flight.c). protocol.md §1, §2;
 * pitfalls.md 2.
 *
 * A look asks whether everybody may see something, and shows no account. Who has an account of ours might show it more
 * than everybody sees, so that each such host is asked; one that refuses ends it (-EACCES), whatever others say. Those
 * without an account are asked where none of them has answered so or so, and can only say that there is something to be
 * had (`unsure`). Where no source has an account any more, each may have had one. on_head is called for each that shows
 * it.
 *
 * Which source: by digest any; tags, lists and referrers only from those that are believed (tags: true). Siblings are
 * asked first for what has a digest, but never what the public may see. A source whose breaker is open, whose host
 * wants to be left in peace, or whose account has spent its budget (for GETs of manifests, which alone are counted) is
 * passed over. Where none is left that may be asked now, the job ends at once, and says when to come again.
 */
#pragma once

#include "base/auto.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct upstream;

enum upstream_object {
    UPSTREAM_MANIFEST,  /* /v2/<repository>/manifests/<reference> */
    UPSTREAM_BLOB,      /* /v2/<repository>/blobs/<reference> */
    UPSTREAM_TAGS,      /* /v2/<repository>/tags/list */
    UPSTREAM_REFERRERS, /* /v2/<repository>/referrers/<reference> */
};

/* Who waits for it: each class below the first leaves a reserve of the pull limit (budget.reserve_…). */
enum upstream_class { UPSTREAM_LIVE, UPSTREAM_REVALIDATION, UPSTREAM_SEEDING };
#define UPSTREAM_CLASSES 3

/* The header of a 200 or 206, after token and redirects. Good during the callback only. "" where a field was absent. */
struct upstream_head {
    int status;
    int64_t length;           /* bytes of this body (Content-Length), -1 unknown */
    int64_t range_start;      /* 206: first byte of Content-Range, else -1 */
    int64_t total;            /* 206: full length of Content-Range, -1 unknown or `*`; 200: as length */
    const char *content_type; /* without parameters, lower case */
    const char *digest;       /* Docker-Content-Digest */
    const char *etag;
    const char *link;    /* Link, as sent */
    const char *filters; /* OCI-Filters-Applied */
    unsigned source;     /* which of the registry's, as the configuration of the job's start has them */
    bool with_account;   /* the answer was given to an account: others may not see it */
    bool sibling;        /* it comes from another Entrepot, which decides by rules of its own who sees what */
};

struct upstream_result {
    int error;              /* 0: the body came whole as declared (see below) */
    int status;             /* the final HTTP status, 0 where none came */
    int64_t retry_after_ms; /* Retry-After in any of its forms (protocol.md §1.6), -1 absent or rubbish */
    unsigned requests;      /* HTTP requests made for this job, tokens and redirects among them */
    const char *message;    /* plain words for logs and error bodies: "registry-1.docker.io: connection refused" */
    unsigned source;        /* that answered, or failed in the way that is told; UINT_MAX: none was asked */
    bool with_account;      /* and was shown its account */
    bool unsure;            /* of a look that went well: not all who may know better have shown it */
};
/*
 * error:  -ENOENT        404, or a name the registry does not know
 *         -EACCES        401 or 403 after all that could be tried; a token refused
 *         -EAGAIN        429 of any kind; or a pull limit is spent, or a host wants to be left in peace: not asked
 *         -EREMOTEIO     5xx, or another status that makes no sense here
 *         -ERANGE        416
 *         -ECONNREFUSED  nobody listens
 *         -EHOSTUNREACH  name not resolved, no route, a proxy that refuses
 *         -ECONNRESET    broke off in the middle, or a short body
 *         -ETIMEDOUT     connect, header or stall deadline
 *         -EPROTO        TLS failed, not HTTP, malformed token reply, too many redirects
 *         -EPERM         refused by us: a private address, a scheme, a realm that may not be asked
 *         -EBUSY         no connection can be spared
 *         -EFBIG         a header or token reply over its limit
 *         -ECANCELED     stopped
 *         or what a callback returned
 *
 * Of several sources the most telling failure is told: "not found" by the first that is to be believed, else what may
 * pass (retry_after_ms is then when the first of them may be asked again), else what may not. What comes of siblings is
 * never told.
 */

/* All of them run on the upstream thread: they must not block, take no lock that is held by slow code, and may call
 * upstream_submit(). */
struct upstream_callbacks {
    /* a source is going to be asked; may be NULL */
    void (*on_source)(void *arg, bool sibling);
    int (*on_head)(void *arg, const struct upstream_head *head); /* other than 0 ends the job with it */
    int (*on_body)(void *arg, const void *data, size_t len);     /* <= 16 KiB a call as libcurl has it; as above */
    /* within 20 ms after an on_body, once, unless on_done comes before; may be NULL */
    void (*on_tick)(void *arg);
    void (*on_done)(void *arg, const struct upstream_result *result); /* exactly once, last */
};

struct upstream_job {
    const char *registry;   /* name in the configuration; strings are copied by upstream_submit() */
    const char *repository; /* as the registry has it: "library/alpine" */
    enum upstream_object object;
    const char *reference; /* tag or digest text; NULL for tags */
    const char *query;     /* already encoded, without `?`, or NULL: "n=100&last=x" */
    bool head;             /* HEAD instead of GET */
    enum upstream_class class;
    bool look;      /* may everybody see it? See above */
    bool as_public; /* nobody has said that everybody may see it: no more than what everybody may see. A registry that
                     * has accounts is shown none of them, and no sibling is asked */
    /* "Basic …": with this account instead of any of ours. It is shown to the registry's own host alone, and to nobody
     * else's. NULL: as configured. */
    const char *login;
    uint32_t avoid;   /* bit i: not source i, unless nobody else is there */
    uint64_t offset;  /* with `length`: this part of it, by Range; the answer may be all of it (200) */
    uint64_t length;  /* 0: to the end */
    bool spare;       /* only where a connection to its host can be spared, at once; else -EBUSY. No sibling is asked:
                       * two that wait for bytes ahead of their own would wait for each other */
    int64_t delay_ms; /* wait so long before the first request (back-off) */
    const struct upstream_callbacks *callbacks;
    void *arg;
};

/* Starts the thread. `config` stays the caller's and must live until upstream_stop(), or until upstream_reload() with
 * another one has returned. Credentials and CA files are read here; one that cannot be read is reported in `errors`
 * ("FILE: why"), and its registry is asked anonymously, or with the system's CAs only. */
MUST_CHECK int upstream_start(const struct config *config, struct buf *errors, struct upstream **ret_upstream);
/* Any thread. 0: on_done will come. -ECANCELED: stopping. -ENOMEM. -EINVAL: no such registry, or a repository,
 * reference or query that is no part of a URL. -EPERM: no source may be told the login. */
MUST_CHECK int upstream_submit(struct upstream *u, const struct upstream_job *job);
/* Any thread but the upstream's. New jobs use the new configuration and freshly read credentials; running ones end as
 * they began. Returns when the old configuration is no longer referred to. */
MUST_CHECK int upstream_reload(struct upstream *u, const struct config *config, struct buf *errors);
/* Some source of the registry has an account, so that what it answers may not be public. Any thread. A sibling's is
 * none: it gives another mirror nothing but what everybody may see there (mirror/mirror.h, `hop`). */
bool upstream_has_accounts(struct upstream *u, const char *registry);

/* Who we are to siblings, in their hop header: another name after each start. Any thread; good until
 * upstream_destroy(). */
const char *upstream_hop(const struct upstream *u);

/* ------------------------------------------------------------------ health and budgets, for status and persistence */

/* What is left of a pull limit, for everybody who asks `origin` as `account`. */
struct upstream_budget {
    const char *origin;    /* "https://registry-1.docker.io:443" */
    const char *account;   /* the user's name; "": anonymous */
    int64_t limit;         /* -1: none is known */
    int64_t remaining;     /* -1: unknown */
    int64_t window_ms;     /* -1: unknown */
    int64_t observed_at;   /* wall clock; 0: never */
    int64_t blocked_until; /* wall clock, a pull limit was met: no GET of a manifest before; 0: not blocked */
    int64_t empty_in_ms;   /* budget_empty_in_ms(); -1: not in sight */
    const char *id;        /* docker-ratelimit-source: whose it is, as the registry sees it, or "" */
};

enum upstream_breaker { UPSTREAM_CLOSED, UPSTREAM_OPEN, UPSTREAM_HALF_OPEN };
/* Why a manifest was fetched: what its tag means, or its digest was known and it was missing. */
enum upstream_cause { UPSTREAM_BY_TAG, UPSTREAM_BY_DIGEST };
#define UPSTREAM_CAUSES 2

struct upstream_source_state {
    const char *registry; /* its name in the configuration */
    const char *name;     /* the source's */
    const char *host;
    const char *account; /* the user's name; "": anonymous */
    bool sibling, tags;
    enum upstream_breaker breaker;
    int64_t open_until;     /* wall clock; 0: not open, or it is over, and the next request tries */
    unsigned failures;      /* in a row */
    const char *last_error; /* plain words, or "" */
    int64_t paced_until;    /* wall clock, the host wants to be left in peace; 0: not */
    struct upstream_budget budget;
    struct upstream_budget public_budget; /* of everybody without an account there: questions that show none bring it.
                                             The same where `account` is "" */

    /* since the start */
    uint64_t requests;                                   /* tokens and redirects among them */
    uint64_t bytes;                                      /* of bodies that were wanted */
    uint64_t counted[UPSTREAM_CLASSES][UPSTREAM_CAUSES]; /* requests that a pull limit counts */
    uint64_t limited;                                    /* 429s */
};

/* Calls `fn` for each source of each registry, in the order of the configuration. Any thread; `fn` gets a copy, runs
 * under no lock, and may keep nothing. Sources of one origin and account show the same budget. -ENOMEM. */
MUST_CHECK int upstream_each_source(struct upstream *u,
                                    void (*fn)(void *arg, const struct upstream_source_state *state), void *arg);
/* What was known before the start; what has been seen since then is newer and stays. Ignored where no source has that
 * origin and account. Any thread. */
void upstream_restore_budget(struct upstream *u, const struct upstream_budget *budget);

/* Cancels every job (on_done with -ECANCELED), ends the thread, joins it. Later submits return -ECANCELED. */
void upstream_stop(struct upstream *u);
/* After upstream_stop(). Accepts NULL. */
void upstream_destroy(struct upstream *u);
