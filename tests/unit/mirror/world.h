/*
 * A mirror between a real store and a fake upstream, and clients whose connections can be suspended. The wall clock
 * stands still but for world_advance() (this replaces base/clock.c); the other clock is the real one.
 */
#pragma once

#include "fake_upstream.h"
#include "scratch.h"

#include "base/limits.h"
#include "mirror/mirror.h"
#include "mirror/state.h"

#include <pthread.h>

struct world {
    struct config config;
    bool has_accounts; /* as of the next world_start() */
    struct blobstore *store;
    struct upstream *upstream;
    struct mirror *mirror;
};
extern struct world world;

/* A checked fixture: a directory and a mirror that is started in it. */
void world_setup(void);
void world_cleanup(void);
void world_start(void);
void world_stop(void);          /* in the order in which the program stops; checks that nobody is left behind */
void world_advance(int64_t ms); /* the wall clock */
void world_settle(void);        /* waits until the workers and the keeper have done what was posted */
void world_store(const char *data, size_t len, const struct digest *digest); /* a blob, stored without asking anybody */
struct digest world_add_document(const struct buf *text); /* a manifest that a client of docker.io/a/b has left */
void world_pin(const struct digest *digest, int64_t expires_at);

/* Some manifest of a test's own. */
struct text {
    char bytes[1024];
    size_t len;
    struct digest digest;
    char name[DIGEST_TEXT_MAX];
};
void text_set(struct text *t, const char *bytes);

/* One request of one client. What the contract of mirror.h says about suspend() and wake() is held against every call.
 */
struct client {
    struct mirror_session *session;
    struct mirror_answer answer;
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    /* under lock */
    pthread_t thread; /* that is in a call now */
    bool in_call, suspended, closed;
    unsigned suspends, wakes;
    const char *wrong; /* what broke the contract */
};

/* Told when a client enters the mirror and when it leaves it, on its thread; or NULL. */
extern void (*client_enters)(bool inside);

/* docker.io, unless `name` says otherwise */
void client_open(struct client *c, enum mirror_object object, bool head, const char *name, const char *reference);
void client_open_request(struct client *c, const struct mirror_request *request);
/* False where there is no memory for it. */
bool client_try_open(struct client *c, const struct mirror_request *request);
/* One step: whether it is answered; if not it is suspended. */
bool client_step(struct client *c);
/* Steps and waits until it is answered. */
const struct mirror_answer *client_answer(struct client *c);
/* Steps and waits until the upstream is asked for something (or it is answered: then there is nothing to take). */
void client_go_on(struct client *c);
/* One read: as mirror_read(). */
ssize_t client_read(struct client *c, uint64_t offset, void *data, size_t len);
/* Reads [offset, offset + len), waiting as often as need be: how much came before an error. */
size_t client_read_to(struct client *c, uint64_t offset, void *data, size_t len);
void client_await(struct client *c); /* that it is awake */
/* The answer is a body that is `data` to the last byte. */
void client_expect(struct client *c, const char *data, size_t len);
void client_expect_error(struct client *c, int status, const char *code);
void client_expect_outcome(struct client *c, enum mirror_outcome outcome, unsigned upstream_requests);
void client_close(struct client *c);
