/* Why an image is served as it is, or is not: what is stored, the rules that apply, and what went wrong. */
#include "admin/routes.h"
#include "base/clock.h"
#include "config/config.h"
#include "mirror/inventory.h"
#include "mirror/stock.h"
#include "mirror/watch.h"
#include "upstream/upstream.h"

#include <errno.h>
#include <string.h>

#define EVENTS_SHOWN 20

struct explanation {
    struct admin *a;
    struct inventory_name name;
    struct inventory_image image;
    bool known; /* `image` is set: the name stands for something */
    struct inventory_sum sum;
    bool has_tree;
    bool is_hidden; /* some of it is stored, and would have to be shown by an upstream under this name first */
    int64_t now;

    /* of the configuration */
    int64_t ttl_ms, stale_for_ms;
    bool is_open, stale_on_absence, has_accounts;
    const char *visibility;
    char rule[512]; /* that says the ttl, or "" */

    /* of the upstream: the best of its sources */
    bool can_spend, can_ask;
    int64_t again_at; /* wall clock, ms: when it can be asked again; 0: nobody knows */
    char trouble[320];
};

/* ------------------------------------------------------------------ policy */

static void read_policy(struct explanation *e)
{
    char text[INVENTORY_NAME_TEXT];
    const struct config *c = admin_hold_config(e->a);
    const struct config_registry *r = config_find_registry(c, e->name.registry, strlen(e->name.registry));
    (void)inventory_name_format(&e->name, text);
    e->stale_for_ms = c->tags.stale_for_ms;
    e->stale_on_absence = c->tags.stale_on_absence;
    if (r) {
        e->ttl_ms = config_tag_ttl_ms(c, r, e->name.repository, e->name.tag);
        e->is_open = config_is_open(r, e->name.repository);
    }
    const char *rule = config_tag_rule(c, text);
    (void)snprintf(e->rule, sizeof(e->rule), "%s", rule ? rule : "");
    admin_release_config(e->a);
    e->visibility = watch_visibility(e->a->mirror, e->name.registry, e->name.repository);
    e->has_accounts = upstream_has_accounts(e->a->upstream, e->name.registry);
}

/* ------------------------------------------------------------------ who can be asked */

/* When a source may be asked again; 0: now, or nobody knows. A limit whose end was not said is over with its window. */
static int64_t again_at(const struct upstream_source_state *s, int64_t now)
{
    const struct upstream_budget *b = &s->budget;
    if (s->breaker == UPSTREAM_OPEN)
        return s->open_until;
    if (s->paced_until > now)
        return s->paced_until;
    if (b->blocked_until > now)
        return b->blocked_until;
    return b->remaining == 0 && b->window_ms > 0 ? b->observed_at + b->window_ms : 0;
}

static void look_at_source(void *arg, const struct upstream_source_state *s)
{
    struct explanation *e = arg;
    if (s->sibling || strcmp(s->registry, e->name.registry) != 0)
        return;
    bool is_off = s->breaker == UPSTREAM_OPEN && s->open_until > e->now; /* later, whoever asks next tries it */
    bool can_ask = !is_off && s->paced_until <= e->now;
    bool is_spent = s->budget.blocked_until > e->now || s->budget.remaining == 0;
    int64_t again = again_at(s, e->now);
    e->can_ask = e->can_ask || can_ask;
    e->can_spend = e->can_spend || (can_ask && !is_spent);
    if (again > e->now && (e->again_at == 0 || again < e->again_at))
        e->again_at = again;
    if (*e->trouble || (can_ask && !is_spent))
        return;
    if (!can_ask)
        (void)snprintf(e->trouble, sizeof(e->trouble), "%s: %.250s", s->name,
                       *s->last_error ? s->last_error : "wants to be left in peace");
    else if (*s->account)
        (void)snprintf(e->trouble, sizeof(e->trouble), "%s: pull limit reached for account %.64s", s->name, s->account);
    else
        (void)snprintf(e->trouble, sizeof(e->trouble), "%s: pull limit reached for anonymous pulls", s->name);
}

