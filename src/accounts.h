/*
 * Whether the files with accounts upstream, and those with authorities that are trusted there, are others than a while
 * ago: a Secret that is mounted anew, what an agent has written. Looks at them from outside and reads nothing. Any
 * thread; no state.
 */
#pragma once

#include <stdint.h>

struct config;

/* What all of them look like, or that they are not there, as one number: where it is another, one of them has changed.
 */
uint64_t accounts_look(const struct config *config);
