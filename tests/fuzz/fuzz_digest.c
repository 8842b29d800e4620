/* What is taken for a digest is written back as it was read. */
#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct digest d, again;
    char text[DIGEST_TEXT_MAX];
    int r = digest_parse((const char *)data, size, &d);
    assert(r == 0 || r == -EINVAL || r == -ENOTSUP);
    if (r < 0)
        return 0;
    assert(strlen(digest_format(&d, text)) == size && memcmp(text, data, size) == 0);
    r = digest_parse(text, size, &again);
    assert(r == 0 && digest_equal(&d, &again) && digest_hash(&d) == digest_hash(&again));
    assert(memcmp(&d, &again, sizeof(d)) == 0);
    return 0;
}
