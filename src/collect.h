/*
 * What metrics show of the upstream: the snapshot of its sources, taken anew for each page.
 */
#pragma once

struct upstream;

void collect_start(struct upstream *u);
/* No page looks at the upstream any more when this returns. */
void collect_stop(void);
