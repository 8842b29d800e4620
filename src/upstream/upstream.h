/*
 * The outside world: the only floor that knows libcurl. One thread around a multi handle, with an inbox. It knows
 * registries, tokens, redirects, proxies and addresses that must not be reached; it does not know blobs, files,
 * clients.
 *
 * A job is one question to a registry: it gets its token, follows redirects (never with the token, never to where the
 * registry may not lead), and ends in exactly one on_done. The job neither resumes nor repeats itself after a break:
 * that is the flight's business (src/mirror/flight.c). protocol.md §1.2, §1.7, §2; pitfalls.md 2.
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
};

struct upstream_result {
    int error;              /* 0: the body came whole as declared (see below) */
    int status;             /* the final HTTP status, 0 where none came */
    int64_t retry_after_ms; /* Retry-After in any of its forms (protocol.md §1.6), -1 absent or rubbish */
    unsigned requests;      /* HTTP requests made for this job, tokens and redirects among them */
    const char *message;    /* plain words for logs and error bodies: "registry-1.docker.io: connection refused" */
};
/*
 * error:  -ENOENT        404, or a name the registry does not know
 *         -EACCES        401 or 403 after all that could be tried; a token refused
 *         -EAGAIN        429 of any kind
 *         -EREMOTEIO     5xx, or another status that makes no sense here
 *         -ERANGE        416
 *         -ECONNREFUSED  nobody listens
 *         -EHOSTUNREACH  name not resolved, no route, a proxy that refuses
 *         -ECONNRESET    broke off in the middle, or a short body
 *         -ETIMEDOUT     connect, header or stall deadline
 *         -EPROTO        TLS failed, not HTTP, malformed token reply, too many redirects
 *         -EPERM         refused by us: a private address, a scheme, a realm that may not be asked
 *         -EFBIG         a header or token reply over its limit
 *         -ECANCELED     stopped
 *         or what a callback returned
 */

/* All of them run on the upstream thread: they must not block, take no lock that is held by slow code, and may call
 * upstream_submit(). */
struct upstream_callbacks {
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
    uint64_t offset;       /* > 0: Range: bytes=<offset>- */
    int64_t delay_ms;      /* wait so long before the first request (back-off) */
    const struct upstream_callbacks *callbacks;
    void *arg;
};

/* Starts the thread. `config` stays the caller's and must live until upstream_stop(), or until upstream_reload() with
 * another one has returned. Credentials and CA files are read here; one that cannot be read is reported in `errors`
 * ("FILE: why"), and its registry is asked anonymously, or with the system's CAs only. */
MUST_CHECK int upstream_start(const struct config *config, struct buf *errors, struct upstream **ret_upstream);
/* Any thread. 0: on_done will come. -ECANCELED: stopping. -ENOMEM. -EINVAL: no such registry, or a repository,
 * reference or query that is no part of a URL. */
MUST_CHECK int upstream_submit(struct upstream *u, const struct upstream_job *job);
/* Any thread but the upstream's. New jobs use the new configuration and freshly read credentials; running ones end as
 * they began. Returns when the old configuration is no longer referred to. */
MUST_CHECK int upstream_reload(struct upstream *u, const struct config *config, struct buf *errors);
/* Cancels every job (on_done with -ECANCELED), ends the thread, joins it. Later submits return -ECANCELED. */
void upstream_stop(struct upstream *u);
/* After upstream_stop(). Accepts NULL. */
void upstream_destroy(struct upstream *u);
