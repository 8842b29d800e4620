/*
 * Progress on a terminal: a few lines that are drawn over and over, as wide as it is; and where standard error is no
 * terminal, a line of plain text now and then. One thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines that can be drawn at once, and bytes of one. */
#define PROGRESS_LINES_MAX 8
#define PROGRESS_LINE_MAX 1024

struct progress {
    bool is_terminal;
    size_t drawn; /* lines on the screen that are to be drawn over */
    size_t width; /* columns */
    char lines[PROGRESS_LINES_MAX][PROGRESS_LINE_MAX];
    size_t count;
};

/* Of standard error. */
void progress_init(struct progress *p);
/* Begins a new picture, and takes the width of the terminal anew. */
void progress_begin(struct progress *p);
/* A line of text, cut to the width. */
void progress_line(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "docker.io/library/alpine:3.20  ━━━━━━━━────────  3.1 of 7.0 MiB". The tail is shown in full; of what it leaves, half
 * is the bar's, and none where that is too little; the name is shortened in its middle. `part` of `whole`; `whole` 0:
 * it is not known. Lines whose tails are of one width have their bars in line. */
void progress_bar(struct progress *p, const char *name, uint64_t part, uint64_t whole, const char *tail);
/* Shows it. */
void progress_show(struct progress *p);
/* What is on the screen goes away. */
void progress_clear(struct progress *p);
/* For the tests: adds the bar to `line` as it is on a terminal of that width. */
void progress_format_bar(char *line, size_t len, size_t width, const char *name, uint64_t part, uint64_t whole,
                         const char *tail);
