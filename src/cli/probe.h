/*
 * Whether a mirror answers: one `GET /v2/`, as its clients begin, without proxies and with a deadline for the whole. It
 * blocks until then. One thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct probe;

/* `ca_file` is trusted beside the system's authorities, or NULL. -ENOMEM, -EIO. */
MUST_CHECK int probe_create(const char *ca_file, int64_t timeout_ms, struct probe **ret_probe);
/* NULL where it answers, else why not, in words that hold until the next call. */
const char *probe_ask(struct probe *p, const char *mirror);
void probe_destroy(struct probe *p);

AUTO_DEFINE(struct probe, probe_destroy);
