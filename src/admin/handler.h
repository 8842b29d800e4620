/*
 * For the handlers: a file of them for each subject, a row for each in the table of routes (routes.c). Inner to the
 * floor.
 */
#pragma once

#include "admin/admin.h"

#include "base/json_text.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>

struct admin {
    /* set at create */
    struct blobstore *store;
    struct upstream *upstream;
    struct mirror *mirror;
    int64_t started_at; /* wall clock, ms */

    pthread_rwlock_t config_lock;
    const struct config *config; /* under config_lock */

    pthread_mutex_t lock;
    pthread_cond_t cut_now;  /* tells who waits in admin_wait() that it is over */
    bool cut;                /* under lock */
    struct backups *backups; /* backup.c */

    pthread_mutex_t seeds_lock; /* from the look at whose a seed is until another has taken its place */
};

typedef void admin_handler(struct admin *a, const struct admin_request *request, struct admin_reply *reply);

struct backups;

enum admin_need {
    ADMIN_NEEDS_ADMIN,
    ADMIN_NEEDS_SEED, /* somewhere; the handler looks where: admin_may() and the like */
};

struct admin_route {
    const char *method;     /* NULL ends a table */
    const char *path;       /* a `*` at its end stands for one segment, which is request->id */
    const char *parameters; /* that may stand in the query, with a space between: others are refused */
    enum admin_need needs;
    admin_handler *handler;
};

extern const struct admin_route admin_routes[];

/* The value of a parameter, or NULL. */
const char *admin_param(const struct admin_request *request, const char *name);
/* "1" or "true". Where it has another value than these, "0" and "false": -EINVAL, and the reply says so. */
MUST_CHECK int admin_param_bool(const struct admin_request *request, struct admin_reply *reply, const char *name,
                                bool *ret_value);
/* The body as a JSON object, which the caller lets go of; NULL: it is none, and the reply says so. */
json_t *admin_body(const struct admin_request *request, struct admin_reply *reply);

/* Takes over `json`, which may be NULL: there was no memory. */
void admin_answer(struct admin_reply *reply, json_t *json);
void admin_fail(struct admin_reply *reply, int status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* For a negative errno of the store or the mirror. */
void admin_fail_errno(struct admin_reply *reply, int error, const char *what);

/* rights.c: where who asks may seed, who has the right to somewhere. Who may administer may everywhere. */
bool admin_may_everywhere(const struct admin_request *request);
bool admin_may(const struct admin_request *request, const char *registry, const char *repository);
/* A repository as "registry/repository". */
bool admin_may_repository(const struct admin_request *request, const char *name);
/* An image of a seed or an audit (inventory_repository_of()); false also for what is none. */
bool admin_may_image(struct admin *a, const struct admin_request *request, const char *image);
/* 403: he lacks `right` for `what` (or NULL); and a line of the audit log. */
void admin_forbid(const struct admin_request *request, struct admin_reply *reply, const char *right, const char *what);

/* The configuration, for as long as it is held: not while waiting. */
const struct config *admin_hold_config(struct admin *a);
void admin_release_config(struct admin *a);

/* Waits so long; false: the server stops, answer at once. */
bool admin_wait(struct admin *a, int64_t ms);

/* backup.c: what is known of backups, from the store at first. */
/* The last that was kept: when it was begun (wall clock, ms), and the size of its file. -ENOENT: there was none. */
MUST_CHECK int backups_last(struct blobstore *store, int64_t *ret_created_at, uint64_t *ret_bytes);
MUST_CHECK int backups_create(struct admin *a, struct backups **ret_backups);
void backups_destroy(struct backups *b); /* accepts NULL */

/* A line of the audit log: who did what. `fields` may be NULL. */
void admin_audit(const struct admin_request *request, const char *action, const char *what, const char *result);
