/*
 * A growing byte buffer with a maximum. Invariants: data is NULL or has len bytes followed by a NUL; len <= max always.
 * An append that would exceed the maximum fails with -EFBIG, one that finds no memory with -ENOMEM; both leave the
 * buffer as it was. Not thread-safe. After curl's dynbuf: no buffer without a maximum.
 */
#pragma once

#include "base/auto.h"

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_finish(struct buf *b); /* frees the bytes; the buffer can be used again */
void buf_reset(struct buf *b);  /* empties it and keeps the memory */
MUST_CHECK int buf_reserve(struct buf *b, size_t more);
MUST_CHECK int buf_add(struct buf *b, const void *data, size_t len);
MUST_CHECK int buf_adds(struct buf *b, const char *s);
MUST_CHECK int buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
MUST_CHECK int buf_vaddf(struct buf *b, const char *fmt, va_list ap);
/* Adds what can be read of `fd` to its end. -EFBIG: there is more than the maximum, up to which it is full then. Or
 * another negative errno of read(); what came before it is there. */
MUST_CHECK int buf_read(struct buf *b, int fd);
/* Shortens it to `len` bytes, which are not more than it has. */
void buf_cut(struct buf *b, size_t len);
/* Adds `s` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
MUST_CHECK int buf_add_json(struct buf *b, const char *s);
/* Adds `s` percent-encoded for a query value: all but unreserved characters of RFC 3986 §2.3. */
MUST_CHECK int buf_add_urlencoded(struct buf *b, const char *s);
/* The bytes as a string that the caller frees; the buffer is empty afterwards. NULL where nothing was added and no
 * memory is left for an empty string. */
char *buf_take(struct buf *b);

static inline void auto_buf_finish(struct buf *b)
{
    buf_finish(b);
}
#define AUTO_BUF AUTO(auto_buf_finish)
