/*
 * Platforms of images, "linux/arm64" or "linux/arm/v7", and which of those that an index offers a node takes: as
 * containerd has it. A value type; pure; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

#define PLATFORM_WORD_MAX 24

struct platform {
    char os[PLATFORM_WORD_MAX];
    char architecture[PLATFORM_WORD_MAX];
    char variant[PLATFORM_WORD_MAX]; /* or "" */
};

/* "linux/arm/v7", "linux/arm/v7" and a NUL */
#define PLATFORM_TEXT_MAX (3 * PLATFORM_WORD_MAX)

/* "OS/ARCHITECTURE[/VARIANT]" in lower case; the names that uname and rpm have for architectures are understood.
 * -EINVAL. */
MUST_CHECK int platform_parse(const char *text, struct platform *ret_platform);
/* As a descriptor or an image's configuration has them, where NULL is "". false: they are too long to be any. */
bool platform_make(const char *os, const char *architecture, const char *variant, struct platform *ret_platform);
const char *platform_format(const struct platform *p, char *text); /* PLATFORM_TEXT_MAX bytes; returns `text` */
/* What this program was built for. */
struct platform platform_of_host(void);
/* How well `offered` fits a node of the platform `wanted`: 0 exactly, a larger number worse, -1 not at all. */
int platform_rank(const struct platform *wanted, const struct platform *offered);
