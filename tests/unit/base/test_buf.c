#include "base/buf.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What must hold between any two calls. */
static void check(const struct buf *b)
{
    ck_assert_uint_le(b->len, b->max);
    ck_assert(b->data ? b->cap > b->len && b->cap <= b->max + 1 && b->data[b->len] == '\0'
                      : b->len == 0 && b->cap == 0);
}

START_TEST(a_buffer_grows_to_its_maximum_and_no_further)
{
    AUTO_BUF struct buf b = BUF_INIT(1000);
    for (size_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(buf_add(&b, "x", 1), 0);
        check(&b);
    }
    ck_assert_int_eq(buf_add(&b, "x", 1), -EFBIG);
    ck_assert_uint_eq(b.len, 1000);
    ck_assert_uint_eq(strlen(b.data), 1000);
    ck_assert_int_eq(buf_add(&b, "", 0), 0);
    check(&b);
}
END_TEST

START_TEST(an_append_that_is_too_long_leaves_the_buffer_as_it_was)
{
    AUTO_BUF struct buf b = BUF_INIT(8);
    ck_assert_int_eq(buf_adds(&b, "abc"), 0);
    ck_assert_int_eq(buf_adds(&b, "defghi"), -EFBIG);
    ck_assert_int_eq(buf_addf(&b, "%06d", 1), -EFBIG);
    ck_assert_int_eq(buf_add_json(&b, "defg"), -EFBIG);
    ck_assert_int_eq(buf_add_urlencoded(&b, "d/e/"), -EFBIG);
    ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -EFBIG);
    ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 2), -EFBIG);
    ck_assert_str_eq(b.data, "abc");
    check(&b);
    ck_assert_int_eq(buf_adds(&b, "defgh"), 0);
    ck_assert_str_eq(b.data, "abcdefgh");
}
END_TEST

START_TEST(a_buffer_of_maximum_zero_holds_the_empty_string)
{
    AUTO_BUF struct buf b = BUF_INIT(0);
    ck_assert_int_eq(buf_adds(&b, ""), 0);
    ck_assert_str_eq(b.data, "");
    ck_assert_int_eq(buf_adds(&b, "a"), -EFBIG);
    check(&b);
}
END_TEST

START_TEST(bytes_may_be_anything)
{
    AUTO_BUF struct buf b = BUF_INIT(100);
    ck_assert_int_eq(buf_add(&b, "a\0b", 3), 0);
    ck_assert_int_eq(buf_add(&b, NULL, 0), 0);
    ck_assert_uint_eq(b.len, 3);
    ck_assert_mem_eq(b.data, "a\0b\0", 4);
}
END_TEST

START_TEST(a_buffer_can_be_cut_emptied_and_used_again)
{
    AUTO_BUF struct buf b = BUF_INIT(100);
    buf_reset(&b);
    check(&b);
    ck_assert_int_eq(buf_addf(&b, "%s-%d", "abc", 42), 0);
    ck_assert_str_eq(b.data, "abc-42");
    buf_cut(&b, 3);
    ck_assert_str_eq(b.data, "abc");
    const char *was = b.data;
    buf_reset(&b);
    ck_assert_str_eq(b.data, "");
    ck_assert_int_eq(buf_adds(&b, "x"), 0);
    ck_assert_ptr_eq(b.data, was);
    buf_finish(&b);
    check(&b);
    ck_assert_int_eq(buf_adds(&b, "y"), 0);
    ck_assert_str_eq(b.data, "y");
}
END_TEST

START_TEST(taking_leaves_an_empty_buffer)
{
    AUTO_BUF struct buf b = BUF_INIT(100);
    AUTO_FREE char *nothing = buf_take(&b);
    ck_assert_str_eq(nothing, "");
    ck_assert_int_eq(buf_adds(&b, "abc"), 0);
    AUTO_FREE char *text = buf_take(&b);
    ck_assert_str_eq(text, "abc");
    ck_assert(b.data == NULL);
    check(&b);
    ck_assert_int_eq(buf_adds(&b, "def"), 0);
    ck_assert_str_eq(text, "abc");
    ck_assert_str_eq(b.data, "def");
}
END_TEST

