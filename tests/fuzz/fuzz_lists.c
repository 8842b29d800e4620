/*
 * A file of images, in any format; the first byte says whether one is told. Each image is a name that means itself, no
 * two are the same, and what is wrong has a place in the file.
 */
#include "lists/lists.h"

#include "base/image_name.h"
#include "base/platform.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reference(const struct image_reference *r)
{
    char text[IMAGE_NAME_MAX];
    struct image_name name;
    struct platform platform;
    const char *wrong;
    assert(image_name_parse(r->name, strlen(r->name), &name, &wrong) == 0);
    assert(strcmp(name.registry, r->registry) == 0 && strcmp(name.repository, r->repository) == 0);
    assert(r->pattern.is_set || strcmp(image_name_format(&name, text), r->name) == 0);
    assert(r->pattern.is_set ? !r->tag && !r->digest : r->tag || r->digest);
    assert(r->platform_count > 0 || r->default_platforms);
    for (size_t i = 0; i < r->platform_count; i++)
        assert(strcmp(r->platforms[i], "all") == 0 || platform_parse(r->platforms[i], &platform) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const fields[] = {"Widget:.spec.a[].b", "*:.c.*[]"};
    struct image_list_options options = {.fields = fields, .field_count = ARRAY_SIZE(fields)};
    AUTO(auto_image_list_destroy) struct image_list *list = NULL;
    const char *wrong;
    size_t count, again;
    if (size == 0)
        return 0;
    options.format = data[0] % (IMAGE_LIST_ZARF + 1);
    int r = image_list_create(&options, &list, &wrong);
    assert(r == 0);
    r = image_list_read(list, "fuzz", (const char *)data + 1, size - 1);
    assert(r == 0);
    const struct image_note *notes = image_list_notes(list, &count);
    for (size_t i = 0; i < count; i++)
        assert(notes[i].message[0] && notes[i].line >= 0 && strcmp(notes[i].file, "fuzz") == 0);
    const struct image_reference *references = image_list_references(list, &count);
    for (size_t i = 0; i < count; i++)
        check_reference(&references[i]);
    /* read once more, it is the same */
    r = image_list_read(list, "fuzz", (const char *)data + 1, size - 1);
    assert(r == 0);
    (void)image_list_references(list, &again);
    assert(again == count);
    return 0;
}
