/* /v1/seeds: lists of images that are fetched before anybody pulls them (mirror/seeding.h). */
#include "admin/routes.h"
#include "base/image_name.h"
#include "base/limits.h"
#include "mirror/seeding.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------ what comes in */

/* An order that is being read out of a body, whose strings it refers to. */
struct reading {
    struct admin_reply *reply;
    struct seed_wish *wishes;
    char **texts; /* that were put together: platforms and pattern of each */
    size_t text_count;
};

static void finish_reading(struct reading *r)
{
    for (size_t i = 0; i < r->text_count; i++)
        free(r->texts[i]);
    free(r->texts);
    free(r->wishes);
}

static int refuse(struct reading *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int refuse(struct reading *r, const char *fmt, ...)
{
    AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
    va_list ap;
    va_start(ap, fmt);
    int result = buf_vaddf(&text, fmt, ap);
    va_end(ap);
    admin_fail(r->reply, 400, "bad_body", "%s", result == 0 ? text.data : "something is too long");
    return -EINVAL;
}

static int refuse_memory(struct reading *r)
{
    admin_fail_errno(r->reply, -ENOMEM, "the seed");
    return -ENOMEM;
}

/* Keeps the text, as *ret. */
static int keep_text(struct reading *r, struct buf *text, const char **ret)
{
    char *s = buf_take(text);
    if (!s)
        return refuse_memory(r);
    r->texts[r->text_count++] = s;
    *ret = s;
    return 0;
}

/* A list of words, with a space between them; NULL where there is none. */
static int read_words(struct reading *r, const json_t *list, const char *what, const char **ret)
{
    AUTO_BUF struct buf text = BUF_INIT(SEED_PLATFORMS_TEXT_MAX + 1);
    const json_t *word;
    size_t at;
    *ret = NULL;
    if (json_array_size(list) == 0)
        return list && !json_is_array(list) && !json_is_null(list) ? refuse(r, "%s is no list", what) : 0;
    json_array_foreach(list, at, word)
    {
        const char *s = json_string_value(word);
        if (!s || strchr(s, ' ') || buf_addf(&text, "%s%s", at ? " " : "", s) < 0)
            return refuse(r, "%s is no list of platforms, or is too long", what);
    }
    return keep_text(r, &text, ret);
}

static int add_patterns(struct buf *text, const json_t *of, const char *key, char sign)
{
    const json_t *list = json_object_get(of, key), *pattern;
    size_t at;
    int result = list && !json_is_array(list) ? -EINVAL : 0;
    json_array_foreach(list, at, pattern)
    {
        const char *s = json_string_value(pattern);
        if (result == 0)
            result = s && !strchr(s, '\n') ? buf_addf(text, "\n%c%s", sign, s) : -EINVAL;
    }
    return result;
}

static int read_pattern(struct reading *r, const json_t *pattern, const char *image, const char **ret)
{
    AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
    *ret = NULL;
    if (!pattern || json_is_null(pattern))
        return 0;
    if (!json_is_object(pattern) ||
        buf_adds(&text, json_is_true(json_object_get(pattern, "partial")) ? "part" : "whole") < 0 ||
        add_patterns(&text, pattern, "allow", '+') < 0 || add_patterns(&text, pattern, "deny", '-') < 0 ||
        add_patterns(&text, pattern, "semver", '=') < 0)
        return refuse(r, "%.160s: its pattern cannot be read, or is too long", image);
    return keep_text(r, &text, ret);
}

static int read_wish(struct reading *r, const json_t *image, struct seed_wish *wish)
{
    wish->image = json_string_value(json_object_get(image, "image"));
    wish->origin = json_string_value(json_object_get(image, "origin"));
    if (!wish->image)
        return refuse(r, "each of images has an \"image\"");
    int result = read_words(r, json_object_get(image, "platforms"), "platforms", &wish->platforms);
    return result < 0 ? result : read_pattern(r, json_object_get(image, "pattern"), wish->image, &wish->pattern);
}

static int read_order(struct reading *r, const json_t *body, struct seed_order *order)
{
    const json_t *images = json_object_get(body, "images"), *every = json_object_get(body, "every_ms"), *image;
    const json_t *name = json_object_get(body, "name");
    size_t count = json_array_size(images), at;
    if (!json_is_array(images))
        return refuse(r, "there is no list \"images\"");
    if (count > SEED_IMAGES_MAX)
        return refuse(r, "%zu images are too many for one seed: %d at the most", count, SEED_IMAGES_MAX);
    if ((every && !json_is_integer(every)) || json_integer_value(every) < 0)
        return refuse(r, "every_ms is no number of milliseconds");
    if (name && !json_is_string(name) && !json_is_null(name))
        return refuse(r, "name is no text");
    r->wishes = calloc(count + 1, sizeof(*r->wishes));
    r->texts = calloc(2 * count + 1, sizeof(*r->texts));
    if (!r->wishes || !r->texts)
        return refuse_memory(r);
    *order = (struct seed_order){
        .name = json_string_value(name),
        .pin = json_is_true(json_object_get(body, "pin")),
        .every_ms = json_integer_value(every),
        .wishes = r->wishes,
        .wish_count = count,
    };
    int result = read_words(r, json_object_get(body, "platforms"), "platforms", &order->platforms);
    json_array_foreach(images, at, image) if (result == 0) result = read_wish(r, image, &r->wishes[at]);
    return result;
}

/* ------------------------------------------------------------------ what goes out */

static json_t *words(const char *text)
{
    json_t *list = json_array();
    for (size_t len; list && *text; text += len + (text[len] == ' ')) {
        len = strcspn(text, " ");
        (void)json_array_append_new(list, json_stringn(text, len));
    }
    return list;
}

static void add_number(json_t *to, const char *key, int64_t n)
{
    if (n != 0)
        (void)json_object_set_new(to, key, json_integer(n));
}

static void add_words(json_t *to, const char *key, const char *text)
{
    if (*text)
        (void)json_object_set_new(to, key, json_string(text));
}

static json_t *describe_image(const struct seed_image_status *i)
{
    json_t *image =
        json_pack("{s:s, s:s, s:o, s:I, s:I}", "image", i->image, "state", seed_state_name(i->state), "platforms",
                  words(i->platforms), "bytes", (json_int_t)i->bytes, "attempts", (json_int_t)i->attempts);
    add_words(image, "origin", i->origin);
    add_words(image, "pattern", i->pattern);
    add_words(image, "cause", i->cause);
    if (i->state != SEED_DONE)
        add_words(image, "advice", i->advice);
    if (i->is_match)
        (void)json_object_set_new(image, "is_match", json_true());
    return image;
}

static json_t *describe_images(const struct seed_status *s, bool all)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->images; i++)
        if (all || s->list[i].state == SEED_FAILED)
            (void)json_array_append_new(list, describe_image(&s->list[i]));
    return list;
}

