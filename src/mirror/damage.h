/*
 * Damage: stored bytes that are not what their digest says. Whoever has found some, or has found a blob right that had
 * not been looked at for long, says so here; the keeper does what follows. Any thread.
 */
#pragma once

#include "base/digest.h"

struct blobstore;
struct keeper;

/* The file that `fd` is open on goes into quarantine, unless another has its place by then, and the blob is not stored
 * any more. `found`: what found it, for the log and the metric. The descriptor stays the caller's. */
void damage_report(struct keeper *keeper, struct blobstore *store, const struct digest *digest, int fd,
                   const char *found);
/* The bytes are right; the reading began at `when` (wall clock, ms). */
void damage_report_none(struct keeper *keeper, const struct digest *digest, int64_t when);
/* Says so in the log and the metric, where it has been taken away already: blobstore_get() was -EBADMSG. */
void damage_note(const struct digest *digest, const char *found);
/* On the keeper's thread, at once. 0: it has been done. */
int damage_condemn(struct blobstore *store, const struct digest *digest, int fd, const char *found);
