/*
 * Images: what belongs together, as the records tell it (REFERENCES: content and the manifests that name it). A root is
 * a manifest that no other stored manifest names: an index, a manifest that was pulled alone. Reads small files; of the
 * keeper's thread, which alone changes those records.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "mirror/digest_set.h"

/* Parts of one image that are found; what is more than that is left, and goes by its own age. */
#define IMAGE_PARTS_MAX 65536

/* Calls `each`, which may call the store, for every manifest that is known to name the content, stored or not, until it
 * returns other than 0, which is then returned. Any thread. */
typedef int (*image_namer_fn)(void *arg, const struct digest *namer);
MUST_CHECK int image_each_namer(struct blobstore *store, const struct digest *digest, image_namer_fn each, void *arg);
/* 1: a stored manifest names the content, one that is not among `without` (NULL: any). 0: none does. */
MUST_CHECK int image_is_needed(struct blobstore *store, const struct digest *digest, const struct digest_set *without);

/* The bytes of a stored manifest into an empty buffer of LIMIT_MANIFEST; no use of it. Any thread. -ENOENT: it is not
 * stored, or too large for one. */
MUST_CHECK int image_read_text(struct blobstore *store, const struct digest *digest, struct buf *text);
/* Adds the content, and every manifest that is known to name it, or what names it, and so on; stored or not. */
MUST_CHECK int image_namers(struct blobstore *store, const struct digest *digest, struct digest_set *namers);

/* Whether a part is to stay although no other image needs it. */
typedef bool (*image_keep_fn)(void *arg, const struct blobstore_info *info, bool is_manifest);

/*
 * Adds to `parts` the root and all that is stored of its image and no other stored manifest names: its manifests, then
 * their blobs. A manifest that stays keeps what it names.
 */
MUST_CHECK int image_collect(struct blobstore *store, const struct digest *root, image_keep_fn keep, void *arg,
                             struct digest_set *parts);
