/* POST /v1/audit: what of some images would be served if every upstream vanished now. */
#include "admin/routes.h"
#include "base/clock.h"
#include "base/plural.h"
#include "mirror/stock.h"

#include <errno.h>
#include <string.h>

/* Images of one request; who has more asks again. */
#define IMAGES_MAX 1000
/* Of one image what is wanting is listed so far. */
#define WANTING_MAX 100

/* --- platforms ------------------------------------------------------------------------------------------------ */

struct choice {
    struct platform platforms[STOCK_PLATFORMS_MAX];
    size_t count;
    bool is_all;
};

/* false: there are too many. */
static bool add_platform(struct choice *c, const struct platform *platform)
{
    for (size_t i = 0; i < c->count; i++)
        if (platform_rank(&c->platforms[i], platform) == 0)
            return true;
    if (c->count == ARRAY_SIZE(c->platforms))
        return false;
    c->platforms[c->count++] = *platform;
    return true;
}

/* What "default" stands for; NULL: it may not stand here. */
static bool add_word(struct choice *c, const char *word, const struct choice *defaults)
{
    struct platform platform;
    if (strcmp(word, "all") == 0) {
        c->is_all = true;
        return true;
    }
    if (strcmp(word, "default") != 0 || !defaults)
        return platform_parse(word, &platform) == 0 && add_platform(c, &platform);
    c->is_all = c->is_all || defaults->is_all;
    for (size_t i = 0; i < defaults->count; i++)
        if (!add_platform(c, &defaults->platforms[i]))
            return false;
    return true;
}

/* false: one is none, or they are too many. */
static bool read_platforms(const json_t *list, const struct choice *defaults, struct choice *c)
{
    const json_t *member;
    size_t at;
    json_array_foreach(list, at, member)
    {
        const char *word = json_string_value(member);
        if (!word || !add_word(c, word, defaults))
            return false;
    }
    return !list || json_is_array(list);
}

/* --- words ---------------------------------------------------------------------------------------------------- */

static const char *verdict_word(enum stock_verdict verdict)
{
    static const char *const words[] = {
        [STOCK_SERVED] = "served", [STOCK_WANTING] = "wanting", [STOCK_NOT_OFFERED] = "not_offered"};
    return words[verdict];
}

static const char *kind_word(enum stock_kind kind)
{
    static const char *const words[] = {
        [STOCK_INDEX] = "index", [STOCK_MANIFEST] = "manifest", [STOCK_CONFIG] = "config", [STOCK_LAYER] = "layer"};
    return words[kind];
}

static const char *state_word(enum stock_state state)
{
    static const char *const words[] = {[STOCK_STORED] = "stored",
                                        [STOCK_MISSING] = "missing",
                                        [STOCK_IN_DOUBT] = "in_doubt",
                                        [STOCK_HIDDEN] = "hidden"};
    return words[state];
}

/* Of the name; NULL: it leads to the content. */
static const char *name_cause(enum stock_name name)
{
    switch (name) {
    case STOCK_NAME_GOOD:
        return NULL;
    case STOCK_NAME_UNCONFIGURED:
        return "its registry is not configured here (registries)";
    case STOCK_NAME_PRIVATE:
        return "its repository is private, and not open to everybody here (registries.NAME.open)";
    case STOCK_NAME_UNSEEN:
        return "nobody has asked yet who may see its repository";
    case STOCK_NAME_UNKNOWN:
        return "its tag has never been asked for here";
    case STOCK_NAME_TOO_OLD:
        return "its tag was confirmed longer ago than tags.stale_for allows";
    }
    return NULL;
}

