/*
 * The stock: what of an image is stored, and whether it would be served if every upstream vanished now. A walk over its
 * manifests and what they refer to, in the store alone: nothing is asked upstream, nothing counts as used. For the
 * audit, the price of a seed, and whoever wants to see an image whole. Any thread; reads manifests, and opens each
 * blob.
 */
#pragma once

#include "base/digest.h"
#include "base/image_name.h"
#include "base/platform.h"

#include <stddef.h>
#include <stdint.h>

struct mirror;

/* Parts of one image; one with more cannot be walked (-EFBIG). */
#define STOCK_ITEMS_MAX 65536
#define STOCK_PLATFORMS_MAX 32

enum stock_kind { STOCK_INDEX, STOCK_MANIFEST, STOCK_CONFIG, STOCK_LAYER };

enum stock_state {
    STOCK_STORED,
    STOCK_MISSING,
    STOCK_IN_DOUBT, /* stored, and not looked at since a stop that was not orderly: the scrubber will */
    STOCK_HIDDEN,   /* stored, but an upstream would have to show it under this name before it is served */
};

/* Depth first: what an item names follows it, before the next of its own kind. */
struct stock_item {
    struct digest digest; /* of no algorithm: not even that is known */
    enum stock_kind kind; /* of a root that is missing, STOCK_INDEX: nobody knows what it is */
    enum stock_state state;
    uint64_t size;            /* bytes, as its descriptor says, or as it is stored; 0: not known */
    size_t parent;            /* of the root: itself */
    struct platform platform; /* STOCK_MANIFEST: as the index says; or all "" */
    bool is_elsewhere;        /* its descriptor has URLs: no registry need have it, and it is never wanting */
};

enum stock_verdict {
    STOCK_SERVED,
    STOCK_WANTING,     /* something is not stored, in doubt, or hidden */
    STOCK_NOT_OFFERED, /* the image is not made for it: no registry has it */
};

struct stock_platform {
    struct platform platform;
    enum stock_verdict verdict;
};

/* Whether the name leads to content without an upstream. */
enum stock_name {
    STOCK_NAME_GOOD,
    STOCK_NAME_UNCONFIGURED, /* the registry is not configured here */
    STOCK_NAME_PRIVATE,      /* the repository is private, and not opened to everybody */
    STOCK_NAME_UNSEEN,       /* an account may see more than everybody, and nobody has asked yet who may see this one */
    STOCK_NAME_UNKNOWN,      /* the tag has never been asked for */
    STOCK_NAME_TOO_OLD,      /* the tag is older than tags.stale_for allows */
};

struct stock {
    char registry[LIMIT_NAME + 1]; /* as the configuration calls it; or as it was asked for */
    char repository[LIMIT_NAME + 1];
    enum stock_name name;
    int64_t checked_at;       /* of a tag: when an upstream was asked last; wall clock, ms; 0: never, or no tag */
    int64_t served_until;     /* of a tag: without an upstream; wall clock, ms; 0: never, or no tag */
    struct stock_item *items; /* the root first */
    size_t item_count;
    struct stock_platform platforms[STOCK_PLATFORMS_MAX]; /* that were asked about; if none were, those that it has */
    size_t platform_count;
    enum stock_verdict verdict; /* STOCK_SERVED: no platform lacks anything, and at least one is served */

    /* What fetching the rest would cost. */
    unsigned manifest_gets; /* that a registry counts. Where the root is missing a guess: one, and one a platform */
    uint64_t missing_bytes; /* of what is known to be missing, each digest once */
    bool has_unknown_bytes; /* there is more: what a missing manifest names */
};

/* `platforms` may be of no length: all that the image has. More than STOCK_PLATFORMS_MAX are -EINVAL. -EFBIG, -ENOMEM,
 * -EIO. */
MUST_CHECK int mirror_stock(struct mirror *m, const struct image_name *image, const struct platform *platforms,
                            size_t platform_count, struct stock **ret_stock);
void stock_destroy(struct stock *s); /* accepts NULL */

AUTO_DEFINE(struct stock, stock_destroy);
