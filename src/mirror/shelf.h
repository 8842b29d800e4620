/*
 * The shelf: documents (manifests, and lists that are kept like them) in memory, by digest, the least recently used
 * leaving first. A document is immutable and counted; who holds one may read it for as long as he likes. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"
#include "base/table.h"
#include "mirror/manifest.h"

#include <stdatomic.h>
#include <stddef.h>

struct document {
    atomic_uint refs;
    struct digest digest;
    char media_type[MEDIA_TYPE_MAX];
    UT_hash_handle hh; /* under the shelf's lock */
    size_t len;
    char data[]; /* and a NUL behind it */
};

struct shelf;

/* One reference, the caller's. The bytes are copied; the digest is believed. */
MUST_CHECK int document_create(const struct digest *digest, const char *media_type, const void *data, size_t len,
                               struct document **ret_document);
struct document *document_ref(struct document *d);
void document_unref(struct document *d); /* accepts NULL */

MUST_CHECK int shelf_create(size_t max_bytes, struct shelf **ret_shelf);
void shelf_destroy(struct shelf *s); /* accepts NULL */
/* A reference, or NULL. */
struct document *shelf_get(struct shelf *s, const struct digest *digest);
/* Takes a reference of its own; one that is too large for the shelf is not put there. */
void shelf_put(struct shelf *s, struct document *d);
void shelf_drop(struct shelf *s, const struct digest *digest);

AUTO_DEFINE(struct document, document_unref);
