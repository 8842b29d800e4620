/*
 * What metrics show of the upstream and of seeds: snapshots, taken anew for each page, so that nothing is shown of what
 * is no more.
 */
#pragma once

struct mirror;
struct upstream;

struct collected {
    struct upstream *upstream;
    struct mirror *mirror;
};

/* `c`, and what it names, is there until collect_stop(). */
void collect_start(struct collected *c);
/* No page looks at them any more when this returns. */
void collect_stop(void);
