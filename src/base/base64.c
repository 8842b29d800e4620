#include "base/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static int value_of(enum base64_alphabet alphabet, char c)
{
    const char *last = alphabet == BASE64 ? "+/" : "-_", *at;
    if (c == '\0')
        return -1;
    if ((at = strchr(letters, c)))
        return (int)(at - letters);
    return c == last[0] ? 62 : c == last[1] ? 63 : -1;
}

int base64_decode(enum base64_alphabet alphabet, const char *text, size_t len, void *bytes, size_t *ret_len)
{
    uint8_t *out = bytes;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t n = 0;
    for (unsigned padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
        len--;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(alphabet, text[i]);
        if (value < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[n++] = (uint8_t)(bits >> count);
        }
    }
    if (count >= 6)
        return -EINVAL;
    *ret_len = n;
    return 0;
}
