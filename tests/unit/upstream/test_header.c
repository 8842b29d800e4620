#include "upstream/header.h"

#include "suite.h"

#include "base/limits.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static struct header h;

/* Lines as libcurl passes them, one a string; the last result. */
static int feed(const char *const *lines)
{
    int r = 0;
    header_init(&h);
    for (; r == 0 && *lines; lines++)
        r = header_line(&h, *lines, strlen(*lines));
    return r;
}
#define FEED(...) feed((const char *const[]){__VA_ARGS__, NULL})

START_TEST(what_is_asked_for_is_captured)
{
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "content-type: Application/JSON; charset=utf-8\r\n",
                          "Content-Length: 17\r\n", "Docker-Content-Digest: sha256:aa\r\n", "ETag: \"sha256:aa\"\r\n",
                          "Link: </a>; rel=\"next\"\r\n", "OCI-Filters-Applied:artifactType\r\n", "\r\n"),
                     1);
    ck_assert_int_eq(h.status, 200);
    ck_assert_int_eq(h.content_length, 17);
    ck_assert_str_eq(header_text(&h.content_type), "application/json");
    ck_assert_str_eq(header_text(&h.digest), "sha256:aa");
    ck_assert_str_eq(header_text(&h.etag), "\"sha256:aa\"");
    ck_assert_str_eq(header_text(&h.link), "</a>; rel=\"next\"");
    ck_assert_str_eq(header_text(&h.filters), "artifactType");
    ck_assert_str_eq(header_text(&h.location), "");
    ck_assert(!h.encoded);
    header_finish(&h);
}
END_TEST

START_TEST(limits_are_captured_by_either_name_in_any_case)
{
    ck_assert_int_eq(FEED("HTTP/1.1 429 \r\n", "ratelimit-limit: 100;w=21600\r\n", "X-RateLimit-Limit: 5\r\n",
                          "X-RATELIMIT-REMAINING: 0;w=3600\r\n", "docker-ratelimit-source: 192.0.2.1\r\n",
                          "x-ratelimit-reset: 1746136938\r\n", "\r\n"),
                     1);
    ck_assert_str_eq(header_text(&h.limit), "100;w=21600");
    ck_assert_str_eq(header_text(&h.remaining), "0;w=3600");
    ck_assert_str_eq(header_text(&h.limit_source), "192.0.2.1");
    ck_assert_int_eq(header_retry_after_ms(&h, 1746136908000LL), 30000);
    header_finish(&h);
    ck_assert_int_eq(FEED("HTTP/1.1 429 \r\n", "x-ratelimit-reset: 1746136938\r\n", "Retry-After: 3\r\n", "\r\n"), 1);
    ck_assert_int_eq(header_retry_after_ms(&h, 1746136908000LL), 3000);
    header_finish(&h);
    ck_assert_int_eq(FEED("HTTP/1.1 200 \r\n", "x-ratelimit-reset: 1746136938\r\n", "\r\n"), 1);
    ck_assert_int_eq(header_retry_after_ms(&h, 1746136908000LL), -1);
    header_finish(&h);
}
END_TEST

START_TEST(several_of_a_name_are_joined_where_a_list_is_meant)
{
    ck_assert_int_eq(FEED("HTTP/1.1 401 \r\n", "WWW-Authenticate: Negotiate\r\n", "www-authenticate: Basic\r\n",
                          "Link: <a>\r\n", "Link: <b>\r\n", "ETag: one\r\n", "ETag: two\r\n", "\r\n"),
                     1);
    ck_assert_str_eq(header_text(&h.challenges), "Negotiate\nBasic");
    ck_assert_str_eq(header_text(&h.link), "<a>, <b>");
    ck_assert_str_eq(header_text(&h.etag), "one");
    header_finish(&h);
}
END_TEST

START_TEST(an_answer_on_the_way_is_forgotten_for_the_final_one)
{
    ck_assert_int_eq(FEED("HTTP/1.1 103 Early Hints\r\n", "Link: <a>\r\n", "\r\n", "HTTP/1.1 206 Partial Content\r\n",
                          "Content-Range: bytes 5-9/10\r\n", "\r\n"),
                     1);
    ck_assert_int_eq(h.status, 206);
    ck_assert_str_eq(header_text(&h.link), "");
    ck_assert_int_eq(h.range_start, 5);
    ck_assert_int_eq(h.range_end, 9);
    ck_assert_int_eq(h.range_total, 10);
    ck_assert_int_eq(h.content_length, -1);
    header_finish(&h);
}
END_TEST

START_TEST(trailers_change_nothing)
{
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "\r\n"), 1);
    ck_assert_int_eq(header_line(&h, "Location: /x\r\n", 14), 0);
    ck_assert_str_eq(header_text(&h.location), "");
    header_finish(&h);
}
END_TEST

