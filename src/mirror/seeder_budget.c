#include "mirror/seeder.h"
#include "upstream/upstream.h"

#include <string.h>

struct summing {
    const char *registry;
    unsigned reserve_percent;
    struct seeder_budget sum;
    bool is_limited;
    /* of the sources that were met: accounts at one origin share a budget */
    struct {
        char origin[256], account[128];
    } met[16];
    size_t met_count;
};

static bool was_met(struct summing *s, const struct upstream_budget *b)
{
    for (size_t i = 0; i < s->met_count; i++)
        if (strcmp(s->met[i].origin, b->origin) == 0 && strcmp(s->met[i].account, b->account) == 0)
            return true;
    if (s->met_count < ARRAY_SIZE(s->met)) {
        (void)snprintf(s->met[s->met_count].origin, sizeof(s->met[0].origin), "%s", b->origin);
        (void)snprintf(s->met[s->met_count].account, sizeof(s->met[0].account), "%s", b->account);
        s->met_count++;
    }
    return false;
}

static void sum_up(void *arg, const struct upstream_source_state *state)
{
    struct summing *s = arg;
    const struct upstream_budget *b = &state->budget;
    if (strcmp(state->registry, s->registry) != 0 || state->sibling || b->limit < 0 || was_met(s, b))
        return;
    int64_t reserve = b->limit * s->reserve_percent / 100;
    /* Unknown is what was seen a window ago: by now it is all there again, as far as anybody knows. */
    int64_t left = b->blocked_until ? 0 : (b->remaining < 0 ? b->limit : b->remaining) - reserve;
    s->sum.left += left > 0 ? left : 0;
    s->sum.per_window += b->limit - reserve;
    if (b->window_ms > s->sum.window_ms)
        s->sum.window_ms = b->window_ms;
    s->is_limited = true;
}

void seeder_budget(struct mirror *m, const char *registry, struct seeder_budget *ret_budget)
{
    struct summing s = {.registry = registry};
    (void)pthread_rwlock_rdlock(&m->config_lock);
    s.reserve_percent = m->config->budget.reserve_seeding;
    (void)pthread_rwlock_unlock(&m->config_lock);
    int r = upstream_each_source(m->upstream, sum_up, &s);
    *ret_budget = r == 0 && s.is_limited ? s.sum : (struct seeder_budget){.left = -1, .per_window = -1};
}

int64_t seeder_budget_wait_ms(const struct seeder_budget *budget, uint64_t pulls)
{
    if (budget->left < 0 || pulls <= (uint64_t)budget->left)
        return 0;
    if (budget->per_window <= 0 || budget->window_ms <= 0)
        return -1;
    uint64_t rest = pulls - (uint64_t)budget->left, each = (uint64_t)budget->per_window;
    return (int64_t)((rest + each - 1) / each) * budget->window_ms;
}

static void count(void *arg, const struct upstream_source_state *state)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < UPSTREAM_CAUSES; i++)
        *sum += state->counted[UPSTREAM_SEEDING][i];
}

uint64_t seeder_counted(struct mirror *m)
{
    uint64_t sum = 0;
    return upstream_each_source(m->upstream, count, &sum) == 0 ? sum : 0;
}
