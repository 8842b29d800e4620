/* docs/configuration.md, from the schema tables. */
#include "config/config.h"
#include "config/schema.h"
#include "config/value.h"

#include <errno.h>

static const char intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Written by `entrepot reference` from src/config/schema.c: change it there. -->\n"
    "\n"
    "`entrepot serve --config FILE` reads one YAML file of at most 1 MiB. Everything has a default: an empty file is "
    "a\n"
    "mirror of the well-known registries on 127.0.0.1:5000. `entrepot check-config FILE` says what is wrong with a "
    "file,\n"
    "all of it at once, with line and column:\n"
    "\n"
    "    entrepot.yaml:4:3: server.listn: unknown key; did you mean \"listen\"?\n"
    "\n"
    "SIGHUP has the file read again. When it is wrong, the log says so and the old configuration stays. Options that "
    "take\n"
    "effect at the next start only are marked, and named in the log when they have changed.\n"
    "\n"
    "- A key without a value (or `null`) is as if it were not there: the default holds.\n"
    "- A **duration** is a number and a unit: `250ms`, `20s`, `5m`, `12h`, `30d`; several from large to small: "
    "`1h30m`.\n"
    "- A **size** is a number of bytes, or of `KiB`, `MiB`, `GiB` or `TiB`; a **percentage** is one of the file system "
    "that\n"
    "  the store is on: `90%`.\n"
    "- A **list of texts** with one member may be written without brackets: `listen: 127.0.0.1:5000`.\n"
    "- Relative paths start at the working directory.\n"
    "- YAML anchors with aliases, tags and several documents in a file are refused.\n"
    "\n";

static int add_value(struct buf *b, const struct schema_item *item, int64_t value)
{
    switch (item->type) {
    case SCHEMA_DURATION:
        return value_add_duration(b, (uint64_t)value);
    case SCHEMA_SIZE:
    case SCHEMA_ROOM:
        return value_add_size(b, (uint64_t)value);
    default:
        return value_add_count(b, (uint64_t)value);
    }
}

static int add_limits(struct buf *b, const struct schema_item *item)
{
    if (item->max == 0 || item->min == item->max || item->type == SCHEMA_ROOM)
        return 0;
    int r = buf_adds(b, ", ");
    if (r == 0)
        r = add_value(b, item, item->min);
    if (r == 0)
        r = buf_adds(b, " to ");
    return r == 0 ? add_value(b, item, item->max) : r;
}

static int add_type(struct buf *b, const struct schema_item *item)
{
    if (item->type != SCHEMA_CHOICE) {
        int r = buf_addf(b, "*%s", schema_type_name(item->type));
        if (r == 0)
            r = add_limits(b, item);
        return r == 0 ? buf_adds(b, "*") : r;
    }
    int r = buf_adds(b, "*one of*");
    for (unsigned i = 0; r == 0 && item->choices[i]; i++)
        r = buf_addf(b, "%s `%s`", i ? "," : "", item->choices[i]);
    return r;
}

static int add_default(struct buf *b, const struct schema_item *item)
{
    if (item->required)
        return buf_adds(b, " · required");
    if (item->derived)
        return buf_addf(b, " · default: %s", item->derived);
    if (item->fallback)
        return buf_addf(b, " · default: `%s`", item->fallback);
    if (item->builtin) {
        int r = buf_adds(b, " · built in:");
        for (size_t i = 0; r == 0 && item->builtin(i); i++)
            r = buf_addf(b, "%s `%s`", i ? "," : "", item->builtin(i));
        return r;
    }
    return buf_adds(b, " · default: none");
}

static int add_items(struct buf *b, const char *prefix, const struct schema_item *items, unsigned depth)
{
    int r = 0;
    for (const struct schema_item *item = items; r == 0 && item->name; item++) {
        AUTO_BUF struct buf path = BUF_INIT(SCHEMA_TEXT_MAX);
        r = buf_addf(&path, "%s%s", prefix, item->name);
        if (r == 0)
            r = buf_addf(b, "%s `%s`\n\n", depth == 0 ? "##" : "###", path.data);
        if (r == 0 && item->type != SCHEMA_SECTION) {
            r = add_type(b, item);
            if (r == 0)
                r = add_default(b, item);
            if (r == 0)
                r = buf_adds(b, item->restart ? " · takes effect at the next start\n\n" : "\n\n");
        }
        if (r == 0)
            r = buf_addf(b, "%s\n\n", item->doc);
        if (r == 0 && item->items) {
            r = buf_adds(&path, item->type == SCHEMA_MAP ? ".NAME." : item->type == SCHEMA_LIST ? "[]." : ".");
            if (r == 0)
                r = add_items(b, path.data, item->items, depth + 1);
        }
    }
    return r;
}

int config_reference(struct buf *markdown)
{
    int r = buf_adds(markdown, intro);
    if (r == 0)
        r = add_items(markdown, "", config_schema, 0);
    if (r == 0)
        buf_cut(markdown, markdown->len - 1); /* one end of line at the end */
    return r;
}