START_TEST(a_chunked_body_has_no_declared_length)
{
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "\r\n"), 1);
    ck_assert_int_eq(h.content_length, -1);
    header_finish(&h);
}
END_TEST

START_TEST(an_encoding_is_noticed)
{
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "Content-Encoding: gzip\r\n", "\r\n"), 1);
    ck_assert(h.encoded);
    header_finish(&h);
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "Content-Encoding: Identity\r\n", "\r\n"), 1);
    ck_assert(!h.encoded);
    header_finish(&h);
}
END_TEST

START_TEST(numbers_that_make_no_sense_fail_the_answer)
{
    ck_assert_int_eq(FEED("HTTP/1.1 twohundred\r\n"), -EPROTO);
    header_finish(&h);
    ck_assert_int_eq(FEED("HTTP/1.1\r\n"), -EPROTO);
    header_finish(&h);
    static const char *const lengths[] = {"Content-Length: -1\r\n", "Content-Length: 5x\r\n", "Content-Length:\r\n",
                                          "Content-Length: 99999999999999999999\r\n"};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        ck_assert_msg(FEED("HTTP/1.1 200 OK\r\n", lengths[i]) == -EPROTO, "%s", lengths[i]);
        header_finish(&h);
    }
    ck_assert_int_eq(FEED("HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n", "Content-Length: 6\r\n"), -EPROTO);
    header_finish(&h);
}
END_TEST

START_TEST(a_header_without_end_is_cut)
{
    header_init(&h);
    int r = header_line(&h, "HTTP/1.1 200 OK\r\n", 17);
    size_t lines = 0;
    for (; r == 0 && lines < LIMIT_RESPONSE_HEADER; lines++)
        r = header_line(&h, "X-Odd: nobody asks for it\r\n", 27);
    ck_assert_int_eq(r, -EFBIG);
    header_finish(&h);
}
END_TEST

START_TEST(a_content_range_is_read)
{
    static const struct {
        const char *text;
        int64_t start, end, total;
    } good[] = {{"bytes 0-0/1", 0, 0, 1}, {"bytes 5-9/10", 5, 9, 10}, {"Bytes 5-9/*", 5, 9, -1}};
    int64_t start, end, total;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(header_parse_content_range(good[i].text, &start, &end, &total), "%s", good[i].text);
        ck_assert_int_eq(start, good[i].start);
        ck_assert_int_eq(end, good[i].end);
        ck_assert_int_eq(total, good[i].total);
    }
    static const char *const bad[] = {"",
                                      "bytes",
                                      "bytes */10",
                                      "bytes 9-5/10",
                                      "bytes 5-10/10",
                                      "bytes 5-9",
                                      "bytes 5-9/",
                                      "bytes 5-9/10x",
                                      "items 5-9/10",
                                      "bytes -9/10",
                                      "bytes 5-99999999999999999999/*"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!header_parse_content_range(bad[i], &start, &end, &total), "%s", bad[i]);
}
END_TEST

START_TEST(retry_after_is_read_in_all_its_forms)
{
    const int64_t now = 1725436901000LL, day = 24 * 3600 * 1000LL;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"", -1},
        {"30", 30000},
        {"0", 1000},
        {"1725436931", 30000},
        {"1725436900", 1000},
        {"Wed, 04 Sep 2024 08:02:11 GMT", 30000},
        {"Wed, 04 Sep 2024 08:00:00 GMT", 1000},
        {"880.092\xc2\xb5s", -1},
        {"1.5", -1},
        {"30 seconds", -1},
        {"soon", -1},
        {"-5", -1},
        {"99999999999999999999", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(header_parse_retry_after(cases[i].text, now) == cases[i].ms, "%s", cases[i].text);
    ck_assert_int_eq(header_parse_retry_after("999999999", now), day);
    ck_assert_int_eq(header_parse_retry_after("9999999999", now), day);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("header");
    TCase *t = tcase_create("header");
    suite_add_tcase(s, t);
    tcase_add_test(t, what_is_asked_for_is_captured);
    tcase_add_test(t, limits_are_captured_by_either_name_in_any_case);
    tcase_add_test(t, several_of_a_name_are_joined_where_a_list_is_meant);
    tcase_add_test(t, an_answer_on_the_way_is_forgotten_for_the_final_one);
    tcase_add_test(t, trailers_change_nothing);
    tcase_add_test(t, a_chunked_body_has_no_declared_length);
    tcase_add_test(t, an_encoding_is_noticed);
    tcase_add_test(t, numbers_that_make_no_sense_fail_the_answer);
    tcase_add_test(t, a_header_without_end_is_cut);
    tcase_add_test(t, a_content_range_is_read);
    tcase_add_test(t, retry_after_is_read_in_all_its_forms);
    return suite_run(s);
}
