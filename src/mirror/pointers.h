/*
 * Pointers: mutable names and the digest that each stood for when the upstream was asked last. Tags first of all, but a
 * repository's list of tags and the referrers of a digest are kept in the same way, as documents of their own. In the
 * index (docs/store-format.md, table TAGS), the latest also in memory: a pointer that was noted is seen at once, before
 * it is durable. Any thread.
 */
#pragma once

#include "base/limits.h"
#include "blobstore/blobstore.h"
#include "mirror/keeper.h"
#include "mirror/manifest.h"

enum pointer_kind {
    POINTER_TAG = 't', /* these are on disk */
    POINTER_TAGS_LIST = 'l',
    POINTER_REFERRERS = 'r',
};

#define POINTER_KEY_MAX 400 /* as libblobstore has it; LIMIT_NAME, a tag and the separators fit */

struct pointer_key {
    size_t len;
    char bytes[POINTER_KEY_MAX];
};

struct pointer {
    struct digest digest;
    uint64_t size;      /* bytes of the document; 0 not known */
    int64_t checked_at; /* wall clock, ms: when the upstream said so */
    char media_type[MEDIA_TYPE_MAX];
};

struct pointers;

/* `name` is the tag; "" for a list; for referrers, the digest's text. */
void pointer_key_make(struct pointer_key *key, const char *registry, const char *repository, enum pointer_kind kind,
                      const char *name);
/* The value in the index; the format is docs/store-format.md's. -EINVAL: another version, or damaged. */
MUST_CHECK int pointer_encode(const struct pointer *p, struct buf *value);
MUST_CHECK int pointer_decode(const void *value, size_t len, struct pointer *ret_pointer);

MUST_CHECK int pointers_create(struct blobstore *store, struct keeper *keeper, struct pointers **ret_pointers);
void pointers_destroy(struct pointers *p); /* accepts NULL */
/* -ENOENT: never seen. */
MUST_CHECK int pointers_get(struct pointers *p, const struct pointer_key *key, struct pointer *ret_pointer);
/* Nobody has it in memory any more; the record is the caller's to delete. */
void pointers_forget(struct pointers *p, const struct pointer_key *key);
/* Seen by everybody from now on; made durable by the keeper, together with what was posted to it before. */
void pointers_put(struct pointers *p, const struct pointer_key *key, const struct pointer *pointer);
