/*
 * Control characters of ASCII: nothing that is shown, logged or sent on has any. Any thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

static inline bool has_controls(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return true;
    return false;
}
