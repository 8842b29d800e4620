/*
 * What the keys of pointers and of sightings begin with, registry NUL repository NUL (docs/store-format.md, tables TAGS
 * and REPOSITORIES). Pure; any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>

/* Inside the key. Registry and repository have at most LIMIT_NAME characters together. */
struct place_key {
    const char *registry, *repository;
    const char *rest; /* what is behind them */
    size_t rest_len;
};

/* false: another key, such as those of privacy.c, which begin with NUL. */
bool place_key_read(const void *key, size_t len, struct place_key *ret_place);
/* Of a sighting: what was seen there is the rest. */
bool place_key_read_sighting(const void *key, size_t len, struct place_key *ret_place, struct digest *ret_digest);
