/* What is stored: lists of images and tags, and one image with its parts. */
#include "admin/routes.h"
#include "base/clock.h"
#include "mirror/inventory.h"

#include <errno.h>
#include <string.h>

#define PAGE 100
#define PAGE_MAX 1000
#define OTHERS_MAX 64

int admin_image_param(struct admin *a, const struct admin_request *request, struct admin_reply *reply,
                      struct inventory_name *ret_name)
{
    const char *text = admin_param(request, "image"), *why;
    if (!text) {
        admin_fail(reply, 400, "bad_parameter", "which image? (parameter image)");
        return -EINVAL;
    }
    int r = inventory_name_parse(a->mirror, text, ret_name, &why);
    if (r < 0) {
        admin_fail(reply, 400, "bad_name", "%s: %s", text, why);
        return r;
    }
    /* What hangs on a digest is found under any name. */
    if (*ret_name->tag ? admin_may(request, ret_name->registry, ret_name->repository) : admin_may_everywhere(request))
        return 0;
    admin_forbid(request, reply, "seed", text);
    return -EACCES;
}

/* ------------------------------------------------------------------ lists */

static json_t *list_platforms(const struct inventory_tree *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->count; i++) {
        const struct inventory_part *p = &t->parts[i];
        if (p->kind == INVENTORY_MANIFEST && p->is_stored && *p->platform &&
            strcmp(p->platform, "unknown/unknown") != 0)
            (void)json_array_append_new(list, json_string(p->platform));
    }
    return list;
}

static json_t *describe_image(const struct inventory_image *image, const struct inventory_tree *t)
{
    char name[INVENTORY_NAME_TEXT], digest[DIGEST_TEXT_MAX];
    struct inventory_sum sum;
    inventory_tree_sum(t, &sum);
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o, s:I, s:I, s:I}", "image",
                     inventory_name_format(&image->name, name), "digest", digest_format(&image->digest, digest),
                     "media_type", image->media_type, "stored", image->is_stored, "pinned", image->is_pinned,
                     "checked_at", (json_int_t)image->checked_at, "stored_at", (json_int_t)image->stored_at, "used_at",
                     (json_int_t)image->used_at, "platforms", list_platforms(t), "bytes", (json_int_t)sum.bytes,
                     "missing", (json_int_t)sum.missing, "missing_bytes", (json_int_t)sum.missing_bytes);
}

struct page {
    struct admin *admin;
    const struct admin_request *request;
    json_t *list;
    bool wants_tags;
};

static int add_image(void *arg, const struct inventory_image *image)
{
    struct page *page = arg;
    AUTO_INVENTORY_TREE struct inventory_tree t = {0};
    if (page->wants_tags && !*image->name.tag)
        return 0;
    if (!admin_may(page->request, image->name.registry, image->name.repository))
        return 0;
    int r = inventory_tree_read(page->admin->mirror, &image->digest, /* count_others= */ false, &t);
    if (r < 0 && r != -ENOENT)
        return r;
    json_t *json = describe_image(image, &t);
    return json_array_append_new(page->list, json) < 0 ? -ENOMEM : 0;
}

static int read_limit(const struct admin_request *request, struct admin_reply *reply, size_t *ret_limit)
{
    const char *text = admin_param(request, "limit");
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : PAGE;
    if (text && (*text < '0' || *text > '9' || *end || n < 1 || n > PAGE_MAX)) {
        admin_fail(reply, 400, "bad_parameter", "limit is a number from 1 to %d", PAGE_MAX);
        return -EINVAL;
    }
    *ret_limit = n;
    return 0;
}

static void list(struct admin *a, const struct admin_request *request, struct admin_reply *reply, const char *pattern,
                 bool wants_tags)
{
    const char *after = admin_param(request, "after");
    char next[INVENTORY_AFTER_TEXT];
    struct page page = {.admin = a, .request = request, .list = json_array(), .wants_tags = wants_tags};
    size_t limit;
    int r = read_limit(request, reply, &limit);
    if (r < 0) {
        json_decref(page.list);
        return;
    }
    r = page.list ? inventory_images(a->mirror, pattern, after ? after : "", limit, add_image, &page, next) : -ENOMEM;
    if (r == 0) {
        admin_answer(reply, json_pack("{s:I, s:o, s:s}", "now", (json_int_t)clock_real_ms(), "images", page.list,
                                      "after", next));
        return;
    }
    json_decref(page.list);
    if (r == -EINVAL)
        admin_fail(reply, 400, "bad_parameter", "after is no place in the list");
    else
        admin_fail_errno(reply, r, "the list of images");
}

