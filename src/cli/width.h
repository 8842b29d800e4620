/* Texts that must fit a terminal. Columns are characters, as far as names of images go. Any thread; no state. */
#pragma once

#include <stddef.h>

size_t width_of(const char *text);
/* Behind the first `columns` characters. */
const char *width_skip(const char *text, size_t columns);
/* What has more columns than `width` loses its end if it is a sentence: "its name cannot be re…"; else, being a name,
 * its middle: "docker.io/lib…alpine:3.20". There `sign` is put, as far as it fits. */
void width_shorten(const char *text, size_t width, const char *sign, char *out, size_t len);
