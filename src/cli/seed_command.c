/* Seeds: gives the server lists of images to fetch, says what that would cost, and looks on. */
#include "base/clock.h"
#include "base/plural.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/inputs.h"
#include "cli/json.h"
#include "cli/seed_watch.h"
#include "cli/table.h"

#include <string.h>

struct options {
    struct client_options client;
    struct inputs inputs;
    const char *name, *watch, *cancel, *forget;
    int64_t every_ms;
    bool pin, dry_run, detach;
};

/* ------------------------------------------------------------------ its price */

static void print_room(const json_t *price, uint64_t bytes, bool more)
{
    char a[HUMAN_TEXT], b[HUMAN_TEXT];
    uint64_t room = json_bytes(price, "room");
    if (bytes > room)
        printf("\nThe store has room for %s%s: something else will have to go for it (store.max_size).\n",
               human_size(room, a), more ? "" : " only");
    else
        printf("\n%s to fetch%s; the store has room for %s.\n", human_size(bytes, a),
               more ? ", and what manifests that are not here name" : "", human_size(room, b));
}

static void add_price_row(struct table *t, const json_t *of)
{
    char text[HUMAN_TEXT];
    int64_t left = json_number(of, "pulls_left"), waits = json_number(of, "waits_ms");
    table_row(t);
    table_cell(t, "%s", json_text(of, "registry"));
    table_cell(t, "%s", human_count(json_bytes(of, "images"), text));
    table_cell(t, "%s", human_count(json_bytes(of, "complete"), text));
    table_cell(t, "%s%s", json_number(of, "unknown") ? "about " : "", human_count(json_bytes(of, "pulls"), text));
    table_cell(t, "%s%s", json_flag(of, "has_unknown_bytes") ? "> " : "", human_size(json_bytes(of, "bytes"), text));
    table_cell(t, "%s", left < 0 ? "no limit known" : human_count((uint64_t)left, text));
    table_cell(t, "%s", waits == 0 ? "no" : waits < 0 ? "cannot be said" : human_duration(waits, text));
}

static int print_price(const json_t *price)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *of;
    uint64_t bytes = 0;
    bool more = false;
    size_t at;
    table_column(t, "REGISTRY", TABLE_LEFT);
    table_column(t, "IMAGES", TABLE_RIGHT);
    table_column(t, "COMPLETE", TABLE_RIGHT);
    table_column(t, "PULLS", TABLE_RIGHT);
    table_column(t, "BYTES", TABLE_RIGHT);
    table_column(t, "LEFT TO SEEDING", TABLE_RIGHT);
    table_column(t, "WAITS FOR LIMITS", TABLE_RIGHT);
    json_array_foreach(json_object_get(price, "registries"), at, of)
    {
        add_price_row(t, of);
        bytes += json_bytes(of, "bytes");
        more = more || json_flag(of, "has_unknown_bytes");
    }
    int r = table_is_empty(t) ? STATUS_OK : table_print(t);
    print_room(price, bytes, more);
    return r == STATUS_OK ? command_printed() : r;
}

/* ------------------------------------------------------------------ orders */

static size_t count_patterns(const struct image_list *list)
{
    size_t count, patterns = 0;
    const struct image_reference *references = image_list_references(list, &count);
    for (size_t i = 0; i < count; i++)
        patterns += references[i].pattern.is_set;
    return patterns;
}

static void warn_of_patterns(const struct command *self, const struct image_list *list)
{
    size_t patterns = count_patterns(list);
    if (patterns > 0)
        (void)client_failed(self,
                            "%zu of the images %s of tags: each tag that matches costs a pull, and one more a "
                            "platform; up to 100 tags of a pattern are taken, and no price can say how many there are",
                            patterns, plural(patterns, "is a pattern", "are patterns"));
}

static char *make_body(const struct options *o)
{
    AUTO_JSON json_t *images = json_array();
    size_t count;
    const struct image_reference *references = image_list_references(o->inputs.list, &count);
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(images, inputs_image(&references[i])) < 0)
            return NULL;
    AUTO_JSON json_t *body =
        json_pack("{s:O, s:o, s:b, s:I}", "images", images, "platforms", inputs_platforms(&o->inputs), "pin", o->pin,
                  "every_ms", (json_int_t)o->every_ms);
    if (!body || (o->name && json_object_set_new(body, "name", json_string(o->name)) < 0))
        return NULL;
    return json_dumps(body, JSON_COMPACT);
}

