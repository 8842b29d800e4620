/*
 * Flights: a blob on its way from an upstream, one fetch a digest however many read it. The bytes go to a partial file
 * as they come; readers follow behind at any offset. A flight outlives its readers, resumes where an upstream broke
 * off, and hands the blob to the keeper when its digest is right. Its last bytes are held back until then. The life of
 * a flight is a table at the top of flight.c. Any thread may join, wait and read.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "mirror/evictor.h"
#include "mirror/feed.h"
#include "mirror/gate.h"
#include "mirror/keeper.h"
#include "mirror/library.h"
#include "mirror/privacy.h"
#include "mirror/recent.h"
#include "mirror/workers.h"

#include <sys/types.h>

struct upstream;
struct flights;
struct flight;

/* Everything a flight needs; all of it outlives the flights. */
struct flights_needs {
    struct blobstore *store;
    struct upstream *upstream;
    struct gates *gates;
    struct workers *workers;
    struct keeper *keeper;
    struct library *library;
    struct evictor *evictor;
    struct privacy *privacy;
    struct recent *recent;
};

/* What the configuration says of flights. */
struct flight_rules {
    int64_t patience_ms;   /* they fail when they make no progress for so long */
    unsigned segments;     /* connections that may fetch one blob at once; 0, 1: one does */
    uint64_t segments_min; /* where at least so much of it is missing */
};

struct flight_target {
    const char *registry, *repository;
    const struct digest *digest;
    bool is_private; /* its bytes are for this repository only: such a flight is found under its name alone */
    bool as_public;  /* fetched without an account: upstream_job.as_public */
    bool has_others; /* the registry has more than one source */
    struct flight_rules rules;
};

MUST_CHECK int flights_create(const struct flights_needs *needs, struct flights **ret_flights);
/* After upstream, workers and keeper have been stopped: no flight is left. Accepts NULL. */
void flights_destroy(struct flights *fs);

/* The key under which failures of this flight are remembered; RECENT_KEY_MAX bytes. */
void flight_key(const struct flight_target *t, char *key);
/* The flight, if there is one that may be joined; a reference, the caller's. */
struct flight *flight_find(struct flights *fs, const struct flight_target *t);
/* A flight of the digest under whatever name, perhaps a private one: for who has been shown by an upstream, under his
 * own name, that he may have it. A reference, the caller's; NULL: there is none. */
struct flight *flight_find_hidden(struct flights *fs, const struct digest *digest);
/*
 * Starts the flight without anybody who reads, as long as fewer than `most` such flights are under way. Best effort:
 * what is stored, under way, or failed a moment ago is left alone.
 */
void flight_prefetch(struct flights *fs, const struct flight_target *t, unsigned most);
/*
 * Joins the flight of the digest, or starts it (*ret_mine). One reference, the caller's. -EEXIST: it has been stored in
 * the meantime. -EALREADY: it failed a moment ago, recent_get() has why. -EBUSY: its partial file is being closed, or
 * has a flight under another name (flight_find_hidden()). -ENOSPC, -EIO, -ENOMEM, -ECANCELED.
 */
MUST_CHECK int flight_join(struct flights *fs, const struct flight_target *t, bool *ret_mine,
                           struct flight **ret_flight);
void flight_unref(struct flight *f); /* accepts NULL; the waiter has been forgotten (gate_forget()) */

/*
 * 0: it can be answered, with *ret_size bytes. MIRROR_WAIT: entered and suspended, until `due` at the latest; with `w`
 * NULL, neither, and *ret_failure is why it is being asked for again, if it is. Else the flight failed before anybody
 * could be answered (its error; *ret_failure tells more), or -ECANCELED; or -ESTALE: the asker and it may wait for
 * each other (mirror/feed.h).
 */
MUST_CHECK int flight_wait(struct flight *f, enum asker asker, struct waiter *w, int64_t due, uint64_t *ret_size,
                           struct failure *ret_failure);
/*
 * For who reads nothing, and waits for the end. 0: it has come to it, and well, whether it is stored or not.
 * MIRROR_WAIT: entered and suspended; *ret_written bytes are there so far. Else it failed, or -ECANCELED.
 */
MUST_CHECK int flight_wait_end(struct flight *f, struct waiter *w, uint64_t *ret_written, struct failure *ret_failure);
/* Its size, if that is known by now. */
bool flight_size(struct flight *f, uint64_t *ret_size);
/* Whether every byte is there and right: then flight_fd() is the whole blob. */
bool flight_is_verified(struct flight *f);
/* For reading only; the flight's, good as long as the reference. */
int flight_fd(const struct flight *f);
/* As mirror_read(): > 0 bytes; 0 entered and suspended; < 0 it will not be completed. *round is the reader's, 0 before
 * the first call: whoever has had bytes that were wrong does not get any of those that are fetched in their place. */
MUST_CHECK ssize_t flight_read(struct flight *f, struct waiter *w, unsigned *round, uint64_t offset, void *data,
                               size_t len);
/* Whether its bytes are asked for in this repository's name. */
bool flight_is_of(const struct flight *f, const char *registry, const char *repository);
/* Whether it failed because there was no room to store it. */
bool flight_lacked_room(struct flight *f);
/* HTTP requests made so far. */
unsigned flight_requests(const struct flight *f);
