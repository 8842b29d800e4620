#include "blobstore/records.h"

#include "blobstore/seekable.h"
#include "helper.h"

#include <errno.h>
#include <string.h>

/* The bytes of docs/store-format.md after the line "Example: <what>", up to the end of the block. */
static size_t documented(const char *what, uint8_t *bytes, size_t max)
{
    AUTO_FCLOSE FILE *f = fopen(STORE_FORMAT, "r");
    ck_assert_msg(f, "%s cannot be read", STORE_FORMAT);
    char line[512], heading[128];
    size_t count = 0;
    int fences = 0; /* seen since the heading */
    bool found = false;
    (void)snprintf(heading, sizeof(heading), "Example: %s", what);
    while (fences < 2 && fgets(line, sizeof(line), f)) {
        if (strncmp(line, heading, strlen(heading)) == 0)
            found = true;
        else if (found && strncmp(line, "```", 3) == 0)
            fences++;
        else if (fences == 1 && strlen(line) > 6)
            /* "0000  01 00 …  what it is": pairs of digits, up to two blanks in a row */
            for (const char *p = line + 6; p[0] && p[1] && p[0] != ' ' && p[0] != '\n'; p += p[2] == ' ' ? 3 : 2) {
                unsigned value;
                ck_assert_int_eq(sscanf(p, "%2x", &value), 1);
                ck_assert_uint_lt(count, max);
                bytes[count++] = (uint8_t)value;
            }
    }
    ck_assert_msg(fences == 2, "no example of %s", what);
    return count;
}

/* The blob of the document: the five bytes "hello". */
static struct digest hello(void)
{
    struct digest digest;
    ck_ok(digest_of(DIGEST_SHA256, "hello", 5, &digest));
    return digest;
}

static const struct blob_record hello_record = {
    .size = 5,
    .file = {.size = 5, .inode = 1048583, .mtime_ns = 1760000000123456789, .ctime_ns = 1760000000987654321},
    .stored_at = 1760000001000,
    .verified_at = 1760000001000,
};

START_TEST(the_document_has_the_bytes_that_are_written)
{
    uint8_t expected[256], bytes[256];
    struct digest digest = hello();
    size_t len = blob_key_encode(&digest, bytes);
    ck_assert_uint_eq(documented("key of a blob", expected, sizeof(expected)), len);
    ck_assert_mem_eq(bytes, expected, len);

    blob_record_encode(&hello_record, bytes);
    ck_assert_uint_eq(documented("record of a blob", expected, sizeof(expected)), BLOB_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, BLOB_RECORD_SIZE);

    access_record_encode(1760003600000, bytes);
    ck_assert_uint_eq(documented("access time", expected, sizeof(expected)), ACCESS_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, ACCESS_RECORD_SIZE);

    schema_record_encode(RECORD_SCHEMA, bytes);
    ck_assert_uint_eq(documented("schema", expected, sizeof(expected)), SCHEMA_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, SCHEMA_RECORD_SIZE);

    const struct witness_record witness = {.inode = 1048577, .ctime_ns = 1760000000000000001};
    witness_record_encode(&witness, bytes);
    ck_assert_uint_eq(documented("witness", expected, sizeof(expected)), WITNESS_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, WITNESS_RECORD_SIZE);

    totals_record_encode(&(struct totals_record){.bytes = 5, .content = 5}, bytes);
    ck_assert_uint_eq(documented("totals", expected, sizeof(expected)), TOTALS_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, TOTALS_RECORD_SIZE);

    front_record_encode(&(struct front_record){.at = 100000000, .length = 4194304}, bytes);
    ck_assert_uint_eq(documented("mark of the front", expected, sizeof(expected)), FRONT_RECORD_SIZE);
    ck_assert_mem_eq(bytes, expected, FRONT_RECORD_SIZE);

    ck_assert_uint_eq(documented("table of a packed file", expected, sizeof(expected)), seek_table_size(2));
    seek_header_encode(2, bytes);
    seek_entry_encode(&(struct seek_entry){.packed = 1000, .content = 131072}, bytes + SEEK_HEADER_SIZE);
    seek_entry_encode(&(struct seek_entry){.packed = 18, .content = 5}, bytes + SEEK_HEADER_SIZE + SEEK_ENTRY_SIZE);
    seek_footer_encode(2, bytes + SEEK_HEADER_SIZE + 2 * SEEK_ENTRY_SIZE);
    ck_assert_mem_eq(bytes, expected, seek_table_size(2));
}
END_TEST

