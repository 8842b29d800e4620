/*
 * Compose files: services.NAME.image, with the service's platform, and volumes of the type image. Of variables only the
 * defaults are known that stand in the file (${TAG:-1.0}): `docker compose config` fills all of them in.
 */
#include "lists/reading.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

#define DEFAULTS_DEPTH_MAX 8
#define EXPANDED_MAX (4 * KIB)

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

/* Where the brace that was opened before `s` is closed; NULL: nowhere. */
static const char *closing_brace(const char *s)
{
    unsigned open = 1;
    for (; *s; s++) {
        open += s[0] == '$' && s[1] == '{';
        open -= *s == '}';
        if (open == 0)
            return s;
    }
    return NULL;
}

/* Adds `len` bytes of `s` with the defaults of its variables. -EINVAL: one has none. */
static int expand(const char *s, size_t len, struct buf *out, unsigned depth)
{
    const char *end = s + len;
    int r = 0;
    while (r == 0 && s < end) {
        size_t plain = strcspn(s, "$");
        if (plain > (size_t)(end - s))
            plain = (size_t)(end - s);
        r = buf_add(out, s, plain);
        s += plain;
        if (r < 0 || s == end)
            break;
        if (s[1] == '$') {
            r = buf_adds(out, "$");
            s += 2;
            continue;
        }
        const char *close = s[1] == '{' ? closing_brace(s + 2) : NULL;
        if (!close || depth == DEFAULTS_DEPTH_MAX)
            return -EINVAL;
        const char *operator= s + 2 + strspn(s + 2, name_letters);
        operator+= * operator== ':';
        if (*operator== '-')
            r = expand(operator+ 1, (size_t)(close - operator) - 1, out, depth + 1);
        else if (*operator!= '+') /* which is nothing, where the variable is not set */
            return -EINVAL;
        s = close + 1;
    }
    return r;
}

static void add(struct reading *r, struct yaml_node *image, const struct reading_extra *extra)
{
    AUTO_BUF struct buf expanded = BUF_INIT(EXPANDED_MAX);
    const char *text = reading_text(r, image);
    if (!text || !strchr(text, '$')) {
        reading_add_node(r, image, extra);
        return;
    }
    int e = expand(text, strlen(text), &expanded, 0);
    if (e == -EINVAL)
        reading_error(r, reading_place(r, image),
                      "a variable in it has no default here: `docker compose config` prints the file with all of them "
                      "filled in");
    else if (reading_could(r, reading_place(r, image), e))
        reading_add(r, reading_place(r, image), expanded.data ? expanded.data : "", extra);
}

static void read_volumes(struct reading *r, struct yaml_node *volumes)
{
    struct yaml_node *volume;
    void *it = NULL;
    while (reading_next(r, volumes, &it, &volume)) {
        const char *type = reading_find_text(r, volume, "type");
        struct yaml_node *source = reading_find(r, volume, "source");
        if (type && strcmp(type, "image") == 0 && source)
            add(r, source, NULL);
    }
}

static void read_service(struct reading *r, struct yaml_node *service)
{
    struct yaml_node *image = reading_find(r, service, "image"), *platform = reading_find(r, service, "platform");
    const char *text = reading_text(r, platform);
    struct reading_extra extra = {0};
    if (text && !strchr(text, '$'))
        reading_add_platform(r, reading_place(r, platform), text, &extra);
    if (image && reading_find(r, service, "build"))
        reading_warn(r, reading_place(r, image), "this image is built here, and left out");
    else if (image)
        add(r, image, &extra);
    read_volumes(r, reading_find(r, service, "volumes"));
}

void read_compose(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *services = reading_find(r, root, "services"), *service;
    const char *name;
    void *it = NULL;
    if (yaml_kind(services) != YAML_MAP)
        reading_error(r, reading_place(r, root), "a compose file is expected here, and it has services");
    while (reading_next_pair(r, services, &it, &name, &service))
        read_service(r, service);
}
