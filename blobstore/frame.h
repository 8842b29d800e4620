/*
 * One zstd frame: so much content, compressed by itself, with a checksum. frame.c is the one file that knows libzstd.
 * Any thread; a compressor is one thread's at a time.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>

/* Content of a frame. A larger one would shrink a little more (docs/performance.md), and cost more where a few bytes of
 * it are wanted. */
#define FRAME_CONTENT (128u << 10)
/* What may be met in a file that another version has written. */
#define FRAME_CONTENT_MAX (1u << 20)

struct frame_compressor;

MUST_CHECK int frame_compressor_create(int level, struct frame_compressor **ret_compressor);
void frame_compressor_destroy(struct frame_compressor *c); /* accepts NULL */
/* The largest frame of so much content. */
size_t frame_bound(size_t content_len);
/* `to` has frame_bound(len) bytes. */
MUST_CHECK int frame_compress(struct frame_compressor *c, const void *content, size_t len, void *to, size_t *ret_len);
/* -EBADMSG: it is damaged, or has not exactly `len` bytes of content. */
MUST_CHECK int frame_decompress(const void *frame, size_t frame_len, void *to, size_t len);

AUTO_DEFINE(struct frame_compressor, frame_compressor_destroy);
