#include "collect.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "mirror/seeding.h"
#include "upstream/upstream.h"

#define MS 1000 /* microseconds of a millisecond: metrics.h */

static void show_budget(const struct upstream_source_state *s)
{
    const struct upstream_budget *b = &s->budget;
    const char *const *labels = LABELS(s->registry, s->name, s->account);
    if (b->limit >= 0)
        metrics_set(METRIC_BUDGET_LIMIT, b->limit, labels);
    if (b->remaining >= 0)
        metrics_set(METRIC_BUDGET_REMAINING, b->remaining, labels);
    if (b->empty_in_ms >= 0)
        metrics_set(METRIC_BUDGET_EMPTY_IN, b->empty_in_ms * MS, labels);
    if (b->blocked_until > clock_real_ms())
        metrics_set(METRIC_BUDGET_BLOCKED_UNTIL, b->blocked_until * MS, labels);
}

static void show_public(const struct upstream_source_state *s)
{
    const struct upstream_budget *b = &s->public_budget;
    if (*s->account && b->limit >= 0)
        metrics_set(METRIC_PUBLIC_LIMIT, b->limit, LABELS(s->registry, s->name));
    if (*s->account && b->remaining >= 0)
        metrics_set(METRIC_PUBLIC_REMAINING, b->remaining, LABELS(s->registry, s->name));
}

/* Several sources may have one account: what was counted is added up. */
static void show_counted(const struct upstream_source_state *s)
{
    static const char *const classes[UPSTREAM_CLASSES] = {
        [UPSTREAM_LIVE] = "live", [UPSTREAM_REVALIDATION] = "revalidation", [UPSTREAM_SEEDING] = "seeding"};
    static const char *const causes[UPSTREAM_CAUSES] = {[UPSTREAM_BY_TAG] = "tag", [UPSTREAM_BY_DIGEST] = "digest"};
    for (unsigned i = 0; i < UPSTREAM_CLASSES; i++)
        for (unsigned j = 0; j < UPSTREAM_CAUSES; j++)
            metrics_add(METRIC_UPSTREAM_COUNTED, (int64_t)s->counted[i][j],
                        LABELS(s->registry, s->account, classes[i], causes[j]));
}

static void show_source(void *arg, const struct upstream_source_state *s)
{
    static const int64_t breakers[] = {[UPSTREAM_CLOSED] = 0, [UPSTREAM_HALF_OPEN] = 1, [UPSTREAM_OPEN] = 2};
    const char *const *labels = LABELS(s->registry, s->name);
    (void)arg;
    metrics_add(METRIC_UPSTREAM_REQUESTS, (int64_t)s->requests, labels);
    metrics_add(METRIC_UPSTREAM_BYTES, (int64_t)s->bytes, labels);
    metrics_set(METRIC_UPSTREAM_BREAKER, breakers[s->breaker], labels);
    show_counted(s);
    show_budget(s);
    show_public(s);
}

/* Of the configuration's own: there are few, and they stay. */
static int show_seed(void *arg, const struct seed_status *s)
{
    const char *const *labels = LABELS(s->name);
    (void)arg;
    if (!s->is_configured)
        return 0;
    metrics_set(METRIC_SEED_IMAGES, (int64_t)s->images, labels);
    metrics_set(METRIC_SEED_FAILED, (int64_t)s->failed, labels);
    if (s->ended_at)
        metrics_set(METRIC_SEED_ENDED, s->ended_at * MS, labels);
    return 0;
}

static void collect(void *arg)
{
    const struct collected *c = arg;
    (void)!upstream_each_source(c->upstream, show_source, NULL); /* without memory the page lacks it */
    (void)!seeding_each(c->mirror, show_seed, NULL);
}

void collect_start(struct collected *c)
{
    metrics_set_collector(collect, c);
}

void collect_stop(void)
{
    metrics_set_collector(NULL, NULL);
}
