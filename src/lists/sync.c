/*
 * What is copied from registry to registry, as skopeo and regsync are told it. Both can name tags by patterns; those
 * are handed on as they are, for they need the list of tags that the registry has.
 */
#include "lists/reading.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

#define JOINED_MAX (4 * KIB)

/* The texts of a list; or of a text alone. */
struct texts {
    const char *items[IMAGE_LIST_PATTERNS_MAX];
    size_t count;
};

static void add_text(struct reading *r, struct yaml_node *node, struct texts *texts)
{
    const char *text = reading_text(r, node);
    if (!text)
        reading_error(r, reading_place(r, node), "a text is expected here");
    else if (strlen(text) > IMAGE_LIST_PATTERN_MAX)
        reading_error(r, reading_place(r, node), "this is longer than %d bytes", IMAGE_LIST_PATTERN_MAX);
    else if (texts->count == IMAGE_LIST_PATTERNS_MAX)
        reading_error(r, reading_place(r, node), "there are more than %d of these", IMAGE_LIST_PATTERNS_MAX);
    else
        texts->items[texts->count++] = text;
}

static void read_texts(struct reading *r, struct yaml_node *node, struct texts *texts)
{
    struct yaml_node *member;
    void *it = NULL;
    while (reading_next(r, node, &it, &member))
        add_text(r, member, texts);
    if (node && yaml_kind(node) != YAML_LIST)
        add_text(r, node, texts);
}

/* --- skopeo --------------------------------------------------------------------------------------------------- */

static int join(struct buf *b, const char *registry, const char *image, const char *tag)
{
    buf_reset(b);
    int r = buf_addf(b, "%s/%s", registry, image);
    if (r == 0 && tag)
        r = buf_addf(b, "%s%s", strchr(tag, ':') ? "@" : ":", tag);
    return r;
}

/* IMAGE: [TAG | DIGEST, …], all tags where the list is empty */
static void read_skopeo_tags(struct reading *r, const char *registry, const char *image, struct yaml_node *tags)
{
    static const struct image_pattern every = {.is_set = true};
    AUTO_BUF struct buf b = BUF_INIT(JOINED_MAX);
    struct yaml_node *tag;
    void *it = NULL;
    if (yaml_kind(tags) != YAML_LIST && yaml_kind(tags) != YAML_NULL) {
        reading_error(r, reading_place(r, tags), "a list of tags is expected here");
    } else if (yaml_kind(tags) == YAML_NULL || yaml_count(tags) == 0) {
        if (reading_could(r, reading_place(r, tags), join(&b, registry, image, NULL)))
            reading_add_pattern(r, reading_place(r, tags), b.data, &every, NULL);
    }
    while (reading_next(r, tags, &it, &tag)) {
        const char *text = reading_text(r, tag);
        if (!text)
            reading_error(r, reading_place(r, tag), "a tag or a digest is expected here");
        else if (reading_could(r, reading_place(r, tag), join(&b, registry, image, text)))
            reading_add(r, reading_place(r, tag), b.data, NULL);
    }
}

static void read_skopeo_pattern(struct reading *r, const char *registry, const char *image, struct yaml_node *node,
                                bool is_semver)
{
    AUTO_BUF struct buf b = BUF_INIT(JOINED_MAX);
    struct texts texts = {0};
    read_texts(r, node, &texts);
    struct image_pattern pattern = {.is_set = true, .is_partial = true};
    *(is_semver ? &pattern.semver : &pattern.allow) = texts.items;
    *(is_semver ? &pattern.semver_count : &pattern.allow_count) = texts.count;
    if (texts.count > 0 && reading_could(r, reading_place(r, node), join(&b, registry, image, NULL)))
        reading_add_pattern(r, reading_place(r, node), b.data, &pattern, NULL);
}

static void read_registry(struct reading *r, const char *registry, struct yaml_node *what)
{
    struct yaml_node *images = reading_find(r, what, "images"), *value;
    struct yaml_node *by_regex = reading_find(r, what, "images-by-tag-regex"),
                     *by_semver = reading_find(r, what, "images-by-semver");
    const char *image;
    void *it = NULL;
    while (reading_next_pair(r, images, &it, &image, &value))
        read_skopeo_tags(r, registry, image, value);
    for (it = NULL; reading_next_pair(r, by_regex, &it, &image, &value);)
        read_skopeo_pattern(r, registry, image, value, /* is_semver= */ false);
    for (it = NULL; reading_next_pair(r, by_semver, &it, &image, &value);)
        read_skopeo_pattern(r, registry, image, value, /* is_semver= */ true);
}

void read_skopeo(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *what;
    const char *registry;
    void *it = NULL;
    if (yaml_kind(root) != YAML_MAP)
        reading_error(r, reading_place(r, root), "names of registries are expected here, each with images");
    while (reading_next_pair(r, root, &it, &registry, &what))
        read_registry(r, registry, what);
}

/* --- regsync -------------------------------------------------------------------------------------------------- */

static void read_regsync_tags(struct reading *r, struct yaml_node *source, struct yaml_node *tags,
                              const struct reading_extra *extra)
{
    struct texts allow = {0}, deny = {0}, semver = {0};
    const char *text = reading_text(r, source);
    read_texts(r, reading_find(r, tags, "allow"), &allow);
    read_texts(r, reading_find(r, tags, "deny"), &deny);
    read_texts(r, reading_find(r, tags, "semverRange"), &semver);
    const struct image_pattern pattern = {
        .is_set = true,
        .allow = allow.items,
        .allow_count = allow.count,
        .deny = deny.items,
        .deny_count = deny.count,
        .semver = semver.items,
        .semver_count = semver.count,
    };
    if (text)
        reading_add_pattern(r, reading_place(r, source), text, &pattern, extra);
    else
        reading_error(r, reading_place(r, source), "a repository is expected here");
}

static void read_sync(struct reading *r, struct yaml_node *sync)
{
    struct yaml_node *source = reading_find(r, sync, "source"), *platform = reading_find(r, sync, "platform");
    const char *type = reading_find_text(r, sync, "type");
    struct reading_extra extra = {0};
    struct texts platforms = {0};
    read_texts(r, reading_find(r, sync, "platforms"), &platforms);
    if (platforms.count == 0)
        read_texts(r, platform, &platforms);
    for (size_t i = 0; i < platforms.count; i++)
        reading_add_platform(r, reading_place(r, sync), platforms.items[i], &extra);
    if (!source || !type)
        reading_error(r, reading_place(r, sync), "source and type are expected here");
    else if (strcmp(type, "image") == 0)
        reading_add_node(r, source, &extra);
    else if (strcmp(type, "repository") == 0)
        read_regsync_tags(r, source, reading_find(r, sync, "tags"), &extra);
    else if (strcmp(type, "registry") == 0)
        reading_error(r, reading_place(r, source), "a whole registry cannot be listed here: name its repositories");
    else
        reading_error(r, reading_place(r, reading_find(r, sync, "type")),
                      "image, repository or registry is expected here");
}

void read_regsync(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *list = reading_find(r, root, "sync"), *sync;
    void *it = NULL;
    if (yaml_kind(list) != YAML_LIST)
        reading_error(r, reading_place(r, root), "a list called sync is expected here");
    while (reading_next(r, list, &it, &sync))
        read_sync(r, sync);
}
