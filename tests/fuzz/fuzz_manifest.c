/* A manifest as an upstream sends it. What is read of it must be able to stand in a record and in a header. */
#include "mirror/manifest.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    if (manifest_parse(data, size, &m) < 0) {
        assert(!m);
        return 0;
    }
    assert(media_type_is_manifest(m->media_type));
    assert(!strpbrk(m->media_type, " \t\r\n\";,"));
    assert(m->child_count <= MANIFEST_CHILDREN_MAX);
    for (size_t i = 0; i < m->child_count; i++) {
        char text[DIGEST_TEXT_MAX];
        struct digest again;
        (void)digest_format(&m->children[i].digest, text);
        assert(digest_parse(text, strlen(text), &again) == 0 && digest_equal(&again, &m->children[i].digest));
        assert(m->children[i].size <= INT64_MAX);
    }
    return 0;
}
