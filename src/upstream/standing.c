#include "upstream/standing.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/plural.h"
#include "upstream/ledger.h"
#include "upstream/limit429.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool intent_is_counted(const struct intent *intent)
{
    return intent->object == UPSTREAM_MANIFEST && !intent->head;
}

static struct budget *budget_of(const struct source *s, bool anonymous)
{
    return &s->accounts[anonymous]->budget;
}

/* ------------------------------------------------------------------ words */

/* "registry-1.docker.io (account ci): ", then what is wrong. */
static void say(struct failure *f, const struct source *s, bool anonymous, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void say(struct failure *f, const struct source *s, bool anonymous, const char *fmt, ...)
{
    bool named = s->account[0] && !anonymous;
    int n = snprintf(f->message, sizeof(f->message), "%s%s%s%s: ", s->url.authority, named ? " (account " : "",
                     named ? s->account : "", named ? ")" : "");
    if (n < 0 || (size_t)n >= sizeof(f->message))
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->message + n, sizeof(f->message) - (size_t)n, fmt, ap);
    va_end(ap);
}

struct hour {
    char text[24];
};

/* "14:20 UTC" */
static struct hour hour_in(int64_t ms)
{
    struct hour h = {"later"};
    time_t at = (time_t)((clock_real_ms() + ms) / 1000);
    struct tm tm;
    if (gmtime_r(&at, &tm))
        (void)strftime(h.text, sizeof(h.text), "%H:%M UTC", &tm);
    return h;
}

static long long seconds(int64_t ms)
{
    return (long long)((ms + 999) / 1000);
}

/* ------------------------------------------------------------------ may it be asked? */

static bool has_breaker_open(const struct source *s, int64_t now, struct failure *f)
{
    const struct health *h = s->health;
    f->retry_after_ms = breaker_wait_ms(&h->breaker, now);
    if (f->retry_after_ms == 0)
        return false;
    f->error = h->last_error < 0 ? h->last_error : -EHOSTUNREACH;
    (void)snprintf(f->message, sizeof(f->message), "%s; it is asked again in %lld s", h->remark,
                   seconds(f->retry_after_ms));
    return true;
}

static bool is_resting(const struct source *s, const struct intent *intent, int64_t now, struct failure *f)
{
    const struct pace *p = ledger_pace(s->ledger, s->url.origin, false, now);
    f->error = -EAGAIN;
    f->retry_after_ms = p ? pace_wait_ms(p, now) : 0;
    if (f->retry_after_ms > PACE_WAIT_MAX_MS) {
        say(f, s, intent->anonymous, "it is asked too much; again in %lld s", seconds(f->retry_after_ms));
        return true;
    }
    f->retry_after_ms = budget_of(s, intent->anonymous)->data_until - now;
    if (!intent->head && f->retry_after_ms > 0) {
        say(f, s, intent->anonymous, "data limit reached, about %s", hour_in(f->retry_after_ms).text);
        return true;
    }
    return false;
}

static void say_spent(const struct source *s, const struct intent *intent, int64_t now, struct failure *f)
{
    const struct budget *b = budget_of(s, intent->anonymous);
    if (now < b->pull_until)
        say(f, s, intent->anonymous, "pull limit reached, about %s", hour_in(b->pull_until - now).text);
    else if (b->remaining > 0 && intent->class != UPSTREAM_LIVE)
        say(f, s, intent->anonymous, "%lld of %lld pulls left, which are kept for pods that wait",
            (long long)b->remaining, (long long)b->limit);
    else if (b->remaining > 0)
        say(f, s, intent->anonymous, "the last %lld %s under way", (long long)b->remaining,
            plural((uint64_t)b->remaining, "pull is", "pulls are"));
    else
        say(f, s, intent->anonymous, "no pulls left, looked at again in %lld s", seconds(f->retry_after_ms));
}

enum budget_verdict standing_look(const struct source *s, const struct intent *intent,
                                  const struct budget_policy *policy, bool surveyed, int64_t now,
                                  struct failure *ret_failure)
{
    struct failure f = {.retry_after_ms = -1, .sibling = s->sibling};
    enum budget_verdict verdict = BUDGET_GO;
    ledger_lock(s->ledger);
    if (has_breaker_open(s, now, &f) || is_resting(s, intent, now, &f)) {
        verdict = BUDGET_NO;
    } else if (intent_is_counted(intent) && !s->sibling) {
        f.error = -EAGAIN;
        verdict = budget_ask(budget_of(s, intent->anonymous), intent->class, policy, now, &f.retry_after_ms);
        if (surveyed && verdict != BUDGET_NO)
            verdict = BUDGET_GO;
        if (verdict == BUDGET_NO)
            say_spent(s, intent, now, &f);
    }
    ledger_unlock(s->ledger);
    if (verdict == BUDGET_NO)
        *ret_failure = f;
    return verdict;
}

