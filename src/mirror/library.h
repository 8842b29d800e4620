/*
 * The library: manifests, and other small documents that are kept like them, by digest; in memory on the shelf, on disk
 * as blobs with records beside them. What it hands out has been checked against its digest. Any thread; library_get()
 * reads a file of at most LIMIT_DOCUMENT bytes.
 *
 * Records (docs/store-format.md): MANIFESTS, the media type of a document; REFERENCES, what a manifest refers to and
 * how large that is; REPOSITORIES, where a manifest was seen.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "mirror/keeper.h"
#include "mirror/manifest.h"
#include "mirror/shelf.h"

struct library;

MUST_CHECK int library_create(struct blobstore *store, struct keeper *keeper, struct library **ret_library);
void library_destroy(struct library *l); /* accepts NULL */

/* One reference, the caller's; a use of the document. -ENOENT: not stored, or not a document. */
MUST_CHECK int library_get(struct library *l, const struct digest *digest, struct document **ret_document);
/* The same, but no use of it, nor a reason to keep it in memory. */
MUST_CHECK int library_peek(struct library *l, const struct digest *digest, struct document **ret_document);
/* Whether library_get() would find it, without reading. */
bool library_has(struct library *l, const struct digest *digest);
/* It is not stored any more: nor is it in memory. */
void library_forget(struct library *l, const struct digest *digest);
/* Puts a document that was checked on the shelf, and lets the keeper store it with its records; `m` (NULL: no
 * references) is not kept. */
void library_add(struct library *l, struct document *d, const struct manifest *m, const char *registry,
                 const char *repository);
/* How large a blob is according to a manifest that refers to it. -ENOENT: none is known that does. A hint: nobody has
 * checked that manifest's claim. */
MUST_CHECK int library_size_hint(struct library *l, const struct digest *digest, uint64_t *ret_size);
/* An upstream has said so; replaces what a manifest claims, for a while. */
void library_note_size(struct library *l, const struct digest *digest, uint64_t size);
