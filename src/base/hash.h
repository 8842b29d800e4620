/*
 * A hash for tables in memory: FNV-1a, 64 bits. Not for what an adversary can fill: every table that uses it is
 * bounded. Any thread; no state.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_bytes(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037ULL;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 1099511628211ULL;
    return h;
}

static inline uint64_t hash_string(const char *s)
{
    return hash_bytes(s, strlen(s));
}
