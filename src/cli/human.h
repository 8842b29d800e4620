/*
 * Sizes, times and numbers as people read them. Each writes to a text of HUMAN_TEXT bytes and returns it. Pure
 * functions; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdint.h>

#define HUMAN_TEXT 48

const char *human_size(uint64_t bytes, char *text); /* "1.4 GiB" */
const char *human_duration(int64_t ms, char *text); /* "3 h", "2 d", "40 s": the largest unit, rounded down */
/* The other way round: a whole number, 1 to 1000000, of s, m, h, d or w, and no more: "30d". -EINVAL: another text. */
MUST_CHECK int human_read_duration(const char *text, int64_t *ret_ms);
const char *human_age(int64_t then, int64_t now, char *text);   /* "3 h ago", "in 5 min"; 0: "never" */
const char *human_short_digest(const char *digest, char *text); /* "sha256:2cf24dba…": its first twelve digits */
const char *human_count(uint64_t n, char *text);                /* "1,234,567" */
