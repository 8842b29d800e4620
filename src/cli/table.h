/*
 * Tables for a terminal: as wide as it is; what gives way is cut there, with a sign. In full where the output is no
 * terminal. Colours only on a terminal, and not where NO_COLOR is set. The only file that knows libsmartcols. One
 * thread.
 *
 * Nothing can fail before table_print(): without memory it prints nothing and says so.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdio.h>

struct table;

enum table_column { TABLE_LEFT = 0, TABLE_RIGHT = 1, TABLE_SHORTEN = 2 /* gives way where there is no room */ };
enum table_colour { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM };

struct table *table_create(void); /* NULL without memory, which the others accept */
void table_destroy(struct table *t);
/* `flags`: of enum table_column. Columns come before rows. */
void table_column(struct table *t, const char *name, unsigned flags);
void table_row(struct table *t);
/* The next cell of the row. */
void table_cell(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_cell_coloured(struct table *t, enum table_colour colour, const char *text);
bool table_is_empty(const struct table *t);
/* To standard output; an exit status. */
MUST_CHECK int table_print(struct table *t);
/* The same; a table without rows is said in these words. */
MUST_CHECK int table_print_or(struct table *t, const char *none);
/* The same behind an empty line; nothing of a table without rows. */
MUST_CHECK int table_print_block(struct table *t);

/* Whether standard output is a terminal that takes colours. */
bool table_has_colours(void);

AUTO_DEFINE(struct table, table_destroy);
