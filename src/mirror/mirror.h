/*
 * The decisions, behind a narrow door: a request goes in; an answer comes out, whose body is memory, a file, or a
 * flight. Knows neither libmicrohttpd nor libcurl. The server calls; whatever has to be waited for is waited for
 * without a thread.
 *
 * A session is one client request. mirror_step() and mirror_read() of one session are called by one thread at a time,
 * the one that serves its connection; sessions of their own run side by side. Neither call blocks for longer than a
 * read of a local file.
 *
 * Waiting (pitfalls.md 1, feasibility.md §2.2): where a call returns MIRROR_WAIT it has called waiter->suspend(arg)
 * under the same lock that the producer takes to call waiter->wake(arg). wake() comes exactly once for each suspend(),
 * from any thread, at the latest after about a second: not having what one waits for is normal, call again. wake() and
 * suspend() must only do O(1) work and must not call back into the mirror.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"
#include "blobstore/blobstore.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mirror;
struct mirror_session;
struct upstream;

enum mirror_object { MIRROR_MANIFEST, MIRROR_BLOB, MIRROR_TAGS, MIRROR_REFERRERS };

struct mirror_waiter {
    void (*suspend)(void *arg);
    void (*wake)(void *arg);
    void *arg;
};

struct mirror_request {
    enum mirror_object object;
    bool head;
    const char *ns;            /* the `ns` parameter, decoded, or NULL */
    const char *name;          /* <name> of the path: "library/alpine", "docker.io/library/alpine", "alpine" */
    const char *reference;     /* tag or digest text; NULL for tags */
    const char *artifact_type; /* referrers: filter, decoded, or NULL */
    int64_t page_size;         /* tags: `n`, or -1 */
    const char *last;          /* tags: `last`, decoded, or NULL */
    const char *client;        /* address of who asks, or NULL: who spends a pull limit, and whom trouble met */
    const char *login;         /* "Basic …": the client's own account at the upstream, or NULL; it is not kept */
    const char *login_key;     /* a hash that stands for it, with `login` */
    bool only_if_cached;       /* what is stored or already on its way, or 504: no upstream is asked for it */
    /* Another mirror asks, and what it makes of the answer nobody here knows: it gets what is here and everybody may
     * see, whatever mirror_admit() and `login` say, or 504; which he is told, too, rather than that two wait for each
     * other (mirror/feed.h). */
    const char *hop; /* his name, or NULL: it is none */
    bool is_seeding; /* nobody waits for it: it leaves live pulls their reserve, is not held, and takes nothing
                        that may be out of date */
    struct mirror_waiter waiter;
};

enum mirror_body {
    MIRROR_NO_BODY,
    MIRROR_MEMORY,
    MIRROR_FILE,
    MIRROR_FLIGHT, /* to be had by mirror_read() alone: it is on its way, or is checked or unpacked when it is read */
};
enum mirror_outcome { MIRROR_NONE, MIRROR_HIT, MIRROR_JOINED, MIRROR_MISS, MIRROR_STALE, MIRROR_ERROR };

/* Strings and memory are the session's, good until mirror_close(). */
struct mirror_answer {
    int status;            /* HTTP status: 200, or 4xx/5xx with error_code set */
    enum mirror_body body; /* of a 200; for a HEAD request as well: the server leaves it out */
    uint64_t size;         /* bytes of the whole body */
    const void *memory;    /* MIRROR_MEMORY */
    int fd;                /* MIRROR_FILE: the session's; dup() it to keep it; -1 otherwise */
    uint64_t packed_size;  /* bytes of the whole body as a zstd stream, where it is stored like that; else 0 */
    int packed_fd;         /* that stream: the session's */
    const char *content_type;
    const char *digest;        /* Docker-Content-Digest, and ETag in quotes; NULL where there is none */
    const char *link;          /* query of the next page, encoded, without `ns`: "n=100&last=x"; or NULL */
    const char *filters;       /* OCI-Filters-Applied, or NULL */
    const char *warning;       /* value of a Warning header, or NULL */
    const char *error_code;    /* OCI error code ("MANIFEST_UNKNOWN"), or NULL */
    const char *error_message; /* plain words */
    bool hidden;               /* a 404: private, and not shown by whatever `login` there was */
    int retry_after_s;         /* for a Retry-After header, or -1 */
};

/* For the request's log line; filled as far as it is known, at any time after mirror_open(). */
struct mirror_account {
    const char *registry; /* "" where none was found */
    const char *repository;
    enum mirror_outcome outcome;
    unsigned upstream_requests; /* that this request caused itself */
};

#define MIRROR_WAIT 1

struct mirror_options {
    const struct config *config; /* the caller's; see mirror_reload() */
    struct blobstore *store;
    struct upstream *upstream;
};

/* Starts the keeper and the hashers. */
MUST_CHECK int mirror_start(const struct mirror_options *options, struct mirror **ret_mirror);
/* New requests see the new configuration; returns when the old one is no longer referred to. */
MUST_CHECK int mirror_reload(struct mirror *m, const struct config *config);
/* From now on nothing waits: flights end for their readers, every waiter is woken, steps and reads answer at once (503,
 * or -ECANCELED). Any thread. Idempotent. */
void mirror_cut(struct mirror *m);
/* After upstream_stop() and when no session is open. Makes durable what is complete, keeps partial files. Accepts NULL.
 */
void mirror_stop(struct mirror *m);

/* ------------------------------------------------------------------ beside a backup (mirror/upkeep.c) */

/* The store may outgrow its bound from now on, for LIMIT_BACKUP_HOLD_MS at the most; or not any more. As long as the
 * disk has room, nothing is evicted meanwhile. Any thread. */
void mirror_hold_eviction(struct mirror *m, bool hold);
/* Stored bytes were found to be wrong, by `found`: mirror/damage.h. `fd` -1: they are gone already. Any thread. */
void mirror_report_damage(struct mirror *m, const struct digest *digest, int fd, const char *found);
/* Puts one record in the table of jobs. Waits until it is durable. Not of the mirror's own threads. */
MUST_CHECK int mirror_put_job(struct mirror *m, const char *name, const void *value, size_t len);

/* ------------------------------------------------------------------ sessions */

/* Copies what it needs of `request`. -ENOMEM. */
MUST_CHECK int mirror_open(struct mirror *m, const struct mirror_request *request, struct mirror_session **ret_session);
/* Before the first step: the client may also see what only the registry's accounts may, as if it were open to
 * everybody (registries.NAME.open). No sibling may. */
void mirror_admit(struct mirror_session *s);
/* 0: *ret_answer is set, for good. MIRROR_WAIT: suspended; call again after the wake-up. No other result. */
MUST_CHECK int mirror_step(struct mirror_session *s, struct mirror_answer *ret_answer);
/* Reads of the body at `offset` < size, of any kind of body: > 0 bytes read; 0: suspended, call again after the
 * wake-up; < 0: the body cannot be completed, cut the connection short. */
MUST_CHECK ssize_t mirror_read(struct mirror_session *s, uint64_t offset, void *data, size_t len);
void mirror_account(const struct mirror_session *s, struct mirror_account *ret_account);
/* Ends the session; a waiter that is still registered is forgotten, and its wake() will not come. Accepts NULL. */
void mirror_close(struct mirror_session *s);

AUTO_DEFINE(struct mirror_session, mirror_close);
