/*
 * The keeper: the one thread that makes things durable. What is posted while it waits for the disk is gathered, and
 * committed together: many blobs and records to one commit of the index. About once a minute it writes out the touches,
 * and takes a checkpoint of what changes all the time. Any thread may post.
 */
#pragma once

#include "blobstore/blobstore.h"

struct keeper;

/* Something to keep, embedded in what it belongs to. Both calls come on the keeper's thread. */
struct keeping {
    /* Publishes, puts and deletes in the batch. */
    void (*add)(struct keeping *k, struct blobstore_batch *batch);
    /* The batch is durable (0) or is not (negative errno; then nothing of it is). The last call; may free `k`. */
    void (*done)(struct keeping *k, int result);
    bool is_alone;        /* nothing else is in its batch */
    bool comes_first;     /* its commit has ended before what is posted after it is added to a batch */
    struct keeping *next; /* under the keeper's lock */
};

/* Runs on the keeper's thread about once a minute, and a last time when it stops: puts what changes all the time. */
typedef void (*keeper_checkpoint_fn)(void *arg, struct blobstore_batch *batch);

/* `checkpoint` may be NULL. */
MUST_CHECK int keeper_start(struct blobstore *store, keeper_checkpoint_fn checkpoint, void *arg,
                            struct keeper **ret_keeper);
/* Work for the time between commits, in steps of milliseconds: called on the keeper's thread, again after as long (ms)
 * as it says, 0: as soon as what was posted is kept. Not any more once the keeper is stopping. */
typedef int64_t (*keeper_spare_fn)(void *arg);
/* Once. */
void keeper_employ(struct keeper *k, keeper_spare_fn spare, void *arg);
/* The time until the next step is over. */
void keeper_hurry(struct keeper *k);
void keeper_post(struct keeper *k, struct keeping *keeping);
/* Runs `run` on the keeper's thread with a batch of its own, and waits for its commit: what `run` returned, which has
 * then put nothing into the batch, or the commit. Not on the keeper's thread. */
typedef int (*keeper_run_fn)(void *arg, struct blobstore_batch *batch);
MUST_CHECK int keeper_run(struct keeper *k, keeper_run_fn run, void *arg);
/* Keeps what was posted, also what that posts, and ends the thread. Accepts NULL. */
void keeper_stop(struct keeper *k);