bool standing_is_low(const struct source *s, const struct intent *intent, const struct budget_policy *policy)
{
    ledger_lock(s->ledger);
    bool low = budget_is_low(budget_of(s, intent->anonymous), policy);
    ledger_unlock(s->ledger);
    return low;
}

int64_t standing_left(const struct source *s, const struct intent *intent)
{
    ledger_lock(s->ledger);
    const struct budget *b = budget_of(s, intent->anonymous);
    int64_t left = b->known && b->unlimited ? INT64_MAX : b->remaining - (int64_t)b->in_flight;
    ledger_unlock(s->ledger);
    return left;
}

/* ------------------------------------------------------------------ asking, from begin to end */

void standing_begin(const struct source *s, const struct intent *intent, bool survey, struct ticket *ret_ticket)
{
    ledger_lock(s->ledger);
    struct budget *b = budget_of(s, intent->anonymous);
    *ret_ticket = (struct ticket){
        .is_probe = breaker_begin(&s->health->breaker),
        .is_pull = intent_is_counted(intent) && !survey,
        .is_survey = survey,
    };
    b->in_flight += ret_ticket->is_pull;
    b->probing = b->probing || survey;
    ledger_unlock(s->ledger);
}

void standing_end(const struct source *s, const struct intent *intent, struct ticket *ticket, enum standing_word word,
                  int error, const char *message, int64_t now)
{
    ledger_lock(s->ledger);
    struct budget *b = budget_of(s, intent->anonymous);
    struct health *h = s->health;
    b->in_flight -= ticket->is_pull;
    if (ticket->is_survey)
        b->probing = false;
    if (word == STANDING_ALIVE) {
        breaker_succeeded(&h->breaker);
        h->last_error = 0;
        h->remark[0] = '\0';
    } else if (word == STANDING_UNKNOWN) {
        breaker_abandoned(&h->breaker, ticket->is_probe, now);
    } else {
        breaker_failed(&h->breaker, ticket->is_probe, word == STANDING_GONE, now, ledger_random(s->ledger));
        h->last_error = error;
        (void)snprintf(h->remark, sizeof(h->remark), "%s", message);
    }
    *ticket = (struct ticket){0};
    ledger_unlock(s->ledger);
}

int standing_take_turn(const struct source *s, const char *origin, int64_t now, int64_t *ret_wait_ms)
{
    ledger_lock(s->ledger);
    struct pace *p = ledger_pace(s->ledger, origin, false, now);
    int64_t wait = p ? pace_wait_ms(p, now) : 0;
    if (p && wait <= PACE_WAIT_MAX_MS)
        (void)pace_take(p, now);
    ledger_unlock(s->ledger);
    *ret_wait_ms = wait;
    return wait > PACE_WAIT_MAX_MS ? -EAGAIN : 0;
}

/* ------------------------------------------------------------------ what an answer says */

static void slow_down(const struct source *s, const char *origin, int64_t retry_after_ms, int64_t now)
{
    struct pace *p = ledger_pace(s->ledger, origin, true, now);
    if (p)
        pace_refused(p, retry_after_ms, now, ledger_random(s->ledger));
}

static enum limit_kind note_limited(const struct source *s, const struct answer *a, int64_t now,
                                    int64_t *retry_after_ms)
{
    struct budget *b = budget_of(s, !a->with_account);
    int64_t pause, again = -1;
    s->health->limited++;
    const struct limit_answer limit = {
        .manifest_get = a->home && intent_is_counted(a->intent), .body = a->body, .len = a->body_len};
    enum limit_kind kind = limit429_classify(&limit, &pause);
    static const char *const names[] = {
        [LIMIT_PULL] = "pull", [LIMIT_DATA] = "data", [LIMIT_MOMENT] = "moment", [LIMIT_ABUSE] = "abuse"};
    metrics_add(METRIC_UPSTREAM_LIMITED, 1, LABELS(s->registry, names[kind]));
    switch (kind) {
    case LIMIT_PULL: {
        const struct budget_policy none = {.probe_after_ms = INT64_MAX / 2};
        budget_pull_refused(b, *retry_after_ms, now, ledger_random(s->ledger));
        (void)budget_ask(b, UPSTREAM_LIVE, &none, now, &again);
        break;
    }
    case LIMIT_DATA:
        budget_data_refused(b, *retry_after_ms, now, ledger_random(s->ledger));
        again = b->data_until - now;
        break;
    case LIMIT_MOMENT: {
        struct pace *p = ledger_pace(s->ledger, a->origin, true, now);
        if (p)
            pace_pause(p, pause, now, ledger_random(s->ledger));
        again = pause;
        break;
    }
    case LIMIT_ABUSE: {
        slow_down(s, a->origin, *retry_after_ms, now);
        const struct pace *p = ledger_pace(s->ledger, a->origin, false, now);
        again = p ? pace_wait_ms(p, now) : -1;
        break;
    }
    }
    if (*retry_after_ms < 0)
        *retry_after_ms = again;
    return kind;
}

