/*
 * Content that is not everybody's. A digest that came from a private repository is linked to it, and is served under
 * that name only; one without links is public, and is shared by every name. The links are records
 * (docs/store-format.md, table REPOSITORIES); a link counts from the moment it is made, before it is durable, and
 * before the content can be found. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>

struct blobstore;
struct keeper;
struct privacy;

MUST_CHECK int privacy_create(struct blobstore *store, struct keeper *keeper, struct privacy **ret_privacy);
void privacy_destroy(struct privacy *p); /* accepts NULL */
/* Whether what is stored under the digest may be served under this name. */
bool privacy_allows(struct privacy *p, const struct digest *digest, const char *registry, const char *repository);
/* The content comes from this private repository. Nothing changes for what is stored and public already. -ENOMEM: then
 * it must not be stored. */
MUST_CHECK int privacy_link(struct privacy *p, const struct digest *digest, const char *registry,
                            const char *repository);
/* An upstream has shown it to everybody: all its links go. */
void privacy_publish(struct privacy *p, const struct digest *digest);
