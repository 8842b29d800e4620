/* What stays and what goes: entrepot pin, unpin, pins, rm, purge, gc and du. */
#include "base/plural.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/json.h"
#include "cli/table.h"

#include <inttypes.h>

/* ------------------------------------------------------------------ pins */

int pin_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {{"for", required_argument, NULL, 'f'}, CLIENT_OPTIONS, {0}};
    struct client_options client_options = {0};
    AUTO_JSON json_t *answer = NULL;
    int64_t for_ms = 0;
    for (int o; (o = command_option(argc, argv, options)) != -1;) {
        if (client_take_option(&client_options, o, optarg))
            continue;
        if (o != 'f')
            return command_bad_option(self, o, argv);
        if (human_read_duration(optarg, &for_ms) < 0)
            return command_misused(self, "%s: a time is a number and s, m, h, d or w: 30d", optarg);
    }
    if (argc - optind != 1)
        return command_misused(self, "which image, or which pattern?");
    AUTO_JSON json_t *body = json_pack("{s:s, s:I}", "what", argv[optind], "for_ms", (json_int_t)for_ms);
    AUTO_FREE char *text = body ? json_dumps(body, 0) : NULL;
    if (!text)
        return client_failed(self, "%s: it is no text", argv[optind]);
    int r = ask_once(self, &client_options, "POST", "/v1/pins", NULL, NULL, text, &answer);
    return r == STATUS_OK && client_options.json ? client_print_json(answer) : r;
}

int unpin_command(const struct command *self, int argc, char **argv)
{
    struct client_options o = {0};
    AUTO_JSON json_t *answer = NULL;
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (argc - optind != 1)
        return command_misused(self, "which image, or which pattern?");
    r = ask_once(self, &o, "DELETE", "/v1/pins", "what", argv[optind], NULL, &answer);
    return r == STATUS_OK && o.json ? client_print_json(answer) : r;
}

static int print_pins(const json_t *answer)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *pins = json_at(answer, "pins");
    int64_t now = json_number(answer, "now");
    table_column(t, "PINNED", TABLE_SHORTEN);
    table_column(t, "UNTIL", 0);
    table_column(t, "BY", TABLE_SHORTEN);
    for (size_t i = 0; i < json_array_size(pins); i++) {
        const json_t *pin = json_array_get(pins, i);
        int64_t until = json_number(pin, "expires_at");
        char text[HUMAN_TEXT], age[HUMAN_TEXT + 16];
        table_row(t);
        table_cell(t, "%s", json_text(pin, "what"));
        (void)snprintf(age, sizeof(age), "%s%s", until && until <= now ? "expired " : "", human_age(until, now, text));
        if (until && until <= now)
            table_cell_coloured(t, TABLE_WARN, age);
        else
            table_cell(t, "%s", until ? age : "it is unpinned");
        table_cell(t, "%s", json_text(pin, "origin"));
    }
    return table_print_or(t, "Nothing is pinned.");
}

int pins_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {.path = "/v1/pins", .question = "there are no arguments", .print = print_pins};
    return ask_and_show(self, argc, argv, &view);
}

/* ------------------------------------------------------------------ rm and purge */

static void print_removed(const json_t *answer)
{
    char text[HUMAN_TEXT];
    const char *kept_for = json_text(answer, "kept_for");
    if (*kept_for)
        printf("%s: the tag is forgotten; its content stays, as %s has it, too\n", json_text(answer, "image"),
               kept_for);
    else
        printf("%s: removed, %s in %" PRIi64 " %s\n", json_text(answer, "image"),
               human_size(json_bytes(answer, "bytes"), text), json_number(answer, "blobs"),
               plural(json_bytes(answer, "blobs"), "blob", "blobs"));
}

int rm_command(const struct command *self, int argc, char **argv)
{
    struct client_options o = {0};
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (optind == argc)
        return command_misused(self, "which image?");
    int worst = STATUS_OK;
    for (int i = optind; i < argc; i++) {
        AUTO_JSON json_t *answer = NULL;
        r = ask_once(self, &o, "DELETE", "/v1/image", "image", argv[i], NULL, &answer);
        if (r == STATUS_OK && o.json)
            r = client_print_json(answer);
        else if (r == STATUS_OK)
            print_removed(answer);
        if (r == STATUS_UNREACHABLE)
            return r;
        worst = r != STATUS_OK ? r : worst;
    }
    return worst == STATUS_OK ? command_printed() : worst;
}