static void note_manifest(const struct source *s, const struct answer *a, int64_t now)
{
    const struct header *h = a->header;
    struct budget_fields fields;
    budget_parse(header_text(&h->limit), header_text(&h->remaining), &fields);
    struct budget *b = budget_of(s, !a->with_account);
    if (h->status == 200 || fields.present)
        budget_observe(b, &fields, header_text(&h->limit_source), now);
    if (!intent_is_counted(a->intent) || (h->status != 200 && h->status != 404))
        return;
    s->health->counted[a->intent->class][a->intent->cause]++;
    budget_pull_answered(b);
}

bool standing_note_answer(const struct source *s, const struct answer *a, int64_t now, int64_t *ret_retry_after_ms)
{
    int status = a->header->status;
    bool pause = false;
    int64_t retry_after_ms = header_retry_after_ms(a->header, clock_real_ms());
    if (!s->sibling) { /* whose 429 is another's, and whose answers cost nothing */
        ledger_lock(s->ledger);
        if (a->home && a->intent->object == UPSTREAM_MANIFEST)
            note_manifest(s, a, now);
        if (status == 429)
            pause = note_limited(s, a, now, &retry_after_ms) == LIMIT_MOMENT;
        struct pace *p = status < 400 ? ledger_pace(s->ledger, a->origin, false, now) : NULL;
        if (p)
            pace_answered(p, now);
        ledger_unlock(s->ledger);
    }
    *ret_retry_after_ms = retry_after_ms;
    return pause;
}

void standing_note_requests(const struct source *s, unsigned requests)
{
    (void)__atomic_add_fetch(&s->health->requests, requests, __ATOMIC_RELAXED);
}

void standing_note_bytes(const struct source *s, size_t bytes)
{
    (void)__atomic_add_fetch(&s->health->bytes, bytes, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ for others to see */

/* A time that is past is none. */
static int64_t wall(int64_t at, int64_t now)
{
    return at > now ? clock_real_ms() + at - now : 0;
}

static struct upstream_budget show_budget(const struct account *a, const char *id, int64_t now)
{
    const struct budget *b = &a->budget;
    return (struct upstream_budget){
        .origin = a->origin,
        .account = a->name,
        .limit = b->limit,
        .remaining = budget_remaining(b, now),
        .window_ms = b->window_ms,
        .observed_at = b->known ? clock_real_ms() - (now - b->observed_at) : 0,
        .blocked_until = wall(b->pull_until, now),
        .empty_in_ms = budget_empty_in_ms(b, now),
        .id = id,
    };
}

void standing_show(const struct source *s, struct standing_texts *ret_texts, struct upstream_source_state *ret_state)
{
    int64_t now = clock_monotonic_ms();
    ledger_lock(s->ledger);
    const struct health *h = s->health;
    const struct pace *p = ledger_pace(s->ledger, s->url.origin, false, now);
    for (int i = 0; i < 2; i++)
        memcpy(ret_texts->id[i], s->accounts[i]->budget.id, sizeof(ret_texts->id[i]));
    (void)snprintf(ret_texts->remark, sizeof(ret_texts->remark), "%s", h->remark);
    *ret_state = (struct upstream_source_state){
        .registry = s->registry,
        .name = s->name,
        .host = s->url.authority,
        .account = s->account,
        .sibling = s->sibling,
        .tags = s->tags,
        .breaker = h->breaker.state,
        .open_until = h->breaker.state == UPSTREAM_OPEN ? wall(h->breaker.open_until, now) : 0,
        .failures = h->breaker.failures,
        .last_error = ret_texts->remark,
        .paced_until = p ? wall(p->until, now) : 0,
        .budget = show_budget(s->accounts[0], ret_texts->id[0], now),
        .public_budget = show_budget(s->accounts[1], ret_texts->id[1], now),
        .requests = __atomic_load_n(&h->requests, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&h->bytes, __ATOMIC_RELAXED),
        .limited = h->limited,
    };
    memcpy(ret_state->counted, h->counted, sizeof(h->counted));
    ledger_unlock(s->ledger);
}
