/*
 * Seeds as records (docs/store-format.md, table JOBS): a head, and a record an image. Pure; any thread.
 */
#pragma once

#include "base/buf.h"
#include "mirror/seeding.h"

struct seed_head {
    uint64_t id;
    enum seed_state state;
    bool pin, is_configured;
    int64_t every_ms, created_at, started_at, ended_at, next_at;
    char name[SEED_NAME_MAX + 1];
    char platforms[SEED_PLATFORMS_TEXT_MAX + 1]; /* or "" */
};

struct seed_image {
    /* on disk */
    enum seed_state state;
    bool is_match;
    uint8_t attempts;
    int error; /* negative errno, or 0 */
    uint64_t bytes;
    char *image, *platforms, *pattern, *origin, *cause; /* all but the first may be NULL for "" */
    /* in memory */
    int64_t retry_at; /* monotonic ms */
};

/* "seed" NUL id: of the head, and the prefix of all its images. */
MUST_CHECK int seed_head_key(uint64_t id, struct buf *key);
/* and the number of the image */
MUST_CHECK int seed_image_key(uint64_t id, size_t number, struct buf *key);
/* What every key of a seed begins with. */
#define SEED_KEY_PREFIX "seed"
#define SEED_KEY_PREFIX_LEN sizeof(SEED_KEY_PREFIX)
#define SEED_HEAD_KEY_LEN (SEED_KEY_PREFIX_LEN + 8)
#define SEED_IMAGE_KEY_LEN (SEED_HEAD_KEY_LEN + 4)

/* Replaces nothing: adds to an empty buffer. -EFBIG: a text is too long for a record. */
MUST_CHECK int seed_head_encode(const struct seed_head *h, struct buf *value);
MUST_CHECK int seed_image_encode(const struct seed_image *i, struct buf *value);
/* -EINVAL: another version, or damaged. */
MUST_CHECK int seed_head_decode(const void *key, size_t key_len, const void *value, size_t len,
                                struct seed_head *ret_head);
MUST_CHECK int seed_image_decode(const void *value, size_t len, struct seed_image *ret_image); /* also -ENOMEM */
void seed_image_finish(struct seed_image *i);
