#include "lists/reading.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define QUOTE_MAX 120
#define MESSAGE_MAX (4 * KIB)

/* --- looking ------------------------------------------------------------------------------------------------ */

static bool step(struct reading *r, size_t steps)
{
    if (r->failed || r->is_over)
        return false;
    if (steps <= r->steps) {
        r->steps -= steps;
        return true;
    }
    r->is_over = true;
    reading_error(r, (struct reading_place){0},
                  "there is too much in this file, or in its aliases: the rest is left out");
    return false;
}

struct yaml_node *reading_resolve(struct reading *r, struct yaml_node *node)
{
    if (yaml_kind(node) != YAML_ALIAS)
        return node;
    return step(r, 1 + r->anchors) ? yaml_resolve(node) : NULL;
}

static struct yaml_node *find(struct reading *r, struct yaml_node *map, const char *key, unsigned depth);

/* `<<: *a` and `<<: [*a, *b]` */
static struct yaml_node *find_merged(struct reading *r, struct yaml_node *merged, const char *key, unsigned depth)
{
    struct yaml_node *member, *found = NULL;
    void *it = NULL;
    if (yaml_kind(merged) == YAML_MAP)
        return find(r, merged, key, depth);
    while (!found && reading_next(r, merged, &it, &member))
        found = yaml_kind(member) == YAML_MAP ? find(r, member, key, depth) : NULL;
    return found;
}

static struct yaml_node *find(struct reading *r, struct yaml_node *map, const char *key, unsigned depth)
{
    struct yaml_node *found, *value;
    if (depth == READING_DEPTH_MAX || !step(r, 1 + yaml_count(map)))
        return NULL;
    if (yaml_find(map, key, &found, &value)) {
        r->near = found;
        return reading_resolve(r, value);
    }
    if (!yaml_find(map, "<<", &found, &value))
        return NULL;
    return find_merged(r, reading_resolve(r, value), key, depth + 1);
}

struct yaml_node *reading_find(struct reading *r, struct yaml_node *map, const char *key)
{
    struct yaml_node *value = yaml_kind(map) == YAML_MAP ? find(r, map, key, 0) : NULL;
    return yaml_kind(value) == YAML_NULL ? NULL : value;
}

bool reading_next(struct reading *r, struct yaml_node *list, void **it, struct yaml_node **ret_member)
{
    struct yaml_node *member;
    if (yaml_kind(list) != YAML_LIST || !step(r, 1) || !yaml_next(list, it, &member))
        return false;
    *ret_member = reading_resolve(r, member);
    return true;
}

bool reading_next_pair(struct reading *r, struct yaml_node *map, void **it, const char **ret_key,
                       struct yaml_node **ret_value)
{
    struct yaml_node *key, *value;
    if (yaml_kind(map) != YAML_MAP || !step(r, 1) || !yaml_next_pair(map, it, &key, &value))
        return false;
    const char *text = reading_text(r, key);
    r->near = key;
    *ret_key = text ? text : "";
    *ret_value = reading_resolve(r, value);
    return true;
}

const char *reading_text(struct reading *r, struct yaml_node *node)
{
    size_t len;
    if (yaml_kind(node) != YAML_TEXT)
        return NULL;
    const char *text = yaml_text(node, &len);
    if (!text)
        r->failed = -ENOMEM;
    return text && strlen(text) == len ? text : NULL;
}

const char *reading_find_text(struct reading *r, struct yaml_node *map, const char *key)
{
    return reading_text(r, reading_find(r, map, key));
}

struct reading_place reading_place(const struct reading *r, struct yaml_node *node)
{
    struct reading_place place = {0};
    if ((node && yaml_place(node, &place.line, &place.column)) ||
        (r->near && yaml_place(r->near, &place.line, &place.column)))
        place.line += r->line;
    return place;
}

/* --- what is wrong -------------------------------------------------------------------------------------------- */

static void note(struct reading *r, bool is_error, struct reading_place place, const char *fmt, va_list ap)
{
    AUTO_BUF struct buf message = BUF_INIT(MESSAGE_MAX);
    int e = r->failed ? r->failed : buf_vaddf(&message, fmt, ap);
    if (e == 0)
        e = image_list_note(r->list, is_error, r->file, place, message.data ? message.data : "");
    if (e < 0)
        r->failed = e;
}

void reading_error(struct reading *r, struct reading_place place, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note(r, /* is_error= */ true, place, fmt, ap);
    va_end(ap);
}

