#include "cli/table.h"

#include "cli/command.h"
#include "cli/width.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <string.h>

#define CELL_MAX 1024
#define COLUMNS_MAX 16
#define SHORT 8 /* no column becomes narrower than that, or than its name */

struct table {
    struct libscols_table *table;
    struct libscols_line *line;
    size_t next; /* cell of the line */
    bool gives_way[COLUMNS_MAX];
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
    if (!t)
        return;
    size_t n = scols_table_get_ncols(t->table);
    if (n == COLUMNS_MAX || !scols_table_new_column(t->table, name, 0, flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0))
        t->failed = true;
    else
        t->gives_way[n] = flags & TABLE_SHORTEN;
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

/* ------------------------------------------------------------------ as wide as the terminal */

static struct libscols_cell *cell_at(const struct table *t, size_t line, size_t column)
{
    return scols_line_get_cell(scols_table_get_line(t->table, line), column);
}

static size_t width_of_name(const struct table *t, size_t column)
{
    return width_of(scols_cell_get_data(scols_column_get_header(scols_table_get_column(t->table, column))));
}

static size_t widest_cell(const struct table *t, size_t column)
{
    size_t widest = width_of_name(t, column);
    for (size_t i = 0; i < scols_table_get_nlines(t->table); i++) {
        const char *text = scols_cell_get_data(cell_at(t, i, column));
        size_t width = text ? width_of(text) : 0;
        widest = width > widest ? width : widest;
    }
    return widest;
}

/* The widest of those that give way and can; COLUMNS_MAX: there is none. */
static size_t find_widest(const struct table *t, const size_t *widths, const size_t *least)
{
    size_t found = COLUMNS_MAX;
    for (size_t i = 0; i < scols_table_get_ncols(t->table); i++)
        if (t->gives_way[i] && widths[i] > least[i] && (found == COLUMNS_MAX || widths[i] > widths[found]))
            found = i;
    return found;
}

static void shorten_column(struct table *t, size_t column, size_t width)
{
    for (size_t i = 0; i < scols_table_get_nlines(t->table); i++) {
        struct libscols_cell *cell = cell_at(t, i, column);
        const char *text = scols_cell_get_data(cell);
        char cut[CELL_MAX];
        if (!text || width_of(text) <= width)
            continue;
        width_shorten(text, width, "...", cut, sizeof(cut)); /* in the C locale "…" would be escaped */
        if (scols_cell_set_data(cell, cut) != 0)
            t->failed = true;
    }
}

/* libsmartcols would cut without a sign. */
static void fit(struct table *t)
{
    const size_t count = scols_table_get_ncols(t->table), most = scols_table_get_termwidth(t->table);
    size_t widths[COLUMNS_MAX], least[COLUMNS_MAX], all = count > 0 ? count - 1 : 0, widest;
    for (size_t i = 0; i < count; i++) {
        least[i] = width_of_name(t, i) > SHORT ? width_of_name(t, i) : SHORT;
        widths[i] = widest_cell(t, i);
        all += widths[i];
    }
    while (all > most && (widest = find_widest(t, widths, least)) != COLUMNS_MAX) {
        widths[widest]--;
        all--;
    }
    for (size_t i = 0; all <= most && i < count; i++) /* else lines are broken, whatever is cut */
        shorten_column(t, i, widths[i]);
}

int table_print(struct table *t)
{
    if (t && isatty(STDOUT_FILENO))
        fit(t);
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
