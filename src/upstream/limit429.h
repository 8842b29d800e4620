/* Which of its limits a registry means by a 429 (protocol.md §1.6, §2). Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum limit_kind {
    LIMIT_PULL,   /* the account's pulls are spent: no GET of a manifest; all else goes on */
    LIMIT_DATA,   /* the account's bytes are spent: no GET */
    LIMIT_MOMENT, /* a moment too fast: the host is asked again after a short pause */
    LIMIT_ABUSE,  /* the host is asked too much, whatever for and by whomever */
};

#define LIMIT429_BODY_MAX 4096 /* bytes that matter of a body */

struct limit_answer {
    bool manifest_get; /* that, and asked of the registry itself */
    const char *body;  /* the first LIMIT429_BODY_MAX bytes; may be NULL */
    size_t len;
};

/* *ret_pause_ms: of a LIMIT_MOMENT, how long it asks to wait. */
enum limit_kind limit429_classify(const struct limit_answer *answer, int64_t *ret_pause_ms);
