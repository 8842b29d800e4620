/*
 * The reading of one file: what the formats share. Nodes are looked at through it, which follows aliases and merge keys
 * and counts, so that no text keeps it busy for ever; what is found, and what is wrong, goes through it into the list.
 * Sticky: after -ENOMEM nothing more happens. Inner to the floor; one thread.
 */
#pragma once

#include "base/image_name.h"
#include "base/platform.h"
#include "base/yaml.h"
#include "lists/lists.h"

/* Steps in one file: nodes that are looked at, and for an alias as many as the document has anchors. Without aliases
 * there are fewer nodes than bytes, and most are looked at once. */
#define READING_STEPS_MIN 100000
#define READING_STEPS_A_BYTE 4
/* Of one document: the parser looks through them for every node that it frees. Real ones have some dozens. */
#define READING_ANCHORS_MAX 1000
/* Lists and maps in each other that are looked at. The parser has no more than this without aliases. */
#define READING_DEPTH_MAX 64

struct reading {
    struct image_list *list;
    const char *file;
    int line; /* of the document's beginning, less 1 */
    size_t steps, anchors;
    struct yaml_node *near; /* the key that was looked at last, for what has no place of its own; NULL: none */
    bool is_over;           /* steps are used up, which has been noted */
    int failed;             /* 0 or -ENOMEM */
};

struct reading_place {
    int line, column;
};

/* --- looking ------------------------------------------------------------------------------------------------ */

/* What it stands for, where it is an alias; NULL: nothing, or enough was looked at. */
struct yaml_node *reading_resolve(struct reading *r, struct yaml_node *node);
/* The value of a key, of the map itself or of those that are merged into it (<<). NULL: no map, no such key, or null.
 */
struct yaml_node *reading_find(struct reading *r, struct yaml_node *map, const char *key);
/* As yaml_next() and yaml_next_pair(), of anything: what is no list, or no map, has nothing. */
bool reading_next(struct reading *r, struct yaml_node *list, void **it, struct yaml_node **ret_member);
bool reading_next_pair(struct reading *r, struct yaml_node *map, void **it, const char **ret_key,
                       struct yaml_node **ret_value);
/* The text of a node, or NULL: it is none, or has a NUL in it. */
const char *reading_text(struct reading *r, struct yaml_node *node);
const char *reading_find_text(struct reading *r, struct yaml_node *map, const char *key);
struct reading_place reading_place(const struct reading *r, struct yaml_node *node);

/* --- finding ------------------------------------------------------------------------------------------------ */

/* Where an image is to be had, beside its name. Zeroed: the default. */
struct reading_extra {
    char platforms[IMAGE_LIST_PLATFORMS_MAX][PLATFORM_TEXT_MAX];
    size_t platform_count;
};

/* Adds a platform, in the one way in which it is written, so that the same one is found; what is none is noted. */
void reading_add_platform(struct reading *r, struct reading_place place, const char *platform,
                          struct reading_extra *extra);
/* An image; `extra` may be NULL. What is no reference is noted. */
void reading_add(struct reading *r, struct reading_place place, const char *written, const struct reading_extra *extra);
/* The same of a node, which is to be a text. */
void reading_add_node(struct reading *r, struct yaml_node *node, const struct reading_extra *extra);
/* Whether a reference could be put together, with what came of that; else it is noted. */
bool reading_could(struct reading *r, struct reading_place place, int result);
/* The tags of a repository that a pattern means. */
void reading_add_pattern(struct reading *r, struct reading_place place, const char *repository,
                         const struct image_pattern *pattern, const struct reading_extra *extra);

void reading_error(struct reading *r, struct reading_place place, const char *fmt, ...) PRINTF_LIKE(3, 4);
void reading_warn(struct reading *r, struct reading_place place, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* --- the list, for reading.c ---------------------------------------------------------------------------------- */

/* Copies what it is given, or merges it with what is there. -ENOMEM. */
MUST_CHECK int image_list_put(struct image_list *l, const struct image_reference *reference);
MUST_CHECK int image_list_note(struct image_list *l, bool is_error, const char *file, struct reading_place place,
                               const char *message);
const struct image_list_options *image_list_options(const struct image_list *l);

/* --- the formats ---------------------------------------------------------------------------------------------- */

void read_text(struct reading *r, const char *text, size_t len);
/* Of one document. */
void read_kubernetes(struct reading *r, struct yaml_node *root);
void read_compose(struct reading *r, struct yaml_node *root);
void read_skopeo(struct reading *r, struct yaml_node *root);
void read_regsync(struct reading *r, struct yaml_node *root);
void read_hauler(struct reading *r, struct yaml_node *root);
void read_zarf(struct reading *r, struct yaml_node *root);
