/*
 * Byte ranges (RFC 9110 §14): what a Range header asks of a representation whose size is known. Pure; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t first, last; /* inclusive */
};

enum range_verdict {
    RANGE_WHOLE,         /* to be answered as if there were no Range header */
    RANGE_PART,          /* ret_ranges has at least one */
    RANGE_UNSATISFIABLE, /* 416 */
    RANGE_TOO_MANY,      /* 400: clients that ask for many try again with fewer (protocol.md §7) */
};

/* In the order of the header, neither sorted nor merged: clients count the parts. */
struct ranges {
    size_t count;
    struct range *items;
    struct range one; /* where items points for a single range */
};

/* A header that is not understood is ignored. So is one that asks for more than twice the size in all, by overlaps: the
 * whole is the cheaper answer (§14.2). -ENOMEM. */
MUST_CHECK int range_parse(const char *header, uint64_t size, unsigned max_ranges, enum range_verdict *ret_verdict,
                           struct ranges *ret_ranges);
void ranges_finish(struct ranges *r);
