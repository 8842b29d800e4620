/*
 * What has been learnt of the world and must outlive a configuration: of each source its breaker, of each account its
 * budget, of each host how fast it may be asked. Sources of a new configuration find what those of the old one knew, by
 * the same names. One lock, held for a few instructions; entries are counted by the sources that have them.
 *
 * Decisions are the upstream's thread's; others create sources, and look.
 */
#pragma once

#include "base/auto.h"
#include "upstream/breaker.h"
#include "upstream/budget.h"
#include "upstream/list.h"
#include "upstream/pace.h"
#include "upstream/upstream.h"

#include <pthread.h>
#include <stdint.h>

#define LEDGER_REMARK 256

/* Of one account, or of everybody without one, at one origin. */
struct account {
    struct list link;
    char *origin, *name;
    unsigned users; /* under the lock, as all that follows */
    struct budget budget;
    struct list waiters; /* the upstream's thread's own: who waits for the end of a probe */
};

/* Of one source. */
struct health {
    struct list link;
    char *key;
    unsigned users;
    struct breaker breaker;
    int last_error; /* why the breaker is not closed */
    char remark[LEDGER_REMARK];
    uint64_t requests, bytes, limited;
    uint64_t counted[UPSTREAM_CLASSES][UPSTREAM_CAUSES];
};

struct ledger {
    pthread_mutex_t lock;
    struct list accounts, healths, hosts;
    unsigned host_count;
    uint64_t random;
};

void ledger_init(struct ledger *l);
void ledger_finish(struct ledger *l); /* no entry may be in use */
void ledger_lock(struct ledger *l);
void ledger_unlock(struct ledger *l);

/* Not under the lock. NULL: no memory. */
struct account *ledger_account(struct ledger *l, const char *origin, const char *name);
void ledger_leave_account(struct ledger *l, struct account *a); /* accepts NULL */
struct health *ledger_health(struct ledger *l, const char *registry, const char *source, const char *origin);
void ledger_leave_health(struct ledger *l, struct health *h); /* accepts NULL */

/* Under the lock. */
uint64_t ledger_random(struct ledger *l);
struct account *ledger_find_account(struct ledger *l, const char *origin, const char *name);
/* NULL: nothing is known of the host; with `make`, too: no memory, or too many of them. */
struct pace *ledger_pace(struct ledger *l, const char *origin, bool make, int64_t now);