void images_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    list(a, request, reply, admin_param(request, "pattern"), /* wants_tags= */ false);
}

void tags_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    const char *text = admin_param(request, "repository"), *why = "it has a tag or a digest";
    struct inventory_name name;
    if (!text) {
        admin_fail(reply, 400, "bad_parameter", "of which repository? (parameter repository)");
        return;
    }
    const char *last = strrchr(text, '/');
    bool bare = !strchr(text, '@') && !strchr(last ? last : text, ':');
    if (!bare || inventory_name_parse(a->mirror, text, &name, &why) < 0) {
        admin_fail(reply, 400, "bad_name", "%s: %s", text, why);
        return;
    }
    if (!admin_may(request, name.registry, name.repository)) {
        admin_forbid(request, reply, "seed", text);
        return;
    }
    char pattern[INVENTORY_NAME_TEXT]; /* names have nothing that a glob would take for more */
    (void)snprintf(pattern, sizeof(pattern), "%s/%s", name.registry, name.repository);
    list(a, request, reply, pattern, /* wants_tags= */ true);
}

/* ------------------------------------------------------------------ one image */

static json_t *describe_part(const struct inventory_part *p)
{
    static const char *const kinds[] = {[INVENTORY_INDEX] = "index",
                                        [INVENTORY_MANIFEST] = "manifest",
                                        [INVENTORY_CONFIG] = "config",
                                        [INVENTORY_LAYER] = "layer"};
    char digest[DIGEST_TEXT_MAX];
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:s, s:s, s:i}", "kind", kinds[p->kind], "digest",
                     digest_format(&p->digest, digest), "bytes", (json_int_t)p->size, "stored", p->is_stored,
                     "elsewhere", p->is_elsewhere, "platform", p->platform, "media_type", p->media_type, "others",
                     (int)p->others);
}

struct others {
    const struct admin_request *request;
    json_t *list;
};

static void add_other(void *arg, const char *other)
{
    struct others *o = arg;
    if (admin_may_repository(o->request, other))
        (void)json_array_append_new(o->list, json_string(other));
}

void image_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct inventory_name name;
    struct inventory_image image;
    AUTO_INVENTORY_TREE struct inventory_tree t = {0};
    char text[INVENTORY_NAME_TEXT];
    if (admin_image_param(a, request, reply, &name) < 0)
        return;
    int r = inventory_image_find(a->mirror, &name, &image);
    if (r == 0)
        r = inventory_tree_read(a->mirror, &image.digest, /* count_others= */ true, &t);
    if (r == -ENOENT) {
        admin_fail(reply, 404, "not_found", "%s is not stored here", inventory_name_format(&name, text));
        return;
    }
    json_t *parts = json_array(), *others = json_array();
    struct others arg = {.request = request, .list = others};
    for (size_t i = 0; r == 0 && i < t.count; i++)
        r = json_array_append_new(parts, describe_part(&t.parts[i])) < 0 ? -ENOMEM : 0;
    if (r == 0)
        r = inventory_tree_others(a->mirror, &t, &name, OTHERS_MAX, add_other, &arg);
    json_t *json = r == 0 ? describe_image(&image, &t) : NULL;
    if (json && json_object_set(json, "parts", parts) == 0 && json_object_set(json, "shared_with", others) == 0 &&
        json_object_set_new(json, "cut", json_boolean(t.is_cut)) == 0 &&
        json_object_set_new(json, "now", json_integer(clock_real_ms())) == 0)
        admin_answer(reply, json_incref(json));
    else
        admin_fail_errno(reply, r < 0 ? r : -ENOMEM, "the image");
    json_decref(json);
    json_decref(parts);
    json_decref(others);
}