static json_t *describe(const struct seed_status *s)
{
    json_t *seed = json_pack("{s:I, s:I, s:s, s:s, s:o, s:b, s:b, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:I}", "id",
                             (json_int_t)s->id, "sequence", (json_int_t)s->sequence, "name", s->name, "state",
                             seed_state_name(s->state), "platforms", words(s->platforms), "pin", s->pin, "configured",
                             s->is_configured, "images", "all", (json_int_t)s->images, "done", (json_int_t)s->done,
                             "failed", (json_int_t)s->failed, "waiting", (json_int_t)s->waiting, "bytes",
                             (json_int_t)s->bytes, "fetched_bytes", (json_int_t)s->fetched, "pulls",
                             (json_int_t)s->pulls, "pulls_left", (json_int_t)s->pulls_left);
    add_number(seed, "every_ms", s->every_ms);
    add_number(seed, "created_at", s->created_at);
    add_number(seed, "started_at", s->started_at);
    add_number(seed, "ended_at", s->ended_at);
    add_number(seed, "next_at", s->next_at);
    add_number(seed, "ends_at", s->ends_at);
    add_number(seed, "waits_until", s->waits_until);
    add_words(seed, "waits_for", s->waits_for);
    if (*s->current && seed)
        (void)json_object_set_new(seed, "current",
                                  json_pack("{s:s, s:I, s:I, s:I}", "image", s->current, "bytes",
                                            (json_int_t)s->current_bytes, "missing_bytes",
                                            (json_int_t)s->current_missing, "fetched_bytes",
                                            (json_int_t)s->current_fetched));
    return seed;
}

