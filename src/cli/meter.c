#include "cli/meter.h"

#include "base/clock.h"
#include "cli/human.h"

#include <stdio.h>
#include <unistd.h>

#define PAUSE_MS 250

void meter_begin(struct meter *p)
{
    int64_t now = clock_monotonic_ms();
    *p = (struct meter){.is_shown = isatty(STDERR_FILENO) == 1, .began = now, .last = now};
}

void meter_show(struct meter *p, uint64_t bytes, uint64_t all)
{
    char done[HUMAN_TEXT], whole[HUMAN_TEXT], rate[HUMAN_TEXT];
    int64_t now = clock_monotonic_ms();
    if (!p->is_shown || now - p->last < PAUSE_MS)
        return;
    p->last = now;
    p->has_line = true;
    (void)human_size(bytes, done);
    (void)human_size(bytes * 1000 / (uint64_t)(now - p->began), rate);
    (void)fprintf(stderr, "\r\033[K%s%s%s, %s/s", done, all ? " of " : "", all ? human_size(all, whole) : "", rate);
    (void)fflush(stderr);
}

void meter_end(struct meter *p)
{
    if (p->has_line)
        (void)fputs("\r\033[K", stderr);
    p->has_line = false;
}
