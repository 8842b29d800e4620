/*
 * The header of an answer: every field that somebody asks for is captured here, once, as its lines arrive. Numbers that
 * make no sense fail the answer; fields that nobody asks for are counted against the limit and forgotten. Not
 * thread-safe.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct header {
    int status;                                  /* 0: no status line yet */
    int64_t content_length;                      /* -1 absent, or not to be believed (chunked) */
    int64_t range_start, range_end, range_total; /* Content-Range, both ends inclusive; -1 absent or `*` */
    bool encoded;                                /* Content-Encoding other than identity */
    bool complete;                               /* the blank line has come */
    struct buf content_type;                     /* without parameters, lower case */
    struct buf digest, etag, link, filters, location, retry_after;
    struct buf limit, remaining, limit_source, limit_reset; /* (x-)ratelimit-…, docker-ratelimit-source */
    struct buf challenges;                                  /* WWW-Authenticate, one a line */
    size_t bytes;
    bool chunked;
};

void header_init(struct header *h);
void header_finish(struct header *h);
/* One line as libcurl passes it: status line, field, or the blank line. A status line starts anew (100 Continue, then
 * the real one). 1: the header of a final answer is complete. -EFBIG, -EPROTO, -ENOMEM. */
MUST_CHECK int header_line(struct header *h, const char *line, size_t len);
/* "" where the field was absent. */
const char *header_text(const struct buf *field);

/* "bytes 0-99/200", with a star where the length is not known. False where it is no range of bytes. */
bool header_parse_content_range(const char *text, int64_t *ret_start, int64_t *ret_end, int64_t *ret_total);
/* Retry-After in all its forms (protocol.md §1.6): seconds, seconds since 1970 (from 10⁹ on), an HTTP date.
 * Milliseconds from `now_ms` (wall clock) on, at least a second and at most a day; -1 for what is none of them. */
int64_t header_parse_retry_after(const char *text, int64_t now_ms);
/* The header's own; of a 429 without one the (x-)ratelimit-reset. */
int64_t header_retry_after_ms(const struct header *h, int64_t now_ms);
