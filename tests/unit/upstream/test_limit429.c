#include "upstream/limit429.h"

#include "suite.h"

#include "base/auto.h"

#include <check.h>
#include <string.h>

#define HUB                                                                                                            \
    "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"You have reached your unauthenticated pull rate "        \
    "limit. https://www.docker.com/increase-rate-limit\"}]}"
#define ABUSE_HTML "<html><body>429 Too Many Requests</body></html>"

/* protocol.md §1.6 and §2 */
static const struct {
    const char *body;
    bool manifest_get;
    enum limit_kind kind;
    int64_t pause_ms;
} cases[] = {
    {HUB, true, LIMIT_PULL, 0},
    {HUB, false, LIMIT_ABUSE, 0}, /* nobody counts blobs, nor HEADs */
    {"{\"errors\":[{\"code\":\"toomanyrequests\",\"message\":\"\"}]}", true, LIMIT_PULL, 0},
    {"{\"code\":\"TooManyRequests\",\"message\":\"limit\"}", true, LIMIT_PULL, 0},
    {"{\"errors\":[{\"code\":\"TOOMANYREQUESTS\"}]}", true, LIMIT_PULL, 0},
    {"{\"errors\":[{\"code\":\"DENIED\"}]}", true, LIMIT_ABUSE, 0},
    {"{\"errors\":[]}", true, LIMIT_ABUSE, 0},
    {"{\"errors\":{\"code\":\"TOOMANYREQUESTS\"}}", true, LIMIT_ABUSE, 0},
    {"{\"errors\":[{\"code\":429}]}", true, LIMIT_ABUSE, 0},
    {"{\"detail\": \"Rate limit exceeded\", \"error\": false}", true, LIMIT_ABUSE, 0},
    {"Too Many Requests (HAP429).\n", true, LIMIT_ABUSE, 0},
    {ABUSE_HTML, true, LIMIT_ABUSE, 0},
    {"", true, LIMIT_ABUSE, 0},
    {NULL, true, LIMIT_ABUSE, 0},
    {"[]", true, LIMIT_ABUSE, 0},
    {"{", true, LIMIT_ABUSE, 0},
    {"toomanyrequests: retry-after: 880.092\xc2\xb5s, allowed: 44000/minute", true, LIMIT_MOMENT, 100},
    {"toomanyrequests: retry-after: 880.092\xce\xbcs, allowed: 44000/minute", false, LIMIT_MOMENT, 100},
    {"{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"retry-after: 413.05ms, allowed: 44000/minute\"}]}", true,
     LIMIT_MOMENT, 414},
    {"retry-after: 2.5s", true, LIMIT_MOMENT, 3000},
    {"retry-after: 999999999s", true, LIMIT_MOMENT, 10000},
    {"retry-after: 9999999999999s", true, LIMIT_ABUSE, 0},
    {"retry-after: soon", true, LIMIT_ABUSE, 0},
    {"retry-after: 5", true, LIMIT_ABUSE, 0},
    {"retry-after:", true, LIMIT_ABUSE, 0},
    {"toomanyrequests: Rate exceeded", true, LIMIT_MOMENT, 2000},
    {"{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"Rate exceeded\"}]}", true, LIMIT_MOMENT, 2000},
    {"toomanyrequests: Data limit exceeded", false, LIMIT_DATA, 0},
    {"{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"Data limit exceeded\"}]}", true, LIMIT_DATA, 0},
};

START_TEST(each_limit_is_told_by_its_words)
{
    int64_t pause_ms = 0;
    const char *body = cases[_i].body;
    const struct limit_answer a = {cases[_i].manifest_get, body, body ? strlen(body) : 0};
    ck_assert_msg(limit429_classify(&a, &pause_ms) == cases[_i].kind, "%s", body);
    ck_assert_int_eq(pause_ms, cases[_i].pause_ms);
}
END_TEST

START_TEST(a_body_without_end_is_not_read_to_it)
{
    static char body[LIMIT429_BODY_MAX + 64];
    memset(body, ' ', sizeof(body));
    memcpy(body + LIMIT429_BODY_MAX, "Data limit exceeded", 19);
    int64_t pause_ms;
    ck_assert_int_eq(limit429_classify(&(struct limit_answer){true, body, sizeof(body)}, &pause_ms), LIMIT_ABUSE);
    memcpy(body + LIMIT429_BODY_MAX - 19, "Data limit exceeded", 19);
    ck_assert_int_eq(limit429_classify(&(struct limit_answer){true, body, sizeof(body)}, &pause_ms), LIMIT_DATA);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limit429");
    TCase *t = tcase_create("limit429");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, each_limit_is_told_by_its_words, 0, ARRAY_SIZE(cases));
    tcase_add_test(t, a_body_without_end_is_not_read_to_it);
    return suite_run(s);
}
