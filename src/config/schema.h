/*
 * The shape of the configuration as data: every option is one row of a table in schema.c, which says its name, type,
 * place in the struct, limits, default and documentation. Reading (reader.c), freeing, comparing (below) and the
 * reference (reference.c) walk the tables; nothing else knows an option's name. After Knot DNS's conf/schema.c.
 *
 * A new option is a field in config.h and a row in schema.c. Sections, lists of maps and maps of maps nest as wanted.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
    SCHEMA_BOOL,     /* bool */
    SCHEMA_COUNT,    /* unsigned */
    SCHEMA_DURATION, /* int64_t, milliseconds */
    SCHEMA_SIZE,     /* uint64_t, bytes */
    SCHEMA_ROOM,     /* struct config_room */
    SCHEMA_CHOICE,   /* an enum whose values are indices of .choices */
    SCHEMA_TEXT,     /* char *, or NULL */
    SCHEMA_TEXTS,    /* struct config_list */
    SCHEMA_SECTION,  /* a map of .items, in the same struct */
    SCHEMA_LIST,     /* a list of maps: an array of structs, and a size_t, their number */
    SCHEMA_MAP,      /* a map from names to maps: likewise; a struct begins with its name, a char * */
};

/* Where a default is wanted. */
struct schema_place {
    const void *root;   /* the outermost struct */
    const void *owner;  /* the struct that the LIST or MAP is in which this one is a member of; of the root NULL */
    const void *object; /* the struct of the table */
};

struct schema_item {
    const char *name; /* NULL ends a table */
    enum schema_type type;
    size_t offset;                   /* of the value in the struct that the table describes; of a SECTION 0 */
    size_t count_offset;             /* LIST, MAP: of the number of structs */
    size_t size;                     /* LIST, MAP: of a struct */
    const struct schema_item *items; /* SECTION, LIST, MAP: the table of what is in it */
    const char *const *choices;      /* CHOICE: ends with NULL */
    int64_t min,
        max; /* COUNT, DURATION, SIZE, ROOM (bytes): of the value; TEXTS, LIST, MAP: of the number of members */
    bool required;

    /* The default, as it would be written in a file; of TEXTS one word a member. NULL: unset, empty. */
    const char *fallback;
    /* Instead of it, a default that depends on options of rows above: adds its text, or nothing for unset.
     * `derived` says it in words. */
    int (*derive)(const struct schema_place *place, struct buf *text);
    const char *derived;

    const char *(*check)(const char *text); /* TEXT, TEXTS, names of a MAP: NULL, or what is wrong */
    const char *(*builtin)(size_t index);   /* MAP: names that are there unless `false` is said; NULL ends them */
    bool restart;                           /* takes effect at the next start only */
    const char *doc;                        /* Markdown */
};

#define SCHEMA_ITEMS_MAX 32  /* rows of a table */
#define SCHEMA_DEPTH_MAX 8   /* tables in tables */
#define SCHEMA_TEXT_MAX 4096 /* bytes of a text */

extern const struct schema_item config_schema[]; /* of struct config */

/* Frees all that the table's pointers hold and zeroes them; the struct itself is the caller's. */
void schema_finish(const struct schema_item *items, void *object);
/* Adds the .restart options that differ, with their path, separated by ", ". Those in lists and maps are not looked at.
 */
MUST_CHECK int schema_restart_keys(const struct schema_item *items, const void *was, const void *now, struct buf *keys);
/* What a type is called for a reader, "a duration". */
const char *schema_type_name(enum schema_type type);
