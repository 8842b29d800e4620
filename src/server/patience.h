/*
 * How often a client may do something: a bucket of tokens for each address (of IPv6 each network of 64 bits), filled
 * again as time goes by. Bounded: of very many clients those that were seen longest ago start anew. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct patience;

#define PATIENCE_DEBT_MAX 128

/* `often` in `every_ms`, and as many at once as `burst`. */
MUST_CHECK int patience_create(unsigned often, int64_t every_ms, unsigned burst, struct patience **ret_patience);
void patience_destroy(struct patience *p); /* accepts NULL */
/* 0: there is a token, and where `take`, it is gone now. Else the milliseconds until there is one. */
int64_t patience_ask(struct patience *p, const char *address, int64_t now_ms, bool take);
/* Takes a token where there is none, too: what was begun while there was one is counted when it has ended, and those
 * that were begun at the same time are owed. PATIENCE_DEBT_MAX at the most. */
void patience_charge(struct patience *p, const char *address, int64_t now_ms);

AUTO_DEFINE(struct patience, patience_destroy);
