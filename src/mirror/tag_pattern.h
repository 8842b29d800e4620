/*
 * Patterns of tags: which tags of a repository are meant where a list does not name one, by regular expressions and by
 * ranges of versions. Pure; any thread.
 *
 * The text of a pattern, as records have it, is lines: "whole", or "part" where an expression need match only a part of
 * the tag; then any number of "+EXPRESSION", "-EXPRESSION" and "=RANGE". A tag is meant that one of the + matches, if
 * there are any, none of the - does, and that is in one of the ranges, if there are any.
 *
 * An expression is a POSIX extended one; \d, \w, \s and (?:…) of Go's are understood, back references and large
 * repetitions refused. A range has versions behind =, !=, <, <=, >, >=, ^ and ~, which all must hold where a comma or a
 * space is between them, one of them where || is. A tag is a version with or without a "v"; one that has more than
 * three numbers in it, a suffix for example, is in no range.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>

#define TAG_PATTERN_TEXT_MAX 2048
#define TAG_PATTERN_PARTS_MAX 100

struct tag_pattern;

/* -EINVAL: *ret_wrong (static) says why. -ENOMEM. */
MUST_CHECK int tag_pattern_create(const char *text, struct tag_pattern **ret_pattern, const char **ret_wrong);
void tag_pattern_destroy(struct tag_pattern *p); /* accepts NULL */
bool tag_pattern_matches(const struct tag_pattern *p, const char *tag);

AUTO_DEFINE(struct tag_pattern, tag_pattern_destroy);
