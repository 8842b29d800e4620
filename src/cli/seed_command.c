/* Seeds: gives the server lists of images to fetch, says what that would cost, and looks on. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/inputs.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/table.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* A line where there is no terminal; and how long one waits for news at a time: so long does Ctrl-C take. */
#define PLAIN_EVERY_MS (5 * CLOCK_SECOND)
#define WAIT_MS 1000
/* "1023.9 MiB of 1023.9 MiB" */
#define TAIL_WIDTH 24

struct options {
    struct client_options client;
    struct inputs inputs;
    const char *name, *watch, *cancel, *forget;
    int64_t every_ms;
    bool pin, dry_run, detach;
};

/* ------------------------------------------------------------------ looking on */

static bool has_ended(const json_t *seed)
{
    const char *state = json_text(seed, "state");
    return strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0;
}

/* "1.2 GiB of 3.4 GiB", so long as all of them are. */
static const char *parts(uint64_t part, uint64_t whole, char *text, size_t len)
{
    char a[HUMAN_TEXT], b[HUMAN_TEXT], both[3 * HUMAN_TEXT];
    (void)snprintf(both, sizeof(both), "%s of %s", human_size(part, a), human_size(whole, b));
    (void)snprintf(text, len, "%*s", TAIL_WIDTH, both);
    return text;
}

/* The hour of the day, and the day where it is not today. */
static const char *clock_text(int64_t wall_ms, char *text, size_t len)
{
    time_t now = time(NULL), then = (time_t)(wall_ms / 1000);
    struct tm a, b;
    (void)localtime_r(&now, &a);
    (void)localtime_r(&then, &b);
    bool is_today = a.tm_yday == b.tm_yday && a.tm_year == b.tm_year;
    text[0] = '\0';
    (void)strftime(text, len, is_today ? "%H:%M" : "%a %H:%M", &b);
    return text;
}

/* "24 pulls made, 6 left to seeding; about 2 h to go" */
static void add_outlook(struct buf *b, const json_t *seed)
{
    char text[HUMAN_TEXT];
    int64_t left = json_number(seed, "pulls_left"), ends_at = json_number(seed, "ends_at");
    int64_t to_go = ends_at - clock_real_ms();
    (void)!buf_addf(b, "%s pulls made", human_count(json_bytes(seed, "pulls"), text));
    if (left >= 0)
        (void)!buf_addf(b, ", %s left to seeding now", human_count((uint64_t)left, text));
    if (ends_at && to_go > 0)
        (void)!buf_addf(b, "; about %s to go", human_duration(to_go, text));
}

static void draw(struct progress *p, const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images"), *current = json_object_get(seed, "current");
    AUTO_BUF struct buf outlook = BUF_INIT(KIB);
    char fetched[HUMAN_TEXT], percent[2 * HUMAN_TEXT], tail[3 * HUMAN_TEXT], name[128], hour[32];
    uint64_t all = json_bytes(images, "all"), failed = json_bytes(images, "failed"),
             done = json_bytes(images, "done") + failed;
    progress_begin(p);
    (void)snprintf(name, sizeof(name), "%s: %llu of %llu images", json_text(seed, "name"), (unsigned long long)done,
                   (unsigned long long)all);
    (void)snprintf(percent, sizeof(percent), "%llu %%  %s", (unsigned long long)(all ? done * 100 / all : 0),
                   human_size(json_bytes(seed, "fetched_bytes"), fetched));
    (void)snprintf(tail, sizeof(tail), "%*s", TAIL_WIDTH, percent);
    progress_bar(p, name, done, all, tail);
    if (current)
        progress_bar(
            p, json_text(current, "image"), json_bytes(current, "fetched_bytes"), json_bytes(current, "missing_bytes"),
            parts(json_bytes(current, "fetched_bytes"), json_bytes(current, "missing_bytes"), tail, sizeof(tail)));
    if (json_number(seed, "waits_until"))
        progress_line(p, "waits until %s: %s", clock_text(json_number(seed, "waits_until"), hour, sizeof(hour)),
                      json_text(seed, "waits_for"));
    add_outlook(&outlook, seed);
    if (failed > 0)
        (void)!buf_addf(&outlook, "; %llu failed", (unsigned long long)failed);
    progress_line(p, "%s", outlook.data ? outlook.data : "");
    progress_show(p);
}

static void say(const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images");
    AUTO_BUF struct buf line = BUF_INIT(4 * KIB);
    char text[HUMAN_TEXT], hour[32];
    uint64_t done = json_bytes(images, "done") + json_bytes(images, "failed");
    (void)!buf_addf(&line, "%s: %llu of %llu images, %s, ", json_text(seed, "name"), (unsigned long long)done,
                    (unsigned long long)json_bytes(images, "all"), human_size(json_bytes(seed, "fetched_bytes"), text));
    add_outlook(&line, seed);
    if (json_number(seed, "waits_until"))
        (void)!buf_addf(&line, "; waits until %s: %s", clock_text(json_number(seed, "waits_until"), hour, sizeof(hour)),
                        json_text(seed, "waits_for"));
    (void)fprintf(stderr, "%s\n", line.data ? line.data : "");
}

static void show(struct progress *p, const json_t *seed, int64_t *said_at)
{
    if (p->is_terminal) {
        draw(p, seed);
    } else if (clock_monotonic_ms() - *said_at >= PLAIN_EVERY_MS) {
        *said_at = clock_monotonic_ms();
        say(seed);
    }
}

