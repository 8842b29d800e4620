/*
 * Lists that come in pages and are kept as one document: a repository's tags, the referrers of a digest. Gathering the
 * pages of an upstream, and answering a client's question from the document. Pure; any thread. OCI distribution-spec,
 * "Listing tags" and "Listing referrers"; protocol.md §3.5, §3.6.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct listing;

MUST_CHECK int listing_create(struct listing **ret_listing);
void listing_destroy(struct listing *l); /* accepts NULL */

/* Adds a page; -EINVAL: it is none, -EFBIG: too many entries. */
MUST_CHECK int listing_add_tags(struct listing *l, const char *page, size_t len);
MUST_CHECK int listing_add_referrers(struct listing *l, const char *page, size_t len);
/* Calls `fn` for every tag that was added. */
void listing_each_tag(const struct listing *l, void (*fn)(void *arg, const char *tag), void *arg);
/* The document: tags sorted as bytes, each once; referrers in the order they came in. */
MUST_CHECK int listing_write_tags(struct listing *l, const char *repository, struct buf *document);
MUST_CHECK int listing_write_referrers(struct listing *l, struct buf *document);

/*
 * A client's page of the tags: those after `last` (NULL: from the start), `n` at the most (-1: all). Where more follow,
 * `link` becomes the query of the next page, encoded.
 */
MUST_CHECK int listing_page_of_tags(const char *document, size_t len, const char *name, int64_t n, const char *last,
                                    struct buf *body, struct buf *link);
/* The referrers of that artifact type. */
MUST_CHECK int listing_filter_referrers(const char *document, size_t len, const char *artifact_type, struct buf *body);

/* The query of the next page out of a Link header: `<…?QUERY>; rel="next"`. False: there is none, or
 * an odd one. `query` is emptied first. */
bool listing_next(const char *link, struct buf *query);

AUTO_DEFINE(struct listing, listing_destroy);
