#include "upstream/backoff.h"

int64_t backoff_ms(unsigned step, int64_t first_ms, int64_t max_ms, uint64_t random)
{
    int64_t cap = first_ms;
    while (step-- > 0 && cap < max_ms)
        cap *= 2;
    if (cap > max_ms)
        cap = max_ms;
    if (cap <= BACKOFF_MIN_MS)
        return BACKOFF_MIN_MS;
    uint64_t range = (uint64_t)(cap - BACKOFF_MIN_MS);
    return BACKOFF_MIN_MS + (int64_t)(random == UINT64_MAX ? range : random % (range + 1));
}
