/*
 * What is stored, by the names that people know, for who looks and who tidies up. A public header beside mirror.h. Any
 * thread; a long list is looked through in steps, so that no read transaction is open for long and no pull waits. What
 * changes the store is done by the keeper, and waited for.
 */
#pragma once

#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/manifest.h"

struct mirror;

/* ------------------------------------------------------------------ names */

#define INVENTORY_NAME_TEXT (2 * LIMIT_NAME + DIGEST_TEXT_MAX)

/* "alpine", "quay.io/company/tool:1", "ghcr.io/x/y@sha256:…" */
struct inventory_name {
    char registry[LIMIT_NAME + 1], repository[LIMIT_NAME + 1];
    char tag[LIMIT_TAG + 1]; /* "" where there is a digest */
    struct digest digest;    /* DIGEST_NONE: there is a tag */
};

/* Without a tag and a digest it is `latest`. -EINVAL: it is none; *ret_why says it in plain words. */
MUST_CHECK int inventory_name_parse(struct mirror *m, const char *text, struct inventory_name *ret_name,
                                    const char **ret_why);
/* Registry and repository of an image of a seed or an audit, whose name is read as base/image_name.h has it, so that a
 * short one is Docker Hub's. -EINVAL: it is none, or of a registry that is not configured. */
MUST_CHECK int inventory_repository_of(struct mirror *m, const char *image, struct inventory_name *ret_name);
/* "docker.io/library/alpine:latest"; `text` has INVENTORY_NAME_TEXT bytes. Returns it. */
const char *inventory_name_format(const struct inventory_name *name, char *text);
/* Whether a glob means this name: the whole of it, or without its tag or digest. NULL means every name. */
bool inventory_name_matches(const struct inventory_name *name, const char *pattern);
/* A glob, and no name of one image. */
bool inventory_is_pattern(const char *text);

/* ------------------------------------------------------------------ images */

/* A part of an image, at most INVENTORY_PARTS_MAX of them are looked at: its index or manifest first, then each
 * manifest followed by its configuration and layers. */
struct inventory_part {
    struct digest digest;
    uint64_t size;
    enum { INVENTORY_INDEX, INVENTORY_MANIFEST, INVENTORY_CONFIG, INVENTORY_LAYER } kind;
    bool is_stored, is_elsewhere;    /* elsewhere: it has a URL of its own, and the registry need not have it */
    unsigned others;                 /* stored manifests of other images that name it, too */
    char platform[64];               /* "linux/arm64/v8"; of a manifest */
    char media_type[MEDIA_TYPE_MAX]; /* "" where it is not said */
};

#define INVENTORY_PARTS_MAX 4096

struct inventory_tree {
    struct inventory_part *parts;
    size_t count;
    bool is_cut; /* there are more */
};

/* What hangs on the digest. -ENOENT: it is not stored, or no manifest. `others` is counted where that is wanted, which
 * takes a look at each part's records. */
MUST_CHECK int inventory_tree_read(struct mirror *m, const struct digest *digest, bool count_others,
                                   struct inventory_tree *ret_tree);
void inventory_tree_finish(struct inventory_tree *t);

/* What of a tree is there. */
struct inventory_sum {
    uint64_t bytes;         /* stored, each part once */
    unsigned missing;       /* parts of stored manifests that are not stored */
    uint64_t missing_bytes; /* as their manifests have it */
    bool lacks_manifests;   /* an index is stored, and none of the manifests in it */
};
void inventory_tree_sum(const struct inventory_tree *t, struct inventory_sum *ret_sum);

struct inventory_image {
    struct inventory_name name;
    struct digest digest;
    bool is_stored, is_pinned;
    int64_t checked_at;         /* a tag's: when the upstream said last that it stands for this; 0: no tag */
    int64_t stored_at, used_at; /* 0: not stored */
    char media_type[MEDIA_TYPE_MAX];
};

/* The image that a name stands for, as far as is known. -ENOENT: nothing is. */
MUST_CHECK int inventory_image_find(struct mirror *m, const struct inventory_name *name,
                                    struct inventory_image *ret_image);

#define INVENTORY_AFTER_TEXT (2 * BLOBSTORE_KEY_MAX + 2)

/*
 * Tags first, then images that no tag stands for. Looks on from behind `after` ("": from the start), gives up to `max`
 * images to `each`, and says where it stopped in `ret_after` (INVENTORY_AFTER_TEXT bytes; "": there are no more). There
 * may be fewer, and even none, before the end: a call looks at so many records at the most. -EINVAL: `after` is none.
 */