struct answer {
    json_t *json;
    bool all;
};

static int add_seed(void *arg, const struct seed_status *status)
{
    return json_array_append_new(arg, describe(status)) < 0 ? -ENOMEM : 0;
}

static int take_seed(void *arg, const struct seed_status *status)
{
    struct answer *a = arg;
    a->json = describe(status);
    (void)json_object_set_new(a->json, a->all ? "list" : "failures", describe_images(status, a->all));
    return a->json ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------ whose a seed is */

struct names {
    struct buf text; /* of its images, a line each */
    uint64_t id;
    const char *wanted; /* a seed's name, to find its id; or NULL */
};

/* seeding_look() calls under a lock, where nothing can be looked up. */
static int take_names(void *arg, const struct seed_status *status)
{
    struct names *n = arg;
    int r = 0;
    for (size_t i = 0; r == 0 && i < status->images; i++)
        r = buf_addf(&n->text, "%s\n", status->list[i].image);
    return r;
}

static int take_id(void *arg, const struct seed_status *status)
{
    struct names *n = arg;
    if (strcmp(status->name, n->wanted) == 0)
        n->id = status->id;
    return 0;
}

/* Whether all of its images are his. What is not there is not forbidden either. */
static bool may_touch(struct admin *a, const struct admin_request *request, uint64_t id)
{
    struct names n = {.text = BUF_INIT(SEED_IMAGES_MAX * (size_t)(IMAGE_NAME_MAX + 1))};
    if (admin_may_everywhere(request))
        return true;
    int r = seeding_look(a->mirror, id, 0, 0, take_names, &n);
    bool may = r == -ENOENT || (r == 0 && n.text.len > 0);
    char *rest = n.text.data;
    for (char *line; may && r == 0 && (line = strsep(&rest, "\n"));)
        may = !*line || admin_may_image(a, request, line);
    buf_finish(&n.text);
    return may;
}

/* Who gives the name of a seed that there is takes its place. */
static bool may_replace(struct admin *a, const struct admin_request *request, const char *name)
{
    struct names n = {.wanted = name};
    if (admin_may_everywhere(request) || !name)
        return true;
    int r = seeding_each(a->mirror, take_id, &n);
    return r == 0 && (n.id == 0 || may_touch(a, request, n.id));
}

/* NULL: all that is wished for is his to seed. */
static const char *find_foreign(struct admin *a, const struct admin_request *request, const struct seed_order *order)
{
    for (size_t i = 0; i < order->wish_count; i++)
        if (!admin_may_image(a, request, order->wishes[i].image))
            return order->wishes[i].image;
    return NULL;
}

/* ------------------------------------------------------------------ handlers */

/* A number, or `fallback` where there is none. false: it is none, and the reply says so. */
static bool read_number(const char *text, const char *what, struct admin_reply *reply, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = text ? strtoull(text, &end, 10) : 0;
    if (text && (errno != 0 || end == text || *end || *text == '-')) {
        admin_fail(reply, 400, "bad_parameter", "%s is no number", what);
        return false;
    }
    *ret = n;
    return true;
}

void seeds_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    AUTO_JSON json_t *list = json_array();
    int r = list ? seeding_each(a->mirror, add_seed, list) : -ENOMEM;
    for (size_t i = json_array_size(list); i-- > 0;)
        if (!may_touch(a, request, (uint64_t)json_integer_value(json_object_get(json_array_get(list, i), "id"))))
            (void)json_array_remove(list, i);
    if (r < 0)
        admin_fail_errno(reply, r, "the seeds");
    else
        admin_answer(reply, json_pack("{s:O}", "seeds", list));
}

void seed_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct answer answer = {.json = NULL};
    uint64_t id, after, wait;
    const char *since = admin_param(request, "after"), *patience = admin_param(request, "wait");
    if (!read_number(request->id, "the seed", reply, &id) || !read_number(since, "after", reply, &after) ||
        !read_number(patience, "wait", reply, &wait) || admin_param_bool(request, reply, "images", &answer.all) < 0)
        return;
    if (!patience || wait > SEED_WAIT_MAX_MS)
        wait = SEED_WAIT_MAX_MS;
    if (!may_touch(a, request, id)) {
        admin_forbid(request, reply, "seed", "some of its images");
        return;
    }
    int64_t wait_ms = since ? (int64_t)wait : 0;
    int r = seeding_look(a->mirror, id, after, wait_ms, take_seed, &answer);
    if (r < 0)
        admin_fail_errno(reply, r, "the seed");
    else
        admin_answer(reply, answer.json);
}

