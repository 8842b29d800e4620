/*
 * Workers: a few threads that run short pieces of work in the order they were posted: hashing a stretch of a flight,
 * checking and reading a manifest. What takes long posts itself again, so that small pieces get their turn. Any thread
 * may post.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

struct workers;

/* A piece of work, embedded in what it works on; posted at most once at a time. */
struct work {
    void (*run)(struct work *work); /* set at create */
    struct work *next;              /* under the workers' lock */
};

MUST_CHECK int workers_start(unsigned threads, struct workers **ret_workers);
void workers_post(struct workers *w, struct work *work);
/* Asked by long pieces of work, which should then give up. */
bool workers_are_stopping(const struct workers *w);
/* Runs what was posted, also what that posts, and ends the threads. Accepts NULL. */
void workers_stop(struct workers *w);