START_TEST(what_is_encoded_is_decoded)
{
    for (unsigned n = 0; n < 2; n++) {
        uint8_t key[BLOB_KEY_MAX];
        struct digest digest = helper_digest(n), decoded;
        size_t len = blob_key_encode(&digest, key);
        ck_assert_uint_eq(len, n ? 65 : 33);
        ck_ok(blob_key_decode(key, len, &decoded));
        ck_assert(digest_equal(&digest, &decoded));
    }
    uint8_t bytes[BLOB_RECORD_SIZE];
    struct blob_record record;
    struct blob_record extreme = {.size = UINT64_MAX,
                                  .file = {.size = 1, .inode = UINT64_MAX - 1, .mtime_ns = INT64_MIN, .ctime_ns = -1},
                                  .stored_at = INT64_MAX,
                                  .verified_at = -2};
    blob_record_encode(&extreme, bytes);
    ck_ok(blob_record_decode(bytes, sizeof(bytes), &record));
    ck_assert_uint_eq(record.size, extreme.size);
    ck_assert(blob_facts_equal(&record.file, &extreme.file));
    ck_assert_int_eq(record.stored_at, extreme.stored_at);
    ck_assert_int_eq(record.verified_at, extreme.verified_at);

    for (unsigned i = 0; i < 3; i++) {
        extreme.form = i == 1 ? BLOB_PACKED : BLOB_PLAIN;
        extreme.stays_plain = i == 2;
        blob_record_encode(&extreme, bytes);
        ck_ok(blob_record_decode(bytes, sizeof(bytes), &record));
        ck_assert(record.form == extreme.form && record.stays_plain == extreme.stays_plain);
    }

    struct totals_record totals;
    uint8_t totals_bytes[TOTALS_RECORD_SIZE];
    totals_record_encode(&(struct totals_record){.bytes = 7, .content = 9}, totals_bytes);
    ck_ok(totals_record_decode(totals_bytes, sizeof(totals_bytes), &totals));
    ck_assert_uint_eq(totals.bytes, 7);
    ck_assert_uint_eq(totals.content, 9);
    ck_ok(totals_record_decode(totals_bytes, 16, &totals)); /* of a store that knew no packed blobs */
    ck_assert_uint_eq(totals.bytes, 7);
    ck_assert_uint_eq(totals.content, 7);

    struct witness_record witness = {.inode = 8, .ctime_ns = -9}, known;
    uint8_t witness_bytes[WITNESS_RECORD_SIZE];
    witness_record_encode(&witness, witness_bytes);
    ck_ok(witness_record_decode(witness_bytes, sizeof(witness_bytes), &known));
    ck_assert_uint_eq(known.inode, 8);
    ck_assert_int_eq(known.ctime_ns, -9);

    struct front_record front;
    uint8_t front_bytes[FRONT_RECORD_SIZE];
    front_record_encode(&(struct front_record){.at = 10, .length = 10}, front_bytes);
    ck_ok(front_record_decode(front_bytes, sizeof(front_bytes), &front));
    ck_assert_uint_eq(front.at, 10);
    ck_assert_uint_eq(front.length, 10);
    front_record_encode(&(struct front_record){.at = 10, .length = 11}, front_bytes);
    ck_assert_int_eq(front_record_decode(front_bytes, sizeof(front_bytes), &front), -EBADMSG);
}
END_TEST

START_TEST(keys_sort_as_digests_do)
{
    struct digest low = hello(), high = hello();
    uint8_t a[BLOB_KEY_MAX], b[BLOB_KEY_MAX];
    low.raw[0] = 0x7f;
    high.raw[0] = 0x80;
    size_t len = blob_key_encode(&low, a);
    (void)blob_key_encode(&high, b);
    ck_assert_int_lt(memcmp(a, b, len), 0);
}
END_TEST

START_TEST(bytes_of_another_length_or_version_are_refused_and_the_output_left_alone)
{
    uint8_t bytes[BLOB_RECORD_SIZE + 1] = {0};
    struct blob_record record = {.size = 77};
    blob_record_encode(&hello_record, bytes);
    ck_assert_int_eq(blob_record_decode(bytes, BLOB_RECORD_SIZE - 1, &record), -EBADMSG);
    ck_assert_int_eq(blob_record_decode(bytes, BLOB_RECORD_SIZE + 1, &record), -EBADMSG);
    ck_assert_int_eq(blob_record_decode(bytes, 0, &record), -EBADMSG);
    for (size_t i = 0; i < 8; i++) { /* version, flags, reserved */
        blob_record_encode(&hello_record, bytes);
        bytes[i] ^= 4;
        ck_assert_int_eq(blob_record_decode(bytes, BLOB_RECORD_SIZE, &record), -EBADMSG);
    }
    ck_assert_uint_eq(record.size, 77);

    struct digest digest = hello(), decoded = {.algorithm = DIGEST_NONE};
    uint8_t key[BLOB_KEY_MAX];
    size_t len = blob_key_encode(&digest, key);
    ck_assert_int_eq(blob_key_decode(key, len - 1, &decoded), -EBADMSG);
    ck_assert_int_eq(blob_key_decode(key, 0, &decoded), -EBADMSG);
    key[0] = DIGEST_SHA512; /* too short for one */
    ck_assert_int_eq(blob_key_decode(key, len, &decoded), -EBADMSG);
    key[0] = 3;
    ck_assert_int_eq(blob_key_decode(key, len, &decoded), -EBADMSG);
    ck_assert_int_eq(decoded.algorithm, DIGEST_NONE);

    struct witness_record witness;
    uint8_t witness_bytes[WITNESS_RECORD_SIZE] = {0};
    ck_assert_int_eq(witness_record_decode(witness_bytes, sizeof(witness_bytes), &witness), -EBADMSG);
    struct totals_record totals;
    uint8_t totals_bytes[TOTALS_RECORD_SIZE] = {0};
    ck_assert_int_eq(totals_record_decode(totals_bytes, sizeof(totals_bytes), &totals), -EBADMSG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("records");
    TCase *tc = tcase_create("records");
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, the_document_has_the_bytes_that_are_written);
    tcase_add_test(tc, what_is_encoded_is_decoded);
    tcase_add_test(tc, keys_sort_as_digests_do);
    tcase_add_test(tc, bytes_of_another_length_or_version_are_refused_and_the_output_left_alone);
    return helper_run(suite);
}
