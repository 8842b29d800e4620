/*
 * Says when files may have changed: soon after something has happened in a directory of theirs, where the target of a
 * symbolic link counts too, and every now and then in any case, for file systems that tell nothing. So a swap of links,
 * as Kubernetes makes it (`..data`), is seen. Who is told looks for himself, and finds nothing new more often than not.
 * Owns a thread; the function is called there.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct watch;

typedef void watch_changed(void *arg);

/* The names are the caller's and live as long. `fn` is called once at the beginning, too: what changed between a first
 * look and now is seen. */
MUST_CHECK int watch_create(const char *const *files, size_t count, int64_t every_ms, watch_changed *fn, void *arg,
                            struct watch **ret_watch);
/* `fn` is not running afterwards. Accepts NULL. */
void watch_destroy(struct watch *w);

AUTO_DEFINE(struct watch, watch_destroy);
