/* The records of seeds: what docs/store-format.md shows, byte for byte, and what is no record. */
#include "scratch.h"

#include "mirror/seed_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* docs/store-format.md */
static const char head_key[] = "\x73\x65\x65\x64\x00\x00\x00\x00\x00\x00\x00\x00\x07";
static const char head_value[] = "\x01\x02\x01\x00"
                                 "\x00\x00\x00\x00\x01\x49\x97\x00"
                                 "\x00\x00\x01\x97\x74\x20\xdc\x00"
                                 "\x00\x00\x01\x97\x74\x20\xdc\x7b"
                                 "\x00\x00\x00\x00\x00\x00\x00\x00"
                                 "\x00\x00\x00\x00\x00\x00\x00\x00"
                                 "base\0linux/amd64"; /* and a NUL */
static const char image_key[] = "\x73\x65\x65\x64\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00";
static const char image_value[] = "\x01\x04\x00\x01"
                                  "\xff\xff\xff\xfe"
                                  "\x00\x00\x00\x00\x00\x00\x00\x00"
                                  "docker.io/library/alpine:3\0"
                                  "\0\0"
                                  "list.txt:3\0"
                                  "not found";

static const struct seed_head head = {
    .id = 7,
    .state = SEED_RUNNING,
    .pin = true,
    .every_ms = 6 * 3600 * 1000,
    .created_at = 1750000000000,
    .started_at = 1750000000123,
    .name = "base",
    .platforms = "linux/amd64",
};

static struct seed_image an_image(void)
{
    return (struct seed_image){.state = SEED_FAILED,
                               .attempts = 1,
                               .error = -ENOENT,
                               .image = strdup("docker.io/library/alpine:3"),
                               .origin = strdup("list.txt:3"),
                               .cause = strdup("not found")};
}

START_TEST(a_head_is_written_as_documented_and_read_again)
{
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    struct seed_head h;
    ck_ok(seed_head_key(head.id, &key));
    ck_ok(seed_head_encode(&head, &value));
    ck_assert_uint_eq(key.len, sizeof(head_key) - 1);
    ck_assert_mem_eq(key.data, head_key, key.len);
    ck_assert_uint_eq(value.len, sizeof(head_value));
    ck_assert_mem_eq(value.data, head_value, value.len);
    ck_ok(seed_head_decode(key.data, key.len, value.data, value.len, &h));
    ck_assert_uint_eq(h.id, 7);
    ck_assert(h.state == SEED_RUNNING && h.pin && !h.is_configured);
    ck_assert_int_eq(h.every_ms, head.every_ms);
    ck_assert_int_eq(h.started_at, head.started_at);
    ck_assert_str_eq(h.name, "base");
    ck_assert_str_eq(h.platforms, "linux/amd64");
}
END_TEST

START_TEST(an_image_is_written_as_documented_and_read_again)
{
    AUTO_BUF struct buf key = BUF_INIT(400), value = BUF_INIT(4096);
    struct seed_image i = an_image(), back;
    ck_ok(seed_image_key(7, 0, &key));
    ck_ok(seed_image_encode(&i, &value));
    ck_assert_uint_eq(key.len, sizeof(image_key) - 1);
    ck_assert_mem_eq(key.data, image_key, key.len);
    ck_assert_uint_eq(value.len, sizeof(image_value));
    ck_assert_mem_eq(value.data, image_value, value.len);
    ck_ok(seed_image_decode(value.data, value.len, &back));
    ck_assert(back.state == SEED_FAILED && !back.is_match && back.attempts == 1);
    ck_assert_int_eq(back.error, -ENOENT);
    ck_assert_str_eq(back.image, i.image);
    ck_assert_ptr_null(back.platforms);
    ck_assert_str_eq(back.cause, "not found");
    seed_image_finish(&i);
    seed_image_finish(&back);
}
END_TEST

START_TEST(what_is_cut_or_of_another_version_is_no_record)
{
    struct seed_head h = {.id = 99};
    struct seed_image image = {.attempts = 99};
    char changed[sizeof(head_value)];
    for (size_t len = 0; len < sizeof(head_value); len++)
        ck_assert_int_eq(seed_head_decode(head_key, sizeof(head_key) - 1, head_value, len, &h), -EINVAL);
    for (size_t len = 0; len < sizeof(image_value); len++)
        ck_assert_int_eq(seed_image_decode(image_value, len, &image), -EINVAL);
    static const struct {
        size_t at;
        char byte;
    } changes[] = {{0, 2}, {1, 0}, {1, 6}, {3, 1}, {4, '\x80'}, {44, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        memcpy(changed, head_value, sizeof(changed));
        changed[changes[i].at] = changes[i].byte;
        ck_assert_int_eq(seed_head_decode(head_key, sizeof(head_key) - 1, changed, sizeof(changed), &h), -EINVAL);
    }
    ck_assert_int_eq(seed_head_decode(head_key, sizeof(head_key) - 2, head_value, sizeof(head_value), &h), -EINVAL);
    ck_assert_uint_eq(h.id, 99);
    ck_assert_uint_eq(image.attempts, 99);
}
END_TEST

START_TEST(the_longest_image_that_is_taken_fits_a_record)
{
    AUTO_BUF struct buf value = BUF_INIT(16 * 1024);
    struct seed_image i = an_image();
    char **const texts[] = {&i.image, &i.platforms, &i.pattern, &i.origin, &i.cause};
    const size_t longest[] = {IMAGE_NAME_MAX - 1, SEED_PLATFORMS_TEXT_MAX, 2048, SEED_ORIGIN_MAX, SEED_CAUSE_MAX};
    for (size_t t = 0; t < ARRAY_SIZE(texts); t++) {
        free(*texts[t]);
        *texts[t] = calloc(1, longest[t] + 1);
        memset(*texts[t], 'a', longest[t]);
    }
    ck_ok(seed_image_encode(&i, &value));
    ck_assert_uint_le(value.len, BLOBSTORE_VALUE_MAX);
    seed_image_finish(&i);
}
END_TEST

static Suite *seed_record_suite(void)
{
    Suite *suite = suite_create("seed_record");
    TCase *tc = tcase_create("records");
    tcase_add_test(tc, a_head_is_written_as_documented_and_read_again);
    tcase_add_test(tc, an_image_is_written_as_documented_and_read_again);
    tcase_add_test(tc, what_is_cut_or_of_another_version_is_no_record);
    tcase_add_test(tc, the_longest_image_that_is_taken_fits_a_record);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    return suite_run(seed_record_suite());
}
