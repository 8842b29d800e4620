#include "cli/table.h"

#include "cli/command.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <string.h>

#define CELL_MAX 1024

struct table {
    struct libscols_table *table;
    struct libscols_line *line;
    size_t next; /* cell of the line */
    bool failed;
};

bool table_has_colours(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

struct table *table_create(void)
{
    struct table *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->table = scols_new_table();
    if (!t->table) {
        free(t);
        return NULL;
    }
    (void)scols_table_enable_colors(t->table, table_has_colours());
    return t;
}

void table_destroy(struct table *t)
{
    if (!t)
        return;
    scols_unref_table(t->table);
    free(t);
}

void table_column(struct table *t, const char *name, unsigned flags)
{
    int f = (flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0) | (flags & TABLE_SHORTEN ? SCOLS_FL_TRUNC : 0);
    if (t && !scols_table_new_column(t->table, name, 0, f))
        t->failed = true;
}

void table_row(struct table *t)
{
    if (!t)
        return;
    t->line = scols_table_new_line(t->table, NULL);
    t->next = 0;
    t->failed = t->failed || !t->line;
}

static void put(struct table *t, const char *text, enum table_colour colour)
{
    static const char *const colours[] = {
        [TABLE_GOOD] = "green", [TABLE_WARN] = "yellow", [TABLE_BAD] = "red", [TABLE_DIM] = "darkgray"};
    if (!t->line || scols_line_set_data(t->line, t->next, text) != 0) {
        t->failed = true;
        return;
    }
    if (colour != TABLE_PLAIN)
        (void)scols_cell_set_color(scols_line_get_cell(t->line, t->next), colours[colour]);
    t->next++;
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list ap;
    if (!t)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    put(t, text, TABLE_PLAIN);
}

void table_cell_coloured(struct table *t, enum table_colour colour, const char *text)
{
    if (t)
        put(t, text, colour);
}

bool table_is_empty(const struct table *t)
{
    return !t || scols_table_is_empty(t->table);
}

int table_print(struct table *t)
{
    if (!t || t->failed || (!table_is_empty(t) && scols_print_table(t->table) != 0)) {
        (void)fputs("entrepot: the table cannot be printed: out of memory\n", stderr);
        return STATUS_FAILED;
    }
    return command_printed();
}

int table_print_or(struct table *t, const char *none)
{
    if (!table_is_empty(t))
        return table_print(t);
    (void)puts(none);
    return command_printed();
}

int table_print_block(struct table *t)
{
    if (t && !t->failed && table_is_empty(t))
        return STATUS_OK;
    (void)putchar('\n');
    return table_print(t);
}
