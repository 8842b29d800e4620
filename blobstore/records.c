#include "blobstore/records.h"

#include "blobstore/blobstore.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Where the fields are. Bytes that are not named are zero; a version that gives them a meaning is another version. */
enum {
    BLOB_VERSION = 1,
    BLOB_AT_VERSION = 0,
    BLOB_AT_FLAGS = 1, /* none yet */
    BLOB_AT_RESERVED = 2,
    BLOB_AT_SIZE = 8,
    BLOB_AT_FILE_SIZE = 16,
    BLOB_AT_INODE = 24,
    BLOB_AT_MTIME = 32,
    BLOB_AT_CTIME = 40,
    BLOB_AT_STORED = 48,
    BLOB_AT_VERIFIED = 56,
    BLOB_END = 64,

    STATE_VERSION = 1,
    STATE_AT_VERSION = 0,
    STATE_AT_FLAGS = 1,
    STATE_AT_RESERVED = 2,
    STATE_AT_CHANGED = 8,
    STATE_AT_WITNESS_INODE = 16,
    STATE_AT_WITNESS_CTIME = 24,
    STATE_AT_RESERVED2 = 32,
    STATE_END = 40,

    STATE_CLEAN = 1,
    STATE_UNTIDY = 2,

    TOTALS_VERSION = 1,
    TOTALS_AT_VERSION = 0,
    TOTALS_AT_RESERVED = 1,
    TOTALS_AT_BYTES = 8,
    TOTALS_END = 16,
};

static_assert(BLOB_END == BLOB_RECORD_SIZE, "layout of a blob's record");
static_assert(STATE_END == STATE_RECORD_SIZE, "layout of the state's record");
static_assert(TOTALS_END == TOTALS_RECORD_SIZE, "layout of the totals' record");
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
    if (len != BLOB_RECORD_SIZE || b[BLOB_AT_VERSION] != BLOB_VERSION ||
        !all_zero(b + BLOB_AT_FLAGS, BLOB_AT_SIZE - BLOB_AT_FLAGS))
        return -EBADMSG;
    *ret_record = (struct blob_record){
        .size = get64(b + BLOB_AT_SIZE),
        .file = {.size = get64(b + BLOB_AT_FILE_SIZE),
                 .inode = get64(b + BLOB_AT_INODE),
                 .mtime_ns = (int64_t)get64(b + BLOB_AT_MTIME),
                 .ctime_ns = (int64_t)get64(b + BLOB_AT_CTIME)},
        .stored_at = (int64_t)get64(b + BLOB_AT_STORED),
        .verified_at = (int64_t)get64(b + BLOB_AT_VERIFIED),
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

void state_record_encode(const struct state_record *r, uint8_t bytes[STATE_RECORD_SIZE])
{
    memset(bytes, 0, STATE_RECORD_SIZE);
    bytes[STATE_AT_VERSION] = STATE_VERSION;
    bytes[STATE_AT_FLAGS] = (uint8_t)((r->clean ? STATE_CLEAN : 0) | (r->untidy ? STATE_UNTIDY : 0));
    put64(bytes + STATE_AT_CHANGED, (uint64_t)r->changed_at);
    put64(bytes + STATE_AT_WITNESS_INODE, r->witness.inode);
    put64(bytes + STATE_AT_WITNESS_CTIME, (uint64_t)r->witness.ctime_ns);
}

int state_record_decode(const void *bytes, size_t len, struct state_record *ret_record)
{
    const uint8_t *b = bytes;
    if (len != STATE_RECORD_SIZE || b[STATE_AT_VERSION] != STATE_VERSION ||
        (b[STATE_AT_FLAGS] & ~(STATE_CLEAN | STATE_UNTIDY)) ||
        !all_zero(b + STATE_AT_RESERVED, STATE_AT_CHANGED - STATE_AT_RESERVED) ||
        !all_zero(b + STATE_AT_RESERVED2, STATE_END - STATE_AT_RESERVED2))
        return -EBADMSG;
    *ret_record = (struct state_record){
        .clean = b[STATE_AT_FLAGS] & STATE_CLEAN,
        .untidy = b[STATE_AT_FLAGS] & STATE_UNTIDY,
        .changed_at = (int64_t)get64(b + STATE_AT_CHANGED),
        .witness = {.inode = get64(b + STATE_AT_WITNESS_INODE), .ctime_ns = (int64_t)get64(b + STATE_AT_WITNESS_CTIME)},
    };
    return 0;
}

void totals_record_encode(const struct totals_record *r, uint8_t bytes[TOTALS_RECORD_SIZE])
{
    memset(bytes, 0, TOTALS_RECORD_SIZE);
    bytes[TOTALS_AT_VERSION] = TOTALS_VERSION;
    put64(bytes + TOTALS_AT_BYTES, r->bytes);
}

int totals_record_decode(const void *bytes, size_t len, struct totals_record *ret_record)
{
    const uint8_t *b = bytes;
    if (len != TOTALS_RECORD_SIZE || b[TOTALS_AT_VERSION] != TOTALS_VERSION ||
        !all_zero(b + TOTALS_AT_RESERVED, TOTALS_AT_BYTES - TOTALS_AT_RESERVED))
        return -EBADMSG;
    *ret_record = (struct totals_record){.bytes = get64(b + TOTALS_AT_BYTES)};
    return 0;
}
