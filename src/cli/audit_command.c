/* Asks of images whether they would be served if every upstream vanished now. The gate before a cluster is scaled up.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "base/plural.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/inputs.h"
#include "cli/json.h"
#include "cli/table.h"

#include <string.h>

/* Images of one request: the answer comes soon, whatever the length of the list. */
#define BATCH 200

static bool is_served(const json_t *image)
{
    return strcmp(json_text(image, "verdict"), "served") == 0;
}

/* ------------------------------------------------------------------ asking */

static int ask(struct client *client, const struct command *self, const struct inputs *in, json_t *images,
               json_t **ret_answer)
{
    AUTO_JSON json_t *body = json_pack("{s:O, s:o}", "images", images, "platforms", inputs_platforms(in));
    AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return client_failed(self, "no memory");
    return client_call(client, "POST", "/v1/audit", text, ret_answer);
}

/* Asks for the images from `from` on, a batch, and adds what is said of them to `all`. */
static int ask_batch(struct client *client, const struct command *self, const struct inputs *in, size_t from,
                     json_t *all)
{
    AUTO_JSON json_t *images = json_array(), *answer = NULL;
    size_t count;
    const struct image_reference *references = image_list_references(in->list, &count);
    for (size_t i = from; i < count && i < from + BATCH; i++)
        if (json_array_append_new(images, inputs_image(&references[i])) < 0)
            return client_failed(self, "no memory");
    int r = ask(client, self, in, images, &answer);
    if (r == STATUS_OK && json_array_extend(all, json_object_get(answer, "images")) < 0)
        return client_failed(self, "no memory");
    return r;
}

/* {"images": […], "served": …, "wanting": …, "manifest_gets": …, "missing_bytes": …, "has_unknown_bytes": …} */
static json_t *sum_up(json_t *images)
{
    uint64_t served = 0, gets = 0, bytes = 0;
    bool unknown = false;
    const json_t *image;
    size_t at;
    json_array_foreach(images, at, image)
    {
        served += is_served(image);
        gets += json_bytes(image, "manifest_gets");
        bytes += json_bytes(image, "missing_bytes");
        unknown = unknown || json_flag(image, "has_unknown_bytes");
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:O}", "served", (json_int_t)served, "wanting",
                     (json_int_t)(json_array_size(images) - served), "manifest_gets", (json_int_t)gets, "missing_bytes",
                     (json_int_t)bytes, "has_unknown_bytes", unknown, "images", images);
}

/* ------------------------------------------------------------------ printing */

static void add_platforms(struct buf *b, const json_t *image)
{
    const json_t *platform;
    size_t at;
    json_array_foreach(json_object_get(image, "platforms"), at, platform)
    {
        const char *verdict = json_text(platform, "verdict");
        bool served = strcmp(verdict, "served") == 0, offered = strcmp(verdict, "not_offered") != 0;
        (void)!buf_addf(b, "%s%s%s", at ? " " : "", json_text(platform, "platform"),
                        served    ? ""
                        : offered ? " (wanting)"
                                  : " (not offered)");
    }
}

/* "3.4 MiB"; "> 3.4 MiB" where there is more; "?" where nothing is known. */
static void add_bytes(struct buf *b, const json_t *of)
{
    char size[HUMAN_TEXT];
    uint64_t bytes = json_bytes(of, "missing_bytes");
    bool more = json_flag(of, "has_unknown_bytes");
    (void)!(more && bytes == 0 ? buf_adds(b, "?") : buf_addf(b, "%s%s", more ? "> " : "", human_size(bytes, size)));
}

static void add_row(struct table *t, const json_t *image)
{
    AUTO_BUF struct buf platforms = BUF_INIT(8 * KIB), bytes = BUF_INIT(HUMAN_TEXT + 8);
    bool served = is_served(image);
    add_bytes(&bytes, image);
    add_platforms(&platforms, image);
    table_row(t);
    table_cell_coloured(t, served ? TABLE_GOOD : TABLE_BAD, served ? "served" : "wanting");
    table_cell(t, "%s", json_text(image, "image"));
    table_cell(t, "%s", platforms.data ? platforms.data : "");
    if (served) {
        table_cell(t, "%s", "");
        table_cell(t, "%s", "");
    } else {
        table_cell(t, "%llu", (unsigned long long)json_bytes(image, "manifest_gets"));
        table_cell(t, "%s", bytes.data ? bytes.data : "");
    }
}

