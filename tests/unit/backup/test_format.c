#include "world.h"

#include "base/limits.h"

#include <errno.h>
#include <string.h>

static const struct backup_header header = {.id = "0123456789abcdef0123456789abcdef",
                                            .base = "fedcba9876543210fedcba9876543210",
                                            .created_at = 1764000000123,
                                            .blobs = 7,
                                            .bytes = 1ULL << 40};

START_TEST(every_name_is_read_as_it_is_written)
{
    char text[BACKUP_NAME_MAX], again[BACKUP_NAME_MAX];
    struct backup_name names[] = {{.kind = BACKUP_HEADER},
                                  {.kind = BACKUP_LIST},
                                  {.kind = BACKUP_RECORDS, .index = BACKUP_TABLES - 1},
                                  {.kind = BACKUP_HEAD},
                                  {.kind = BACKUP_BLOB, .digest = helper_digest(2)},
                                  {.kind = BACKUP_BLOB, .digest = helper_digest(3)},
                                  {.kind = BACKUP_END}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct backup_name name;
        backup_name_format(&names[i], text);
        ck_ok(backup_name_parse(text, &name));
        ck_assert_int_eq(name.kind, names[i].kind);
        if (name.kind == BACKUP_RECORDS)
            ck_assert_uint_eq(name.index, names[i].index);
        backup_name_format(&name, again);
        ck_assert_str_eq(text, again);
    }
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_none)
{
    static const char *const names[] = {
        "",
        "/etc/passwd",
        "../entrepot-backup.json",
        "./entrepot-backup.json",
        "blobs/",
        "blobs/sha256",
        "blobs/sha256/",
        "blobs/sha256/../../index/data.mdb",
        "blobs/md5/d41d8cd98f00b204e9800998ecf8427e",
        "blobs/sha256/2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824",
        "blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824/",
        "blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "records/budgets",
        "records/jobs",
        "records/",
        "end.json\n",
    };
    struct backup_name name;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        ck_assert_msg(backup_name_parse(names[i], &name) == -EINVAL, "%s", names[i]);
}
END_TEST

START_TEST(neither_accounts_nor_jobs_are_in_a_backup)
{
    for (size_t i = 0; i < BACKUP_TABLES; i++) {
        ck_assert_int_ne(backup_tables[i], BLOBSTORE_BUDGETS);
        ck_assert_int_ne(backup_tables[i], BLOBSTORE_JOBS);
    }
    ck_assert_int_eq(backup_tables[0], BLOBSTORE_REPOSITORIES); /* who may see what comes before everything else */
}
END_TEST

START_TEST(the_header_is_read_as_it_is_written)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    struct backup_header h;
    ck_ok(backup_header_encode(&header, &json));
    ck_ok(backup_header_decode(json.data, json.len, &h));
    ck_assert_str_eq(h.id, header.id);
    ck_assert_str_eq(h.base, header.base);
    ck_assert_int_eq(h.created_at, header.created_at);
    ck_assert_uint_eq(h.blobs, 7);
    ck_assert_uint_eq(h.bytes, 1ULL << 40);
    ck_assert(!h.is_metadata);
}
END_TEST

#define HEADER(changed) "{\"format\":\"entrepot-backup\",\"version\":1," changed "}"
#define ID "\"id\":\"0123456789abcdef0123456789abcdef\","
#define REST "\"created_at\":1,\"contents\":\"blobs\",\"blobs\":0,\"bytes\":0"