static int order(const struct command *self, struct client *client, const struct options *o)
{
    AUTO_FREE char *body = make_body(o);
    AUTO_JSON json_t *answer = NULL;
    if (!body)
        return client_failed(self, "no memory");
    warn_of_patterns(self, o->inputs.list);
    if (!o->dry_run && !o->detach)
        seed_watch_begin();
    int r = client_call(client, "POST", o->dry_run ? "/v1/seeds?dry_run=1" : "/v1/seeds", body, &answer);
    if (r != STATUS_OK)
        return r;
    if (o->dry_run)
        return o->client.json ? client_print_json(answer) : print_price(answer);
    int64_t id = json_number(answer, "id");
    if (!o->detach)
        return seed_watch(client, id, o->client.json);
    if (o->client.json)
        return client_print_json(answer);
    seed_watch_how(id);
    return STATUS_OK;
}

/* ------------------------------------------------------------------ seeds that there are */

/* By its number or its name. */
static int find(const struct command *self, struct client *client, const char *what, int64_t *ret_id)
{
    AUTO_JSON json_t *answer = NULL;
    const json_t *seed;
    size_t at;
    if (what[strspn(what, "0123456789")] == '\0') {
        *ret_id = strtoll(what, NULL, 10);
        return STATUS_OK;
    }
    int r = client_call(client, "GET", "/v1/seeds", NULL, &answer);
    if (r != STATUS_OK)
        return r;
    json_array_foreach(json_object_get(answer, "seeds"), at, seed)
    {
        if (strcmp(json_text(seed, "name"), what) != 0)
            continue;
        *ret_id = json_number(seed, "id");
        return STATUS_OK;
    }
    return client_failed(self, "there is no seed %s: entrepot seeds lists them", what);
}

static int end(struct client *client, int64_t id, bool stop, bool json)
{
    AUTO_JSON json_t *answer = NULL;
    char target[128];
    (void)snprintf(target, sizeof(target), "/v1/seeds/%lld%s", (long long)id, stop ? "?stop=1" : "");
    int r = client_call(client, "DELETE", target, NULL, &answer);
    return r == STATUS_OK && json ? client_print_json(answer) : r;
}

static int act_on(const struct command *self, struct client *client, const struct options *o)
{
    int64_t id = 0;
    int r = find(self, client, o->watch ? o->watch : o->cancel ? o->cancel : o->forget, &id);
    if (r != STATUS_OK)
        return r;
    if (o->watch)
        seed_watch_begin();
    return o->watch ? seed_watch(client, id, o->client.json) : end(client, id, o->cancel != NULL, o->client.json);
}

/* ------------------------------------------------------------------ the commands */

enum { NAME = 1, PIN, EVERY, DRY_RUN, DETACH, WATCH, CANCEL, FORGET };

static int take_option(const struct command *self, int option, char **argv, struct options *o)
{
    switch (option) {
    case NAME:
        o->name = optarg;
        return STATUS_OK;
    case PIN:
        o->pin = true;
        return STATUS_OK;
    case EVERY:
        return human_read_duration(optarg, &o->every_ms) == 0
                   ? STATUS_OK
                   : command_misused(self, "%s is no duration such as 6h", optarg);
    case DRY_RUN:
        o->dry_run = true;
        return STATUS_OK;
    case DETACH:
        o->detach = true;
        return STATUS_OK;
    case WATCH:
        o->watch = optarg;
        return STATUS_OK;
    case CANCEL:
        o->cancel = optarg;
        return STATUS_OK;
    case FORGET:
        o->forget = optarg;
        return STATUS_OK;
    default:
        return client_take_option(&o->client, option, optarg) ? STATUS_OK : command_bad_option(self, option, argv);
    }
}