int purge_command(const struct command *self, int argc, char **argv)
{
    struct client_options o = {0};
    AUTO_JSON json_t *answer = NULL;
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (argc - optind > 1)
        return command_misused(self, "one pattern at a time; quote it, lest the shell take it for files");
    r = ask_once(self, &o, "POST", "/v1/purge", "pattern", argv[optind], "", &answer);
    if (r != STATUS_OK)
        return r;
    if (o.json)
        return client_print_json(answer);
    printf("%" PRIi64 " %s will be asked for anew\n", json_number(answer, "purged"),
           plural(json_bytes(answer, "purged"), "tag or list", "tags and lists"));
    return command_printed();
}

/* ------------------------------------------------------------------ gc and du */

static void add_garbage(struct table *t, const json_t *answer, const char *what, const char *count, const char *bytes)
{
    char text[HUMAN_TEXT];
    table_row(t);
    table_cell(t, "%s", what);
    table_cell(t, "%" PRIi64, json_number(answer, count));
    table_cell(t, "%s", bytes ? human_size(json_bytes(answer, bytes), text) : "");
}

static int print_garbage(const json_t *answer)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    char text[HUMAN_TEXT];
    table_column(t, json_flag(answer, "dry_run") ? "WOULD GO" : "GONE", 0);
    table_column(t, "COUNT", TABLE_RIGHT);
    table_column(t, "SIZE", TABLE_RIGHT);
    add_garbage(t, answer, "blobs that no manifest names", "blobs", "blob_bytes");
    add_garbage(t, answer, "unfinished fetches", "partials", "partial_bytes");
    add_garbage(t, answer, "damaged files in quarantine", "quarantined", "quarantine_bytes");
    add_garbage(t, answer, "pins that have expired", "expired_pins", NULL);
    int r = table_print(t);
    uint64_t unknown = json_bytes(answer, "unknown");
    if (r == STATUS_OK && unknown > 0)
        printf("%" PRIu64 " %s (%s) %s\n", unknown, plural(unknown, "blob", "blobs"),
               human_size(json_bytes(answer, "unknown_bytes"), text),
               plural(unknown, "stays, as the index was made anew after it and does not know whose it is",
                      "stay, as the index was made anew after them and does not know whose they are"));
    return r;
}

int gc_command(const struct command *self, int argc, char **argv)
{
    static const struct option options[] = {{"dry-run", no_argument, NULL, 'n'}, CLIENT_OPTIONS, {0}};
    struct client_options client_options = {0};
    AUTO_JSON json_t *answer = NULL;
    bool dry_run = false;
    for (int o; (o = command_option(argc, argv, options)) != -1;) {
        if (client_take_option(&client_options, o, optarg))
            continue;
        if (o != 'n')
            return command_bad_option(self, o, argv);
        dry_run = true;
    }
    if (optind < argc)
        return command_misused(self, "there are no arguments");
    int r = ask_once(self, &client_options, "POST", "/v1/gc", "dry_run", dry_run ? "1" : NULL, "", &answer);
    if (r != STATUS_OK)
        return r;
    return client_options.json ? client_print_json(answer) : print_garbage(answer);
}

static int print_usage(const json_t *answer)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *list = json_at(answer, "repositories");
    char text[HUMAN_TEXT];
    table_column(t, "REPOSITORY", TABLE_SHORTEN);
    table_column(t, "MANIFESTS", TABLE_RIGHT);
    table_column(t, "OWN", TABLE_RIGHT);
    table_column(t, "SHARED", TABLE_RIGHT);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *u = json_array_get(list, i);
        table_row(t);
        table_cell(t, "%s", json_text(u, "repository"));
        table_cell(t, "%" PRIi64, json_number(u, "manifests"));
        table_cell(t, "%s", human_size(json_bytes(u, "own_bytes"), text));
        table_cell(t, "%s", human_size(json_bytes(u, "shared_bytes"), text));
    }
    bool is_empty = table_is_empty(t);
    int r = table_print(t);
    if (r != STATUS_OK)
        return r;
    printf("%sall       %s\n", is_empty ? "" : "\n", human_size(json_bytes(answer, "bytes"), text));
    printf("shared    %s, counted once\n", human_size(json_bytes(answer, "shared_bytes"), text));
    printf("nobody's  %s\n", human_size(json_bytes(answer, "unnamed_bytes"), text));
    return command_printed();
}

int du_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {.path = "/v1/usage", .question = "there are no arguments", .print = print_usage};
    return ask_and_show(self, argc, argv, &view);
}
