/*
 * How far a long command has come: one line on standard error that is written over again and again, where that is a
 * terminal and nobody minds; nothing else. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct meter {
    bool is_shown;       /* there is a terminal */
    int64_t began, last; /* monotonic ms */
    bool has_line;
};

void meter_begin(struct meter *p);
/* `all`: 0 where nobody knows. A few times a second at the most, however often it is called. */
void meter_show(struct meter *p, uint64_t bytes, uint64_t all);
/* Takes the line away. */
void meter_end(struct meter *p);
