#include "mirror/place_key.h"

#include "base/limits.h"
#include "mirror/digest_key.h"
#include "mirror/pointers.h"

#include "scratch.h"

#include <string.h>

static bool reads(const char *key, size_t len)
{
    struct place_key place;
    return place_key_read(key, len, &place);
}

START_TEST(a_pointer_has_its_kind_and_name_behind_the_place)
{
    struct pointer_key key;
    struct place_key place;
    pointer_key_make(&key, "docker.io", "library/alpine", POINTER_TAG, "3.20");
    ck_assert(place_key_read(key.bytes, key.len, &place));
    ck_assert_str_eq(place.registry, "docker.io");
    ck_assert_str_eq(place.repository, "library/alpine");
    ck_assert_uint_eq(place.rest_len, 5);
    ck_assert_int_eq(memcmp(place.rest, "t3.20", 5), 0);
}
END_TEST

START_TEST(a_sighting_has_a_digest_behind_the_place)
{
    const struct digest digest = {.algorithm = DIGEST_SHA256, .raw = {1, 0, 2}};
    uint8_t key[8 + DIGEST_KEY_MAX] = "a\0b/c";
    struct digest read;
    struct place_key place;
    size_t len = 6 + digest_key_encode(&digest, key + 6);
    ck_assert(place_key_read_sighting(key, len, &place, &read));
    ck_assert_str_eq(place.registry, "a");
    ck_assert_str_eq(place.repository, "b/c");
    ck_assert(digest_equal(&read, &digest));
    ck_assert(!place_key_read_sighting(key, len - 1, &place, &read));
    ck_assert(!place_key_read_sighting(key, 6, &place, &read));
}
END_TEST

START_TEST(what_has_nothing_behind_it_is_a_place)
{
    struct place_key place;
    ck_assert(place_key_read("a\0b", 4, &place));
    ck_assert_uint_eq(place.rest_len, 0);
}
END_TEST

START_TEST(what_begins_with_nul_or_ends_too_soon_is_no_place)
{
    ck_assert(!reads("", 0));
    ck_assert(!reads("\0p", 3));
    ck_assert(!reads("a", 1));
    ck_assert(!reads("a", 2));
    ck_assert(!reads("a\0b", 3));
}
END_TEST

START_TEST(names_are_as_long_as_may_be_together)
{
    char key[LIMIT_NAME + 3];
    memset(key, 'x', sizeof(key));
    key[10] = key[LIMIT_NAME + 1] = '\0';
    ck_assert(reads(key, sizeof(key)));
    key[LIMIT_NAME + 1] = 'x';
    key[LIMIT_NAME + 2] = '\0';
    ck_assert(!reads(key, sizeof(key)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("place_key");
    TCase *tests = tcase_create("place_key");
    tcase_add_test(tests, a_pointer_has_its_kind_and_name_behind_the_place);
    tcase_add_test(tests, a_sighting_has_a_digest_behind_the_place);
    tcase_add_test(tests, what_has_nothing_behind_it_is_a_place);
    tcase_add_test(tests, what_begins_with_nul_or_ends_too_soon_is_no_place);
    tcase_add_test(tests, names_are_as_long_as_may_be_together);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
