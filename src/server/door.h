/*
 * What all requests share, and who is inside: the requests that have begun and not ended, those of them that are
 * suspended, the streams. The server's stop waits here. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct auth;
struct config;
struct mirror;
struct patience;
struct pull_secrets;

struct door {
    /* set at init */
    const struct config *config;
    struct mirror *mirror;
    struct pull_secrets *pull_secrets; /* NULL: none are taken; likewise */
    struct patience *requests;         /* NULL: as many as there are; likewise */
    struct auth *auth;                 /* NULL: everybody may pull; set before the first request */
    char hsts[40];                     /* value of Strict-Transport-Security, or "" */
    uint32_t boot;                     /* first half of request ids: random, so that two runs do not share them */

    /* any thread */
    _Atomic uint32_t ids;
    _Atomic unsigned active;
    _Atomic unsigned streams; /* bodies that have a block of memory each */
    _Atomic bool draining;    /* from now on a connection is closed after its answer */

    pthread_mutex_t lock;
    pthread_cond_t emptied; /* while draining: `active` or `suspended` is 0 */
    /* under lock */
    unsigned suspended;
};

MUST_CHECK int door_init(struct door *d, const struct config *config, struct mirror *mirror);
void door_finish(struct door *d);

void door_enter(struct door *d); /* a request begins */
void door_leave(struct door *d); /* and ends */
void door_suspended(struct door *d);
/* The last thing that whoever resumes does with the door: it may be gone as soon as nothing is suspended. */
void door_resumed(struct door *d);

void door_drain(struct door *d);
/* How many requests are still inside after at most `timeout_ms` of waiting for none. */
unsigned door_wait_active(struct door *d, int64_t timeout_ms);
unsigned door_wait_suspended(struct door *d, int64_t timeout_ms);
