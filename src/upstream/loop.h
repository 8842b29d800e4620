/*
 * The engine of the upstream's thread: libcurl's multi handle, the timers, and who may have a connection. How many
 * transfers a host sees at once is decided here and not by libcurl, so that no deadline runs while one waits for its
 * turn. Upstream's thread only, but for loop_wake().
 */
#pragma once

#include "base/auto.h"
#include "upstream/list.h"
#include "upstream/timers.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct transfer;

struct loop {
    CURLM *multi;
    struct timers timers;
    struct list hosts;  /* those that have transfers */
    struct list active; /* transfers that libcurl has */
    bool stopping;      /* nothing new is started */
};

MUST_CHECK int loop_init(struct loop *l);
/* No transfer may be left. */
void loop_finish(struct loop *l);
/* From now on the loop has the transfer, and frees it after its done(). -ENOMEM, -ECANCELED; -EBUSY: no connection can
 * be spared for it. Then the caller still has it. */
MUST_CHECK int loop_start(struct loop *l, struct transfer *t);
/* Not inside libcurl: ends it now, with the error that it has; done() is called. */
void loop_end(struct loop *l, struct transfer *t);
/* Not inside libcurl: takes it away without done(), and frees it. */
void loop_drop(struct loop *l, struct transfer *t);
/* Ends every transfer with -ECANCELED, and starts no other. */
void loop_stop(struct loop *l);
/* What is due, what has come, who is next. */
void loop_turn(struct loop *l);
/* Sleeps until something happens or is due, a second at the most: a lost wake-up must not matter (pitfalls.md 2). */
void loop_wait(struct loop *l);
void loop_wake(struct loop *l); /* any thread */
