/*
 * Who spends the pull limits: for which repository, and for which client, manifests were fetched that a limit counts.
 * Of the last hours, in bounded memory: where there are more names than places, the one that has spent least gives its
 * place up, and the new one begins with its count (Metwally's "space saving"): the top is right, a count may be too
 * high by `excess`. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct spenders;

/* A repository with its registry, or a client's address. */
#define SPENDER_NAME_MAX 320
#define SPENDERS_HOURS 6 /* Docker Hub's window */

enum spender_kind { SPENDER_REPOSITORY, SPENDER_CLIENT };
#define SPENDER_KINDS 2

struct spender {
    char name[SPENDER_NAME_MAX];
    uint64_t count, excess;
};

MUST_CHECK int spenders_create(struct spenders **ret_spenders);
void spenders_destroy(struct spenders *s); /* accepts NULL */
void spenders_note(struct spenders *s, enum spender_kind kind, const char *name);
/* The greatest first: how many there are, `max` at the most. */
size_t spenders_top(struct spenders *s, enum spender_kind kind, struct spender *ret_top, size_t max);
