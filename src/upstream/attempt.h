/* An attempt: one question to one source, with its token and its redirects; attempt.c has the table. It chooses nothing
 * and repeats nothing. Upstream's thread only. */
#pragma once

#include "base/auto.h"
#include "upstream/standing.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <stdint.h>

struct attempt;
struct loop;
struct source;

struct attempt_request {
    struct intent intent;
    const char *repository, *reference, *query; /* as in struct upstream_job */
    uint64_t offset, length;
    bool spare;
};

struct attempt_result {
    int error; /* as of upstream_result */
    int status;
    int64_t retry_after_ms;
    unsigned requests;
    bool with_account;       /* it was shown, if only to who redirected */
    enum standing_word word; /* what it says of the source as a whole */
    const char *message;
};

struct attempt_owner {
    int (*head)(void *arg, const struct upstream_head *head); /* as of upstream_callbacks; all but `source` is there */
    int (*body)(void *arg, const void *data, size_t len);
    void (*done)(void *arg, const struct attempt_result *result); /* the attempt is gone; another may be started */
};

/* Copies what it needs; the names were checked by path_check(). -ENOMEM; -EINVAL: the URL is too long. */
MUST_CHECK int attempt_create(const struct attempt_request *request, struct source *source, struct loop *loop,
                              const struct attempt_owner *owner, void *arg, struct attempt **ret_attempt);
/* done() may come at once. */
void attempt_start(struct attempt *a);
/* Without done(). Accepts NULL. */
void attempt_drop(struct attempt *a);