void reading_warn(struct reading *r, struct reading_place place, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note(r, /* is_error= */ false, place, fmt, ap);
    va_end(ap);
}

/* As it stands there, cut to a length that can be read. */
static void quote(struct reading *r, const char *s, struct buf *quoted)
{
    char cut[QUOTE_MAX + 4];
    size_t len = 0;
    for (size_t n; s[len]; len += n) {
        n = utf8_length(s + len);
        n = n ? n : 1;
        if (len + n > QUOTE_MAX)
            break;
    }
    memcpy(cut, s, len);
    (void)stpcpy(cut + len, s[len] ? "..." : "");
    if (buf_add_json(quoted, cut) < 0)
        r->failed = -ENOMEM;
}

static void refuse(struct reading *r, struct reading_place place, const char *written, const char *wrong)
{
    AUTO_BUF struct buf quoted = BUF_INIT(MESSAGE_MAX);
    quote(r, written, &quoted);
    if (!r->failed)
        reading_error(r, place, "%s is no image reference: %s", quoted.data, wrong);
}

/* --- finding -------------------------------------------------------------------------------------------------- */

void reading_add_platform(struct reading *r, struct reading_place place, const char *platform,
                          struct reading_extra *extra)
{
    AUTO_BUF struct buf quoted = BUF_INIT(MESSAGE_MAX);
    struct platform p;
    bool is_all = strcmp(platform, "all") == 0;
    if (!is_all && platform_parse(platform, &p) < 0) {
        quote(r, platform, &quoted);
        if (!r->failed)
            reading_error(r, place, "%s is no platform: linux/amd64, linux/arm/v7, or all", quoted.data);
    } else if (extra->platform_count == IMAGE_LIST_PLATFORMS_MAX) {
        reading_error(r, place, "there are more than %d platforms", IMAGE_LIST_PLATFORMS_MAX);
    } else {
        char *text = extra->platforms[extra->platform_count++];
        if (is_all)
            (void)stpcpy(text, platform);
        else
            (void)platform_format(&p, text);
    }
}

static void put(struct reading *r, struct image_reference reference, const struct reading_extra *extra)
{
    const char *platforms[IMAGE_LIST_PLATFORMS_MAX];
    size_t count = extra ? extra->platform_count : 0;
    for (size_t i = 0; i < count; i++)
        platforms[i] = extra->platforms[i];
    reference.platforms = platforms;
    reference.platform_count = count;
    reference.default_platforms = count == 0;
    reference.file = r->file;
    int e = r->failed ? r->failed : image_list_put(r->list, &reference);
    if (e < 0)
        r->failed = e;
}

void reading_add(struct reading *r, struct reading_place place, const char *written, const struct reading_extra *extra)
{
    char text[IMAGE_NAME_MAX];
    struct image_name name;
    const char *wrong;
    if (image_name_parse(written, strlen(written), &name, &wrong) < 0) {
        refuse(r, place, written, wrong);
        return;
    }
    const struct image_reference reference = {
        .written = written,
        .name = image_name_format(&name, text),
        .registry = name.registry,
        .repository = name.repository,
        .tag = name.tag[0] ? name.tag : NULL,
        .digest = name.digest[0] ? name.digest : NULL,
        .line = place.line,
        .column = place.column,
    };
    put(r, reference, extra);
}

void reading_add_node(struct reading *r, struct yaml_node *node, const struct reading_extra *extra)
{
    const char *text = reading_text(r, node);
    if (text)
        reading_add(r, reading_place(r, node), text, extra);
    else
        reading_error(r, reading_place(r, node), "an image reference is expected here");
}

bool reading_could(struct reading *r, struct reading_place place, int result)
{
    if (result == -ENOMEM)
        r->failed = result;
    else if (result < 0)
        reading_error(r, place, "this is too long for an image reference");
    return result == 0;
}

void reading_add_pattern(struct reading *r, struct reading_place place, const char *repository,
                         const struct image_pattern *pattern, const struct reading_extra *extra)
{
    char text[LIMIT_NAME + 1];
    struct image_name name;
    const char *wrong;
    if (image_name_parse(repository, strlen(repository), &name, &wrong) < 0) {
        refuse(r, place, repository, wrong);
        return;
    }
    (void)stpcpy(stpcpy(stpcpy(text, name.registry), "/"), name.repository);
    const struct image_reference reference = {
        .written = repository,
        .name = text,
        .registry = name.registry,
        .repository = name.repository,
        .pattern = *pattern,
        .line = place.line,
        .column = place.column,
    };
    put(r, reference, extra);
}
