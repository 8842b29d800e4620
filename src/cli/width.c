#include "cli/width.h"

#include <stdio.h>
#include <string.h>

size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

const char *width_skip(const char *text, size_t columns)
{
    while (*text && columns > 0) {
        do
            text++;
        while (((unsigned char)*text & 0xc0) == 0x80);
        columns--;
    }
    return text;
}

void width_shorten(const char *text, size_t width, const char *sign, char *out, size_t len)
{
    size_t have = width_of(text), signs = width_of(sign) < width ? width_of(sign) : width, left = width - signs;
    if (have <= width) {
        (void)snprintf(out, len, "%s", text);
        return;
    }
    size_t head = strchr(text, ' ') ? left : left / 2;
    (void)snprintf(out, len, "%.*s%.*s%s", (int)(width_skip(text, head) - text), text,
                   (int)(width_skip(sign, signs) - sign), sign, width_skip(text, have - (left - head)));
}
