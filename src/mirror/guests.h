/*
 * Whom an upstream has let see a private repository by his own account there (a pull secret): for a while he may have
 * it from here too. An account is known by a hash that says nothing of it. In memory, bounded, the oldest of a place
 * leaving first. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct guests;

struct guest {
    const char *registry, *repository;
    const char *login; /* the hash of his account, as text */
};

MUST_CHECK int guests_create(struct guests **ret_guests);
void guests_destroy(struct guests *g); /* accepts NULL */
/* Whether an upstream has let him in since the start, and how long ago. */
bool guests_know(struct guests *g, const struct guest *who, int64_t now_ms, int64_t *ret_age_ms);
void guests_welcome(struct guests *g, const struct guest *who, int64_t now_ms);
/* An upstream does not let him in any more. */
void guests_forget(struct guests *g, const struct guest *who);
