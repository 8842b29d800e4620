#include "upstream/outcome.h"

#include <errno.h>
#include <limits.h>

enum { NOTHING, OF_SIBLING, ODD, ABSENT, DENIED, PASSING, ABSENT_FIRST };

static unsigned rank_of(const struct failure *f)
{
    if (f->sibling)
        return OF_SIBLING;
    switch (f->error) {
    case -ENOENT:
        return f->first ? ABSENT_FIRST : ABSENT;
    case -EACCES:
        return DENIED;
    case -EAGAIN:
    case -EREMOTEIO:
    case -ECONNREFUSED:
    case -EHOSTUNREACH:
    case -ECONNRESET:
    case -ETIMEDOUT:
    case -EPROTO:
        return PASSING;
    default:
        return ODD;
    }
}

/* Nothing known means that it may be at once. */
static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void outcome_add(struct outcome *o, const struct failure *f)
{
    unsigned rank = rank_of(f);
    if (rank == PASSING && o->rank == PASSING)
        o->told.retry_after_ms = sooner(o->told.retry_after_ms, f->retry_after_ms);
    if (rank <= o->rank)
        return;
    o->rank = rank;
    o->told = *f;
    if (rank == OF_SIBLING && f->error == -ENOENT)
        o->told.error = -EREMOTEIO; /* that it has nothing says nothing about what there is */
}

void outcome_decide(struct outcome *o, const struct failure *f)
{
    o->rank = UINT_MAX;
    o->told = *f;
}
