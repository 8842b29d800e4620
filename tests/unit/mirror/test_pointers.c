#include "mirror/pointers.h"

#include "scratch.h"

#include <errno.h>
#include <string.h>

/* --- on disk: the example of docs/store-format.md ----------------------------------------------------------- */

static const char empty_json[] = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

static struct pointer example(void)
{
    struct pointer p = {.size = 9218, .checked_at = 1750000000123, .media_type = MEDIA_TYPE_OCI_INDEX};
    ck_ok(digest_parse(empty_json, strlen(empty_json), &p.digest));
    return p;
}

static void is_hex(const void *data, size_t len, const char *hex)
{
    char text[1024];
    ck_assert_uint_lt(2 * len, sizeof(text));
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)data)[i]);
    ck_assert_str_eq(text, hex);
}

START_TEST(the_key_of_a_tag)
{
    struct pointer_key key;
    pointer_key_make(&key, "docker.io", "library/alpine", POINTER_TAG, "3.20");
    is_hex(key.bytes, key.len,
           "646f636b65722e696f" /* "docker.io" */
           "00"
           "6c6962726172792f616c70696e65" /* "library/alpine" */
           "00"
           "74"         /* 't' */
           "332e3230"); /* "3.20" */
}
END_TEST

START_TEST(the_key_of_a_list_and_of_referrers)
{
    struct pointer_key key;
    pointer_key_make(&key, "ghcr.io", "a", POINTER_TAGS_LIST, "");
    is_hex(key.bytes, key.len,
           "676863722e696f00"
           "6100"
           "6c");
    pointer_key_make(&key, "ghcr.io", "a", POINTER_REFERRERS, "sha256:0");
    is_hex(key.bytes, key.len,
           "676863722e696f00"
           "6100"
           "72"
           "7368613235363a30");
}
END_TEST

START_TEST(the_longest_key_fits)
{
    char repository[LIMIT_NAME], digest[DIGEST_TEXT_MAX];
    struct pointer_key key;
    memset(repository, 'r', sizeof(repository));
    repository[LIMIT_NAME - 7] = '\0';
    memset(digest, 'd', sizeof(digest));
    digest[DIGEST_TEXT_MAX - 1] = '\0';
    pointer_key_make(&key, "ghcr.io", repository, POINTER_REFERRERS, digest);
    ck_assert_uint_eq(key.len, LIMIT_NAME + 2 + 1 + DIGEST_TEXT_MAX - 1);
    ck_assert_uint_le(key.len, BLOBSTORE_KEY_MAX);
}
END_TEST

START_TEST(the_value_of_a_pointer)
{
    struct pointer p = example();
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    ck_ok(pointer_encode(&p, &value));
    is_hex(value.data, value.len,
           "01"                                                               /* version */
           "01"                                                               /* sha256 */
           "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" /* digest */
           "0000000000002402"                                                 /* size: 9218 bytes */
           "000001977420dc7b" /* checked_at: 1750000000123 ms since 1970 */
           /* "application/vnd.oci.image.index.v1+json" */
           "6170706c69636174696f6e2f766e642e6f63692e696d6167652e696e6465782e76312b6a736f6e");

    struct pointer back;
    ck_ok(pointer_decode(value.data, value.len, &back));
    ck_assert(digest_equal(&back.digest, &p.digest));
    ck_assert_uint_eq(back.size, p.size);
    ck_assert_int_eq(back.checked_at, p.checked_at);
    ck_assert_str_eq(back.media_type, p.media_type);
}
END_TEST

START_TEST(a_sha512_pointer_comes_back)
{
    struct pointer p = {.size = UINT64_MAX, .checked_at = INT64_MAX, .media_type = ""}, back;
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    ck_ok(digest_of(DIGEST_SHA512, "x", 1, &p.digest));
    ck_ok(pointer_encode(&p, &value));
    ck_assert_uint_eq(value.len, 2 + 64 + 16);
    ck_ok(pointer_decode(value.data, value.len, &back));
    ck_assert(digest_equal(&back.digest, &p.digest));
    ck_assert_uint_eq(back.size, UINT64_MAX);
    ck_assert_int_eq(back.checked_at, INT64_MAX);
    ck_assert_str_eq(back.media_type, "");
}
END_TEST

START_TEST(a_value_that_is_damaged_or_of_another_version_is_none)
{
    struct pointer p = example(), back = {.size = 7};
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    ck_ok(pointer_encode(&p, &value));
    for (size_t len = 0; len < 2 + 32 + 16; len++) {
        AUTO_FREE char *cut = malloc(len ? len : 1); /* exact, so that a read past its end is seen */
        memcpy(cut, value.data, len);
        ck_assert_int_eq(pointer_decode(cut, len, &back), -EINVAL);
    }
    value.data[0] = 2;
    ck_assert_int_eq(pointer_decode(value.data, value.len, &back), -EINVAL);
    value.data[0] = 1;
    value.data[2 + 32 + 8] ^= (char)0x80; /* checked before all time: no age is to be computed from it */
    ck_assert_int_eq(pointer_decode(value.data, value.len, &back), -EINVAL);
    value.data[2 + 32 + 8] ^= (char)0x80;
    value.data[1] = 0;
    ck_assert_int_eq(pointer_decode(value.data, value.len, &back), -EINVAL);
    value.data[1] = 3;
    ck_assert_int_eq(pointer_decode(value.data, value.len, &back), -EINVAL);
    value.data[1] = 1;
    char filler[MEDIA_TYPE_MAX] = {0};
    ck_ok(buf_add(&value, filler, MEDIA_TYPE_MAX - strlen(MEDIA_TYPE_OCI_INDEX)));
    ck_assert_int_eq(pointer_decode(value.data, value.len, &back), -EINVAL);
    ck_assert_uint_eq(back.size, 7);
}
END_TEST

