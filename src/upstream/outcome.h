/*
 * How a job failed that asked several sources, or none of those that it might: the most telling failure is told.
 *
 *   1. "not found" by the first source that is to be believed
 *   2. what may pass: a limit, a network, a server in trouble; when the first of them may be asked again
 *   3. access denied
 *   4. "not found" by another source
 *   5. anything else
 *   6. what came of siblings
 *
 * Of equals the first. A value; not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OUTCOME_MESSAGE 320

struct failure {
    int error;
    int status;             /* 0: none came */
    int64_t retry_after_ms; /* -1: nothing is known */
    unsigned source;
    bool asked; /* it was, and failed; otherwise passed over */
    bool first; /* of those that are to be believed */
    bool sibling;
    bool with_account;
    char message[OUTCOME_MESSAGE];
};

/* Zeroed memory is one without failures. */
struct outcome {
    unsigned rank; /* 0: nothing yet */
    struct failure told;
};

void outcome_add(struct outcome *o, const struct failure *f);
/* This one is told, whatever else has failed. */
void outcome_decide(struct outcome *o, const struct failure *f);