START_TEST(headers_that_are_wrong_are_refused)
{
    static const struct {
        const char *json;
        int error;
    } cases[] = {
        {HEADER(ID REST), 0},
        {"", -EBADMSG},
        {"[]", -EBADMSG},
        {"{}", -EBADMSG},
        {"{\"format\":\"another\",\"version\":1," ID REST "}", -EBADMSG},
        {"{\"format\":\"entrepot-backup\",\"version\":2}", -ENOTSUP},
        {HEADER(ID ID REST), -EBADMSG},
        {HEADER("\"id\":\"../../../../../../etc/passwd\\u0001\\u0001\\u0001\"," REST), -EBADMSG},
        {HEADER("\"id\":\"0123\"," REST), -EBADMSG},
        {HEADER(ID "\"base\":\"x\"," REST), -EBADMSG},
        {HEADER(ID "\"created_at\":-1,\"contents\":\"blobs\",\"blobs\":0,\"bytes\":0"), -EBADMSG},
        {HEADER(ID "\"created_at\":1,\"contents\":\"blobs\",\"blobs\":-1,\"bytes\":0"), -EBADMSG},
        {HEADER(ID "\"created_at\":1,\"contents\":\"all\",\"blobs\":0,\"bytes\":0"), -EBADMSG},
        {HEADER(ID "\"created_at\":1,\"contents\":\"metadata\",\"blobs\":1,\"bytes\":0"), -EBADMSG},
        {HEADER(ID "\"created_at\":1e3,\"contents\":\"blobs\",\"blobs\":0,\"bytes\":0"), -EBADMSG},
        {HEADER(ID REST) " {}", -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct backup_header h;
        ck_assert_msg(backup_header_decode(cases[i].json, strlen(cases[i].json), &h) == cases[i].error, "%s",
                      cases[i].json);
    }
}
END_TEST

START_TEST(an_item_of_the_list_is_read_as_it_is_written)
{
    for (unsigned n = 0; n < 2; n++) {
        const struct backup_item item = {
            .digest = helper_digest(n), .size = 5 + n, .stored_at = 1, .used_at = 2, .is_here = n};
        struct backup_item found;
        uint8_t bytes[BACKUP_ITEM_MAX];
        size_t len = backup_item_encode(&item, bytes), used;
        for (size_t i = 0; i < len; i++)
            ck_assert_int_eq(backup_item_decode(bytes, i, &found, &used), -EAGAIN);
        ck_ok(backup_item_decode(bytes, len, &found, &used));
        ck_assert_uint_eq(used, len);
        ck_assert(digest_equal(&found.digest, &item.digest));
        ck_assert(found.size == item.size && found.stored_at == 1 && found.used_at == 2 && found.is_here == n);
    }
}
END_TEST

/* The examples of docs/store-format.md. */
START_TEST(items_and_records_are_as_the_document_has_them)
{
    static const uint8_t item_bytes[] = {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x01,
                                         0x99, 0xc8, 0x2c, 0xc3, 0xe8, 0x00, 0x00, 0x01, 0x99, 0xc8, 0x63, 0xae,
                                         0x80, 0x01, 0x2c, 0xf2, 0x4d, 0xba, 0x5f, 0xb0, 0xa3, 0x0e, 0x26, 0xe8,
                                         0x3b, 0x2a, 0xc5, 0xb9, 0xe2, 0x9e, 0x1b, 0x16, 0x1e, 0x5c, 0x1f, 0xa7,
                                         0x42, 0x5e, 0x73, 0x04, 0x33, 0x62, 0x93, 0x8b, 0x98, 0x24};
    static const uint8_t record_bytes[] = {0x00, 0x02, 0x00, 0x09, 0x00, 0x73, 0x01, 0x00,
                                           0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    struct backup_item item;
    struct backup_record record;
    struct digest digest;
    size_t used;
    ck_ok(digest_of(DIGEST_SHA256, "hello", 5, &digest));
    ck_ok(backup_item_decode(item_bytes, sizeof(item_bytes), &item, &used));
    ck_assert(used == sizeof(item_bytes) && item.is_here && item.size == 5 && digest_equal(&item.digest, &digest));
    ck_assert(item.stored_at == 0x199c82cc3e8 && item.used_at == 0x199c863ae80);
    ck_ok(backup_record_decode(record_bytes, sizeof(record_bytes), &record, &used));
    ck_assert(used == sizeof(record_bytes) && record.key_len == 2 && memcmp(record.key, "\0s", 2) == 0);
    ck_assert_uint_eq(record.value_len, 9);
}
END_TEST

START_TEST(items_that_cannot_be_are_refused)
{
    const struct backup_item item = {.digest = helper_digest(0), .size = 5};
    struct backup_item found;
    uint8_t good[BACKUP_ITEM_MAX], bytes[BACKUP_ITEM_MAX];
    size_t len = backup_item_encode(&item, good), used;
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{0, 2}, {1, 1}, {9, 0x80}, {17, 0x80}, {25, 0}, {25, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memcpy(bytes, good, len);
        bytes[cases[i].at] = cases[i].value;
        ck_assert_int_eq(backup_item_decode(bytes, len, &found, &used), -EBADMSG);
    }
}
END_TEST

START_TEST(a_record_is_read_as_it_is_written)
{
    AUTO_BUF struct buf bytes = BUF_INIT(BACKUP_RECORD_MAX);
    const struct backup_record record = {
        .key = (const uint8_t *)"a\0key", .key_len = 5, .value = (const uint8_t *)"value", .value_len = 5};
    struct backup_record found;
    size_t used;
    ck_ok(backup_record_encode(&record, &bytes));
    for (size_t i = 0; i < bytes.len; i++)
        ck_assert_int_eq(backup_record_decode(bytes.data, i, &found, &used), -EAGAIN);
    ck_ok(backup_record_decode(bytes.data, bytes.len, &found, &used));
    ck_assert(used == bytes.len && found.key_len == 5 && memcmp(found.key, "a\0key", 5) == 0);
    ck_assert(found.value_len == 5 && memcmp(found.value, "value", 5) == 0);
}
END_TEST

START_TEST(records_longer_than_the_store_takes_are_refused)
{
    static const uint8_t no_key[4] = {0, 0, 0, 1}, long_key[4] = {1, 145, 0, 0}, long_value[4] = {0, 1, 16, 1};
    struct backup_record found;
    size_t used;
    ck_assert_int_eq(backup_record_decode(no_key, 4, &found, &used), -EBADMSG);
    ck_assert_int_eq(backup_record_decode(long_key, 4, &found, &used), -EBADMSG);
    ck_assert_int_eq(backup_record_decode(long_value, 4, &found, &used), -EBADMSG);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup/format");
    TCase *t = tcase_create("format");
    tcase_add_test(t, every_name_is_read_as_it_is_written);
    tcase_add_test(t, names_that_lead_elsewhere_are_none);
    tcase_add_test(t, neither_accounts_nor_jobs_are_in_a_backup);
    tcase_add_test(t, the_header_is_read_as_it_is_written);
    tcase_add_test(t, headers_that_are_wrong_are_refused);
    tcase_add_test(t, an_item_of_the_list_is_read_as_it_is_written);
    tcase_add_test(t, items_and_records_are_as_the_document_has_them);
    tcase_add_test(t, items_that_cannot_be_are_refused);
    tcase_add_test(t, a_record_is_read_as_it_is_written);
    tcase_add_test(t, records_longer_than_the_store_takes_are_refused);
    suite_add_tcase(s, t);
    return helper_run(s);
}