/* ------------------------------------------------------------------ what would happen */

static bool is_fresh(const struct explanation *e)
{
    int64_t age = e->now - e->image.checked_at;
    return !*e->name.tag || (age >= 0 && age < e->ttl_ms);
}

static bool may_be_stale(const struct explanation *e)
{
    return e->stale_for_ms > 0 && e->now - e->image.checked_at < e->stale_for_ms;
}

/* The decision, a word for programs and a sentence for people. */
static const char *decide(const struct explanation *e, const char **ret_words)
{
    bool whole = e->known && e->has_tree && e->sum.missing == 0 && !e->sum.lacks_manifests;
    if (e->has_accounts && !e->is_open && strcmp(e->visibility, "private") == 0) {
        *ret_words = "The repository is private: it is served to nobody, as registries.NAME.open does not name it.";
        return "refuse";
    }
    if (e->is_hidden) {
        *ret_words =
            e->can_ask ? "An upstream has to show it under this name first: it is asked by HEAD, which no limit counts."
                       : "An upstream has to show it under this name first, and cannot be asked now: pulls fail.";
        return e->can_ask ? "revalidate" : "fail";
    }
    if (whole && is_fresh(e)) {
        *ret_words = "It is served from the store; nobody is asked.";
        return "hit";
    }
    if (whole && e->can_ask) {
        *ret_words =
            "The tag is older than its ttl: the upstream is asked by HEAD, which no limit counts. If it says the "
            "same, or nothing, what is stored is served.";
        return "revalidate";
    }
    if (whole && may_be_stale(e)) {
        *ret_words = "The upstream cannot be asked now: what is stored is served, with a warning that it is stale.";
        return "stale";
    }
    if (whole) {
        *ret_words =
            "The tag is too old to be served without asking, and the upstream cannot be asked now: pulls fail.";
        return "fail";
    }
    if (e->known && e->has_tree && e->can_ask && !e->sum.lacks_manifests) {
        *ret_words = "Its manifest is stored; what is missing of its blobs is fetched, which no limit counts.";
        return "fetch_blobs";
    }
    if (e->can_spend) {
        *ret_words = "It is fetched from the upstream, which a pull limit counts, if there is one.";
        return "fetch";
    }
    *ret_words = "It is not stored, and cannot be fetched now: pulls fail.";
    return "fail";
}

/* ------------------------------------------------------------------ what went wrong */

static json_t *describe_event(const struct event *ev, bool with_clients)
{
    static const char *const objects[] = {[MIRROR_MANIFEST] = "manifest",
                                          [MIRROR_BLOB] = "blob",
                                          [MIRROR_TAGS] = "tags",
                                          [MIRROR_REFERRERS] = "referrers"};
    json_t *clients = json_array();
    for (unsigned i = 0; clients && with_clients && i < ev->client_count; i++)
        (void)json_array_append_new(clients, json_string(ev->clients[i]));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:o}", "kind",
                     ev->kind == EVENT_STALE ? "stale" : "failed", "object", objects[ev->object], "reference",
                     ev->reference, "first_at", (json_int_t)ev->first_at, "last_at", (json_int_t)ev->last_at, "count",
                     (json_int_t)ev->count, "status", ev->status, "message", ev->message, "clients", clients);
}

static json_t *describe_events(const struct explanation *e, bool with_clients)
{
    AUTO_FREE struct event *events = calloc(EVENTS_MAX, sizeof(*events));
    json_t *list = events ? json_array() : NULL;
    size_t count = list ? watch_events(e->a->mirror, e->name.registry, e->name.repository, events, EVENTS_MAX) : 0;
    for (size_t i = 0; i < count && json_array_size(list) < EVENTS_SHOWN; i++) {
        bool other_tag = events[i].object == MIRROR_MANIFEST && !strchr(events[i].reference, ':') &&
                         strcmp(events[i].reference, e->name.tag) != 0;
        if (!other_tag)
            (void)json_array_append_new(list, describe_event(&events[i], with_clients));
    }
    return list;
}

