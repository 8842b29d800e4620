#include "upstream/pace.h"

#include "upstream/backoff.h"

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t pace_wait_ms(const struct pace *p, int64_t now)
{
    return max(max(p->until, p->next) - now, 0);
}

int64_t pace_take(struct pace *p, int64_t now)
{
    int64_t wait = pace_wait_ms(p, now);
    p->next = p->interval_ms > 0 ? now + wait + p->interval_ms : 0;
    return wait;
}

void pace_refused(struct pace *p, int64_t retry_after_ms, int64_t now, uint64_t random)
{
    p->good = 0;
    if (retry_after_ms > PACE_HINT_MAX_MS)
        retry_after_ms = PACE_HINT_MAX_MS;
    if (now < p->until) {
        p->until = max(p->until, now + retry_after_ms);
        return;
    }
    p->until = now + max(retry_after_ms, backoff_ms(p->step, PACE_FIRST_MS, PACE_MAX_MS, random));
    p->step++;
    p->interval_ms = p->interval_ms > 0 ? p->interval_ms * 2 : PACE_INTERVAL_FIRST_MS;
    if (p->interval_ms > PACE_INTERVAL_MAX_MS)
        p->interval_ms = PACE_INTERVAL_MAX_MS;
}

void pace_pause(struct pace *p, int64_t ms, int64_t now, uint64_t random)
{
    p->until = max(p->until, now + backoff_ms(0, ms, ms, random));
}

void pace_answered(struct pace *p, int64_t now)
{
    if (now < p->until || p->step == 0 || ++p->good < PACE_GOOD)
        return;
    p->good = 0;
    p->step--;
    p->interval_ms /= 2;
    if (p->step == 0 || p->interval_ms < PACE_INTERVAL_FIRST_MS) {
        p->step = 0;
        p->interval_ms = p->next = 0;
    }
}

bool pace_is_free(const struct pace *p, int64_t now)
{
    return p->step == 0 && now >= p->until;
}