static int seed(const struct command *self, struct options *o, char **files, size_t count)
{
    AUTO(auto_client_close) struct client *client = NULL;
    int acts = (o->watch != NULL) + (o->cancel != NULL) + (o->forget != NULL);
    int r = STATUS_OK;
    if (acts > 1 || (acts && (count > 0 || o->inputs.image_count > 0)))
        return command_misused(self, "--watch, --cancel and --forget stand alone");
    if (!acts)
        r = inputs_read(&o->inputs, self, files, count);
    if (r == STATUS_OK)
        r = client_open(self, &o->client, &client);
    if (r == STATUS_OK)
        r = acts ? act_on(self, client, o) : order(self, client, o);
    /* what was wrong with the lists has been said, and is not here */
    return r == STATUS_OK && !acts && image_list_errors(o->inputs.list) > 0 ? STATUS_FAILED : r;
}

static void options_finish(struct options *o)
{
    inputs_finish(&o->inputs);
}

int seed_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {CLIENT_OPTIONS,
                                            INPUTS_OPTIONS,
                                            {"name", required_argument, NULL, NAME},
                                            {"pin", no_argument, NULL, PIN},
                                            {"every", required_argument, NULL, EVERY},
                                            {"dry-run", no_argument, NULL, DRY_RUN},
                                            {"detach", no_argument, NULL, DETACH},
                                            {"watch", required_argument, NULL, WATCH},
                                            {"cancel", required_argument, NULL, CANCEL},
                                            {"forget", required_argument, NULL, FORGET},
                                            {0}};
    AUTO(options_finish) struct options o = {.name = NULL};
    int r = STATUS_OK;
    for (int c; r == STATUS_OK && (c = command_option(argc, argv, options)) != -1;)
        r = inputs_is_option(c) ? inputs_take_option(&o.inputs, self, c, optarg) : take_option(self, c, argv, &o);
    return r == STATUS_OK ? seed(self, &o, argv + optind, (size_t)(argc - optind)) : r;
}

static void add_row(struct table *t, const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images");
    const char *state = json_text(seed, "state");
    char text[HUMAN_TEXT];
    enum table_colour colour = strcmp(state, "done") == 0     ? TABLE_GOOD
                               : strcmp(state, "failed") == 0 ? TABLE_BAD
                                                              : TABLE_PLAIN;
    int64_t next = json_number(seed, "next_at"), ended = json_number(seed, "ended_at");
    table_row(t);
    table_cell(t, "%lld", (long long)json_number(seed, "id"));
    table_cell(t, "%s", json_text(seed, "name"));
    table_cell_coloured(t, colour, state);
    table_cell(t, "%llu of %llu", (unsigned long long)json_bytes(images, "done"),
               (unsigned long long)json_bytes(images, "all"));
    table_cell(t, "%llu", (unsigned long long)json_bytes(images, "failed"));
    table_cell(t, "%s", human_size(json_bytes(seed, "fetched_bytes"), text));
    table_cell(t, "%s", human_count(json_bytes(seed, "pulls"), text));
    table_cell(t, "%s", json_flag(seed, "pin") ? "yes" : "");
    table_cell(t, "%s", ended ? human_age(ended, clock_real_ms(), text) : "");
    table_cell(t, "%s", next ? human_age(next, clock_real_ms(), text) : "");
    table_cell(t, "%s", json_text(seed, "waits_for"));
}

static int print_seeds(const json_t *answer)
{
    static const struct {
        const char *name;
        unsigned flags;
    } columns[] = {{"ID", TABLE_RIGHT},     {"NAME", TABLE_LEFT},        {"STATE", TABLE_LEFT},
                   {"IMAGES", TABLE_RIGHT}, {"FAILED", TABLE_RIGHT},     {"FETCHED", TABLE_RIGHT},
                   {"PULLS", TABLE_RIGHT},  {"PINS", TABLE_LEFT},        {"ENDED", TABLE_LEFT},
                   {"NEXT", TABLE_LEFT},    {"WAITS FOR", TABLE_SHORTEN}};
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *seed;
    size_t at;
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        table_column(t, columns[i].name, columns[i].flags);
    json_array_foreach(json_object_get(answer, "seeds"), at, seed) add_row(t, seed);
    return table_print_or(t, "There are no seeds.");
}

int seeds_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {.path = "/v1/seeds",
                                  .question = "there are no arguments; entrepot seed --watch looks at one",
                                  .print = print_seeds};
    return ask_and_show(self, argc, argv, &view);
}