/* What of the items is wanting most, in plain words; "" nothing. */
static void item_cause(const struct stock *s, char *text, size_t size)
{
    size_t counts[STOCK_LAYER + 1][STOCK_HIDDEN + 1] = {{0}};
    for (size_t i = 0; i < s->item_count; i++)
        if (!s->items[i].is_elsewhere)
            counts[s->items[i].kind][s->items[i].state]++;
    size_t manifests = counts[STOCK_INDEX][STOCK_MISSING] + counts[STOCK_MANIFEST][STOCK_MISSING];
    size_t blobs = counts[STOCK_CONFIG][STOCK_MISSING] + counts[STOCK_LAYER][STOCK_MISSING];
    size_t doubted = counts[STOCK_CONFIG][STOCK_IN_DOUBT] + counts[STOCK_LAYER][STOCK_IN_DOUBT];
    size_t hidden = 0;
    for (int kind = 0; kind <= STOCK_LAYER; kind++)
        hidden += counts[kind][STOCK_HIDDEN];
    *text = '\0';
    if (s->items[0].state == STOCK_MISSING)
        (void)snprintf(text, size, "it is not stored");
    else if (manifests > 0)
        (void)snprintf(text, size, "%zu %s not stored", manifests, plural(manifests, "manifest is", "manifests are"));
    else if (blobs > 0)
        (void)snprintf(text, size, "%zu %s not stored", blobs, plural(blobs, "blob is", "blobs are"));
    else if (doubted > 0)
        (void)snprintf(text, size, "%zu %s not been looked at since a stop that was not orderly", doubted,
                       plural(doubted, "blob has", "blobs have"));
    else if (hidden > 0)
        (void)snprintf(text, size, "an upstream has to show %zu %s of it under this name first", hidden,
                       plural(hidden, "part", "parts"));
    else if (s->verdict == STOCK_NOT_OFFERED)
        (void)snprintf(text, size, "it is not made for the platforms that are wanted");
}

/* --- an image ------------------------------------------------------------------------------------------------- */

static json_t *describe_platforms(const struct stock *s)
{
    json_t *array = json_array();
    char text[PLATFORM_TEXT_MAX];
    for (size_t i = 0; i < s->platform_count; i++)
        (void)json_array_append_new(array, json_pack("{s:s, s:s}", "platform",
                                                     platform_format(&s->platforms[i].platform, text), "verdict",
                                                     verdict_word(s->platforms[i].verdict)));
    return array;
}

/* The platform of the manifest that it is, or belongs to; "" where none is known. */
static const char *platform_of_item(const struct stock *s, size_t at, char *text)
{
    while (!s->items[at].platform.os[0] && s->items[at].parent != at)
        at = s->items[at].parent;
    return s->items[at].platform.os[0] ? platform_format(&s->items[at].platform, text) : "";
}

static json_t *describe_item(const struct stock *s, size_t at)
{
    const struct stock_item *item = &s->items[at];
    char digest[DIGEST_TEXT_MAX], platform[PLATFORM_TEXT_MAX];
    bool known = item->digest.algorithm != DIGEST_NONE;
    return json_pack("{s:s, s:s, s:s*, s:I, s:s}", "kind", kind_word(item->kind), "state", state_word(item->state),
                     "digest", known ? digest_format(&item->digest, digest) : NULL, "bytes", (json_int_t)item->size,
                     "platform", platform_of_item(s, at, platform));
}

static json_t *describe_wanting(const struct stock *s, size_t *ret_more)
{
    json_t *array = json_array();
    *ret_more = 0;
    for (size_t i = 0; i < s->item_count; i++) {
        if (s->items[i].state == STOCK_STORED || s->items[i].is_elsewhere)
            continue;
        if (json_array_size(array) < WANTING_MAX)
            (void)json_array_append_new(array, describe_item(s, i));
        else
            (*ret_more)++;
    }
    return array;
}

static json_t *describe(const struct stock *s, const char *image, const char *origin)
{
    char cause[256], digest[DIGEST_TEXT_MAX];
    size_t more;
    json_t *wanting = describe_wanting(s, &more);
    const char *name = name_cause(s->name);
    bool known = s->items[0].digest.algorithm != DIGEST_NONE;
    item_cause(s, cause, sizeof(cause));
    json_t *json =
        json_pack("{s:s, s:s*, s:s, s:s, s:s*, s:o, s:o, s:I, s:I, s:I, s:b}", "image", image, "origin", origin,
                  "verdict", verdict_word(s->verdict), "cause", name ? name : cause, "digest",
                  known ? digest_format(&s->items[0].digest, digest) : NULL, "platforms", describe_platforms(s),
                  "wanting", wanting, "wanting_more", (json_int_t)more, "manifest_gets", (json_int_t)s->manifest_gets,
                  "missing_bytes", (json_int_t)s->missing_bytes, "has_unknown_bytes", s->has_unknown_bytes);
    if (s->checked_at && json) {
        (void)json_object_set_new(json, "checked_at", json_integer(s->checked_at));
        (void)json_object_set_new(json, "served_until", json_integer(s->served_until));
    }
    return json;
}

