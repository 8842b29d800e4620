#include "mirror/manifest.h"

#include "base/json_text.h"

#include <errno.h>
#include <string.h>

/* type "/" subtype, of the characters of RFC 6838 §4.2: it goes into a header as it is. */
static bool is_media_type(const char *s)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&-^_.+";
    size_t type = strspn(s, word), subtype = s[type] == '/' ? strspn(s + type + 1, word) : 0;
    return type > 0 && subtype > 0 && !s[type + 1 + subtype] && type + 1 + subtype < MEDIA_TYPE_MAX;
}

bool media_type_is_manifest(const char *content_type)
{
    static const char *const generic[] = {MEDIA_TYPE_JSON, "application/octet-stream", "binary/octet-stream"};
    for (size_t i = 0; i < ARRAY_SIZE(generic); i++)
        if (strcmp(content_type, generic[i]) == 0)
            return false;
    return is_media_type(content_type) && strncmp(content_type, "text/", 5) != 0;
}

/* What is no platform stays none. */
static void read_platform(const json_t *platform, struct platform *ret_platform)
{
    (void)platform_make(json_string_value(json_object_get(platform, "os")),
                        json_string_value(json_object_get(platform, "architecture")),
                        json_string_value(json_object_get(platform, "variant")), ret_platform);
}

static int add_child(struct manifest *m, const json_t *descriptor, bool is_manifest, bool is_config)
{
    const char *text = json_string_value(json_object_get(descriptor, "digest"));
    const json_t *size = json_object_get(descriptor, "size");
    struct manifest_child child = {.is_manifest = is_manifest};
    if (!text || !json_is_integer(size) || json_integer_value(size) < 0)
        return 0; /* opaque: an artifact may hold what it likes */
    int r = digest_parse(text, strlen(text), &child.digest);
    if (r < 0)
        return 0;
    child.size = (uint64_t)json_integer_value(size);
    child.is_elsewhere = json_array_size(json_object_get(descriptor, "urls")) > 0;
    child.is_config = is_config;
    read_platform(json_object_get(descriptor, "platform"), &child.platform);
    if (m->child_count == MANIFEST_CHILDREN_MAX)
        return -EFBIG;
    if ((m->child_count & (m->child_count - 1)) == 0) {
        size_t room = m->child_count ? 2 * m->child_count : 1;
        struct manifest_child *more = realloc(m->children, room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        m->children = more;
    }
    m->children[m->child_count++] = child;
    return 0;
}

static int add_children(struct manifest *m, const json_t *root)
{
    static const struct {
        const char *key;
        bool is_manifest;
    } lists[] = {{"manifests", true}, {"layers", false}, {"blobs", false}};
    int r = add_child(m, json_object_get(root, "config"), /* is_manifest= */ false, /* is_config= */ true);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++) {
        size_t at;
        const json_t *descriptor;
        json_array_foreach(json_object_get(root, lists[i].key), at, descriptor)
        {
            r = add_child(m, descriptor, lists[i].is_manifest, /* is_config= */ false);
            if (r < 0)
                break;
        }
    }
    return r;
}

/* What a manifest without a mediaType is. NULL: no manifest. */
static const char *type_by_form(const json_t *root)
{
    if (json_is_array(json_object_get(root, "manifests")))
        return MEDIA_TYPE_OCI_INDEX;
    if (json_is_object(json_object_get(root, "config")) || json_is_array(json_object_get(root, "layers")))
        return MEDIA_TYPE_OCI_MANIFEST;
    return NULL;
}

int manifest_parse(const void *data, size_t len, struct manifest **ret_manifest)
{
    AUTO_JSON json_t *root = NULL;
    int r = json_text_read(data, len, JSON_REJECT_DUPLICATES, &root, NULL);
    if (r < 0)
        return r;
    if (!json_is_object(root))
        return -EINVAL;
    if (json_integer_value(json_object_get(root, "schemaVersion")) == 1)
        return -ENOTSUP;
    const char *type = json_string_value(json_object_get(root, "mediaType"));
    if (!type || !media_type_is_manifest(type))
        type = type_by_form(root);
    if (!type)
        return -EINVAL;
    AUTO(auto_manifest_destroy) struct manifest *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    (void)stpcpy(m->media_type, type);
    r = add_children(m, root);
    if (r < 0)
        return r;
    *ret_manifest = TAKE_PTR(m);
    return 0;
}

bool manifest_child_has_platform(const struct manifest_child *child)
{
    return child->platform.os[0] && strcmp(child->platform.os, "unknown") != 0;
}

bool manifest_is_by_platform(const struct manifest *m)
{
    for (size_t i = 0; i < m->child_count; i++)
        if (manifest_child_has_platform(&m->children[i]))
            return true;
    return false;
}

static const struct manifest_child *find_best(const struct manifest *m, const struct platform *wanted)
{
    const struct manifest_child *best = NULL;
    int best_rank = -1;
    for (size_t i = 0; i < m->child_count; i++) {
        const struct manifest_child *child = &m->children[i];
        int rank = manifest_child_has_platform(child) ? platform_rank(wanted, &child->platform) : -1;
        if (rank >= 0 && (best_rank < 0 || rank < best_rank)) {
            best = child;
            best_rank = rank;
        }
    }
    return best;
}

void manifest_choose(const struct manifest *m, const struct platform *wanted, size_t count,
                     const struct manifest_child **ret_best)
{
    for (size_t i = 0; i < count; i++)
        ret_best[i] = find_best(m, &wanted[i]);
}

bool manifest_is_needed(const struct manifest_child *child, const struct manifest_child *const *best, size_t count)
{
    bool needed = !child->platform.os[0] || (count == 0 && manifest_child_has_platform(child));
    for (size_t i = 0; !needed && i < count; i++)
        needed = best[i] == child;
    return needed;
}

void manifest_destroy(struct manifest *m)
{
    if (!m)
        return;
    free(m->children);
    free(m);
}
