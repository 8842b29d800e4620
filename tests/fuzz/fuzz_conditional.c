/* A digest and the value of an If-None-Match, If-Range, Cache-Control or Accept-Encoding header, a line each. */
#include "server/conditional.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *digest = malloc(size + 1);
    assert(digest);
    memcpy(digest, data, size);
    digest[size] = '\0';
    char *header = strchr(digest, '\n');
    if (header) {
        *header++ = '\0';
        bool none_match = conditional_none_match(header, digest), if_range = conditional_if_range(header, digest);
        assert(none_match || !if_range);
        assert(!conditional_only_if_cached(header) || strcasestr(header, "only-if-cached"));
        assert(!conditional_accepts_zstd(header) || strcasestr(header, "zstd"));
        assert(!none_match || strchr(header, '*') || strstr(header, digest));
    }
    free(digest);
    return 0;
}
