/*
 * Small files that are read as a whole, and whether they have changed. Any thread; a mark is one thread's at a time.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "base/digest.h"

#include <stdbool.h>

/* What was there at the last look. */
struct file_mark {
    struct digest seen;
};

/* Appends to `text`, up to its maximum. On failure `why` has it in words. */
MUST_CHECK int file_read(const char *file, struct buf *text, struct buf *why);
/* Whether the texts, of which there may be none, are others than the last time. */
bool file_has_changed(struct file_mark *mark, const struct buf *a, const struct buf *b);
/* Want of memory says nothing about the texts: they are others again the next time. */
void file_forget(struct file_mark *mark);
/* "FILE: WHY", or what `r` means where `why` has no words; `r`, or -ENOMEM. */
MUST_CHECK int file_fail(const char *file, int r, const struct buf *why, struct buf *error);
/* Tells the log what came of reading it again: `r` and `why` as above, 0 for what has been taken. */
void file_log_reload(const char *event, const char *file, int r, const struct buf *why);
/* Overwrites it, and frees. */
void file_finish_secret(struct buf *text);
