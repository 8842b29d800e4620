/* One of a thing, or many: "1 blob", "2 blobs", "0 blobs". Any thread; no state. */
#pragma once

#include <stdint.h>

static inline const char *plural(uint64_t n, const char *one, const char *many)
{
    return n == 1 ? one : many;
}
