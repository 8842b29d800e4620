#include "upstream/sources.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static void destroy(struct sources *s)
{
    for (size_t i = 0; i < s->count; i++)
        source_unref(s->items[i]);
    free(s->registry);
    free(s);
}

int sources_create(const struct source_needs *needs, const struct config_registry *registry,
                   struct sources **ret_sources)
{
    if (registry->source_count > SOURCES_MAX)
        return -EINVAL;
    AUTO(auto_sources_unref)
    struct sources *s = calloc(1, sizeof(*s) + registry->source_count * sizeof(s->items[0]));
    if (!s)
        return -ENOMEM;
    s->references = 1;
    s->policy = (struct budget_policy){
        .reserve_percent = {[UPSTREAM_REVALIDATION] = needs->config->budget.reserve_revalidation,
                            [UPSTREAM_SEEDING] = needs->config->budget.reserve_seeding},
        .probe_after_ms = needs->config->budget.probe_after_ms,
    };
    s->registry = strdup(registry->name);
    if (!s->registry)
        return -ENOMEM;
    for (; s->count < registry->source_count; s->count++) {
        int r = source_create(needs, registry, &registry->sources[s->count], &s->items[s->count]);
        if (r < 0)
            return r;
    }
    *ret_sources = TAKE_PTR(s);
    return 0;
}

int sources_with_login(const struct sources *from, const char *login, struct sources **ret_sources)
{
    size_t i = 0;
    while (i < from->count && (!from->items[i]->home || from->items[i]->sibling))
        i++;
    if (i == from->count)
        return -EPERM;
    AUTO(auto_sources_unref) struct sources *s = calloc(1, sizeof(*s) + sizeof(s->items[0]));
    if (!s)
        return -ENOMEM;
    s->references = 1;
    s->policy = from->policy;
    s->registry = strdup(from->registry);
    if (!s->registry)
        return -ENOMEM;
    int r = source_with_login(from->items[i], login, &s->items[0]);
    if (r < 0)
        return r;
    s->count = 1;
    *ret_sources = TAKE_PTR(s);
    return 0;
}

struct sources *sources_ref(struct sources *s)
{
    (void)__atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
    return s;
}

void sources_unref(struct sources *s)
{
    if (s && __atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) == 0)
        destroy(s);
}

bool sources_have_accounts(const struct sources *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i]->basic && !s->items[i]->sibling)
            return true;
    return false;
}

/* ------------------------------------------------------------------ the choice */

static bool is_behind(const struct walk *w, unsigned i)
{
    return w->behind >> i & 1;
}

static bool is_believed(const struct source *s, const struct walk *w)
{
    return !s->sibling && (w->by_digest || s->tags);
}

unsigned sources_first(const struct sources *s, const struct walk *w)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!is_behind(w, i) && is_believed(s->items[i], w))
            return i;
    return UINT_MAX;
}

/* Has the same content, whoever asks. */
static bool is_same_place(const struct source *a, const struct source *b)
{
    return strcmp(a->url.text, b->url.text) == 0 && strcmp(a->prefix, b->prefix) == 0;
}

/* Another account of the same host, when this one is low: the next that is not, or of which nothing is known; else the
 * one that has the most left. */
static unsigned better_off(const struct sources *s, const struct walk *w, unsigned index, int64_t now)
{
    struct failure ignored;
    int64_t most = standing_left(s->items[index], &w->intent);
    unsigned best = index;
    for (unsigned i = index + 1; i < s->count; i++) {
        const struct source *other = s->items[i];
        if (is_behind(w, i) || !is_same_place(s->items[index], other) ||
            standing_look(other, &w->intent, &s->policy, true, now, &ignored) != BUDGET_GO)
            continue;
        if (!standing_is_low(other, &w->intent, &s->policy))
            return i;
        int64_t left = standing_left(other, &w->intent);
        if (left > most) {
            most = left;
            best = i;
        }
    }
    return best;
}

static enum budget_verdict look(const struct sources *s, struct walk *w, unsigned i, unsigned first, int64_t now)
{
    struct failure f;
    bool surveyed = w->surveyed >> i & 1;
    enum budget_verdict verdict = standing_look(s->items[i], &w->intent, &s->policy, surveyed, now, &f);
    if (verdict != BUDGET_NO)
        return verdict;
    f.source = i;
    f.first = i == first;
    outcome_add(&w->outcome, &f);
    w->behind |= 1U << i;
    return verdict;
}

/* It may show more to an account than to everybody; where none has an account any more, it may have done so. */
static bool has_say(const struct sources *s, const struct source *source)
{
    return !source->sibling && (source->basic || !sources_have_accounts(s));
}

/* There are two rounds: siblings are asked in the first, or who has a say in a look. What everybody may see no sibling
 * is asked: it would tell what it has, wherever it has it from. */
static bool may_ask(const struct sources *s, const struct source *source, const struct walk *w, bool first_round)
{
    if (w->look && first_round)
        return has_say(s, source);
    if ((source->sibling && (w->intent.anonymous || w->no_sibling)) || w->shown)
        return false;
    return w->by_digest ? source->sibling == first_round : source->tags;
}

static enum budget_verdict choose_among(const struct sources *s, struct walk *w, bool first_round, unsigned first,
                                        int64_t now, unsigned *ret_index)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct source *source = s->items[i];
        if (is_behind(w, i) || !may_ask(s, source, w, first_round))
            continue;
        enum budget_verdict verdict = look(s, w, i, first, now);
        if (verdict == BUDGET_NO)
            continue;
        *ret_index = i;
        if (verdict == BUDGET_GO && intent_is_counted(&w->intent) && !source->sibling &&
            standing_is_low(source, &w->intent, &s->policy))
            *ret_index = better_off(s, w, i, now);
        return verdict;
    }
    return BUDGET_NO;
}

enum budget_verdict sources_choose(const struct sources *s, struct walk *w, unsigned first, int64_t now,
                                   unsigned *ret_index)
{
    bool two_rounds = w->by_digest || w->look;
    enum budget_verdict verdict = two_rounds ? choose_among(s, w, true, first, now, ret_index) : BUDGET_NO;
    return verdict != BUDGET_NO ? verdict : choose_among(s, w, false, first, now, ret_index);
}

static uint32_t same_places(const struct sources *s, unsigned index)
{
    uint32_t same = 0;
    for (unsigned i = 0; i < s->count; i++)
        if (is_same_place(s->items[index], s->items[i]))
            same |= 1U << i;
    return same;
}

void sources_pass(const struct sources *s, struct walk *w, unsigned index, const struct failure *failure)
{
    if (w->look && failure->error == -EACCES && has_say(s, s->items[index])) {
        outcome_decide(&w->outcome, failure);
        w->shown = 0;
        w->behind = UINT32_MAX;
        return;
    }
    outcome_add(&w->outcome, failure);
    w->behind |= 1U << index;
    if (failure->error == -ENOENT || w->intent.anonymous) /* accounts make no difference */
        w->behind |= same_places(s, index);
    /* What the first says of its tags is believed; others may just not have them yet. */
    if (failure->error == -ENOENT && failure->first && !w->by_digest)
        w->behind = UINT32_MAX;
}

void sources_show(const struct sources *s, struct walk *w, unsigned index)
{
    uint32_t same = same_places(s, index);
    w->shown |= same;
    w->behind |= same;
}

bool sources_agree(const struct sources *s, const struct walk *w)
{
    for (unsigned i = 0; i < s->count; i++)
        if (has_say(s, s->items[i]) && !(w->shown >> i & 1))
            return false;
    return true;
}
