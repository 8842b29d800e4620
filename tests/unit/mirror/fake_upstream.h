/*
 * An upstream that plays what the test says. It defines every function of upstream.h, so that the real one is not
 * linked. Like the real one it has a thread of its own, on which every callback runs; delays are noted and not waited
 * for.
 *
 * By hand: fake_take() is the next job that was submitted; the calls below make its callbacks run, and return when the
 * callback has returned. By itself: fake_serve() has a function called for every open job in turn.
 */
#pragma once

#include "upstream/upstream.h"

struct fake_job {
    struct upstream_job job; /* as submitted; the strings are copies */
    struct upstream *upstream;
    uint64_t at, end; /* for the function of fake_serve(): what it likes */
    unsigned number;  /* which job this is, from 0 */
    struct fake_job *next;
    int ended; /* what a callback has returned to end it */
    bool is_taken, has_head;
    unsigned source; /* of the registry's: what head and result say */
    bool unsure;     /* what the result says */
};

#define FAKE_HOP "8" /* upstream_hop() */

struct upstream *fake_start(void);
void fake_has_accounts(struct upstream *u, bool has_accounts); /* of every registry */
unsigned fake_count(struct upstream *u);                       /* jobs submitted so far */

bool fake_is_asked(struct upstream *u); /* whether there is a job that nobody has taken */

/* The next job; fails the test when none comes. */
struct fake_job *fake_take(struct upstream *u);
/* The next job, which must ask for this. `reference` NULL: whatever it is. */
struct fake_job *fake_expect(struct upstream *u, enum upstream_object object, bool head, const char *reference);

/* What the callback returned. */
int fake_head(struct fake_job *j, const struct upstream_head *head);
int fake_body(struct fake_job *j, const void *data, size_t len);
void fake_tick(struct fake_job *j);
/* Ends the job, which is gone then; where a callback has ended it already, with that error. */
void fake_done(struct fake_job *j, int error, int status);
void fake_done_after(struct fake_job *j, int error, int status, int64_t retry_after_ms);
/* As the real one does when every source was to be avoided. */
void fake_done_unasked(struct fake_job *j);

/* One turn of a job, on the upstream's thread; after fake_play_done() the job is gone. */
typedef void fake_play(struct fake_job *j, void *arg);
void fake_serve(struct upstream *u, fake_play *play, void *arg);
void fake_await_idle(struct upstream *u); /* until there is no job */
int fake_play_head(struct fake_job *j, const struct upstream_head *head);
int fake_play_body(struct fake_job *j, const void *data, size_t len);
void fake_play_done(struct fake_job *j, int error, int status);

/* Shorthands of the above. */
/* "" and -1 where nothing is said. */
struct upstream_head fake_header(int status, int64_t length);
/* A whole 200. */
void fake_give(struct fake_job *j, const char *content_type, const void *data, size_t len);
/* A 200 to a HEAD. */
void fake_give_head(struct fake_job *j, const char *content_type, const char *digest, int64_t length);
/* The header of a 206 with the part that the job asks for, or of a 200 where it asks for all. */
struct upstream_head fake_blob_header(const struct fake_job *j, uint64_t size);
