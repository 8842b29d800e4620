/*
 * YAML text into a struct, by a schema table. Every error is reported with its
 * place, "NAME:LINE:COL: key.path: message", and reading goes on behind it, so that all are found at once. One thread.
 *
 *   reader_open(): the text is YAML → reader_read(): and fits the table → reader_error()…: and makes sense as a whole
 *   → reader_close(): -EINVAL if anything was wrong.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/schema.h"

#include <stddef.h>

struct reader;

/* `text`, `name` and `errors` are the caller's and stay until reader_close(). -EINVAL: no YAML, said in `errors`. */
MUST_CHECK int reader_open(const char *text, size_t len, const char *name, struct buf *errors,
                           struct reader **ret_reader);
/* Fills `object`, which is zeroed memory, from the text and the defaults. Whatever happens, schema_finish() frees it.
 */
void reader_read(struct reader *r, const struct schema_item *items, void *object);
/* Nothing has been wrong so far. */
bool reader_is_good(const struct reader *r);
/* Reports an error of the caller's own at a path, `keys`, that ends with NULL; the place is the one of the longest part
 * of the path that the text has. A member of a list is "[0]", "[1]" … */
void reader_error(struct reader *r, const char *const *keys, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* 0, -EINVAL with the errors in `errors`, -ENOMEM. Frees the reader. Accepts NULL. */
int reader_close(struct reader *r);
