#include "blobstore/records.h"

#include "blobstore/blobstore.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Where the fields are. Bytes that are not named are zero; a version that gives them a meaning is another version. */
enum {
    BLOB_VERSION = 1,
    BLOB_AT_VERSION = 0,
    BLOB_AT_FLAGS = 1,
    BLOB_AT_RESERVED = 2,
    BLOB_AT_SIZE = 8,
    BLOB_AT_FILE_SIZE = 16,
    BLOB_AT_INODE = 24,
    BLOB_AT_MTIME = 32,
    BLOB_AT_CTIME = 40,
    BLOB_AT_STORED = 48,
    BLOB_AT_VERIFIED = 56,
    BLOB_END = 64,

    WITNESS_VERSION = 1,
    WITNESS_AT_VERSION = 0,
    WITNESS_AT_RESERVED = 1,
    WITNESS_AT_INODE = 8,
    WITNESS_AT_CTIME = 16,
    WITNESS_END = 24,

    TOTALS_VERSION = 1,
    TOTALS_AT_VERSION = 0,
    TOTALS_AT_RESERVED = 1,
    TOTALS_AT_BYTES = 8,
    TOTALS_AT_CONTENT = 16,
    TOTALS_END = 24,

    /* flags; a record that has others is of a later version of this program */
    BLOB_IS_PACKED = 1,
    BLOB_STAYS_PLAIN = 2,

    FRONT_AT_MAGIC = 0,
    FRONT_AT_AT = 16,
    FRONT_AT_LENGTH = 24,
    FRONT_END = 32,
};

/* Random, so that no content ends like this by chance. What does so on purpose is shortened, and is fetched again. */
static const uint8_t front_magic[FRONT_AT_AT] = {0x8e, 0x3b, 0x51, 0xd0, 0x6f, 0x92, 0x47, 0xaa,
                                                 0x1c, 0xe5, 0x70, 0xb9, 0x24, 0xdf, 0x83, 0x01};

static_assert(BLOB_END == BLOB_RECORD_SIZE, "layout of a blob's record");
static_assert(WITNESS_END == WITNESS_RECORD_SIZE, "layout of the witness' record");
static_assert(TOTALS_END == TOTALS_RECORD_SIZE, "layout of the totals' record");
static_assert(FRONT_END == FRONT_RECORD_SIZE, "layout of the front's record");
static_assert(DIGEST_SHA256 == 1 && DIGEST_SHA512 == 2, "these numbers are on disk");
static_assert(BLOB_KEY_MAX == 65, "a blob's key fits LMDB's and has the digest whole");
static_assert(BLOBSTORE_TAGS == 1 && BLOBSTORE_JOBS == 7 && BLOBSTORE_TABLES == 8, "these numbers are on disk");

static void put64(uint8_t *at, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        at[i] = (uint8_t)v;
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | at[i];
    return v;
}

static bool all_zero(const uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (from[i])
            return false;
    return true;
}

size_t blob_key_encode(const struct digest *digest, uint8_t key[BLOB_KEY_MAX])
{
    size_t n = digest_raw_size(digest->algorithm);
    key[0] = (uint8_t)digest->algorithm;
    memcpy(key + 1, digest->raw, n);
    return 1 + n;
}

int blob_key_decode(const void *key, size_t len, struct digest *ret_digest)
{
    const uint8_t *k = key;
    if (len < 1 || (k[0] != DIGEST_SHA256 && k[0] != DIGEST_SHA512))
        return -EBADMSG;
    struct digest d = {.algorithm = (enum digest_algorithm)k[0]};
    if (len != 1 + digest_raw_size(d.algorithm))
        return -EBADMSG;
    memcpy(d.raw, k + 1, len - 1);
    *ret_digest = d;
    return 0;
}

void blob_record_encode(const struct blob_record *r, uint8_t bytes[BLOB_RECORD_SIZE])
{
    memset(bytes, 0, BLOB_RECORD_SIZE);
    bytes[BLOB_AT_VERSION] = BLOB_VERSION;
    bytes[BLOB_AT_FLAGS] = r->form == BLOB_PACKED ? BLOB_IS_PACKED : r->stays_plain ? BLOB_STAYS_PLAIN : 0;
    put64(bytes + BLOB_AT_SIZE, r->size);
    put64(bytes + BLOB_AT_FILE_SIZE, r->file.size);
    put64(bytes + BLOB_AT_INODE, r->file.inode);
    put64(bytes + BLOB_AT_MTIME, (uint64_t)r->file.mtime_ns);
    put64(bytes + BLOB_AT_CTIME, (uint64_t)r->file.ctime_ns);
    put64(bytes + BLOB_AT_STORED, (uint64_t)r->stored_at);
    put64(bytes + BLOB_AT_VERIFIED, (uint64_t)r->verified_at);
}

