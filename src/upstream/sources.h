/*
 * The sources of a registry, in order, and the choice among them. Immutable and counted, as its sources are: what is
 * chosen depends on the ledger. Any thread; the choice is the upstream's thread's.
 */
#pragma once

#include "base/auto.h"
#include "upstream/source.h"
#include "upstream/standing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCES_MAX 32 /* bits of upstream_job.avoid */

struct sources {
    char *registry;
    struct budget_policy policy;
    size_t count;
    unsigned references; /* atomic */
    struct source *items[];
};

MUST_CHECK int sources_create(const struct source_needs *needs, const struct config_registry *registry,
                              struct sources **ret_sources);
/* The registry's own host alone, with another account ("Basic …"). -EPERM: it is none of them. -ENOMEM. */
MUST_CHECK int sources_with_login(const struct sources *s, const char *login, struct sources **ret_sources);
struct sources *sources_ref(struct sources *s);
void sources_unref(struct sources *s); /* accepts NULL */
bool sources_have_accounts(const struct sources *s);

/* A walk through the sources: which are behind, or not wanted, and what came of them. */
struct walk {
    struct intent intent;
    bool by_digest;    /* any source will do; otherwise those that are believed */
    bool look;         /* upstream.h; the intent is anonymous */
    bool no_sibling;   /* none is asked */
    uint32_t behind;   /* bit i: not source i, any more */
    uint32_t surveyed; /* bit i: a HEAD has looked what is left */
    uint32_t shown;    /* a look: bit i: everybody may see it at source i */
    struct outcome outcome;
};

/* The first source that is to be believed, of those that are not behind; UINT_MAX: there is none. To be called before
 * the walk begins. */
unsigned sources_first(const struct sources *s, const struct walk *w);
/* The next to ask. Those that may not be asked now are passed over, into w->outcome. BUDGET_GO, BUDGET_PROBE (by a HEAD
 * first), BUDGET_WAIT (somebody does that), with *ret_index; BUDGET_NO: none is left. */
enum budget_verdict sources_choose(const struct sources *s, struct walk *w, unsigned first, int64_t now,
                                   unsigned *ret_index);
/* It failed: it is behind, and what would say the same with it. A refusal may end a look. */
void sources_pass(const struct sources *s, struct walk *w, unsigned index, const struct failure *failure);
/* A look: it has shown it. It is behind, and what would say the same with it. */
void sources_show(const struct sources *s, struct walk *w, unsigned index);
/* A look: whether all have shown it who might show more to an account. */
bool sources_agree(const struct sources *s, const struct walk *w);

AUTO_DEFINE(struct sources, sources_unref);
