/*
 * The help of a command, read line by line: its text is written for people (command.h), and the manual and the shells'
 * completion are made of the same. Pure.
 *
 *     Prose starts at the margin.
 *
 *       --option VALUE  what it is for, and, where that is long,
 *                       the rest of it
 *       entrepot an example --of it
 *
 *     TERM   the same for what is no option, with three spaces or more behind it
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum help_kind {
    HELP_BLANK,
    HELP_PROSE,
    HELP_OPTION,  /* `term` is "--option VALUE", `text` what it is for */
    HELP_TERM,    /* the same for anything else */
    HELP_MORE,    /* `text` goes on with the last option or term */
    HELP_EXAMPLE, /* `text`, without the two spaces */
};

/* Into the help; none ends with a zero byte. */
struct help_line {
    enum help_kind kind;
    const char *term, *text;
    size_t term_len, text_len;
};

/* Where in the help one is; begins as {help}. */
struct help {
    const char *rest;
    bool in_item;
};

bool help_next(struct help *h, struct help_line *ret_line);
/* Skips to the next line of an option. */
bool help_next_option(struct help *h, struct help_line *ret_line);
