/* What is stored: entrepot ls, tags and inspect. */
#include "base/limits.h"
#include "base/plural.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/json.h"
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>

/* ------------------------------------------------------------------ lists */

/* All pages of a list as one: {"now": …, "images": […]}. */
static int get_all(struct client *client, const char *path, const char *name, const char *value, json_t **ret_answer)
{
    AUTO_JSON json_t *all = NULL;
    do {
        AUTO_JSON json_t *page = NULL;
        AUTO_BUF struct buf target = BUF_INIT(64 * KIB);
        if (buf_adds(&target, path) < 0 || client_param(&target, name, value) < 0 ||
            client_param(&target, "after", json_text(all, "after")) < 0)
            return STATUS_FAILED;
        int r = client_call(client, "GET", target.data, NULL, &page);
        if (r != STATUS_OK)
            return r;
        if (!all) {
            all = json_incref(page);
            continue;
        }
        (void)json_array_extend(json_object_get(all, "images"), json_object_get(page, "images"));
        (void)json_object_set(all, "after", json_object_get(page, "after"));
    } while (*json_text(all, "after"));
    (void)json_object_del(all, "after");
    *ret_answer = TAKE_PTR(all);
    return STATUS_OK;
}

/* "amd64 arm64/v8", those of Linux without its name */
static void join_platforms(const json_t *list, char *text, size_t cap)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *p = json_string_value(json_array_get(list, i));
        if (!p)
            continue;
        if (strncmp(p, "linux/", 6) == 0)
            p += 6;
        int n = snprintf(text + used, cap - used, "%s%s", used ? " " : "", p);
        if (n < 0 || (size_t)n >= cap - used)
            return;
        used += (size_t)n;
    }
}

/* "lacks 3, pinned" */
static void add_note(struct table *t, const json_t *image)
{
    bool pinned = json_flag(image, "pinned");
    int64_t missing = json_number(image, "missing");
    char text[64] = "";
    if (!json_flag(image, "stored"))
        (void)snprintf(text, sizeof(text), "not stored%s", pinned ? ", pinned" : "");
    else if (missing > 0)
        (void)snprintf(text, sizeof(text), "lacks %" PRIi64 "%s", missing, pinned ? ", pinned" : "");
    if (*text)
        table_cell_coloured(t, TABLE_WARN, text);
    else
        table_cell(t, "%s", pinned ? "pinned" : "");
}

static void add_image(struct table *t, const json_t *image, int64_t now, const char *name)
{
    char text[HUMAN_TEXT], platforms[256];
    bool stored = json_flag(image, "stored");
    join_platforms(json_at(image, "platforms"), platforms, sizeof(platforms));
    table_row(t);
    table_cell(t, "%s", name);
    table_cell(t, "%s", human_short_digest(json_text(image, "digest"), text));
    table_cell(t, "%s", platforms);
    table_cell(t, "%s", stored ? human_size(json_bytes(image, "bytes"), text) : "");
    table_cell(t, "%s", stored ? human_duration(now - json_number(image, "stored_at"), text) : "");
    table_cell(t, "%s", stored ? human_duration(now - json_number(image, "used_at"), text) : "");
    add_note(t, image);
}

/* `none` is said where there are none. */
static int print_images(const json_t *answer, const char *first, const char *none)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *images = json_at(answer, "images");
    table_column(t, first, TABLE_SHORTEN);
    table_column(t, "DIGEST", 0);
    table_column(t, "PLATFORMS", TABLE_SHORTEN);
    table_column(t, "SIZE", TABLE_RIGHT);
    table_column(t, "AGE", TABLE_RIGHT);
    table_column(t, "USED", TABLE_RIGHT);
    table_column(t, "", 0);
    for (size_t i = 0; i < json_array_size(images); i++) {
        const json_t *image = json_array_get(images, i);
        const char *name = json_text(image, "image"), *tag = strrchr(name, ':');
        add_image(t, image, json_number(answer, "now"), strcmp(first, "TAG") == 0 && tag ? tag + 1 : name);
    }
    return table_print_or(t, none);
}

static int list(const struct command *self, const struct client_options *o, const char *path, const char *name,
                const char *value, const char *first, const char *none)
{
    AUTO(auto_client_close) struct client *client = NULL;
    AUTO_JSON json_t *answer = NULL;
    int r = client_open(self, o, &client);
    if (r == STATUS_OK)
        r = get_all(client, path, name, value, &answer);
    if (r != STATUS_OK)
        return r;
    return o->json ? client_print_json(answer) : print_images(answer, first, none);
}

