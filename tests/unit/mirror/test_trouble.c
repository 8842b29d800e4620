#include "mirror/trouble.h"

#include "scratch.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>

#define NOW 1000000

static const struct {
    int error;
    enum mirror_object object;
    int64_t wait_ms; /* until it may be tried again */
    int status;
    const char *code;
    int retry_after_s;
} failures[] = {
    /* what is not there lets a client go on to its next host */
    {-ENOENT, MIRROR_MANIFEST, 10000, 404, "MANIFEST_UNKNOWN", -1},
    {-ENOENT, MIRROR_BLOB, 10000, 404, "BLOB_UNKNOWN", -1},
    {-ENOENT, MIRROR_TAGS, 10000, 404, "NAME_UNKNOWN", -1},
    {-ENOENT, MIRROR_REFERRERS, 10000, 404, "MANIFEST_UNKNOWN", -1},
    {-EACCES, MIRROR_MANIFEST, 10000, 404, "MANIFEST_UNKNOWN", -1},
    {-EACCES, MIRROR_BLOB, 10000, 404, "BLOB_UNKNOWN", -1},
    {-ENOTSUP, MIRROR_MANIFEST, 10000, 404, "MANIFEST_UNKNOWN", -1},
    /* 429 would make containerd ask five times more */
    {-EAGAIN, MIRROR_MANIFEST, 30000, 503, "TOOMANYREQUESTS", 30},
    {-EREMOTEIO, MIRROR_MANIFEST, 1500, 503, "UNAVAILABLE", 2},
    {-ECONNREFUSED, MIRROR_BLOB, 1000, 503, "UNAVAILABLE", 1},
    {-EHOSTUNREACH, MIRROR_BLOB, 1, 503, "UNAVAILABLE", 1},
    {-ECONNRESET, MIRROR_BLOB, 0, 503, "UNAVAILABLE", 1},
    {-ETIMEDOUT, MIRROR_TAGS, -5000, 503, "UNAVAILABLE", 1},
    {-ECANCELED, MIRROR_BLOB, 0, 503, "UNAVAILABLE", 1},
    {-ENOSPC, MIRROR_BLOB, 0, 503, "UNAVAILABLE", 1},
    {-EIO, MIRROR_BLOB, 0, 503, "UNAVAILABLE", 1},
    {-EAGAIN, MIRROR_BLOB, 86400000, 503, "TOOMANYREQUESTS", 3600},
    /* the upstream answered, and wrong */
    {-EPERM, MIRROR_BLOB, 0, 502, "UNKNOWN", 1},
    {-EBADMSG, MIRROR_BLOB, 2000, 502, "UNKNOWN", 2},
    {-EFBIG, MIRROR_MANIFEST, 0, 502, "UNKNOWN", 1},
    {-EPROTO, MIRROR_MANIFEST, 0, 502, "UNKNOWN", 1},
};

START_TEST(a_failure_is_told_so_that_the_client_does_the_best_it_can)
{
    const struct failure f = {
        .error = failures[_i].error, .until = NOW + failures[_i].wait_ms, .message = "the hub is away"};
    struct trouble t;
    trouble_of_failure(&f, failures[_i].object, "docker.io", NOW, CONFIG_MISS_503, &t);
    ck_assert_int_eq(t.status, failures[_i].status);
    ck_assert_str_eq(t.code, failures[_i].code);
    ck_assert_int_eq(t.retry_after_s, failures[_i].retry_after_s);
    char expected[128] = "docker.io: the hub is away";
    if (t.retry_after_s > 0)
        (void)snprintf(expected, sizeof(expected), "docker.io: the hub is away; worth another try in %d s",
                       t.retry_after_s);
    ck_assert_str_eq(t.message, expected);
}
END_TEST

