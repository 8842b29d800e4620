#include "mirror/pins.h"

#include "scratch.h"

#include "base/limits.h"
#include "mirror/digest_key.h"
#include "mirror/pointers.h"

#include <errno.h>
#include <string.h>

#define NOW 1750000000000

static struct blobstore *store;
static struct blobstore_batch *batch;

static void setup(void)
{
    scratch_setup();
    store = scratch_store();
    ck_ok(blobstore_batch_begin(store, &batch));
}

static void cleanup(void)
{
    blobstore_close(store);
    scratch_cleanup();
}

static struct digest number(unsigned n)
{
    return (struct digest){.algorithm = DIGEST_SHA256, .raw = {(uint8_t)n}};
}

static void put_pin(enum pin_kind kind, const void *what, size_t len, int64_t expires_at)
{
    AUTO_BUF struct buf key = BUF_INIT(KIB), value = BUF_INIT(KIB);
    const struct pin pin = {
        .kind = kind, .what = what, .what_len = len, .expires_at = expires_at, .origin = "list", .origin_len = 4};
    ck_ok(pin_encode(&pin, &key, &value));
    blobstore_batch_put(batch, BLOBSTORE_PINS, key.data, key.len, value.data, value.len);
}

static void pin_tag(const char *repository, const char *tag, int64_t expires_at)
{
    struct pointer_key key;
    pointer_key_make(&key, "docker.io", repository, POINTER_TAG, tag);
    put_pin(PIN_TAG, key.bytes, key.len, expires_at);
}

static void pin_pattern(const char *pattern)
{
    put_pin(PIN_PATTERN, pattern, strlen(pattern), 0);
}

static void put_tag(const char *repository, const char *tag, unsigned n)
{
    AUTO_BUF struct buf value = BUF_INIT(KIB);
    struct pointer_key key;
    const struct pointer pointer = {.digest = number(n)};
    pointer_key_make(&key, "docker.io", repository, POINTER_TAG, tag);
    ck_ok(pointer_encode(&pointer, &value));
    blobstore_batch_put(batch, BLOBSTORE_TAGS, key.bytes, key.len, value.data, value.len);
}

static void put_place(const char *name, size_t name_len, unsigned n)
{
    uint8_t key[64 + DIGEST_KEY_MAX];
    const struct digest digest = number(n);
    memcpy(key, name, name_len);
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, key, name_len + digest_key_encode(&digest, key + name_len), "",
                        0);
}

static void expect(const unsigned *numbers, size_t count)
{
    AUTO_DIGEST_SET struct digest_set pinned = {0};
    ck_ok(blobstore_batch_commit(batch));
    ck_ok(pins_resolve(store, NOW, &pinned));
    ck_assert_uint_eq(pinned.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct digest digest = number(numbers[i]);
        ck_assert_msg(digest_set_has(&pinned, &digest), "%u is not pinned", numbers[i]);
    }
}

START_TEST(without_pins_nothing_is_pinned)
{
    put_tag("library/alpine", "3", 1);
    expect(NULL, 0);
}
END_TEST

START_TEST(a_tag_is_pinned_as_what_it_stands_for)
{
    put_tag("library/alpine", "3", 1);
    put_tag("library/alpine", "3.1", 2);
    pin_tag("library/alpine", "3", 0);
    pin_tag("library/never", "seen", 0);
    expect((unsigned[]){1}, 1);
}
END_TEST

START_TEST(a_digest_is_pinned_whether_it_has_a_tag_or_not)
{
    uint8_t key[DIGEST_KEY_MAX];
    const struct digest digest = number(9);
    put_pin(PIN_DIGEST, key, digest_key_encode(&digest, key), 0);
    expect((unsigned[]){9}, 1);
}
END_TEST

START_TEST(a_pattern_pins_tags_and_digests_by_their_names)
{
    put_tag("library/alpine", "3", 1);
    put_tag("library/busybox", "1", 2);
    put_tag("company/app", "latest", 3);
    put_place("docker.io\0company/app\0", 22, 4);
    put_place("docker.io\0library/alpine\0", 25, 5);
    put_place("\0p", 2, 6); /* no place, but a link */
    pin_pattern("docker.io/library/*:3");
    pin_pattern("docker.io/company/*");
    expect((unsigned[]){1, 3, 4}, 3);
}
END_TEST

START_TEST(a_pin_ends_when_it_expires)
{
    put_tag("library/alpine", "3", 1);
    put_tag("library/alpine", "4", 2);
    pin_tag("library/alpine", "3", NOW);
    pin_tag("library/alpine", "4", NOW + 1);
    expect((unsigned[]){2}, 1);
}
END_TEST

START_TEST(what_is_no_pin_pins_nothing)
{
    put_tag("library/alpine", "3", 1);
    blobstore_batch_put(batch, BLOBSTORE_PINS, "p*", 2, "\2\0\0\0\0\0\0\0\0", 9); /* of another version */
    blobstore_batch_put(batch, BLOBSTORE_PINS, "q*", 2, "\1\0\0\0\0\0\0\0\0", 9);
    blobstore_batch_put(batch, BLOBSTORE_PINS, "p*?", 3, "\1\0\0\0\0\0\0\0", 8);
    blobstore_batch_put(batch, BLOBSTORE_PINS, "d123", 4, "\1\0\0\0\0\0\0\0\0", 9);
    expect(NULL, 0);
}
END_TEST

START_TEST(the_record_is_the_one_that_the_format_has)
{
    AUTO_BUF struct buf key = BUF_INIT(KIB), value = BUF_INIT(KIB);
    struct pin pin = {.kind = PIN_PATTERN,
                      .what = "docker.io/library/*",
                      .what_len = 19,
                      .expires_at = 0x1977420dc00LL,
                      .origin = "base",
                      .origin_len = 4};
    ck_ok(pin_encode(&pin, &key, &value));
    ck_assert_uint_eq(key.len, 20);
    ck_assert_mem_eq(key.data, "pdocker.io/library/*", 20);
    ck_assert_uint_eq(value.len, 13);
    ck_assert_mem_eq(value.data,
                     "\1\0\0\1\x97\x74\x20\xdc\0"
                     "base",
                     13);
    struct pin read;
    ck_ok(pin_decode(key.data, key.len, value.data, value.len, &read));
    ck_assert_int_eq(read.kind, pin.kind);
    ck_assert_int_eq(read.expires_at, pin.expires_at);
    ck_assert_uint_eq(read.what_len, 19);
    ck_assert_mem_eq(read.origin, "base", read.origin_len);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pins");
    TCase *tests = tcase_create("pins");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_add_test(tests, without_pins_nothing_is_pinned);
    tcase_add_test(tests, a_tag_is_pinned_as_what_it_stands_for);
    tcase_add_test(tests, a_digest_is_pinned_whether_it_has_a_tag_or_not);
    tcase_add_test(tests, a_pattern_pins_tags_and_digests_by_their_names);
    tcase_add_test(tests, a_pin_ends_when_it_expires);
    tcase_add_test(tests, what_is_no_pin_pins_nothing);
    suite_add_tcase(suite, tests);
    TCase *record = tcase_create("record");
    tcase_add_test(record, the_record_is_the_one_that_the_format_has);
    suite_add_tcase(suite, record);
    return suite_run(suite);
}
