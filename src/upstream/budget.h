/*
 * What an account may still pull, by the registry's own word: limit, remaining and window come from its headers and
 * nowhere else. Only GETs of manifests are counted; HEADs are free, and bring the same headers (protocol.md §1.3,
 * §1.4). A registry that sends none has no limit. Takes the time as an argument and keeps no lock.
 *
 *   what is known                        LIVE           the classes below
 *   nothing                              GO             PROBE: a HEAD of what is wanted, then again
 *   no limit                             GO             GO
 *   more than the reserve is left        GO             GO; PROBE where that was seen long ago
 *   no more than the reserve is left     NO; PROBE where that was seen long ago
 *   a pull limit was met (429)           NO until the time is over, or PROBE as above: a HEAD that shows more lifts it
 *
 * "Long ago" is probe_after, or a quarter of the window where that is shorter. While one probes, the others WAIT.
 */
#pragma once

#include "upstream/upstream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_WINDOW_MAX_MS (31 * 24 * 3600 * 1000LL)
/* After a pull limit: the first wait, the longest, and the longest where no window is known. */
#define BUDGET_BLOCK_FIRST_MS 60000LL
#define BUDGET_BLOCK_MAX_MS (3600 * 1000LL)
#define BUDGET_BLOCK_UNKNOWN_MS (15 * 60000LL)
/* Before that no HEAD lifts it: some say that pulls are left while they refuse them. */
#define BUDGET_LIFT_FIRST_MS 1000LL
#define BUDGET_LIFT_MAX_MS (5 * 60000LL)
/* A limit of bytes: there is nothing to be seen by a HEAD. */
#define BUDGET_DATA_FIRST_MS (60 * 1000LL)
#define BUDGET_PROBE_FLOOR_MS 5000LL
/* What is under way will have been answered by then: it may cost less than it was taken for. */
#define BUDGET_IN_FLIGHT_MS 1000LL
#define BUDGET_SOURCE_ID 64
#define BUDGET_SLOTS 12
#define BUDGET_SLOT_MS (5 * 60000LL)
/* No rate is taken of less: a few pulls in a minute or two are none that lasts. */
#define BUDGET_RATE_MIN_MS (10 * 60000LL)

struct budget {
    int64_t limit, remaining, window_ms; /* -1: unknown */
    bool known;                          /* something was observed */
    int64_t observed_at;                 /* the last time; may be before the clock began */
    bool unlimited;                      /* answers came without such fields, and none with */
    char id[BUDGET_SOURCE_ID];           /* docker-ratelimit-source, "" */

    int64_t pull_until; /* no GET of a manifest before; 0: no such limit was met */
    int64_t lift_at;    /* but a HEAD may end it, from then on */
    unsigned pulls_refused;
    int64_t data_until; /* no GET of anything before */
    unsigned data_refused;

    unsigned in_flight; /* counted requests whose answer is not there yet */
    bool probing;

    /* how fast it shrinks, by whomever: drops of `remaining`, five minutes a slot, the current one last */
    int64_t slot_start, first_drop_at;
    uint32_t slots[BUDGET_SLOTS];
};

struct budget_policy {
    unsigned reserve_percent[UPSTREAM_CLASSES];
    int64_t probe_after_ms;
};

struct budget_fields {
    bool present; /* any number at all */
    int64_t limit, remaining, window_ms;
};

enum budget_verdict { BUDGET_GO, BUDGET_PROBE, BUDGET_WAIT, BUDGET_NO };

void budget_init(struct budget *b);

/* Values of ratelimit-limit and ratelimit-remaining: "100;w=21600"; "" where absent. Numbers that are none are unknown,
 * negative ones are 0. */
void budget_parse(const char *limit, const char *remaining, struct budget_fields *ret_fields);
/* A manifest was answered, by HEAD or GET, so; or a 429 with such fields. `id` may be "". */
void budget_observe(struct budget *b, const struct budget_fields *fields, const char *id, int64_t now);
/* A GET of a manifest was refused for the pull limit. `retry_after_ms`: -1 where none was said. Fields that came with
 * it are observed before. */
void budget_pull_refused(struct budget *b, int64_t retry_after_ms, int64_t now, uint64_t random);
void budget_data_refused(struct budget *b, int64_t retry_after_ms, int64_t now, uint64_t random);
/* A counted request was answered as it should be. */
void budget_pull_answered(struct budget *b);

/* As it was before the program ended; times are of the wall clock, which is `wall` now. What is implausible is left. */
void budget_restore(struct budget *b, const struct upstream_budget *was, int64_t now, int64_t wall);

/* May a counted request be made? *ret_wait_ms, of a NO: when it makes sense to ask again, at the latest. */
enum budget_verdict budget_ask(const struct budget *b, enum upstream_class class, const struct budget_policy *policy,
                               int64_t now, int64_t *ret_wait_ms);
/* The account is low: another one of the same host goes before it, if it has more. */
bool budget_is_low(const struct budget *b, const struct budget_policy *policy);
/* What is left, for who looks at it; -1: unknown, as it is when a whole window has passed since it was seen. */
int64_t budget_remaining(const struct budget *b, int64_t now);
/* When it is empty at the rate of the last hour, or of the time since the first pull that was seen where that is less,
 * but of BUDGET_RATE_MIN_MS at least; -1: not in sight. */
int64_t budget_empty_in_ms(const struct budget *b, int64_t now);
