/*
 * A YAML document in memory, read-only: the only file that knows libfyaml. One thread a document.
 *
 * Strict: UTF-8 without NUL bytes, one document, not too deep. Duplicate keys are left to the caller, who can report
 * them with his other errors. Nodes live as long as their document; a node that is NULL is YAML_NULL.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>

struct yaml;
struct yaml_node;

enum yaml_kind {
    YAML_NULL, /* nothing, or a plain null */
    YAML_TEXT,
    YAML_LIST,
    YAML_MAP,
    YAML_ALIAS,  /* *NAME: see yaml_resolve() */
    YAML_TAGGED, /* !NAME before any node */
};

/* Called for each error: lines and columns begin with 1. */
typedef void (*yaml_error_fn)(void *arg, int line, int column, const char *message);

/* -EINVAL: no YAML, on_error() was called. -ENOMEM. */
MUST_CHECK int yaml_open(const char *text, size_t len, yaml_error_fn on_error, void *arg, struct yaml **ret_yaml);
void yaml_close(struct yaml *y); /* accepts NULL */

struct yaml_node *yaml_root(const struct yaml *y);
enum yaml_kind yaml_kind(struct yaml_node *node);
/* Where the first character in it stands; false where it has none. Lines and columns begin with 1. */
bool yaml_place(struct yaml_node *node, int *ret_line, int *ret_column);

/* What a YAML_ALIAS stands for, which is none itself; NULL: nothing, or in the end itself. Looks through all anchors of
 * the document. An alias in a loop of them leads round and round: who follows some counts. */
struct yaml_node *yaml_resolve(struct yaml_node *node);

/* Of a YAML_TEXT, or "" of a YAML_NULL; with a NUL behind it, and perhaps some in it. NULL: no memory. */
const char *yaml_text(struct yaml_node *node, size_t *ret_len);
bool yaml_is_plain(struct yaml_node *node); /* stands without quotes */

/* Of a YAML_LIST or YAML_MAP. *it is NULL at first; false, or NULL, at the end. */
size_t yaml_count(struct yaml_node *node);
bool yaml_next(struct yaml_node *list, void **it, struct yaml_node **ret_member);
bool yaml_next_pair(struct yaml_node *map, void **it, struct yaml_node **ret_key, struct yaml_node **ret_value);
/* The first pair with this key; anything but a map has none. */
bool yaml_find(struct yaml_node *map, const char *key, struct yaml_node **ret_key, struct yaml_node **ret_value);

AUTO_DEFINE(struct yaml, yaml_close);
