/*
 * What could not be served as it should have been, and why: for who asks later. The same trouble of the same thing is
 * one event, with how often it was and for whom. Bounded; the one that was last seen longest ago goes. In memory, and
 * in the index (docs/store-format.md, table JOBS): what a crash loses is a minute's. Any thread.
 */
#pragma once

#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/mirror.h"
#include "mirror/recent.h"

#define EVENTS_MAX 256
#define EVENT_CLIENTS 8
#define EVENT_CLIENT_MAX 48 /* an IPv6 address */

enum event_kind {
    EVENT_FAILED = 1, /* these are on disk: who asked was told an error */
    EVENT_STALE = 2,  /* served, although the upstream could not confirm it */
};

struct event {
    enum event_kind kind;
    enum mirror_object object;
    int64_t first_at, last_at; /* wall clock, ms */
    uint32_t count;
    int status; /* the HTTP status that was answered */
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1], reference[DIGEST_TEXT_MAX];
    char message[RECENT_MESSAGE_MAX];
    unsigned client_count; /* EVENT_CLIENTS: these, and maybe more */
    char clients[EVENT_CLIENTS][EVENT_CLIENT_MAX];
};

struct events;

MUST_CHECK int events_create(struct blobstore *store, struct events **ret_events);
void events_destroy(struct events *e); /* accepts NULL */
/* `what` has kind, object, status, names and message; `client` is an address or "". */
void events_note(struct events *e, const struct event *what, const char *client);
/* Copies those of a repository (NULL: of all), the latest first: how many, `max` at the most. */
size_t events_list(struct events *e, const char *registry, const char *repository, struct event *ret_events,
                   size_t max);
/* By the keeper: puts what is new. */
void events_checkpoint(struct events *e, struct blobstore_batch *batch);
