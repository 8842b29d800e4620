/*
 * How many connections each client has. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

struct crowd;

MUST_CHECK int crowd_create(unsigned most, struct crowd **ret_crowd);
void crowd_destroy(struct crowd *c); /* accepts NULL */
/* False: he has as many as he may, or there is no memory to count him. */
MUST_CHECK bool crowd_enter(struct crowd *c, const char *address);
/* For each crowd_enter() that was true. */
void crowd_leave(struct crowd *c, const char *address);
