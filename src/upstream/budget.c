#include "upstream/budget.h"

#include "upstream/backoff.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NUMBER_MAX 1000000000000LL

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void budget_init(struct budget *b)
{
    *b = (struct budget){.limit = -1, .remaining = -1, .window_ms = -1};
}

/* ------------------------------------------------------------------ header fields */

/* -1: there is none. What is too large is the largest. */
static int64_t digits(const char *p)
{
    int64_t n = 0;
    if (*p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        n = min(n * 10 + (*p - '0'), NUMBER_MAX);
    return n;
}

/* The first number; behind it only what may be there. */
static int64_t parse_number(const char *s)
{
    s += strspn(s, " \t");
    bool negative = *s == '-';
    s += negative;
    size_t len = strspn(s, "0123456789");
    int64_t n = digits(s);
    if (len == 0 || !strchr(" \t;,", s[len]))
        return -1;
    return negative ? 0 : n;
}

/* The first ";w=" */
static int64_t parse_window(const char *s)
{
    while ((s = strchr(s, ';'))) {
        s++;
        s += strspn(s, " \t");
        if (strncasecmp(s, "w=", 2) == 0) {
            int64_t n = digits(s + 2);
            return n > 0 ? min(n * 1000, BUDGET_WINDOW_MAX_MS) : -1;
        }
    }
    return -1;
}

void budget_parse(const char *limit, const char *remaining, struct budget_fields *ret_fields)
{
    struct budget_fields f = {.limit = parse_number(limit), .remaining = parse_number(remaining)};
    f.window_ms = parse_window(remaining);
    if (f.window_ms < 0)
        f.window_ms = parse_window(limit);
    f.present = f.limit >= 0 || f.remaining >= 0;
    *ret_fields = f;
}

/* ------------------------------------------------------------------ what is seen */

/* Makes the last slot the one of `now`. */
static void turn_slots(struct budget *b, int64_t now)
{
    int64_t gone = (now - b->slot_start) / BUDGET_SLOT_MS;
    if (gone <= 0)
        return;
    size_t n = gone < BUDGET_SLOTS ? (size_t)gone : BUDGET_SLOTS;
    memmove(b->slots, b->slots + n, (BUDGET_SLOTS - n) * sizeof(b->slots[0]));
    memset(b->slots + BUDGET_SLOTS - n, 0, n * sizeof(b->slots[0]));
    b->slot_start += gone * BUDGET_SLOT_MS;
}

static void note_drop(struct budget *b, int64_t drop, int64_t now)
{
    if (b->first_drop_at == 0) {
        b->first_drop_at = now;
        b->slot_start = now;
    }
    turn_slots(b, now);
    b->slots[BUDGET_SLOTS - 1] += (uint32_t)min(drop, UINT32_MAX / BUDGET_SLOTS);
}

/* An image may be free of limits where others are not: only when none has shown any for a whole window there are none.
 */
static void observe_absence(struct budget *b, int64_t now)
{
    if (b->known && !b->unlimited && now - b->observed_at <= b->window_ms)
        return;
    b->known = b->unlimited = true;
    b->limit = b->remaining = b->window_ms = -1;
    b->observed_at = now;
}

void budget_observe(struct budget *b, const struct budget_fields *f, const char *id, int64_t now)
{
    if (id[0])
        (void)snprintf(b->id, sizeof(b->id), "%s", id);
    if (!f->present) {
        observe_absence(b, now);
        return;
    }
    if (f->remaining >= 0 && b->remaining > f->remaining)
        note_drop(b, b->remaining - f->remaining, now);
    if (b->unlimited) /* there is a limit after all; what is left of it, nobody has said yet */
        b->unlimited = b->known = false;
    if (f->limit >= 0)
        b->limit = f->limit;
    if (f->window_ms >= 0)
        b->window_ms = f->window_ms;
    if (f->remaining < 0)
        return;
    b->remaining = f->remaining;
    b->known = true;
    b->observed_at = now;
    if (b->remaining > 0 && b->pull_until > 0 && now >= b->lift_at)
        b->pull_until = 0;
}

void budget_pull_refused(struct budget *b, int64_t retry_after_ms, int64_t now, uint64_t random)
{
    int64_t longest = b->window_ms > 0 ? min(b->window_ms, BUDGET_BLOCK_MAX_MS) : BUDGET_BLOCK_UNKNOWN_MS;
    bool again = now >= b->lift_at; /* else it began before the last refusal was known */
    if (again) {
        b->lift_at = now + backoff_ms(b->pulls_refused, BUDGET_LIFT_FIRST_MS, BUDGET_LIFT_MAX_MS, random);
        b->pull_until = now + backoff_ms(b->pulls_refused, BUDGET_BLOCK_FIRST_MS, longest, random);
        b->pulls_refused++;
    }
    b->pull_until = max(b->pull_until, now + min(retry_after_ms, b->window_ms > 0 ? b->window_ms : longest));
    if (b->remaining > 0) { /* which was not true */
        b->remaining = 0;
        b->observed_at = now;
    }
}

void budget_data_refused(struct budget *b, int64_t retry_after_ms, int64_t now, uint64_t random)
{
    if (now >= b->data_until)
        b->data_until = now + backoff_ms(b->data_refused++, BUDGET_DATA_FIRST_MS, BUDGET_BLOCK_MAX_MS, random);
    b->data_until = max(b->data_until, now + min(retry_after_ms, BUDGET_BLOCK_MAX_MS));
}

void budget_pull_answered(struct budget *b)
{
    b->pulls_refused = b->data_refused = 0;
    b->pull_until = b->lift_at = b->data_until = 0;
}

void budget_restore(struct budget *b, const struct upstream_budget *was, int64_t now, int64_t wall)
{
    int64_t left = was->blocked_until - wall;
    if (left > 0)
        b->pull_until = now + min(left, BUDGET_BLOCK_MAX_MS);
    int64_t age = wall - was->observed_at;
    if (was->observed_at <= 0 || age < 0 || age > BUDGET_WINDOW_MAX_MS)
        return; /* never, or of a clock that was set */
    if (was->limit >= 0 || was->remaining >= 0) {
        b->limit = min(was->limit, NUMBER_MAX);
        b->remaining = max(min(was->remaining, NUMBER_MAX), -1);
        b->window_ms = was->window_ms > 0 ? min(was->window_ms, BUDGET_WINDOW_MAX_MS) : -1;
    }
    b->unlimited = was->limit < 0 && was->remaining < 0;
    b->known = b->unlimited || b->remaining >= 0;
    b->observed_at = now - age;
    (void)snprintf(b->id, sizeof(b->id), "%s", was->id ? was->id : "");
}

/* ------------------------------------------------------------------ what may be done */

static int64_t long_ago_ms(const struct budget *b, const struct budget_policy *policy)
{
    int64_t quarter = b->window_ms > 0 ? max(b->window_ms / 4, BUDGET_PROBE_FLOOR_MS) : INT64_MAX;
    return min(policy->probe_after_ms, quarter);
}

static int64_t reserve(const struct budget *b, unsigned percent)
{
    return b->limit > 0 ? b->limit / 100 * percent + b->limit % 100 * percent / 100 : 0;
}

enum budget_verdict budget_ask(const struct budget *b, enum upstream_class class, const struct budget_policy *policy,
                               int64_t now, int64_t *ret_wait_ms)
{
    bool blocked = now < b->pull_until;
    int64_t old_at = b->known ? b->observed_at + long_ago_ms(b, policy) : now;
    if (!blocked && b->unlimited)
        return BUDGET_GO;
    if (!blocked && !b->known && class == UPSTREAM_LIVE)
        return BUDGET_GO; /* whatever is left, it would be spent: the answer itself will tell */
    int64_t left = b->remaining - (int64_t)b->in_flight - reserve(b, policy->reserve_percent[class]);
    bool old = now >= old_at && (!blocked || now >= b->lift_at);
    if (!blocked && b->known && left > 0 && (class == UPSTREAM_LIVE || !old))
        return BUDGET_GO;
    if (old)
        return b->probing ? BUDGET_WAIT : BUDGET_PROBE;
    int64_t at = blocked ? min(b->pull_until, max(old_at, b->lift_at)) : old_at;
    if (!blocked && left + (int64_t)b->in_flight > 0)
        at = min(at, now + BUDGET_IN_FLIGHT_MS);
    *ret_wait_ms = max(at - now, 1);
    return BUDGET_NO;
}

bool budget_is_low(const struct budget *b, const struct budget_policy *policy)
{
    return b->known && !b->unlimited &&
           b->remaining - (int64_t)b->in_flight <= reserve(b, policy->reserve_percent[UPSTREAM_REVALIDATION]);
}

int64_t budget_remaining(const struct budget *b, int64_t now)
{
    return b->window_ms > 0 && now - b->observed_at > b->window_ms ? -1 : b->remaining;
}

int64_t budget_empty_in_ms(const struct budget *b, int64_t now)
{
    int64_t remaining = budget_remaining(b, now);
    if (remaining < 0 || b->first_drop_at == 0)
        return -1;
    struct budget copy = *b;
    turn_slots(&copy, now);
    int64_t spent = 0;
    for (size_t i = 0; i < BUDGET_SLOTS; i++)
        spent += copy.slots[i];
    if (spent == 0)
        return -1;
    int64_t span = min(now - b->first_drop_at, BUDGET_SLOTS * BUDGET_SLOT_MS);
    return remaining * max(span, BUDGET_RATE_MIN_MS) / spent;
}
