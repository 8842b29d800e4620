/*
 * Bodies of answers as libmicrohttpd's responses: memory as it is, files by sendfile, flights and multipart by a reader
 * that may suspend. The responses are of one request each and never shared. Worker threads.
 */
#pragma once

#include "base/auto.h"
#include "server/range.h"

#include <microhttpd.h>
#include <stdint.h>

struct mirror_answer;
struct request;

/* All of them return NULL without memory or descriptors, and set r->length and what the reader needs. */
MUST_CHECK struct MHD_Response *body_whole(struct request *r, const struct mirror_answer *a);
MUST_CHECK struct MHD_Response *body_range(struct request *r, const struct mirror_answer *a, struct range range);
/* The whole as it is stored: a zstd stream, whose length is not told. */
MUST_CHECK struct MHD_Response *body_packed(struct request *r, const struct mirror_answer *a);
/* Takes over `ranges`; r->parts is the multipart body. */
MUST_CHECK struct MHD_Response *body_ranges(struct request *r, const struct mirror_answer *a, struct ranges *ranges);
/* No bytes, but the length that they would have: for HEAD. */
MUST_CHECK struct MHD_Response *body_absent(struct request *r, uint64_t length);
/* Bytes that live as long as the program. */
MUST_CHECK struct MHD_Response *body_text(struct request *r, const char *text);
/* Takes over `data`, from malloc(). */
MUST_CHECK struct MHD_Response *body_owned(struct request *r, char *data, size_t len);
