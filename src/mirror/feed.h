/*
 * Two mirrors that name each other must not wait for each other. Whoever brings something about (a flight, a question)
 * says who it is fed by, and whoever wants to wait for it, who he is. A sibling does not wait for what comes from a
 * sibling, which may be himself: he is told that it is not here, and asks elsewhere. While it is not known yet what the
 * sibling has, two may have asked each other at the same moment. Of them the one with the lesser name waits
 * (upstream_hop(); docs/behaviour.md, "Siblings"), so that the other one goes upstream for both. No state; any thread.
 */
#pragma once

#include <stdbool.h>

enum feed {
    FEED_UPSTREAM, /* or nobody has been asked yet */
    FEED_ASKED,    /* a sibling is being asked */
    FEED_SIBLING,  /* a sibling gives it */
};

enum asker { ASKER_CLIENT, ASKER_LESSER, ASKER_GREATER /* siblings; also he who has our own name */ };

static inline bool feed_may_be_circular(enum feed feed, enum asker asker)
{
    return (feed == FEED_SIBLING && asker != ASKER_CLIENT) || (feed == FEED_ASKED && asker == ASKER_GREATER);
}
