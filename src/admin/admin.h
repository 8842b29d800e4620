/*
 * What the administrator may see and do of a running server: requests in, JSON or a stream of bytes out
 * (docs/admin-api.md). Knows no HTTP but its words for methods and statuses; server/admin.c carries it over the wire.
 *
 * A request has a thread of its own, so that a handler may wait, for LIMIT_ADMIN_WAIT_MS at the most. It may call what
 * any thread may call, and nothing of it holds up a pull.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct admin;
struct blobstore;
struct config;
struct json_t;
struct mirror;
struct upstream;

struct admin_options {
    const struct config *config; /* the caller's; see admin_reload() */
    struct blobstore *store;
    struct upstream *upstream;
    struct mirror *mirror;
};

MUST_CHECK int admin_create(const struct admin_options *options, struct admin **ret_admin);
/* Requests see the new configuration; returns when the old one is no longer referred to. */
void admin_reload(struct admin *a, const struct config *config);
/* From now on nothing waits. Any thread. */
void admin_cut(struct admin *a);
/* When no request is running. Accepts NULL. */
void admin_destroy(struct admin *a);

#define ADMIN_PARAMS_MAX 16
#define ADMIN_WHO_MAX 256

struct admin_param {
    const char *name, *value; /* decoded */
};

/* What who asks may do. Zeroed: nothing. What each route takes is in the table of routes (routes.c). */
struct admin_rights {
    bool admin; /* everything; then the rest is not looked at */
    /* Seeding, and all that goes with it: in some repository, in all, in this one (a registry's own name). */
    bool seed, seed_everywhere;
    bool (*may_seed)(const void *arg, const char *registry, const char *repository); /* where `seed` */
    const void *arg;
    const char *limit; /* what else than rules leaves him without the rest, in words; or NULL */
};

struct admin_request {
    const char *method, *path; /* "GET", "/v1/status" */
    struct admin_param params[ADMIN_PARAMS_MAX];
    size_t param_count;
    const char *id; /* what stands for the `*` of a route, or NULL; set by admin_handle() */
    const char *body;
    size_t body_len;
    char who[ADMIN_WHO_MAX]; /* "uid=0 pid=4711", "token 127.0.0.1", "user jo 127.0.0.1": for the log */
    struct admin_rights rights;
};

/* An answer is JSON, or a stream. Zeroed by the caller. */
struct admin_reply {
    int status;
    struct json_t *json; /* the handler's, until admin_handle() has made `text` of it */
    char *text;          /* owned by the reply */
    size_t len;
    char allow[32]; /* of a 405: the methods that there are, "GET, POST" */

    const char *content_type; /* of a stream */
    /* Gives up to `len` bytes: > 0 that many, 0 the end, < 0 it cannot go on: the answer is cut short. May wait. */
    ssize_t (*read)(void *arg, void *data, size_t len);
    void (*finish)(void *arg); /* called by admin_reply_finish(), in any case */
    void *arg;
};

/* Fills `reply`, always: where there is no memory with a status alone. */
void admin_handle(struct admin *a, struct admin_request *request, struct admin_reply *reply);
void admin_reply_finish(struct admin_reply *reply);
/* For who refuses before a request is one: {"error":{"code":…,"message":…}} */
void admin_refuse(struct admin_reply *reply, int status, const char *code, const char *message);
