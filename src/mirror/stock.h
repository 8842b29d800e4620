/*
 * The stock: what of an image is stored, and whether it would be served if every upstream vanished now. A walk over its
 * manifests and what they refer to, in the store alone: nothing is asked upstream, nothing counts as used. For the
 * audit, the price of a seed, and whoever wants to see an image whole. Any thread; reads small files.
 */
#pragma once

#include "base/digest.h"
#include "base/image_name.h"
#include "base/platform.h"

#include <stddef.h>
#include <stdint.h>

struct mirror;

/* Parts of one image; an image with more cannot be walked (-EFBIG). */
#define STOCK_ITEMS_MAX 65536
#define STOCK_PLATFORMS_MAX 32

enum stock_kind { STOCK_INDEX, STOCK_MANIFEST, STOCK_CONFIG, STOCK_LAYER };

enum stock_state {
    STOCK_STORED,
    STOCK_MISSING,
    STOCK_IN_DOUBT, /* stored, and not looked at since a stop that was not orderly: the scrubber will */
    STOCK_HIDDEN,   /* stored, but an upstream would have to show it under this name before it is served */
};

/* In the order of a walk: a parent comes before what it names. */
struct stock_item {
    struct digest digest; /* of no algorithm: not even that is known */
    enum stock_kind kind; /* of a manifest that is missing: STOCK_INDEX where nobody knows which of the two it is */
    enum stock_state state;
    uint64_t size;            /* bytes, as it is stored or its descriptor says; 0: not known */
    size_t parent;            /* of the root: itself */
    struct platform platform; /* STOCK_MANIFEST: of its descriptor or its configuration; or all "" */
    bool is_elsewhere;        /* its descriptor has URLs: the registry need not have it; it never counts as missing */
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
    STOCK_NAME_UNSEEN,       /* an account may see more than everybody: nobody has asked yet what this one is */
    STOCK_NAME_UNKNOWN,      /* the tag has never been asked for */
    STOCK_NAME_TOO_OLD,      /* the tag is older than tags.stale_for allows */
};

struct stock {
    char registry[LIMIT_NAME + 1]; /* as the configuration calls it, or as it was asked for */
    char repository[LIMIT_NAME + 1];
    enum stock_name name;
    int64_t checked_at;       /* of a tag: when an upstream was asked last; wall clock, ms; 0: never, or no tag */
    int64_t served_until;     /* of a tag: without an upstream; wall clock, ms; 0: no tag, or never */
    struct stock_item *items; /* at least the root */
    size_t item_count;
    struct stock_platform platforms[STOCK_PLATFORMS_MAX]; /* those that were asked about; of "all", those there are */
    size_t platform_count;
    enum stock_verdict verdict; /* of all of it; STOCK_SERVED if no platform lacks anything and one of them is served */

    /* What fetching the rest would cost. */
    unsigned
        manifest_gets; /* those that a registry counts; an estimate where a manifest that is missing may be an index */
    uint64_t missing_bytes; /* of what is known to be missing */
    bool has_unknown_bytes; /* and there is more: what a missing manifest names */
};

/* `platforms` may be of no length: all that the image has. -EFBIG, -ENOMEM, -EIO. */
MUST_CHECK int mirror_stock(struct mirror *m, const struct image_name *image, const struct platform *platforms,
                            size_t platform_count, struct stock **ret_stock);
void stock_destroy(struct stock *s); /* accepts NULL */

AUTO_DEFINE(struct stock, stock_destroy);
