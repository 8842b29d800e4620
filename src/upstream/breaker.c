#include "upstream/breaker.h"

#include "upstream/backoff.h"

int64_t breaker_wait_ms(const struct breaker *b, int64_t now)
{
    if (b->state == UPSTREAM_CLOSED)
        return 0;
    if (b->state == UPSTREAM_HALF_OPEN)
        return BREAKER_PROBE_WAIT_MS;
    return b->open_until > now ? b->open_until - now : 0;
}

bool breaker_begin(struct breaker *b)
{
    if (b->state == UPSTREAM_CLOSED)
        return false;
    b->state = UPSTREAM_HALF_OPEN;
    return true;
}

void breaker_succeeded(struct breaker *b)
{
    *b = (struct breaker){.state = UPSTREAM_CLOSED};
}

void breaker_failed(struct breaker *b, bool probe, bool at_once, int64_t now, uint64_t random)
{
    b->failures++;
    if (b->state == UPSTREAM_CLOSED ? !at_once && b->failures < BREAKER_FAILURES : !probe)
        return; /* those that began before it opened say nothing new */
    b->state = UPSTREAM_OPEN;
    b->open_until = now + backoff_ms(b->trips++, BREAKER_FIRST_MS, BREAKER_MAX_MS, random);
}

void breaker_abandoned(struct breaker *b, bool probe, int64_t now)
{
    if (!probe || b->state != UPSTREAM_HALF_OPEN)
        return;
    b->state = UPSTREAM_OPEN;
    b->open_until = now;
}
