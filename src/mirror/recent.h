/*
 * What failed a moment ago, so that a crowd that asks for the same does not become a storm upstream: absent things are
 * remembered for seconds, what an upstream could not answer for a back-off that doubles with jitter. In memory,
 * bounded, the oldest leaving first. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

#define RECENT_KEY_MAX 640
#define RECENT_MESSAGE_MAX 256

/* Why something could not be had. */
struct failure {
    int error;     /* negative errno as of upstream.h; 0: none */
    int status;    /* the upstream's HTTP status, 0 where there was none */
    int64_t until; /* monotonic ms: not to be tried again before */
    char message[RECENT_MESSAGE_MAX];
};

/* A thing that is not there, as opposed to one that could not be asked for: it is no use to wait for it. */
bool failure_is_absence(const struct failure *f);
/* A thing that may well be had in a moment, as opposed to one that was answered wrongly or refused. */
bool failure_is_passing(const struct failure *f);

struct recent;

MUST_CHECK int recent_create(struct recent **ret_recent);
void recent_destroy(struct recent *r); /* accepts NULL */
/* Sets f->until from the error, from what the upstream asked for (`retry_after_ms`, -1: nothing) and from how often it
 * has failed in a row, and remembers it until then. A limit (-EAGAIN) for the back-off only: src/upstream keeps to it
 * by itself, and a sibling may have the thing long before it ends. */
void recent_note(struct recent *r, const char *key, struct failure *f, int64_t retry_after_ms);
/* False when nothing is remembered or its time has passed. */
bool recent_get(struct recent *r, const char *key, struct failure *ret_failure);
/* It has gone well. */
void recent_forget(struct recent *r, const char *key);
/* Everything may be tried again: what it failed for may have been changed. */
void recent_forget_all(struct recent *r);
