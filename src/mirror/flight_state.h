/*
 * What the files of a flight share. flights.c has the table and the readers' side, flight.c the life, flight_part.c the
 * bytes that come, flight_hash.c the hash that follows them.
 *
 * The life of a flight
 *
 *   state       what happens                                  who moves it on
 *   SIZING      HEAD: nobody has said how large the blob is   upstream thread: → ASKING, ENDING
 *   ASKING      GET submitted, also again after a break       upstream thread: → STREAMING
 *   STREAMING   bytes come; readers follow                    upstream thread: → ASKING, VERIFYING, ENDING
 *   VERIFYING   every byte is there, the hash is not          a worker: → LANDING, ENDING
 *   LANDING     right; the keeper publishes                   keeper: → GONE
 *   ENDING      failed; the keeper closes the partial file    keeper: → GONE
 *   GONE        out of the table; readers may still hold it   last reference
 *
 * One of them has the flight at a time: the upstream's thread while a job is under way, then a worker, then the keeper.
 * The hash is the exception, it follows the bytes in a worker while they still come (`hash` is the worker's own).
 *
 * What is missing is in parts, each with a job or none, in the order of their bytes and without a gap between them; the
 * first is the front, up to which everything has come. A small blob has one part. Of a large one the front fetches a
 * piece first; when its source has shown that it gives parts, others fetch the pieces ahead of it. The front always has
 * a job, and its failures are the flight's. A part ahead is worth no wait and no failure: it is left as it is, and
 * fetched when a connection is free or when it has become the front.
 *
 * Bytes that readers may have: none until the size is known; all of them once the digest matched; of a blob of up to
 * FLIGHT_WHOLE none before that; else what is in the file, less FLIGHT_HOLD_BACK at the end of the blob.
 */
#pragma once

#include "base/table.h"
#include "mirror/flight.h"

enum flight_state {
    FLIGHT_SIZING,
    FLIGHT_ASKING,
    FLIGHT_STREAMING,
    FLIGHT_VERIFYING,
    FLIGHT_LANDING,
    FLIGHT_ENDING,
    FLIGHT_GONE,
};

/* Whose word the size is. A manifest's may be wrong: whoever pushed it wrote it. */
enum size_source { SIZE_UNKNOWN, SIZE_OF_MANIFEST, SIZE_OF_HEAD, SIZE_OF_GET };

/* Sources that gave wrong bytes for a digest, remembered so long that the next flight asks others first. */
#define SHUNNED 256 /* a power of two; one digest a place */
#define SHUNNED_MS (10 * 60 * 1000LL)

struct shunned {
    struct digest digest;
    uint32_t sources;
    int64_t until; /* monotonic ms */
};

struct flights {
    struct flights_needs needs; /* set at create */
    pthread_mutex_t lock;
    /* under lock */
    struct flight *flights;
    struct shunned shunned[SHUNNED];
    atomic_uint prefetching;
};

struct upstream_result;

struct part {
    struct flight *flight; /* NULL: it has ended without this part, whose job is to end, too */
    struct part *next;     /* begins where this one ends */
    uint64_t at, end;      /* what is missing of it; all of them the upstream's thread's, as the flight is */
    uint64_t asked_at;     /* where its job has begun */
    uint64_t skip;         /* bytes of this answer that are there already */
    char *gathered;        /* FLIGHT_GATHER bytes, while a job is under way */
    size_t gathered_len;
    int job_error; /* why on_head or on_body ended the job */
    bool is_busy;  /* a job is under way */
};

struct flight {
    struct work work;       /* the hash's turn; first, for the worker */
    struct keeping keeping; /* its end */
    struct flights *all;
    UT_hash_handle hh; /* under the lock of all */
    atomic_uint refs;
    atomic_uint requests;

    /* set at create */
    struct digest digest;
    char *key, *registry, *repository;
    bool is_private, as_public, is_prefetch, has_others;
    struct flight_rules rules;
    int64_t began_at; /* wall clock, ms */
    int fd;           /* the partial file; the blob itself once it is published */

    /* of whoever has the flight */
    struct blobstore_writer *writer;
    struct part *front;
    unsigned busy, most; /* parts that have a job, and may have one now */
    unsigned limit;      /* and may have one at best */
    bool in_parts;       /* the front's source has given a part of the blob */
    uint64_t piece;      /* bytes of a part */
    uint64_t inherited;  /* bytes that an earlier flight has left in the file */
    bool tried_others;   /* it has begun anew because a source's bytes were wrong */
    uint32_t givers;     /* sources whose bytes are in the file, as far as is known */
    uint32_t shunned;    /* sources that gave wrong bytes to an earlier flight */
    uint32_t avoid;      /* the source that has broken off twice */
    bool vouched;        /* an upstream has said that it has the blob: to nobody else a whole partial file is shown */
    enum size_source size_source;
    unsigned breaks;       /* since the last progress */
    unsigned full;         /* times that there was no room */
    int64_t progressed_at; /* monotonic ms */
    enum blobstore_keep keep;

    /* of the worker that hashes */
    struct digest_state *hash;
    uint64_t hashed;

    struct gate gate;
    /* under the gate's lock */
    enum flight_state state;
    bool answerable; /* an upstream has said that it has the blob, or it is verified */
    bool verified;
    enum feed feed;         /* of the front */
    int source;             /* that gives bytes, or gave the last; -1: none has */
    bool complete;          /* all bytes are in the file */
    bool hash_posted;       /* a worker has it, or will */
    bool has_size, is_told; /* that size: to somebody who may have been answered with it */
    uint64_t size;
    uint64_t written; /* bytes in the file, up to the front */
    unsigned round;   /* from 1; the bytes of another one were wrong */
    int broken;       /* the hash's error, for the upstream's thread to see */
    struct failure failure;
    struct failure trouble; /* why it is being asked for again */
};

/* flights.c: the bytes of these sources were wrong. */
void flights_shun(struct flights *fs, const struct digest *digest, uint32_t sources);

/* flight.c; called by whoever has the flight */
void flight_start(struct flight *f);
MUST_CHECK int flight_set_size(struct flight *f, uint64_t size, enum size_source source);
void flight_advance(struct flight *f, const struct upstream_result *result); /* the front's job has ended */
/* The bytes are wrong: it begins anew, from the first one. No job is under way. */
void flight_restart(struct flight *f);
void flight_fail(struct flight *f, int error, const struct upstream_result *result, const char *message,
                 enum blobstore_keep keep);
void flight_land(struct flight *f); /* verified: the keeper publishes it */

/* flight_part.c; called by whoever has the flight */
/* The front, from what is written on. No part is there. */
MUST_CHECK int parts_begin(struct flight *f);
/* It is going to be asked for bytes: how much of them at a time, and over how many connections. Only the front is
 * there. */
void parts_plan(struct flight *f);
/* Asks for what is missing of the part; a part ahead of the front only where a connection can be spared. `head`: for
 * the size. From 0 on the flight is the upstream's thread's. */
MUST_CHECK int part_ask(struct part *p, bool head, int64_t delay_ms);
/* The front has come whole: the next part is the front, which may have a job. False: nothing is missing. */
MUST_CHECK bool parts_go_on(struct flight *f);
/* While the front has a job: as many others as may be. */
void parts_feed(struct flight *f);
/* The flight needs none any more. By the upstream's thread, or while no job is under way. */
void parts_drop(struct flight *f);

/* flight_hash.c */
/* Under the gate's lock: whether a worker must be posted, without the lock, to hash what is in the file. */
MUST_CHECK bool flight_wants_hash(struct flight *f);
void flight_hash(struct work *work);