int blob_record_decode(const void *bytes, size_t len, struct blob_record *ret_record)
{
    const uint8_t *b = bytes;
    if (len != BLOB_RECORD_SIZE || b[BLOB_AT_VERSION] != BLOB_VERSION || b[BLOB_AT_FLAGS] > BLOB_STAYS_PLAIN ||
        !all_zero(b + BLOB_AT_RESERVED, BLOB_AT_SIZE - BLOB_AT_RESERVED))
        return -EBADMSG;
    *ret_record = (struct blob_record){
        .size = get64(b + BLOB_AT_SIZE),
        .file = {.size = get64(b + BLOB_AT_FILE_SIZE),
                 .inode = get64(b + BLOB_AT_INODE),
                 .mtime_ns = (int64_t)get64(b + BLOB_AT_MTIME),
                 .ctime_ns = (int64_t)get64(b + BLOB_AT_CTIME)},
        .stored_at = (int64_t)get64(b + BLOB_AT_STORED),
        .verified_at = (int64_t)get64(b + BLOB_AT_VERIFIED),
        .form = b[BLOB_AT_FLAGS] == BLOB_IS_PACKED ? BLOB_PACKED : BLOB_PLAIN,
        .stays_plain = b[BLOB_AT_FLAGS] == BLOB_STAYS_PLAIN,
    };
    return 0;
}

void access_record_encode(int64_t used_at, uint8_t bytes[ACCESS_RECORD_SIZE])
{
    put64(bytes, (uint64_t)used_at);
}

int access_record_decode(const void *bytes, size_t len, int64_t *ret_used_at)
{
    if (len != ACCESS_RECORD_SIZE)
        return -EBADMSG;
    *ret_used_at = (int64_t)get64(bytes);
    return 0;
}

void schema_record_encode(uint32_t schema, uint8_t bytes[SCHEMA_RECORD_SIZE])
{
    for (int i = SCHEMA_RECORD_SIZE - 1; i >= 0; i--, schema >>= 8)
        bytes[i] = (uint8_t)schema;
}

int schema_record_decode(const void *bytes, size_t len, uint32_t *ret_schema)
{
    const uint8_t *b = bytes;
    if (len != SCHEMA_RECORD_SIZE)
        return -EBADMSG;
    *ret_schema = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return 0;
}

void witness_record_encode(const struct witness_record *r, uint8_t bytes[WITNESS_RECORD_SIZE])
{
    memset(bytes, 0, WITNESS_RECORD_SIZE);
    bytes[WITNESS_AT_VERSION] = WITNESS_VERSION;
    put64(bytes + WITNESS_AT_INODE, r->inode);
    put64(bytes + WITNESS_AT_CTIME, (uint64_t)r->ctime_ns);
}

int witness_record_decode(const void *bytes, size_t len, struct witness_record *ret_record)
{
    const uint8_t *b = bytes;
    if (len != WITNESS_RECORD_SIZE || b[WITNESS_AT_VERSION] != WITNESS_VERSION ||
        !all_zero(b + WITNESS_AT_RESERVED, WITNESS_AT_INODE - WITNESS_AT_RESERVED))
        return -EBADMSG;
    *ret_record =
        (struct witness_record){.inode = get64(b + WITNESS_AT_INODE), .ctime_ns = (int64_t)get64(b + WITNESS_AT_CTIME)};
    return 0;
}

void totals_record_encode(const struct totals_record *r, uint8_t bytes[TOTALS_RECORD_SIZE])
{
    memset(bytes, 0, TOTALS_RECORD_SIZE);
    bytes[TOTALS_AT_VERSION] = TOTALS_VERSION;
    put64(bytes + TOTALS_AT_BYTES, r->bytes);
    put64(bytes + TOTALS_AT_CONTENT, r->content);
}

int totals_record_decode(const void *bytes, size_t len, struct totals_record *ret_record)
{
    const uint8_t *b = bytes;
    bool is_short = len == TOTALS_AT_CONTENT; /* from before anything was packed */
    if ((len != TOTALS_RECORD_SIZE && !is_short) || b[TOTALS_AT_VERSION] != TOTALS_VERSION ||
        !all_zero(b + TOTALS_AT_RESERVED, TOTALS_AT_BYTES - TOTALS_AT_RESERVED))
        return -EBADMSG;
    *ret_record = (struct totals_record){
        .bytes = get64(b + TOTALS_AT_BYTES),
        .content = get64(b + (is_short ? TOTALS_AT_BYTES : TOTALS_AT_CONTENT)),
    };
    return 0;
}

void front_record_encode(const struct front_record *r, uint8_t bytes[FRONT_RECORD_SIZE])
{
    memcpy(bytes + FRONT_AT_MAGIC, front_magic, sizeof(front_magic));
    put64(bytes + FRONT_AT_AT, r->at);
    put64(bytes + FRONT_AT_LENGTH, r->length);
}

int front_record_decode(const void *bytes, size_t len, struct front_record *ret_record)
{
    const uint8_t *b = bytes;
    if (len != FRONT_END || memcmp(b + FRONT_AT_MAGIC, front_magic, sizeof(front_magic)) != 0)
        return -EBADMSG;
    const struct front_record r = {.at = get64(b + FRONT_AT_AT), .length = get64(b + FRONT_AT_LENGTH)};
    if (r.length > r.at)
        return -EBADMSG;
    *ret_record = r;
    return 0;
}
