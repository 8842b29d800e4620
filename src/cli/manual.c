#include "cli/manual.h"

#include "cli/help.h"

#include <string.h>

/* Roff has a meaning for a backslash anywhere, and for a dot or an apostrophe at the start of a line. */
static int add_escaped(struct buf *b, const char *s, size_t len)
{
    int r = len > 0 && (s[0] == '.' || s[0] == '\'') ? buf_adds(b, "\\&") : 0;
    for (size_t i = 0; r == 0 && i < len; i++)
        r = s[i] == '\\' ? buf_adds(b, "\\e") : s[i] == '-' ? buf_adds(b, "\\-") : buf_add(b, &s[i], 1);
    return r;
}

static int add_line(struct buf *b, const char *before, const char *s, size_t len)
{
    int r = buf_adds(b, before);
    if (r == 0)
        r = add_escaped(b, s, len);
    return r == 0 ? buf_adds(b, "\n") : r;
}

static int add_item(struct buf *b, const struct help_line *l)
{
    int r = add_line(b, ".TP\n\\fB", l->term, l->term_len);
    if (r < 0)
        return r;
    b->data[--b->len] = '\0'; /* the font ends before the line does */
    r = buf_adds(b, "\\fR\n");
    return r == 0 ? add_line(b, "", l->text, l->text_len) : r;
}

static int add_help(struct buf *b, const char *help)
{
    struct help h = {.rest = help};
    struct help_line l;
    bool in_example = false;
    int r = 0;
    while (r == 0 && help_next(&h, &l)) {
        if (in_example != (l.kind == HELP_EXAMPLE)) {
            in_example = !in_example;
            r = buf_adds(b, in_example ? ".EX\n" : ".EE\n");
        }
        if (r < 0)
            break;
        if (l.kind == HELP_OPTION || l.kind == HELP_TERM)
            r = add_item(b, &l);
        else if (l.kind == HELP_BLANK)
            r = buf_adds(b, ".PP\n");
        else
            r = add_line(b, in_example ? "  " : "", l.text, l.text_len);
    }
    return r == 0 && in_example ? buf_adds(b, ".EE\n") : r;
}

static int add_command(struct buf *b, const struct command *c)
{
    int r = add_line(b, ".SS entrepot ", c->name, strlen(c->name));
    if (r == 0 && *c->arguments) {
        b->data[--b->len] = '\0';
        r = add_line(b, " ", c->arguments, strlen(c->arguments));
    }
    return r == 0 ? add_help(b, c->help) : r;
}

static int add_section(struct buf *b, const char *name, const char *help)
{
    int r = buf_addf(b, ".SH %s\n", name);
    return r == 0 ? add_help(b, help) : r;
}

int manual_write(const struct command *commands, struct buf *roff)
{
    int r = buf_adds(roff, ".TH ENTREPOT 1 \"\" \"entrepot " ENTREPOT_VERSION "\"\n"
                           ".SH NAME\nentrepot \\- a mirror of container registries\n"
                           ".SH SYNOPSIS\n.B entrepot\n.I COMMAND\n.RI [ ARGUMENTS ]\n");
    if (r == 0)
        r = add_section(
            roff, "DESCRIPTION",
            "Entrepot fetches images from Docker Hub and other registries once, keeps them, and serves them "
            "from its disk:\nwhat is stored is served whatever the registry does.\n"
            "\n"
            "`entrepot serve` is the server. Commands that show or change what it does ask it over its "
            "socket.\n");
    if (r == 0)
        r = buf_adds(roff, ".SH COMMANDS\n");
    for (const struct command *c = commands; r == 0 && c->name; c++)
        r = add_command(roff, c);
    return r == 0 ? add_section(roff, "EXIT STATUS", command_statuses) : r;
}
