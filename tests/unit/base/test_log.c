#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"

#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

/* Each test is a process of its own: standard error is a file from here on. */
static int captured = -1;

static void capture(void)
{
    char path[] = "/tmp/entrepot-test-XXXXXX";
    captured = mkstemp(path);
    ck_assert_int_ge(captured, 0);
    (void)unlink(path);
    ck_assert_int_eq(dup2(captured, STDERR_FILENO), STDERR_FILENO);
    log_configure(LOG_INFO, LOG_TEXT);
}

/* All that was written so far. */
static char *written(struct buf *b)
{
    char block[4096];
    buf_reset(b);
    ck_assert_int_eq(buf_adds(b, ""), 0);
    ssize_t n;
    for (off_t at = 0; (n = pread(captured, block, sizeof(block), at)) > 0; at += n)
        ck_assert_int_eq(buf_add(b, block, (size_t)n), 0);
    return b->data;
}

/* The line behind its time, which must look like one. */
static const char *without_time(const char *line, const char *before)
{
    const char *stamp = line + strlen(before);
    ck_assert_msg(strncmp(line, before, strlen(before)) == 0, "%s", line);
    for (const char *p = stamp, *form = "dddd-dd-ddTdd:dd:dd.dddZ"; *form; p++, form++)
        ck_assert_msg(*form == 'd' ? *p >= '0' && *p <= '9' : *p == *form, "%s", line);
    return stamp + strlen("2026-01-01T00:00:00.000Z");
}

START_TEST(a_text_line_has_bare_values_where_nobody_could_mistake_them)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    log_event(LOG_INFO, "get", LOG_S("path", "/v2/"), LOG_S("none", NULL), LOG_S("empty", ""), LOG_S("two", "a b"),
              LOG_S("pair", "a=b"), LOG_S("quote", "\"\\"), LOG_S("evil", "x\nlevel=error"), LOG_S("utf8", "\xc3\xb6"),
              LOG_S("bytes", "\xff"), LOG_I("low", INT64_MIN), LOG_U("high", UINT64_MAX));
    ck_assert_str_eq(without_time(written(&b), "time="),
                     " level=info event=get path=/v2/ empty=\"\" two=\"a b\" pair=\"a=b\" quote=\"\\\"\\\\\" "
                     "evil=\"x\\u000alevel=error\" utf8=\"\xc3\xb6\" bytes=\"\\ufffd\" "
                     "low=-9223372036854775808 high=18446744073709551615\n");
}
END_TEST

START_TEST(a_json_line_is_one_object)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    log_configure(LOG_INFO, LOG_JSON);
    log_event(LOG_WARN, "get", LOG_S("path", "/v2/"), LOG_S("none", NULL), LOG_I("n", -5), LOG_S("evil", "\"}\n"));
    ck_assert_str_eq(without_time(written(&b), "{\"time\":\""),
                     "\",\"level\":\"warn\",\"event\":\"get\",\"path\":\"/v2/\",\"n\":-5,\"evil\":\"\\\"}\\u000a\"}\n");
}
END_TEST

START_TEST(only_what_is_wanted_is_written)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        log_configure(levels[i], LOG_TEXT);
        ck_assert_int_eq(ftruncate(captured, 0), 0);
        ck_assert_int_eq(lseek(captured, 0, SEEK_SET), 0);
        size_t lines = 0;
        ck_assert(log_wanted(LOG_NOTICE));
        for (size_t k = 0; k < ARRAY_SIZE(levels); k++) {
            log_event(levels[k], "x", LOG_U("level", k));
            ck_assert(log_wanted(levels[k]) == (k <= i));
        }
        for (const char *p = written(&b); (p = strchr(p, '\n')); p++)
            lines++;
        ck_assert_uint_eq(lines, i + 1);
    }
}
END_TEST

START_TEST(a_line_that_is_too_long_is_told_without_its_fields)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    AUTO_FREE char *text = malloc(LOG_LINE_MAX + 1);
    memset(text, 'x', LOG_LINE_MAX);
    text[LOG_LINE_MAX] = '\0';
    log_event(LOG_INFO, "get", LOG_S("path", text));
    ck_assert_str_eq(without_time(written(&b), "time="), " level=info event=get fields=\"left out\"\n");
}
END_TEST

START_TEST(an_error_goes_out_at_once_with_all_before_it)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    ck_assert_int_eq(log_start(), 0);
    log_event(LOG_INFO, "one", LOG_I("n", 1));
    log_event(LOG_ERROR, "two", LOG_I("n", 2));
    char *text = written(&b);
    char *one = strstr(text, "event=one"), *two = strstr(text, "event=two");
    ck_assert(one && two && one < two && text[b.len - 1] == '\n');
    log_stop();
}
END_TEST

START_TEST(stopping_writes_what_was_gathered_and_the_log_works_on)
{
    AUTO_BUF struct buf b = BUF_INIT(MIB);
    for (int i = 0; i < 3; i++) { /* it may be started again */
        ck_assert_int_eq(log_start(), 0);
        log_event(LOG_INFO, "within", LOG_I("n", i));
        log_stop();
        log_event(LOG_INFO, "after", LOG_I("n", i));
    }
    log_stop(); /* idempotent */
    const char *p = written(&b);
    for (int i = 0; i < 3; i++) {
        p = strstr(p, "event=within");
        ck_assert(p != NULL);
        p = strstr(p, "event=after");
        ck_assert(p != NULL);
    }
}
END_TEST

#define THREADS 4
#define LINES 3000

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_event(i % 100 == 0 ? LOG_WARN : LOG_INFO, "line", LOG_S("who", arg), LOG_I("n", i),
                  LOG_S("filler", "................................................................"));
    return NULL;
}

START_TEST(no_line_of_many_threads_is_lost_torn_or_out_of_its_threads_order)
{
    AUTO_BUF struct buf b = BUF_INIT(16 * MIB);
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    int next[THREADS] = {0};
    ck_assert_int_eq(log_start(), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    log_stop();
    char *rest = written(&b);
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char who;
        int n;
        const char *fields = strstr(line, " event=line who=");
        ck_assert_msg(fields && sscanf(fields, " event=line who=%c n=%d filler=....", &who, &n) == 2, "%s", line);
        ck_assert_int_eq(line[strlen(line) - 1], '.');
        ck_assert(who >= 'a' && who < 'a' + THREADS);
        ck_assert_int_eq(n, next[who - 'a']++);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(next[i], LINES);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("log");
    tcase_add_checked_fixture(t, capture, NULL);
    tcase_add_test(t, a_text_line_has_bare_values_where_nobody_could_mistake_them);
    tcase_add_test(t, a_json_line_is_one_object);
    tcase_add_test(t, only_what_is_wanted_is_written);
    tcase_add_test(t, a_line_that_is_too_long_is_told_without_its_fields);
    tcase_add_test(t, an_error_goes_out_at_once_with_all_before_it);
    tcase_add_test(t, stopping_writes_what_was_gathered_and_the_log_works_on);
    tcase_add_test(t, no_line_of_many_threads_is_lost_torn_or_out_of_its_threads_order);
    Suite *s = suite_create("log");
    suite_add_tcase(s, t);
    return suite_run(s);
}
