/* What is carried to where there is no network: Hauler's image manifests and Zarf's packages. */
#include "lists/reading.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

/* --- Hauler --------------------------------------------------------------------------------------------------- */

/* Hauler puts the registry before names that have none. */
static void add_hauler(struct reading *r, struct yaml_node *node, const char *registry,
                       const struct reading_extra *extra)
{
    AUTO_BUF struct buf joined = BUF_INIT(4 * KIB);
    const char *text = reading_text(r, node);
    if (!text || !registry || !*registry || image_name_has_registry(text))
        reading_add_node(r, node, extra);
    else if (reading_could(r, reading_place(r, node), buf_addf(&joined, "%s/%s", registry, text)))
        reading_add(r, reading_place(r, node), joined.data, extra);
}

/* spec.images[]: name, platform, registry; what an image does not say, the annotations say for all. */
void read_hauler(struct reading *r, struct yaml_node *root)
{
    const char *kind = reading_find_text(r, root, "kind");
    struct yaml_node *annotations = reading_find(r, reading_find(r, root, "metadata"), "annotations");
    struct yaml_node *images = reading_find(r, reading_find(r, root, "spec"), "images"), *image;
    void *it = NULL;
    if (!kind || strcmp(kind, "Images") != 0)
        return; /* Charts and Files stand beside it */
    if (yaml_kind(images) != YAML_LIST)
        reading_error(r, reading_place(r, root), "a list called spec.images is expected here");
    while (reading_next(r, images, &it, &image)) {
        struct yaml_node *name = reading_find(r, image, "name"), *platform = reading_find(r, image, "platform");
        const char *registry = reading_find_text(r, image, "registry");
        struct reading_extra extra = {0};
        platform = platform ? platform : reading_find(r, annotations, "hauler.dev/platform");
        registry = registry ? registry : reading_find_text(r, annotations, "hauler.dev/registry");
        const char *text = reading_text(r, platform);
        if (text)
            reading_add_platform(r, reading_place(r, platform), text, &extra);
        if (name)
            add_hauler(r, name, registry, &extra);
        else
            reading_error(r, reading_place(r, image), "an image with a name is expected here");
    }
}

/* --- Zarf ----------------------------------------------------------------------------------------------------- */

/* An architecture is that of linux; "multi" is none. */
static void add_architecture(struct reading *r, struct yaml_node *node, struct reading_extra *extra)
{
    char text[64];
    const char *architecture = reading_text(r, node);
    if (!architecture || strcmp(architecture, "multi") == 0 || strlen(architecture) + sizeof("linux/") > sizeof(text))
        return;
    (void)stpcpy(stpcpy(text, "linux/"), architecture);
    reading_add_platform(r, reading_place(r, node), text, extra);
}

/* components[].images[]: texts, or maps with a name */
void read_zarf(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *components = reading_find(r, root, "components"), *component, *image;
    struct yaml_node *whole = reading_find(r, reading_find(r, root, "metadata"), "architecture");
    void *it = NULL;
    if (yaml_kind(components) != YAML_LIST)
        reading_error(r, reading_place(r, root), "a list called components is expected here");
    while (reading_next(r, components, &it, &component)) {
        struct yaml_node *only = reading_find(r, reading_find(r, component, "only"), "cluster");
        struct yaml_node *architecture = reading_find(r, only, "architecture");
        struct yaml_node *images = reading_find(r, component, "images");
        struct reading_extra extra = {0};
        void *at = NULL;
        add_architecture(r, architecture ? architecture : whole, &extra);
        while (reading_next(r, images, &at, &image))
            reading_add_node(r, yaml_kind(image) == YAML_MAP ? reading_find(r, image, "name") : image, &extra);
    }
}