START_TEST(the_longest_names_and_messages_fit)
{
    struct failure f = {.error = -EAGAIN};
    char registry[LIMIT_NAME - 1];
    struct trouble t;
    memset(f.message, 'm', sizeof(f.message) - 1);
    memset(registry, 'r', sizeof(registry) - 1);
    registry[sizeof(registry) - 1] = '\0';
    trouble_of_failure(&f, MIRROR_BLOB, registry, NOW, CONFIG_MISS_503, &t);
    ck_assert_uint_eq(strlen(t.message),
                      LIMIT_NAME - 2 + 2 + RECENT_MESSAGE_MAX - 1 + strlen("; worth another try in 1 s"));
}
END_TEST

START_TEST(a_bad_request_is_told_as_it_is)
{
    struct trouble t;
    trouble_of_request(400, "DIGEST_INVALID", "not a digest", &t);
    ck_assert_int_eq(t.status, 400);
    ck_assert_str_eq(t.code, "DIGEST_INVALID");
    ck_assert_str_eq(t.message, "not a digest");
    ck_assert_int_eq(t.retry_after_s, -1);
}
END_TEST

/* --- Warning ------------------------------------------------------------------------------------------------ */

START_TEST(a_warning_says_how_old_and_why)
{
    const struct failure f = {.error = -EAGAIN, .message = "registry-1.docker.io: too many requests"};
    char text[512];
    trouble_warning(&f, 90 * CLOCK_SECOND + 1, text, sizeof(text));
    ck_assert_str_eq(text, "299 - \"stale, last checked 90 s ago: registry-1.docker.io: too many requests\"");
}
END_TEST

START_TEST(a_clock_that_was_set_back_knows_no_age)
{
    const struct failure f = {.error = -EAGAIN, .message = "too many requests"};
    char text[512];
    trouble_warning(&f, -90 * CLOCK_SECOND, text, sizeof(text));
    ck_assert_str_eq(text, "299 - \"stale, last checked before the clock was set back: too many requests\"");
}
END_TEST

START_TEST(a_warning_can_stand_in_a_header_whatever_the_upstream_said)
{
    const struct failure f = {.error = -EAGAIN, .message = "\"x\"\r\nSet-Cookie: a\\b \xc3\xa4\x7f"};
    char text[512];
    trouble_warning(&f, 0, text, sizeof(text));
    ck_assert_str_eq(text, "299 - \"stale, last checked 0 s ago: 'x'''Set-Cookie: a'b '''\"");
}
END_TEST

START_TEST(a_warning_that_is_cut_keeps_its_quotes)
{
    struct failure f = {.error = -EAGAIN};
    char whole[512];
    memset(f.message, 'm', sizeof(f.message) - 1);
    trouble_warning(&f, 0, whole, sizeof(whole));
    for (size_t len = 40; len <= strlen(whole) + 2; len++) {
        char text[512];
        memset(text, '!', sizeof(text));
        trouble_warning(&f, 0, text, len);
        size_t wanted = len - 1 < strlen(whole) ? len - 1 : strlen(whole);
        ck_assert_uint_eq(strlen(text), wanted);
        ck_assert_int_eq(text[wanted - 1], '"');
        ck_assert_int_eq(text[len], '!');
        ck_assert_int_eq(strncmp(text, whole, wanted - 1), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trouble");
    TCase *tests = tcase_create("trouble");
    tcase_add_loop_test(tests, a_failure_is_told_so_that_the_client_does_the_best_it_can, 0, ARRAY_SIZE(failures));
    tcase_add_test(tests, the_longest_names_and_messages_fit);
    tcase_add_test(tests, a_bad_request_is_told_as_it_is);
    tcase_add_test(tests, a_warning_says_how_old_and_why);
    tcase_add_test(tests, a_clock_that_was_set_back_knows_no_age);
    tcase_add_test(tests, a_warning_can_stand_in_a_header_whatever_the_upstream_said);
    tcase_add_test(tests, a_warning_that_is_cut_keeps_its_quotes);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
