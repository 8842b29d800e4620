/*
 * Ends connections whose clients hold them without getting on: a request that does not become complete, an answer that
 * is taken by drops. libmicrohttpd ends those where nothing moves at all, and does not see how much moves; the kernel
 * does. An answer of which the kernel has nothing left is set going again: its thread may wait for room that there is.
 * Owns a thread that looks at all of them once a second.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct headway_watch;

/* What is too slow. */
struct headway_terms {
    int64_t header_ms; /* from the first byte of a request to its last, of a body too; 0: any time */
    uint64_t min_rate; /* bytes a second; 0: none */
    int64_t over_ms;   /* on an average of so long */
};

/* One connection: a member of who has it, who does not look into it. */
struct headway {
    /* set at begin */
    int fd;
    const char *client; /* for the log */

    _Atomic unsigned phase; /* odd while a request is answered; by its thread */

    /* under the watch's lock */
    struct headway *previous, *next;
    unsigned seen_phase;
    uint64_t bytes;
    int64_t since_ms;
};

/* What the kernel says of it. */
struct headway_sample {
    int64_t now_ms;
    unsigned phase;
    uint64_t received; /* bytes that have come from the client */
    uint64_t acked;    /* bytes that it has taken */
    bool owed;         /* there are some that it has not */
};

enum headway_verdict { HEADWAY_GOOD, HEADWAY_SLOW_HEADER, HEADWAY_SLOW_READER };

MUST_CHECK int headway_watch_create(const struct headway_terms *terms, struct headway_watch **ret_watch);
/* When no connection is left. Accepts NULL. */
void headway_watch_destroy(struct headway_watch *w);
/* `p` is zeroed; `fd` stays open and `client` stays there until the end. Any thread, likewise below. */
void headway_begin(struct headway_watch *w, struct headway *p, int fd, const char *client);
void headway_end(struct headway_watch *w, struct headway *p);
/* A request is there with all that belongs to it; it has been answered. */
void headway_answering(struct headway *p);
void headway_answered(struct headway *p);

/* Of one look, after those that were before. Pure. */
enum headway_verdict headway_judge(struct headway *p, const struct headway_terms *terms,
                                   const struct headway_sample *s);

AUTO_DEFINE(struct headway_watch, headway_watch_destroy);
