/* The token server's reply in all its forms (protocol.md §1.2). Pure functions; any thread. */
#pragma once

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct token_reply {
    char *token;
    int64_t life_ms; /* from now on */
};

/* "A token should never be returned with less than 60 seconds to live": what says less, or nothing, is taken for that.
 * One that lives for less all the same is found out by its 401. */
#define TOKEN_LIFE_MIN_MS 60000LL
#define TOKEN_LIFE_MAX_MS (24 * 3600 * 1000LL)

/* `now_ms` is the wall clock, for issued_at. -EPROTO: not JSON, no token, or one that a header cannot carry. -ENOMEM.
 */
MUST_CHECK int token_reply_parse(const char *text, size_t len, int64_t now_ms, struct token_reply *ret_reply);