/* ------------------------------------------------------------------ what has come of it */

static void print_failures(const json_t *failures)
{
    const json_t *image;
    size_t at;
    json_array_foreach(failures, at, image)
    {
        const char *origin = json_text(image, "origin");
        printf("\n%s%s%s%s\n  %s\n", json_text(image, "image"), *origin ? "  (" : "", origin, *origin ? ")" : "",
               json_text(image, "cause"));
        if (*json_text(image, "advice"))
            printf("  What to do: %s.\n", json_text(image, "advice"));
    }
}

static int print_end(const json_t *seed)
{
    const json_t *images = json_object_get(seed, "images");
    const char *state = json_text(seed, "state");
    char size[HUMAN_TEXT], pulls[HUMAN_TEXT], took[HUMAN_TEXT], next[HUMAN_TEXT];
    printf("%s: %llu of %llu images are here; %s fetched, %s pulls, %s.%s\n", json_text(seed, "name"),
           (unsigned long long)json_bytes(images, "done"), (unsigned long long)json_bytes(images, "all"),
           human_size(json_bytes(seed, "fetched_bytes"), size), human_count(json_bytes(seed, "pulls"), pulls),
           human_duration(json_number(seed, "ended_at") - json_number(seed, "started_at"), took),
           strcmp(state, "cancelled") == 0 ? " It was cancelled." : "");
    print_failures(json_object_get(seed, "failures"));
    if (json_number(seed, "next_at"))
        printf("\nIt is repeated %s.\n", human_age(json_number(seed, "next_at"), clock_real_ms(), next));
    return command_printed();
}

/* Ctrl-C and SIGTERM are asked for, not answered: the seed goes on without us. */
static bool wants_out(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

static void block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void say_how_to_watch(int64_t id)
{
    (void)fprintf(stderr, "The server goes on with it. To watch it again: entrepot seed --watch %lld\n", (long long)id);
}

static int ask(struct client *client, int64_t id, int64_t after, json_t **ret_seed)
{
    char target[128];
    (void)snprintf(target, sizeof(target), "/v1/seeds/%lld?after=%lld&wait=%d", (long long)id, (long long)after,
                   WAIT_MS);
    return client_call(client, "GET", target, NULL, ret_seed);
}

static int watch(struct client *client, int64_t id, bool json)
{
    struct progress *p = malloc(sizeof(*p));
    int64_t after = 0, said_at = 0;
    int r = p ? STATUS_OK : STATUS_FAILED;
    if (p)
        progress_init(p);
    while (r == STATUS_OK) {
        AUTO(auto_json_decref) json_t *seed = NULL;
        r = ask(client, id, after, &seed);
        if (r != STATUS_OK)
            break;
        after = json_number(seed, "sequence");
        if (has_ended(seed)) {
            progress_clear(p);
            r = json ? client_print_json(seed) : print_end(seed);
            r = r == STATUS_OK && strcmp(json_text(seed, "state"), "done") != 0 ? STATUS_FAILED : r;
            break;
        }
        if (!json)
            show(p, seed, &said_at);
        if (wants_out()) {
            say_how_to_watch(id);
            r = 128 + SIGINT;
        }
    }
    free(p);
    return r;
}

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
        (void)client_failed(
            self,
            "%zu of the images are patterns of tags: each tag that matches costs a pull, and one more a "
            "platform; up to 100 tags of a pattern are taken, and no price can say how many there are",
            patterns);
}

static char *make_body(const struct options *o)
{
    AUTO(auto_json_decref) json_t *images = json_array();
    size_t count;
    const struct image_reference *references = image_list_references(o->inputs.list, &count);
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(images, inputs_image(&references[i])) < 0)
            return NULL;
    AUTO(auto_json_decref)
    json_t *body = json_pack("{s:O, s:o, s:b, s:I}", "images", images, "platforms", inputs_platforms(&o->inputs), "pin",
                             o->pin, "every_ms", (json_int_t)o->every_ms);
    if (!body || (o->name && json_object_set_new(body, "name", json_string(o->name)) < 0))
        return NULL;
    return json_dumps(body, JSON_COMPACT);
}

static int order(const struct command *self, struct client *client, const struct options *o)
{
    AUTO_FREE char *body = make_body(o);
    AUTO(auto_json_decref) json_t *answer = NULL;
    if (!body)
        return client_failed(self, "no memory");
    warn_of_patterns(self, o->inputs.list);
    if (!o->dry_run && !o->detach)
        block_signals();
    int r = client_call(client, "POST", o->dry_run ? "/v1/seeds?dry_run=1" : "/v1/seeds", body, &answer);
    if (r != STATUS_OK)
        return r;
    if (o->dry_run)
        return o->client.json ? client_print_json(answer) : print_price(answer);
    int64_t id = json_number(answer, "id");
    if (!o->detach)
        return watch(client, id, o->client.json);
    if (o->client.json)
        return client_print_json(answer);
    say_how_to_watch(id);
    return STATUS_OK;
}

/* ------------------------------------------------------------------ seeds that there are */

/* By its number or its name. */
static int find(const struct command *self, struct client *client, const char *what, int64_t *ret_id)
{
    AUTO(auto_json_decref) json_t *answer = NULL;
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
    AUTO(auto_json_decref) json_t *answer = NULL;
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
        block_signals();
    return o->watch ? watch(client, id, o->client.json) : end(client, id, o->cancel != NULL, o->client.json);
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
