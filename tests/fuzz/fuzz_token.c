/* The token server's reply. What is taken for a token fits into a header line, and lives for a while. */
#include "upstream/token.h"

#include "base/limits.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_reply r;
    if (token_reply_parse((const char *)data, size, 1725436901000LL, &r) < 0)
        return 0;
    if (!r.token[0] || strlen(r.token) > LIMIT_TOKEN || strpbrk(r.token, "\r\n "))
        abort();
    if (r.life_ms < TOKEN_LIFE_MIN_MS || r.life_ms > TOKEN_LIFE_MAX_MS)
        abort();
    free(r.token);
    return 0;
}
