/*
 * Content that is not everybody's. A digest that came from a private repository is linked to it, and is served under
 * that name only; one without links is public, and is shared by every name. The links are records
 * (docs/store-format.md, table REPOSITORIES); a link counts from the moment it is made, and is durable before what is
 * posted to the keeper after it: so no crash leaves the content without its link. Any thread.
 *
 * When an index is made anew from the files, the links are gone. From then on what is older than the records is
 * nobody's, if some registry has an account, until an upstream has shown it under the name that it is asked for.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blobstore;
struct blobstore_batch;
struct keeper;
struct privacy;

MUST_CHECK int privacy_create(struct blobstore *store, struct keeper *keeper, struct privacy **ret_privacy);
void privacy_destroy(struct privacy *p); /* accepts NULL */
/* Whether some registry has an account, and what comes may not be everybody's. */
void privacy_expect_accounts(struct privacy *p, bool has_accounts);
/* Whether there can be anything that is not everybody's. */
bool privacy_is_needed(const struct privacy *p);
/* Since when there have been records of what came from where (wall clock, ms): what is older, an index that was lost
 * may have known. 0: since the store was empty. */
int64_t privacy_since(const struct privacy *p);
/* Whether what is stored under the digest may be served under this name. */
bool privacy_allows(struct privacy *p, const struct digest *digest, const char *registry, const char *repository);
/* An upstream has shown the content in this private repository. Nothing changes for what is stored and public already.
 * -ENOMEM: then it must not be stored. */
MUST_CHECK int privacy_link(struct privacy *p, const struct digest *digest, const char *registry,
                            const char *repository);
/* An upstream has shown it to everybody: all its links go. */
void privacy_publish(struct privacy *p, const struct digest *digest);
/* By the keeper: puts again what could not be kept. */
void privacy_checkpoint(struct privacy *p, struct blobstore_batch *batch);