static const struct {
    const char *text, *json;
} strings[] = {
    {"", "\"\""},
    {"abc /", "\"abc /\""},
    {"a\"b\\c", "\"a\\\"b\\\\c\""},
    {"\x01\n\t\x1f\x7f", "\"\\u0001\\u000a\\u0009\\u001f\\u007f\""},
    {"\xc3\xb6\xe2\x82\xac\xf0\x9f\x90\xb3", "\"\xc3\xb6\xe2\x82\xac\xf0\x9f\x90\xb3\""},
    {"\xff"
     "a\x80",
     "\"\\ufffda\\ufffd\""},
    {"\xc3", "\"\\ufffd\""}, /* cut off */
    {"\xe2\x82", "\"\\ufffd\\ufffd\""},
    {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* overlong */
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* a surrogate */
    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
};

START_TEST(json_strings_are_valid_whatever_the_bytes)
{
    AUTO_BUF struct buf b = BUF_INIT(200);
    ck_assert_int_eq(buf_add_json(&b, strings[_i].text), 0);
    ck_assert_str_eq(b.data, strings[_i].json);
}
END_TEST

START_TEST(all_but_unreserved_characters_are_percent_encoded)
{
    AUTO_BUF struct buf b = BUF_INIT(200);
    ck_assert_int_eq(buf_add_urlencoded(&b, "aZ09-._~ /?&=+%\"\xc3\xb6\x01"), 0);
    ck_assert_str_eq(b.data, "aZ09-._~%20%2F%3F%26%3D%2B%25%22%C3%B6%01");
}
END_TEST

static int file_of(size_t size)
{
    int fd = memfd_create("bytes", MFD_CLOEXEC);
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(write(fd, &"0123456789"[i % 10], 1), 1);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static const struct {
    size_t before, size, max;
    int result;
} files[] = {
    {0, 0, 100, 0},    {0, 99, 100, 0},       {0, 100, 100, 0},     {0, 101, 100, -EFBIG},
    {60, 40, 100, 0},  {60, 41, 100, -EFBIG}, {100, 0, 100, 0},     {0, 0, 0, 0},
    {0, 1, 0, -EFBIG}, {3, 70000, 200000, 0}, {0, 65536, 65536, 0}, {0, 65537, 65536, -EFBIG},
};

START_TEST(a_file_is_read_to_its_end_or_to_the_maximum)
{
    AUTO_BUF struct buf b = BUF_INIT(files[_i].max);
    AUTO_CLOSE int fd = file_of(files[_i].size);
    for (size_t i = 0; i < files[_i].before; i++)
        ck_assert_int_eq(buf_adds(&b, "x"), 0);
    ck_assert_int_eq(buf_read(&b, fd), files[_i].result);
    check(&b);
    size_t all = files[_i].before + files[_i].size;
    ck_assert_uint_eq(b.len, all < files[_i].max ? all : files[_i].max);
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] != (i < files[_i].before ? 'x' : "0123456789"[(i - files[_i].before) % 10]))
            ck_abort_msg("byte %zu is wrong", i);
}
END_TEST

START_TEST(what_cannot_be_read_is_an_error)
{
    AUTO_BUF struct buf b = BUF_INIT(100);
    AUTO_CLOSE int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(buf_read(&b, directory), -EISDIR);
    ck_assert_int_eq(buf_read(&b, -1), -EBADF);
    check(&b);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("buf");
    tcase_add_test(t, a_buffer_grows_to_its_maximum_and_no_further);
    tcase_add_test(t, an_append_that_is_too_long_leaves_the_buffer_as_it_was);
    tcase_add_test(t, a_buffer_of_maximum_zero_holds_the_empty_string);
    tcase_add_test(t, bytes_may_be_anything);
    tcase_add_test(t, a_buffer_can_be_cut_emptied_and_used_again);
    tcase_add_test(t, taking_leaves_an_empty_buffer);
    tcase_add_loop_test(t, json_strings_are_valid_whatever_the_bytes, 0, ARRAY_SIZE(strings));
    tcase_add_test(t, all_but_unreserved_characters_are_percent_encoded);
    tcase_add_loop_test(t, a_file_is_read_to_its_end_or_to_the_maximum, 0, ARRAY_SIZE(files));
    tcase_add_test(t, what_cannot_be_read_is_an_error);
    Suite *s = suite_create("buf");
    suite_add_tcase(s, t);
    return suite_run(s);
}