int ls_command(const struct command *self, int argc, char **argv)
{
    struct client_options o = {0};
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (argc - optind > 1)
        return command_misused(self, "one pattern at a time; quote it, lest the shell take it for files");
    return list(self, &o, "/v1/images", "pattern", argv[optind], "IMAGE",
                argv[optind] ? "No image that is stored matches." : "Nothing is stored.");
}

int tags_command(const struct command *self, int argc, char **argv)
{
    struct client_options o = {0};
    int r = client_read_options(self, argc, argv, &o);
    if (r != STATUS_OK)
        return r;
    if (argc - optind != 1)
        return command_misused(self, "of which repository?");
    return list(self, &o, "/v1/tags", "repository", argv[optind], "TAG", "No tag of this repository is stored.");
}

/* ------------------------------------------------------------------ one image */

static void add_part(struct table *t, const json_t *part, bool is_deep)
{
    char text[HUMAN_TEXT];
    const char *kind = json_text(part, "kind"), *platform = json_text(part, "platform");
    bool is_leaf = strcmp(kind, "config") == 0 || strcmp(kind, "layer") == 0;
    table_row(t);
    table_cell(t, "%s%s%s%s", !is_deep ? "" : is_leaf ? "    " : "  ", kind, *platform ? " " : "", platform);
    table_cell(t, "%s", human_short_digest(json_text(part, "digest"), text));
    table_cell(t, "%s", human_size(json_bytes(part, "bytes"), text));
    if (json_flag(part, "stored"))
        table_cell_coloured(t, TABLE_GOOD, "stored");
    else if (json_flag(part, "elsewhere"))
        table_cell(t, "elsewhere");
    else
        table_cell_coloured(t, is_leaf ? TABLE_BAD : TABLE_DIM, "missing");
    if (json_number(part, "others") > 0)
        table_cell(t, "%" PRIi64, json_number(part, "others"));
    else
        table_cell(t, "%s", "");
    const char *type = json_text(part, "media_type");
    table_cell(t, "%s", strncmp(type, "application/vnd.", 16) == 0 ? type + 16 : type);
}

static int print_image(const json_t *image)
{
    AUTO(auto_table_destroy) struct table *t = table_create();
    const json_t *parts = json_at(image, "parts"), *others = json_at(image, "shared_with");
    int64_t now = json_number(image, "now");
    char text[HUMAN_TEXT], missing[HUMAN_TEXT];
    printf("image     %s%s\n", json_text(image, "image"), json_flag(image, "pinned") ? " (pinned)" : "");
    printf("digest    %s\n", json_text(image, "digest"));
    if (json_number(image, "checked_at") > 0)
        printf("tag       confirmed by the upstream %s\n", human_age(json_number(image, "checked_at"), now, text));
    printf("stored    %s, ", human_age(json_number(image, "stored_at"), now, text));
    printf("used %s\n", human_age(json_number(image, "used_at"), now, text));
    printf("size      %s stored", human_size(json_bytes(image, "bytes"), text));
    if (json_number(image, "missing") > 0)
        printf("; %" PRIi64 " %s of %s missing", json_number(image, "missing"),
               plural(json_bytes(image, "missing"), "part", "parts"),
               human_size(json_bytes(image, "missing_bytes"), missing));
    putchar('\n');
    for (size_t i = 0; i < json_array_size(others); i++)
        printf("%s%s\n", i == 0 ? "shared    with " : "          ", json_string_value(json_array_get(others, i)));
    putchar('\n');
    table_column(t, "PART", 0);
    table_column(t, "DIGEST", 0);
    table_column(t, "SIZE", TABLE_RIGHT);
    table_column(t, "STATE", 0);
    table_column(t, "OTHERS", TABLE_RIGHT);
    table_column(t, "TYPE", TABLE_SHORTEN);
    for (size_t i = 0; i < json_array_size(parts); i++)
        add_part(t, json_array_get(parts, i), i > 0);
    int r = table_print(t);
    if (r == STATUS_OK && json_flag(image, "cut"))
        printf("and more\n");
    return r;
}

int inspect_command(const struct command *self, int argc, char **argv)
{
    const struct ask_view view = {
        .path = "/v1/image", .param = "image", .question = "which image?", .print = print_image};
    return ask_and_show(self, argc, argv, &view);
}
