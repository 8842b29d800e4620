/*
 * What makes an answer depend on what the client has, or we have (RFC 9110 §13, RFC 9111 §5.2.1). Entity tags are
 * digests in quotes, so that a match means the same bytes. Pure; any thread.
 */
#pragma once

#include <stdbool.h>

/* Whether the list of an If-None-Match header names `digest`, by weak comparison; `*` names whatever there is. */
bool conditional_none_match(const char *header, const char *digest);
/* Whether an If-Range header lets the Range header count: one strong tag that is `digest`. We give no dates, so that a
 * date never does. */
bool conditional_if_range(const char *header, const char *digest);
/* Whether an Accept-Encoding header names zstd, with a weight above 0. `*` does not: it is no decoder. */
bool conditional_accepts_zstd(const char *header);
/* Whether a Cache-Control header of a request has the directive only-if-cached. */
bool conditional_only_if_cached(const char *header);
