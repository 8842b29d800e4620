#include "server/framing.h"

#include "base/auto.h"
#include "suite.h"

#include <check.h>

#define LENGTH "Content-Length"
#define CODING "Transfer-Encoding"

static const struct {
    const char *fields[3][2];
    bool clear;
} heads[] = {
    {{{"Host", "x"}}, true},
    {{{"host", "x"}, {LENGTH, "5"}, {"Accept", "*/*"}}, true},
    {{{"Host", "x"}, {CODING, "chunked"}}, true},
    {{{"Host", "x"}, {"transfer-encoding", "Chunked"}}, true},
    {{{"X_1!#$%&'*+-.^`|~", ""}}, true},
    {{{"Accept", "a"}, {"Accept", "b"}}, true},
    {{{LENGTH, "5"}, {LENGTH, "0"}}, false},
    {{{LENGTH, "5"}, {"content-length", "5"}}, false},
    {{{LENGTH, "5"}, {CODING, "chunked"}}, false},
    {{{CODING, "chunked"}, {CODING, "chunked"}}, false},
    {{{CODING, "identity"}, {CODING, "chunked"}}, false},
    {{{CODING, "identity"}}, false},
    {{{CODING, "gzip, chunked"}}, false},
    {{{CODING, "chunked, gzip"}}, false},
    {{{CODING, "xchunked"}}, false},
    {{{CODING, "chunked "}}, false},
    {{{CODING, "\vchunked"}}, false},
    {{{CODING, ""}}, false},
    {{{"Content-Length ", "5"}}, false},
    {{{"Transfer-Encoding\t", "chunked"}}, false},
    {{{" " LENGTH, "5"}}, false},
    {{{"", "x"}}, false},
    {{{"A(b)", "x"}}, false},
    {{{"\xc3\xa4", "x"}}, false},
    {{{"Host", "x"}, {"Host", "y"}}, false},
};

START_TEST(a_request_has_one_end_or_is_refused)
{
    struct framing f = {0};
    for (size_t i = 0; i < ARRAY_SIZE(heads[_i].fields) && heads[_i].fields[i][0]; i++)
        framing_note(&f, heads[_i].fields[i][0], heads[_i].fields[i][1]);
    ck_assert(framing_is_clear(&f) == heads[_i].clear);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("framing");
    tcase_add_loop_test(t, a_request_has_one_end_or_is_refused, 0, ARRAY_SIZE(heads));
    Suite *s = suite_create("framing");
    suite_add_tcase(s, t);
    return suite_run(s);
}