/* --- in memory and in the index ----------------------------------------------------------------------------- */

static struct blobstore *store;
static struct keeper *keeper;
static struct pointers *pointers;

static void start(void)
{
    store = scratch_store();
    ck_ok(keeper_start(store, NULL, NULL, &keeper));
    ck_ok(pointers_create(store, keeper, &pointers));
}

static void stop(void)
{
    keeper_stop(keeper);
    pointers_destroy(pointers);
    blobstore_close(store);
}

static void setup(void)
{
    scratch_setup();
    start();
}

static void cleanup(void)
{
    stop();
    scratch_cleanup();
}

static void put(const char *tag, uint64_t size)
{
    struct pointer_key key;
    struct pointer p = example();
    p.size = size;
    pointer_key_make(&key, "docker.io", "library/alpine", POINTER_TAG, tag);
    pointers_put(pointers, &key, &p);
}

static int get(const char *tag, uint64_t *ret_size)
{
    struct pointer_key key;
    struct pointer p;
    pointer_key_make(&key, "docker.io", "library/alpine", POINTER_TAG, tag);
    int r = pointers_get(pointers, &key, &p);
    if (r == 0)
        *ret_size = p.size;
    return r;
}

START_TEST(what_was_noted_is_seen_at_once_and_the_latest_counts)
{
    uint64_t size = 0;
    ck_assert_int_eq(get("a", &size), -ENOENT);
    put("a", 1);
    ck_ok(get("a", &size));
    ck_assert_uint_eq(size, 1);
    put("a", 2);
    put("b", 3);
    ck_ok(get("a", &size));
    ck_assert_uint_eq(size, 2);
}
END_TEST

START_TEST(what_was_noted_survives_a_restart)
{
    uint64_t size = 0;
    put("a", 1);
    put("a", 2);
    stop();
    start();
    ck_ok(get("a", &size));
    ck_assert_uint_eq(size, 2);
    ck_assert_int_eq(get("b", &size), -ENOENT);
}
END_TEST

START_TEST(names_that_look_alike_are_told_apart)
{
    struct pointer_key tag, list, other;
    struct pointer p = example(), got;
    pointer_key_make(&tag, "docker.io", "a", POINTER_TAG, "x");
    pointer_key_make(&list, "docker.io", "a", POINTER_TAGS_LIST, "");
    pointer_key_make(&other, "docker.io", "a/b", POINTER_TAG, "x");
    pointers_put(pointers, &tag, &p);
    ck_ok(pointers_get(pointers, &tag, &got));
    ck_assert_int_eq(pointers_get(pointers, &list, &got), -ENOENT);
    ck_assert_int_eq(pointers_get(pointers, &other, &got), -ENOENT);
}
END_TEST

START_TEST(a_record_that_cannot_be_read_is_as_good_as_none)
{
    struct pointer_key key;
    struct blobstore_batch *batch;
    uint64_t size;
    keeper_stop(keeper);
    keeper = NULL;
    pointer_key_make(&key, "docker.io", "library/alpine", POINTER_TAG, "a");
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_TAGS, key.bytes, key.len, "\x02newer", 6);
    ck_ok(blobstore_batch_commit(batch));
    ck_assert_int_eq(get("a", &size), -ENOENT);
}
END_TEST

START_TEST(more_than_memory_holds_are_read_from_the_index)
{
    char tag[16];
    uint64_t size = 0;
    for (unsigned i = 0; i < 17000; i++) {
        (void)snprintf(tag, sizeof(tag), "t%u", i);
        put(tag, i + 1);
    }
    keeper_stop(keeper); /* all is in the index; the first thousand have left the memory */
    keeper = NULL;
    for (unsigned i = 0; i < 17000; i += 100) {
        (void)snprintf(tag, sizeof(tag), "t%u", i);
        ck_ok(get(tag, &size));
        ck_assert_uint_eq(size, i + 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pointers");
    TCase *format = tcase_create("format");
    tcase_add_test(format, the_key_of_a_tag);
    tcase_add_test(format, the_key_of_a_list_and_of_referrers);
    tcase_add_test(format, the_longest_key_fits);
    tcase_add_test(format, the_value_of_a_pointer);
    tcase_add_test(format, a_sha512_pointer_comes_back);
    tcase_add_test(format, a_value_that_is_damaged_or_of_another_version_is_none);
    suite_add_tcase(suite, format);
    TCase *kept = tcase_create("kept");
    tcase_add_checked_fixture(kept, setup, cleanup);
    tcase_set_timeout(kept, 60);
    tcase_add_test(kept, what_was_noted_is_seen_at_once_and_the_latest_counts);
    tcase_add_test(kept, what_was_noted_survives_a_restart);
    tcase_add_test(kept, names_that_look_alike_are_told_apart);
    tcase_add_test(kept, a_record_that_cannot_be_read_is_as_good_as_none);
    tcase_add_test(kept, more_than_memory_holds_are_read_from_the_index);
    suite_add_tcase(suite, kept);
    return suite_run(suite);
}
