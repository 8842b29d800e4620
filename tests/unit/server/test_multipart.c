#include "server/multipart.h"

#include "suite.h"

#include "base/buf.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static uint8_t content(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / 251);
}

/* A source of any size that gives at most `step` bytes a call, and every other call none if it may wait. */
struct source {
    uint64_t size;
    size_t step;
    bool hesitates, hesitated;
    int error;
};

static ssize_t read_source(void *arg, uint64_t offset, void *data, size_t len)
{
    struct source *s = arg;
    ck_assert_uint_lt(offset, s->size);
    ck_assert_uint_le(len, s->size - offset);
    if (s->error)
        return s->error;
    if (s->hesitates && (s->hesitated = !s->hesitated))
        return 0;
    size_t n = len < s->step ? len : s->step;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)data)[i] = content(offset + i);
    return (ssize_t)n;
}

static struct multipart *create(const char *header, uint64_t size)
{
    struct ranges ranges = {0};
    enum range_verdict v;
    struct multipart *m;
    ck_assert_int_eq(range_parse(header, size, 2048, &v, &ranges), 0);
    ck_assert_uint_ge(ranges.count, 2);
    ck_assert_int_eq(multipart_create(&ranges, size, "a/b", &m), 0);
    ck_assert_uint_eq(ranges.count, 0);
    ranges_finish(&ranges);
    return m;
}

/* The whole body as it should be, made the long way. */
static void expect(const struct multipart *m, const struct range *ranges, size_t count, uint64_t size, struct buf *b)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(buf_addf(b,
                                  "%s--%s\r\nContent-Type: a/b\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64
                                  "\r\n\r\n",
                                  i ? "\r\n" : "", multipart_boundary(m), ranges[i].first, ranges[i].last, size),
                         0);
        for (uint64_t at = ranges[i].first; at <= ranges[i].last; at++) {
            uint8_t byte = content(at);
            ck_assert_int_eq(buf_add(b, &byte, 1), 0);
        }
    }
    ck_assert_int_eq(buf_addf(b, "\r\n--%s--\r\n", multipart_boundary(m)), 0);
}

static const struct range parts[] = {{0, 0}, {995, 999}, {10, 900}, {10, 10}};
#define PARTS "bytes=0-0,-5,10-900,10-10"

static const size_t blocks[] = {1, 2, 3, 7, 64, 100, 1000, 65536};

START_TEST(read_in_blocks_of_any_size_it_is_the_same_body)
{
    struct multipart *m = create(PARTS, 1000);
    AUTO_BUF struct buf want = BUF_INIT(65536);
    AUTO_BUF struct buf got = BUF_INIT(65536);
    expect(m, parts, 4, 1000, &want);
    ck_assert_uint_eq(multipart_length(m), want.len);
    for (int hesitates = 0; hesitates <= 1; hesitates++) {
        struct source source = {.size = 1000, .step = 333, .hesitates = hesitates};
        buf_reset(&got);
        while (got.len < want.len) {
            char block[65536];
            ssize_t n = multipart_read(m, got.len, block, blocks[_i], hesitates, read_source, &source);
            ck_assert_int_ge(n, hesitates ? 0 : 1);
            ck_assert_int_eq(buf_add(&got, block, (size_t)n), 0);
        }
        ck_assert_uint_eq(got.len, want.len);
        ck_assert_mem_eq(got.data, want.data, want.len);
    }
    multipart_destroy(m);
}
END_TEST

START_TEST(any_offset_is_right_in_any_order)
{
    struct multipart *m = create(PARTS, 1000);
    struct source source = {.size = 1000, .step = 1000};
    AUTO_BUF struct buf want = BUF_INIT(65536);
    expect(m, parts, 4, 1000, &want);
    for (size_t i = 0; i < want.len; i++) {
        size_t at = i * 7919 % want.len; /* a prime: every offset once */
        char block[20];
        ssize_t n = multipart_read(m, at, block, sizeof(block), false, read_source, &source);
        size_t most = want.len - at < sizeof(block) ? want.len - at : sizeof(block);
        ck_assert_int_eq(n, (ssize_t)most);
        ck_assert_mem_eq(block, want.data + at, most);
    }
    multipart_destroy(m);
}
END_TEST

START_TEST(nothing_yet_never_comes_after_bytes)
{
    struct multipart *m = create(PARTS, 1000);
    struct source source = {.size = 1000, .step = 1000, .hesitates = true};
    char block[4096];
    ssize_t head = multipart_read(m, 0, block, sizeof(block), true, read_source, &source);
    ck_assert_int_gt(head, 0);
    ck_assert(!source.hesitated); /* it was not even asked */
    ck_assert_int_eq(multipart_read(m, (uint64_t)head, block, sizeof(block), true, read_source, &source), 0);
    ck_assert_int_gt(multipart_read(m, (uint64_t)head, block, sizeof(block), true, read_source, &source), 0);
    multipart_destroy(m);
}
END_TEST

START_TEST(an_error_of_the_source_is_passed_on)
{
    struct multipart *m = create(PARTS, 1000);
    struct source source = {.size = 1000, .step = 1000, .error = -ECANCELED};
    char block[4096];
    ssize_t head = multipart_read(m, 0, block, sizeof(block), false, read_source, &source);
    ck_assert_int_gt(head, 0);
    ck_assert_int_eq(multipart_read(m, (uint64_t)head, block, sizeof(block), false, read_source, &source), -ECANCELED);
    multipart_destroy(m);
}
END_TEST

START_TEST(lengths_of_huge_parts_are_right_or_refused)
{
    struct multipart *m = create("bytes=0-9,-10", 1ULL << 40);
    struct source source = {.size = 1ULL << 40, .step = 100};
    char block[10];
    uint64_t end = multipart_length(m) - strlen("\r\n----\r\n") - MULTIPART_BOUNDARY - 10;
    ck_assert_int_eq(multipart_read(m, end, block, 10, false, read_source, &source), 10);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq((uint8_t)block[i], content((1ULL << 40) - 10 + i));
    multipart_destroy(m);

    struct ranges ranges = {0};
    enum range_verdict v;
    ck_assert_int_eq(range_parse("bytes=0-,0-", INT64_MAX, 8, &v, &ranges), 0);
    ck_assert_int_eq(multipart_create(&ranges, INT64_MAX, "a/b", &m), -EOVERFLOW);
    ck_assert_uint_eq(ranges.count, 2);
    ranges_finish(&ranges);
}
END_TEST

START_TEST(two_boundaries_differ)
{
    struct multipart *a = create(PARTS, 1000), *b = create(PARTS, 1000);
    ck_assert_uint_eq(strlen(multipart_boundary(a)), MULTIPART_BOUNDARY);
    ck_assert_str_ne(multipart_boundary(a), multipart_boundary(b));
    multipart_destroy(a);
    multipart_destroy(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("multipart");
    TCase *c = tcase_create("multipart");
    suite_add_tcase(s, c);
    tcase_add_loop_test(c, read_in_blocks_of_any_size_it_is_the_same_body, 0,
                        (int)(sizeof(blocks) / sizeof(blocks[0])));
    tcase_add_test(c, any_offset_is_right_in_any_order);
    tcase_add_test(c, nothing_yet_never_comes_after_bytes);
    tcase_add_test(c, an_error_of_the_source_is_passed_on);
    tcase_add_test(c, lengths_of_huge_parts_are_right_or_refused);
    tcase_add_test(c, two_boundaries_differ);
    return suite_run(s);
}
