/*
 * UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. Any thread; no state.
 */
#pragma once

#include <stddef.h>

/* The length of the sequence at the start of the string `s` (1 to 4; the NUL at its end is one), 0 where there is none.
 * Never looks past a NUL. */
size_t utf8_length(const char *s);
