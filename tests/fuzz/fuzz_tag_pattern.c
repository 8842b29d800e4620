/*
 * A pattern of tags, and behind a NUL a tag: whatever is taken as a pattern says of every tag whether it is meant, the
 * same each time.
 */
#include "mirror/tag_pattern.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = strndup((const char *)data, size);
    size_t len = text ? strlen(text) : 0, behind = len < size ? len + 1 : size;
    AUTO_FREE char *tag = strndup((const char *)data + behind, size - behind < 128 ? size - behind : 128);
    AUTO(auto_tag_pattern_destroy) struct tag_pattern *p = NULL;
    const char *wrong = NULL;
    if (!text || !tag)
        return 0;
    if (tag_pattern_create(text, &p, &wrong) < 0) {
        assert(wrong && !p);
        return 0;
    }
    assert(tag_pattern_matches(p, tag) == tag_pattern_matches(p, tag));
    return 0;
}