typedef int (*inventory_image_fn)(void *arg, const struct inventory_image *image);
MUST_CHECK int inventory_images(struct mirror *m, const char *pattern, const char *after, size_t max,
                                inventory_image_fn each, void *arg, char *ret_after);

/* Names of other repositories that have the parts of the tree, `max` at the most, each "registry/repository". */
MUST_CHECK int inventory_tree_others(struct mirror *m, const struct inventory_tree *t,
                                     const struct inventory_name *name, size_t max,
                                     void (*each)(void *arg, const char *other), void *arg);

/* ------------------------------------------------------------------ pins */

struct inventory_pin {
    char text[INVENTORY_NAME_TEXT]; /* a name, or a pattern */
    bool is_pattern;
    int64_t expires_at; /* wall clock, ms; 0: never */
    char origin[128];   /* whose it is: "" somebody's, or a seed list */
};

/* Pins an image by name, or all that a pattern matches, now and later; another pin of the same is replaced. -EINVAL: a
 * name that is none, -ENOSPC: there are as many patterns as there may be; *ret_why says it. */
MUST_CHECK int inventory_pin(struct mirror *m, const char *text, int64_t expires_at, const char *origin,
                             const char **ret_why);
/* -ENOENT: it is not pinned. */
MUST_CHECK int inventory_unpin(struct mirror *m, const char *text, const char **ret_why);
/* Calls `each` for every pin, those that have expired as well. */
MUST_CHECK int inventory_pins(struct mirror *m, int (*each)(void *arg, const struct inventory_pin *pin), void *arg);

/* ------------------------------------------------------------------ taking away */

struct inventory_removed {
    bool tag;                           /* the tag is forgotten */
    uint64_t blobs, bytes;              /* that went */
    char kept_for[INVENTORY_NAME_TEXT]; /* another tag that stands for the same, so that its content stays; or "" */
};

/* Forgets the tag, and removes what nothing else needs. A digest goes whatever tags stand for it. Who is reading reads
 * on. -ENOENT: there is no such image. -EBUSY: it is pinned. */
MUST_CHECK int inventory_remove(struct mirror *m, const struct inventory_name *name,
                                struct inventory_removed *ret_removed);

/* Tags, lists of tags and referrers of these names are asked for anew at the next pull, as if their ttl had just
 * passed; and what failed a moment ago may be tried again. What is stored stays, and is served where the upstream does
 * not answer. */
MUST_CHECK int inventory_purge(struct mirror *m, const char *pattern, uint64_t *ret_count);

/* What is of no use to anybody. */
struct inventory_garbage {
    uint64_t blobs, blob_bytes;             /* that no stored manifest names, and nobody has used for an hour */
    uint64_t partials, partial_bytes;       /* unfinished, and not gone on with for a day */
    uint64_t quarantined, quarantine_bytes; /* damaged files that were put aside */
    uint64_t pins;                          /* that have expired */
    uint64_t unknown, unknown_bytes; /* blobs that no manifest names as far as is known, and that stay: the index was
                                      * made anew, and does not know yet what belongs together */
};

/* With `dry_run` nothing goes. */
MUST_CHECK int inventory_collect(struct mirror *m, bool dry_run, struct inventory_garbage *ret_garbage);

/* ------------------------------------------------------------------ who takes the room */

struct inventory_usage {
    char repository[2 * LIMIT_NAME + 2]; /* "docker.io/library/alpine" */
    uint64_t manifests;
    uint64_t own, shared; /* bytes that it alone has, and that others have as well */
};

struct inventory_usage_sum {
    uint64_t bytes;   /* of all blobs */
    uint64_t shared;  /* that several repositories have, each counted once */
    uint64_t unnamed; /* that no repository has, as far as is known */
};

/* Calls `each` for every repository, the one with the most bytes of its own first. -EFBIG: there are more manifests
 * than can be looked through (a million). */
MUST_CHECK int inventory_usage(struct mirror *m, void (*each)(void *arg, const struct inventory_usage *usage),
                               void *arg, struct inventory_usage_sum *ret_sum);

static inline void auto_inventory_tree_finish(struct inventory_tree *t)
{
    inventory_tree_finish(t);
}
#define AUTO_INVENTORY_TREE AUTO(auto_inventory_tree_finish)
