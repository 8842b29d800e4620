#include "base/json_text.h"

#include "starve.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

/* Tokens longer than jansson's first buffer, which grows in the middle of them. */
static const char manifest[] =
    "{\"schemaVersion\":2,\"layers\":["
    "{\"digest\":\"sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b\",\"size\":1},"
    "{\"digest\":\"sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7\",\"size\":12345678901234}]"
    "}";

START_TEST(what_is_read_is_all_of_it_wherever_memory_fails)
{
    AUTO_JSON json_t *whole = NULL;
    ck_assert_int_eq(json_text_read(manifest, strlen(manifest), JSON_REJECT_DUPLICATES, &whole, NULL), 0);
    unsigned failed = 0;
    for (bool fired = true; fired; failed += fired) {
        AUTO_JSON json_t *json = NULL;
        starve_arm(failed, (enum starve_extent)_i);
        starve_enter(true);
        int r = json_text_read(manifest, strlen(manifest), JSON_REJECT_DUPLICATES, &json, NULL);
        starve_enter(false);
        fired = starve_disarm();
        ck_assert_int_eq(r, fired ? -ENOMEM : 0);
        ck_assert(fired ? json == NULL : json_equal(json, whole));
    }
    ck_assert_uint_gt(failed, 10);
}
END_TEST

START_TEST(what_is_no_json_is_told_with_its_place)
{
    static const struct {
        const char *text;
        int line;
    } cases[] = {{"", 1}, {"{\n\"a\": }", 2}, {"{\"a\": 1,\n\n\"a\": 2}", 3}, {"{} {}", 1}, {"[\"\xff\"]", 1}};
    json_error_t error = {.line = 0};
    json_t *json = NULL;
    ck_assert_int_eq(json_text_read(cases[_i].text, strlen(cases[_i].text), JSON_REJECT_DUPLICATES, &json, &error),
                     -EINVAL);
    ck_assert_ptr_null(json);
    ck_assert_int_eq(error.line, cases[_i].line);
}
END_TEST

START_TEST(no_text_is_no_json)
{
    json_t *json = NULL;
    ck_assert_int_eq(json_text_read(NULL, 0, 0, &json, NULL), -EINVAL);
    ck_assert_ptr_null(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/json_text");
    TCase *tc = tcase_create("json_text");
    tcase_add_loop_test(tc, what_is_read_is_all_of_it_wherever_memory_fails, 0, STARVE_EXTENTS);
    tcase_add_loop_test(tc, what_is_no_json_is_told_with_its_place, 0, 5);
    tcase_add_test(tc, no_text_is_no_json);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
