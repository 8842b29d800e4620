/*
 * Which repositories everybody may see. An account makes the budget larger; it must not make private images public
 * (docs/behaviour.md, "Private stays private"). So for a registry with accounts one anonymous HEAD says, and the
 * answer is kept: in memory, and in the index (docs/store-format.md, table REPOSITORIES). Any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct blobstore;
struct keeper;
struct visibilities;

enum visibility {
    VISIBILITY_UNKNOWN = 0, /* these are on disk */
    VISIBILITY_PUBLIC = 1,
    VISIBILITY_PRIVATE = 2,
};

/* The upstream is asked again after this; while it cannot be asked, what it said last counts. */
#define VISIBILITY_TTL_MS (3600 * 1000LL)

MUST_CHECK int visibilities_create(struct blobstore *store, struct keeper *keeper, struct visibilities **ret_v);
void visibilities_destroy(struct visibilities *v); /* accepts NULL */
/* What was said last, and whether that is still to be relied on without asking. */
enum visibility visibility_get(struct visibilities *v, const char *registry, const char *repository, bool *ret_fresh);
void visibility_note(struct visibilities *v, const char *registry, const char *repository, enum visibility what);
