/*
 * Text of the configuration to values and back: numbers, durations, sizes. Pure functions; any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdint.h>

/* Decimal digits only. -EINVAL, -ERANGE. */
MUST_CHECK int value_parse_count(const char *s, uint64_t *ret_count);
/* "250ms", "5m", "30d", "1h30m" (larger units first), or "0". -EINVAL, -ERANGE. */
MUST_CHECK int value_parse_duration(const char *s, int64_t *ret_ms);
/* "512", "64KiB", "10GiB" or "10Gi". -EINVAL, -ERANGE. */
MUST_CHECK int value_parse_size(const char *s, uint64_t *ret_bytes);

/* "90%": 1 to 100. -EINVAL, -ERANGE. */
MUST_CHECK int value_parse_percent(const char *s, unsigned *ret_percent);

/* As they are written in a file, by the largest units that say it exactly. */
MUST_CHECK int value_add_count(struct buf *b, uint64_t count);
MUST_CHECK int value_add_duration(struct buf *b, uint64_t ms);
MUST_CHECK int value_add_size(struct buf *b, uint64_t bytes);