static json_t *describe_price(const struct seed_price *p)
{
    json_t *registries = json_array();
    for (size_t i = 0; i < p->registry_count; i++) {
        const struct seed_price_of *of = &p->registries[i];
        json_t *one = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I}", "registry", of->registry, "images",
                                (json_int_t)of->images, "complete", (json_int_t)of->complete, "unknown",
                                (json_int_t)of->unknown, "pulls", (json_int_t)of->pulls, "bytes", (json_int_t)of->bytes,
                                "has_unknown_bytes", of->has_unknown_bytes, "pulls_left", (json_int_t)of->pulls_left,
                                "waits_ms", (json_int_t)of->waits_ms);
        (void)json_array_append_new(registries, one);
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "images", (json_int_t)p->images, "patterns", (json_int_t)p->patterns,
                     "room", (json_int_t)p->room, "registries", registries);
}

static void fail_order(struct admin_reply *reply, int error, const struct seed_complaint *why)
{
    if (error == -EINVAL)
        admin_fail(reply, 400, "bad_body", "%s", why->text);
    else if (error == -ENOSPC)
        admin_fail(reply, 409, "too_many", "%s", why->text);
    else
        admin_fail_errno(reply, error, "the seed");
}

static void price(struct admin *a, const struct seed_order *order, struct admin_reply *reply)
{
    struct seed_complaint why = {""};
    struct seed_price p;
    int r = seeding_price(a->mirror, order, &p, &why);
    if (r < 0)
        fail_order(reply, r, &why);
    else
        admin_answer(reply, describe_price(&p));
}

static void add(struct admin *a, const struct admin_request *request, const struct seed_order *order,
                struct admin_reply *reply)
{
    struct seed_complaint why = {""};
    uint64_t id;
    (void)pthread_mutex_lock(&a->seeds_lock);
    if (!may_replace(a, request, order->name)) {
        (void)pthread_mutex_unlock(&a->seeds_lock);
        admin_forbid(request, reply, "seed", "some images of the seed that has this name");
        return;
    }
    int r = seeding_add(a->mirror, order, &id, &why);
    (void)pthread_mutex_unlock(&a->seeds_lock);
    admin_audit(request, "seed", order->name ? order->name : "", r == 0 ? "done" : why.text);
    if (r < 0)
        fail_order(reply, r, &why);
    else
        admin_answer(reply, json_pack("{s:I}", "id", (json_int_t)id));
}

void seeds_post(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    AUTO_JSON json_t *body = NULL;
    AUTO(finish_reading) struct reading reading = {.reply = reply};
    struct seed_order order;
    bool dry;
    if (admin_param_bool(request, reply, "dry_run", &dry) < 0 || !(body = admin_body(request, reply)) ||
        read_order(&reading, body, &order) < 0)
        return;
    const char *foreign = find_foreign(a, request, &order);
    if (foreign) {
        admin_forbid(request, reply, "seed", foreign);
        return;
    }
    dry ? price(a, &order, reply) : add(a, request, &order, reply);
}

void seed_delete(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    uint64_t id;
    bool stop;
    if (!read_number(request->id, "the seed", reply, &id) || admin_param_bool(request, reply, "stop", &stop) < 0)
        return;
    if (!may_touch(a, request, id)) {
        admin_forbid(request, reply, "seed", "some of its images");
        return;
    }
    int r = stop ? seeding_cancel(a->mirror, id) : seeding_forget(a->mirror, id);
    admin_audit(request, stop ? "seed_cancel" : "seed_forget", request->id, r == 0 ? "done" : strerror(-r));
    if (r == -EALREADY)
        admin_fail(reply, 409, "ended", "the seed has ended already");
    else if (r == -EBUSY)
        admin_fail(reply, 409, "configured", "the configuration has this seed: take it away there (seeds)");
    else if (r < 0)
        admin_fail_errno(reply, r, "the seed");
    else
        admin_answer(reply, json_pack("{s:I}", "id", (json_int_t)id));
}