/* What could not be looked at. */
static json_t *describe_unknown(const char *image, const char *origin, const char *cause)
{
    return json_pack("{s:s, s:s*, s:s, s:s, s:[], s:[], s:i, s:i, s:i, s:b}", "image", image, "origin", origin,
                     "verdict", "wanting", "cause", cause, "platforms", "wanting", "wanting_more", 0, "manifest_gets",
                     0, "missing_bytes", 0, "has_unknown_bytes", 1);
}

/* Not 0: the reply says what is wrong. */
static int audit_image(struct admin *a, const struct admin_request *request, const json_t *image,
                       const struct choice *defaults, struct admin_reply *reply, json_t **ret_json)
{
    AUTO(auto_stock_destroy) struct stock *s = NULL;
    const char *text = json_string_value(json_object_get(image, "image")),
               *origin = json_string_value(json_object_get(image, "origin"));
    const json_t *platforms = json_object_get(image, "platforms");
    const char *wrong = "there is none";
    struct choice choice = {.count = 0};
    struct image_name name;
    if (!text || image_name_parse(text, strlen(text), &name, &wrong) < 0) {
        admin_fail(reply, 400, "bad_image", "%.200s is no image: %s", text ? text : "\"image\"", wrong);
        return -EINVAL;
    }
    if (!admin_may_image(a, request, text)) {
        admin_forbid(request, reply, "seed", text);
        return -EACCES;
    }
    if (!read_platforms(platforms, defaults, &choice)) {
        admin_fail(reply, 400, "bad_platform", "%.200s: its platforms are none, or too many", text);
        return -EINVAL;
    }
    if (json_object_get(image, "pattern")) {
        *ret_json = describe_unknown(text, origin, "which tags a pattern means only its registry knows: name them");
        return 0;
    }
    if (json_array_size(platforms) == 0)
        choice = *defaults;
    int r = mirror_stock(a->mirror, &name, choice.platforms, choice.is_all ? 0 : choice.count, &s);
    if (r < 0 && r != -EFBIG) {
        admin_fail_errno(reply, r, text);
        return r;
    }
    *ret_json = r == 0 ? describe(s, text, origin) : describe_unknown(text, origin, "it has too many parts");
    return 0;
}

static json_t *audit_images(struct admin *a, const struct admin_request *request, const json_t *images,
                            const struct choice *defaults, struct admin_reply *reply)
{
    AUTO_JSON json_t *described = json_array();
    const json_t *image;
    size_t at;
    json_array_foreach(images, at, image)
    {
        json_t *json = NULL;
        if (audit_image(a, request, image, defaults, reply, &json) < 0)
            return NULL;
        if (json_array_append_new(described, json) < 0) {
            admin_answer(reply, NULL);
            return NULL;
        }
    }
    return TAKE_PTR(described);
}

void audit_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    AUTO_JSON json_t *body = admin_body(request, reply);
    const json_t *images = json_object_get(body, "images"), *platforms = json_object_get(body, "platforms");
    struct choice defaults = {.count = 0};
    if (!body)
        return;
    if (!json_is_array(images) || json_array_size(images) > IMAGES_MAX) {
        admin_fail(reply, 400, "bad_body", "images is a list of at most %d images", IMAGES_MAX);
        return;
    }
    if (!read_platforms(platforms, NULL, &defaults)) {
        admin_fail(reply, 400, "bad_platform", "platforms are such as linux/amd64, or all; at most %d of them",
                   STOCK_PLATFORMS_MAX);
        return;
    }
    if (json_array_size(platforms) == 0)
        defaults.platforms[defaults.count++] = platform_of_host();
    json_t *described = audit_images(a, request, images, &defaults, reply);
    if (described)
        admin_answer(reply, json_pack("{s:I, s:o}", "now", (json_int_t)clock_real_ms(), "images", described));
}
