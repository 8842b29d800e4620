/* A name of an image is what it is written as, and written out it means the same. */
#include "base/image_name.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[IMAGE_NAME_MAX];
    struct image_name name, again;
    const char *wrong = NULL;
    if (image_name_parse((const char *)data, size, &name, &wrong) < 0) {
        assert(wrong);
        return 0;
    }
    assert(repository_is_valid(name.repository) && (!name.tag[0] || tag_is_valid(name.tag)));
    assert(name.tag[0] || name.digest[0]);
    assert(strlen(name.registry) + 1 + strlen(name.repository) <= LIMIT_NAME);
    (void)image_name_format(&name, text);
    int r = image_name_parse(text, strlen(text), &again, &wrong);
    assert(r == 0);
    assert(strcmp(again.registry, name.registry) == 0 && strcmp(again.repository, name.repository) == 0);
    assert(strcmp(again.digest, name.digest) == 0 && (name.digest[0] || strcmp(again.tag, name.tag) == 0));
    return 0;
}
