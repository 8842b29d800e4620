/*
 * How a source stands: what its entries of the ledger say about asking it, and what an answer of its says to them. The
 * only place that joins the breaker, the pace of its host and the budget of its account. Upstream's thread, but for
 * standing_show().
 */
#pragma once

#include "base/auto.h"
#include "upstream/budget.h"
#include "upstream/header.h"
#include "upstream/outcome.h"
#include "upstream/source.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <stdint.h>

/* What somebody wants to ask. */
struct intent {
    enum upstream_object object;
    enum upstream_cause cause;
    enum upstream_class class;
    bool head;
    bool anonymous;
};

/* A GET of a manifest, which pull limits count. */
bool intent_is_counted(const struct intent *intent);

/* From standing_begin() to standing_end(). */
struct ticket {
    bool is_probe;  /* of the breaker */
    bool is_pull;   /* is in flight, for the budget */
    bool is_survey; /* a HEAD to see what is left */
};

/* BUDGET_NO: *ret_failure says why, and when; its place among others is not filled in. `surveyed`: a HEAD has just
 * looked, and whatever it saw is the last word. */
enum budget_verdict standing_look(const struct source *s, const struct intent *intent,
                                  const struct budget_policy *policy, bool surveyed, int64_t now,
                                  struct failure *ret_failure);
/* Its account is low, and what is left of it, for a choice between accounts. */
bool standing_is_low(const struct source *s, const struct intent *intent, const struct budget_policy *policy);
int64_t standing_left(const struct source *s, const struct intent *intent);

void standing_begin(const struct source *s, const struct intent *intent, bool survey, struct ticket *ret_ticket);

enum standing_word { STANDING_ALIVE, STANDING_DEAD, STANDING_GONE, STANDING_UNKNOWN };

/* `word`: what the end says of the source; GONE is a failure that needs no second one. `error` and `message` are of a
 * failure. The ticket is used up; a second end does nothing to it. */
void standing_end(const struct source *s, const struct intent *intent, struct ticket *ticket, enum standing_word word,
                  int error, const char *message, int64_t now);

/* An answer, redirects and errors too. */
struct answer {
    const struct intent *intent;
    const char *origin; /* who gave it */
    bool home;          /* the registry itself */
    bool with_account;
    const struct header *header;
    const char *body; /* of a 429, its beginning, or NULL */
    size_t body_len;
};

/* *ret_retry_after_ms: when to come again, -1 where nothing is known. True: a 429 that asks for no more than a pause.
 */
bool standing_note_answer(const struct source *s, const struct answer *answer, int64_t now,
                          int64_t *ret_retry_after_ms);
void standing_note_requests(const struct source *s, unsigned requests);
void standing_note_bytes(const struct source *s, size_t bytes);

/* How long the next request to a host has to wait. -EAGAIN: longer than anybody should; *ret_wait_ms says how long. */
MUST_CHECK int standing_take_turn(const struct source *s, const char *origin, int64_t now, int64_t *ret_wait_ms);

/* A copy for upstream_each_source(); its texts are the source's, and `ret_texts`'. */
struct standing_texts {
    char id[2][BUDGET_SOURCE_ID], remark[256];
};
void standing_show(const struct source *s, struct standing_texts *ret_texts, struct upstream_source_state *ret_state);