/* ------------------------------------------------------------------ all of it */

static json_t *describe_stored(const struct explanation *e)
{
    char digest[DIGEST_TEXT_MAX];
    if (!e->known)
        return json_pack("{s:b, s:b}", "known", 0, "stored", 0);
    return json_pack("{s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "known", 1, "stored", e->has_tree, "pinned",
                     e->image.is_pinned, "digest", digest_format(&e->image.digest, digest), "checked_at",
                     (json_int_t)e->image.checked_at, "stored_at", (json_int_t)e->image.stored_at, "used_at",
                     (json_int_t)e->image.used_at, "bytes", (json_int_t)e->sum.bytes, "missing",
                     (json_int_t)e->sum.missing, "missing_bytes", (json_int_t)e->sum.missing_bytes);
}

static json_t *describe_policy(const struct explanation *e)
{
    return json_pack("{s:I, s:s, s:I, s:b, s:b, s:s, s:b}", "ttl_ms", (json_int_t)e->ttl_ms, "rule", e->rule,
                     "stale_for_ms", (json_int_t)e->stale_for_ms, "stale_on_absence", e->stale_on_absence, "accounts",
                     e->has_accounts, "visibility", e->visibility, "open", e->is_open);
}

/* As the audit has it. One of more parts than that looks at is not hidden, as far as is known. */
static int look_whether_hidden(struct explanation *e)
{
    AUTO(auto_stock_destroy) struct stock *s = NULL;
    struct image_name name = {.tag = ""};
    (void)stpcpy(name.registry, e->name.registry);
    (void)stpcpy(name.repository, e->name.repository);
    (void)stpcpy(name.tag, e->name.tag);
    if (!*name.tag)
        (void)digest_format(&e->name.digest, name.digest);
    int r = mirror_stock(e->a->mirror, &name, NULL, 0, &s);
    if (r < 0)
        return r == -EFBIG ? 0 : r;
    e->is_hidden = s->name == STOCK_NAME_UNSEEN && s->items[0].state != STOCK_MISSING;
    for (size_t i = 0; i < s->item_count; i++)
        e->is_hidden = e->is_hidden || s->items[i].state == STOCK_HIDDEN;
    return 0;
}

static int look(struct explanation *e)
{
    AUTO_INVENTORY_TREE struct inventory_tree t = {0};
    e->now = clock_real_ms();
    read_policy(e);
    int r = upstream_each_source(e->a->upstream, look_at_source, e);
    if (r == 0)
        r = inventory_image_find(e->a->mirror, &e->name, &e->image);
    e->known = r == 0;
    if (r == 0)
        r = inventory_tree_read(e->a->mirror, &e->image.digest, /* count_others= */ false, &t);
    e->has_tree = r == 0;
    if (r == 0)
        inventory_tree_sum(&t, &e->sum);
    if (r == 0)
        r = look_whether_hidden(e);
    return r == -ENOENT ? 0 : r;
}

void explain_get(struct admin *a, const struct admin_request *request, struct admin_reply *reply)
{
    struct explanation e = {.a = a};
    char text[INVENTORY_NAME_TEXT];
    const char *words;
    if (admin_image_param(a, request, reply, &e.name) < 0)
        return;
    int r = look(&e);
    if (r < 0) {
        admin_fail_errno(reply, r, "the explanation");
        return;
    }
    const char *decision = decide(&e, &words);
    admin_answer(reply, json_pack("{s:s, s:I, s:o, s:o, s:{s:s, s:s}, s:{s:b, s:b, s:I, s:s}, s:o}", "image",
                                  inventory_name_format(&e.name, text), "now", (json_int_t)e.now, "stored",
                                  describe_stored(&e), "policy", describe_policy(&e), "pull", "decision", decision,
                                  "words", words, "upstream", "can_ask", e.can_ask, "can_spend", e.can_spend,
                                  "again_at", (json_int_t)e.again_at, "trouble", e.trouble, "events",
                                  describe_events(&e, request->rights.admin)));
}
