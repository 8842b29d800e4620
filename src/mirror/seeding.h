/*
 * Seeding: images that are to be here before anybody pulls them. A seed is a list of images with a name, kept in the
 * store (docs/store-format.md, table JOBS), and worked off by a thread of its own (src/mirror/seeder.h) as the pull
 * limits let it: it leaves live pulls their reserve, waits where the rest is spent, and goes on after a restart. Any
 * thread, from mirror_start() to mirror_stop().
 *
 *   image   WAITING ──► RUNNING ──► DONE        everything that its platforms need is stored
 *              ▲           ├──────► FAILED      with the cause; what may pass has been tried SEED_ATTEMPTS times
 *              └───────────┘                    a limit is spent (as often as need be), what may pass, a restart
 *   seed    WAITING ──► RUNNING ──► DONE | FAILED (some image has) ──when it is due again──► WAITING
 *   both, before their end, ──► CANCELLED
 */
#pragma once

#include "base/auto.h"
#include "base/image_name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror;

#define SEEDS_MAX 64              /* that are kept, done ones too */
#define SEED_IMAGES_MAX 10000     /* of one seed, those that patterns bring among them */
#define SEED_IMAGES_ALL_MAX 50000 /* of all seeds together */
#define SEED_MATCHES_MAX 100      /* tags that one pattern brings */
#define SEED_ATTEMPTS 4
#define SEED_NAME_MAX 63
#define SEED_PLATFORMS_MAX 32
#define SEED_PLATFORMS_TEXT_MAX 512
#define SEED_ORIGIN_MAX 511
#define SEED_CAUSE_MAX 383
#define SEED_EVERY_MIN_MS (60 * 1000LL)
#define SEED_WAIT_MAX_MS (20 * 1000LL)

/* The numbers are on disk. */
enum seed_state { SEED_WAITING = 1, SEED_RUNNING = 2, SEED_DONE = 3, SEED_FAILED = 4, SEED_CANCELLED = 5 };
const char *seed_state_name(enum seed_state state);

/* ------------------------------------------------------------------ wishes */

/* Platforms are a text: "linux/amd64 linux/arm64/v8", "all", or "default" for those of the seed; NULL is "default". Of
 * a seed, NULL is what the configuration says. */
struct seed_wish {
    const char *image;     /* as base/image_name.h reads it; with a pattern, without a tag */
    const char *platforms; /* or NULL */
    const char *pattern;   /* of tags (mirror/tag_pattern.h), or NULL */
    const char *origin;    /* where it stands, "FILE:LINE", or NULL */
};

struct seed_order {
    const char *name; /* [A-Za-z0-9._-]+; one of that name is replaced; NULL: one is made up */
    const char *platforms;
    bool pin;         /* its images are not evicted as long as the seed is kept */
    int64_t every_ms; /* again, so long after it has ended; 0: once */
    const struct seed_wish *wishes;
    size_t wish_count;
};

/* Says what is wrong, in words. */
struct seed_complaint {
    char text[256];
};

/* Durable when it returns. -EINVAL, -ENOSPC (too many seeds or images): *ret_why says more. Otherwise -ENOMEM, -EIO …
 */
MUST_CHECK int seeding_add(struct mirror *m, const struct seed_order *order, uint64_t *ret_id,
                           struct seed_complaint *ret_why);
/* It stays in the list, with its pins; what has come stays stored. -ENOENT. -EALREADY: it has ended. */
MUST_CHECK int seeding_cancel(struct mirror *m, uint64_t id);
/* It is stopped if need be, and gone, and its pins. -ENOENT. -EBUSY: the configuration has it. */
MUST_CHECK int seeding_forget(struct mirror *m, uint64_t id);

/* ------------------------------------------------------------------ looking */

struct seed_image_status {
    const char *image, *platforms, *pattern, *origin; /* platforms, pattern, origin: or "" */
    enum seed_state state;
    bool is_match;      /* a pattern of the seed has brought it */
    unsigned attempts;  /* that went wrong */
    uint64_t bytes;     /* of what it is made of, as far as is known */
    const char *cause;  /* why it failed or is being tried again, or what is to be known of it; or "" */
    const char *advice; /* what to do about it, or "" */
};

struct seed_status {
    uint64_t id, sequence; /* grows with each change */
    const char *name, *platforms;
    bool pin, is_configured;
    int64_t every_ms;
    enum seed_state state;
    int64_t created_at, started_at, ended_at, next_at; /* wall clock, ms; 0: not yet, never */
    size_t images, done, failed, waiting;
    uint64_t bytes, fetched; /* of this run: what its images need, as far as is known; what of it had to be fetched, and
                                has come */
    uint64_t pulls;          /* of this run: that a limit has counted */
    const char *current;     /* the image that is being fetched, or "" */
    uint64_t current_bytes, current_fetched, current_missing; /* fetched of missing; the rest was stored */
    const char *waits_for;                                    /* why nothing moves, or "" */
    int64_t waits_until;                                      /* wall clock, ms; 0 */
    int64_t pulls_left;                   /* for seeding, of the registry that it is at; -1: no limit is known */
    int64_t ends_at;                      /* wall clock, ms, about; 0: nobody can say */
    const struct seed_image_status *list; /* `images` of them */
};

/* Called under a lock: copies what it needs, and calls nothing of the mirror. */
typedef int (*seed_status_fn)(void *arg, const struct seed_status *status);
/* Of all seeds, without their images (list is NULL), until `fn` returns other than 0, which is then returned. */
MUST_CHECK int seeding_each(struct mirror *m, seed_status_fn fn, void *arg);
/* Of one, when its sequence is above `after`, or `wait_ms` (at most SEED_WAIT_MAX_MS) are over. -ENOENT. */
MUST_CHECK int seeding_look(struct mirror *m, uint64_t id, uint64_t after, int64_t wait_ms, seed_status_fn fn,
                            void *arg);

/* From now on nobody waits in seeding_look(). */
void seeding_cut(struct mirror *m);

/* ------------------------------------------------------------------ its price */

#define SEED_PRICE_REGISTRIES_MAX 32

/* Of what is known here: nobody is asked. Tags that have moved since they were asked for last cost more. */
struct seed_price_of {
    char registry[LIMIT_NAME + 1];
    size_t images, complete; /* all that is wanted of them is stored */
    size_t unknown;          /* not even the manifest is: an index of all platforms that are wanted is assumed */
    uint64_t pulls;          /* GETs of manifests, which limits count */
    uint64_t bytes;          /* that are known to be missing */
    bool has_unknown_bytes;  /* and there are more */
    int64_t pulls_left;      /* for seeding now; -1: no limit is known */
    int64_t waits_ms;        /* how long the limit will make it wait, about; -1: nobody can say */
};

struct seed_price {
    size_t images, patterns; /* whose tags nobody knows before they are asked for: they are not in the rest */
    uint64_t room;           /* bytes that the store may still grow by before something must go */
    size_t registry_count;
    struct seed_price_of registries[SEED_PRICE_REGISTRIES_MAX];
};

/* As seeding_add(). */
MUST_CHECK int seeding_price(struct mirror *m, const struct seed_order *order, struct seed_price *ret_price,
                             struct seed_complaint *ret_why);