/* *ret_printed: there are rows. */
static int print_table(const json_t *images, bool wanting_only, bool *ret_printed)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *image;
    size_t at;
    table_column(t, "STATE", TABLE_LEFT);
    table_column(t, "IMAGE", TABLE_LEFT);
    table_column(t, "PLATFORMS", TABLE_SHORTEN);
    table_column(t, "PULLS", TABLE_RIGHT);
    table_column(t, "BYTES", TABLE_RIGHT);
    json_array_foreach(images, at, image) if (!wanting_only || !is_served(image)) add_row(t, image);
    *ret_printed = !table_is_empty(t);
    return *ret_printed ? table_print(t) : STATUS_OK;
}

/* Why, and where it is from; part by part, where an image is there but not all of it. */
static void print_cause(const json_t *image)
{
    const json_t *parts = json_object_get(image, "wanting"), *part;
    const char *origin = json_text(image, "origin");
    char size[HUMAN_TEXT];
    size_t at;
    printf("\n%s\n", json_text(image, "image"));
    if (*origin)
        printf("  %s\n", origin);
    printf("  %s\n", json_text(image, "cause"));
    json_array_foreach(parts, at, part)
    {
        if (!*json_text(part, "digest"))
            continue;
        const char *platform = json_text(part, "platform"), *state = json_text(part, "state");
        printf("  %s%s%s %s %s is %s\n", platform, *platform ? " " : "", json_text(part, "kind"),
               json_text(part, "digest"), human_size(json_bytes(part, "bytes"), size),
               strcmp(state, "in_doubt") == 0 ? "in doubt: not looked at since a stop that was not orderly"
               : strcmp(state, "hidden") == 0 ? "hidden: an upstream has to show it under this name first"
                                              : "missing");
    }
    if (json_bytes(image, "wanting_more") > 0)
        printf("  and %llu more\n", (unsigned long long)json_bytes(image, "wanting_more"));
}

static int print_audit(const json_t *audit, bool wanting_only)
{
    const json_t *images = json_object_get(audit, "images"), *image;
    AUTO_BUF struct buf bytes = BUF_INIT(HUMAN_TEXT + 8);
    size_t at;
    bool printed;
    int r = print_table(images, wanting_only, &printed);
    if (r != STATUS_OK)
        return r;
    json_array_foreach(images, at, image) if (!is_served(image)) print_cause(image);
    printf("%s%llu of %zu images would be served without an upstream", printed ? "\n" : "",
           (unsigned long long)json_bytes(audit, "served"), json_array_size(images));
    add_bytes(&bytes, audit);
    if (json_bytes(audit, "wanting") > 0)
        printf("; seeding the rest takes about %llu %s and %s", (unsigned long long)json_bytes(audit, "manifest_gets"),
               plural(json_bytes(audit, "manifest_gets"), "pull", "pulls"),
               bytes.data && strcmp(bytes.data, "?") != 0 ? bytes.data : "as many bytes as their manifests will say");
    printf(".\n");
    return command_printed();
}

/* ------------------------------------------------------------------ the command */

static int audit(const struct command *self, const struct inputs *in, const struct client_options *options,
                 bool wanting_only)
{
    AUTO(auto_client_close) struct client *client = NULL;
    AUTO_JSON json_t *images = json_array(), *all = NULL;
    size_t count;
    int r = client_open(self, options, &client);
    (void)image_list_references(in->list, &count);
    for (size_t at = 0; r == STATUS_OK && at < count; at += BATCH)
        r = ask_batch(client, self, in, at, images);
    if (r != STATUS_OK)
        return r;
    all = sum_up(images);
    if (!all)
        return client_failed(self, "no memory");
    r = options->json ? client_print_json(all) : print_audit(all, wanting_only);
    if (r == STATUS_OK && json_bytes(all, "wanting") > 0)
        return STATUS_WANTING;
    return r == STATUS_OK && image_list_errors(in->list) > 0 ? STATUS_FAILED : r;
}

int audit_command(const struct command *self, int argc, char **argv)
{
    enum { WANTING = 1 };
    static const struct option options[] = {
        CLIENT_OPTIONS, INPUTS_OPTIONS, {"wanting", no_argument, NULL, WANTING}, {0}};
    struct client_options client_options = {0};
    AUTO(auto_inputs_finish) struct inputs in = {0};
    bool wanting_only = false;
    int r = STATUS_OK;
    for (int o; r == STATUS_OK && (o = command_option(argc, argv, options)) != -1;) {
        if (inputs_is_option(o))
            r = inputs_take_option(&in, self, o, optarg);
        else if (o == WANTING)
            wanting_only = true;
        else if (!client_take_option(&client_options, o, optarg))
            r = command_bad_option(self, o, argv);
    }
    if (r == STATUS_OK)
        r = inputs_read(&in, self, argv + optind, (size_t)(argc - optind));
    return r == STATUS_OK ? audit(self, &in, &client_options, wanting_only) : r;
}
