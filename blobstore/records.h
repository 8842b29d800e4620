/*
 * How the index is written: keys and records, byte by byte, big-endian, each with its version (docs/store-format.md).
 * Pure functions; any thread. Knows neither LMDB nor files.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the index as a whole: tables, keys, records. An index of another schema is set aside and made anew. */
#define RECORD_SCHEMA 1

#define BLOB_KEY_MAX (1 + DIGEST_RAW_MAX)
#define BLOB_RECORD_SIZE 64
#define ACCESS_RECORD_SIZE 8
#define SCHEMA_RECORD_SIZE 4
#define WITNESS_RECORD_SIZE 24
#define TOTALS_RECORD_SIZE 24
#define FRONT_RECORD_SIZE 32

/* By what a file is known again without reading it. */
struct blob_facts {
    uint64_t size;
    uint64_t inode;
    int64_t mtime_ns, ctime_ns;
};

/* What a file has in it. */
enum blob_form {
    BLOB_PLAIN,  /* the content */
    BLOB_PACKED, /* the content in zstd frames (packed.h) */
    BLOB_FORMS
};

struct blob_record {
    uint64_t size;          /* of the content */
    struct blob_facts file; /* of the file that holds it */
    int64_t stored_at;      /* wall clock, ms */
    int64_t verified_at;    /* wall clock, ms: when the bytes were last known to have the digest */
    enum blob_form form;
    bool stays_plain; /* it would not shrink enough */
};

/* The lock file, which nobody ever changes: another inode or ctime means that the whole store is a copy. */
struct witness_record {
    uint64_t inode;
    int64_t ctime_ns;
};

struct totals_record {
    uint64_t bytes;   /* of the files */
    uint64_t content; /* of what is in them */
};

/* At the end of a partial file that has bytes ahead of a gap. */
struct front_record {
    uint64_t at;     /* where this record begins */
    uint64_t length; /* bytes from the start that are all there */
};

/* Returns the length of the key. */
size_t blob_key_encode(const struct digest *digest, uint8_t key[BLOB_KEY_MAX]);
MUST_CHECK int blob_key_decode(const void *key, size_t len, struct digest *ret_digest);

/* The decoders return -EBADMSG for bytes that are not such a record, of this version or at all. */
void blob_record_encode(const struct blob_record *r, uint8_t bytes[BLOB_RECORD_SIZE]);
MUST_CHECK int blob_record_decode(const void *bytes, size_t len, struct blob_record *ret_record);
void access_record_encode(int64_t used_at, uint8_t bytes[ACCESS_RECORD_SIZE]);
MUST_CHECK int access_record_decode(const void *bytes, size_t len, int64_t *ret_used_at);
void schema_record_encode(uint32_t schema, uint8_t bytes[SCHEMA_RECORD_SIZE]);
MUST_CHECK int schema_record_decode(const void *bytes, size_t len, uint32_t *ret_schema);
void witness_record_encode(const struct witness_record *r, uint8_t bytes[WITNESS_RECORD_SIZE]);
MUST_CHECK int witness_record_decode(const void *bytes, size_t len, struct witness_record *ret_record);
void totals_record_encode(const struct totals_record *r, uint8_t bytes[TOTALS_RECORD_SIZE]);
MUST_CHECK int totals_record_decode(const void *bytes, size_t len, struct totals_record *ret_record);
void front_record_encode(const struct front_record *r, uint8_t bytes[FRONT_RECORD_SIZE]);
MUST_CHECK int front_record_decode(const void *bytes, size_t len, struct front_record *ret_record);

static inline bool blob_facts_equal(const struct blob_facts *a, const struct blob_facts *b)
{
    return a->size == b->size && a->inode == b->inode && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}
