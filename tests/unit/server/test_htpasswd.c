#include "server/htpasswd.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define RIGHT "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC" /* of "right" */

static struct htpasswd *parse(const char *text)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct htpasswd *h = NULL;
    int r = htpasswd_parse(text, strlen(text), &h, &why);
    ck_assert_msg(r == 0, "%s", why.data);
    return h;
}

START_TEST(users_are_found_with_their_hashes)
{
    AUTO(auto_htpasswd_destroy)
    struct htpasswd *h = parse("# people\n\nzoe:" RIGHT "\r\n  jo:" RIGHT "  \nal:" RIGHT);
    ck_assert_uint_eq(htpasswd_count(h), 3);
    ck_assert_str_eq(htpasswd_find(h, "jo"), RIGHT);
    ck_assert_str_eq(htpasswd_find(h, "zoe"), RIGHT);
    ck_assert_str_eq(htpasswd_find(h, "al"), RIGHT);
    ck_assert_ptr_null(htpasswd_find(h, "j"));
    ck_assert_ptr_null(htpasswd_find(h, ""));
    ck_assert_ptr_null(htpasswd_find(h, "people"));
}
END_TEST

#define OTHER "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiD"

START_TEST(whoever_is_not_there_takes_as_long_as_somebody_who_is)
{
    AUTO(auto_htpasswd_destroy) struct htpasswd *h = parse("jo:" RIGHT "\nal:" OTHER);
    bool right = false, other = false;
    for (char name[] = "a"; *name <= 'z'; ++*name) {
        const char *decoy = htpasswd_decoy(h, name);
        ck_assert(strcmp(decoy, RIGHT) == 0 || strcmp(decoy, OTHER) == 0);
        ck_assert_ptr_eq(htpasswd_decoy(h, name), decoy);
        right = right || strcmp(decoy, RIGHT) == 0;
        other = other || strcmp(decoy, OTHER) == 0;
    }
    ck_assert(right && other);
}
END_TEST

START_TEST(an_empty_file_has_nobody)
{
    AUTO(auto_htpasswd_destroy) struct htpasswd *h = parse("");
    ck_assert_ptr_null(htpasswd_decoy(h, "jo"));
    ck_assert_uint_eq(htpasswd_count(h), 0);
    ck_assert_ptr_null(htpasswd_find(h, "jo"));
}
END_TEST

#define SALT "abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC"
#define DEAR "the hash costs too much to check: make it with htpasswd -B, and -C 14 at most"

static const struct {
    const char *text, *why;
} wrongs[] = {
    {"jo:" RIGHT "\nsecret\n", "line 2: user:hash is expected"},
    {":" RIGHT "\n", "line 1: user:hash is expected"},
    {"jo:secret\n", "line 1: the hash is none that is taken: make it with htpasswd -B"},
    {"jo:$apr1$abcdefgh$0123456789012345678901\n", "line 1: the hash is none that is taken: make it with htpasswd -B"},
    {"jo:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", "line 1: the hash is none that is taken: make it with htpasswd -B"},
    {"jo:\n", "line 1: the hash is none that is taken: make it with htpasswd -B"},
    {"jo:" RIGHT "\njo:" RIGHT "\n", "a user is said twice"},
    {"al:" RIGHT "\njo:$2y$15$" SALT, "line 2: " DEAR},
    {"jo:$2b$31$" SALT, "line 1: " DEAR},
    {"jo:$6$rounds=1000001$abcdefgh$", "line 1: " DEAR},
    {"jo:$6$rounds=999999999$abcdefgh$", "line 1: " DEAR},
    {"jo:$y$jCT$abcdefgh$", "line 1: " DEAR},
    {"jo:$y$jFT$abcdefgh$", "line 1: " DEAR},
    {"jo:$gy$j9zzz$abcdefgh$", "line 1: " DEAR},
    {"jo:$7$DU..../....abcdefgh$", "line 1: " DEAR},
    {"jo:$7$CU..../zzzzabcdefgh$", "line 1: " DEAR},
    {"jo:$7$", "line 1: " DEAR},
};

START_TEST(costs_up_to_the_limit_are_taken)
{
    AUTO(auto_htpasswd_destroy)
    struct htpasswd *h = parse("a:$2y$14$" SALT "\nb:$2b$05$" SALT "\nc:$6$abcdefgh$\ni:$6$rounds=1000000$abcdefgh$\n"
                               "e:$y$j9T$abcdefgh$\nf:$y$jBT$abcdefgh$\ng:$gy$j75$abcdefgh$\n"
                               "h:$7$CU..../....abcdefgh$\n");
    ck_assert_uint_eq(htpasswd_count(h), 8);
}
END_TEST

START_TEST(a_file_with_anything_wrong_is_refused_and_not_quoted)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct htpasswd *h = NULL;
    ck_assert_int_eq(htpasswd_parse(wrongs[_i].text, strlen(wrongs[_i].text), &h, &why), -EINVAL);
    ck_assert_str_eq(why.data, wrongs[_i].why);
    ck_assert_ptr_null(h);
}
END_TEST

START_TEST(a_nul_is_no_text)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct htpasswd *h;
    ck_assert_int_eq(htpasswd_parse("a\0b", 3, &h, &why), -EINVAL);
}
END_TEST

START_TEST(only_the_right_password_is_right)
{
    ck_assert(htpasswd_verify(RIGHT, "right"));
    ck_assert(!htpasswd_verify(RIGHT, "wrong"));
    ck_assert(!htpasswd_verify(RIGHT, ""));
    ck_assert(!htpasswd_verify("*0", "right"));
    ck_assert(!htpasswd_verify("", ""));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("htpasswd");
    tcase_add_test(t, users_are_found_with_their_hashes);
    tcase_add_test(t, whoever_is_not_there_takes_as_long_as_somebody_who_is);
    tcase_add_test(t, an_empty_file_has_nobody);
    tcase_add_loop_test(t, a_file_with_anything_wrong_is_refused_and_not_quoted, 0, ARRAY_SIZE(wrongs));
    tcase_add_test(t, costs_up_to_the_limit_are_taken);
    tcase_add_test(t, a_nul_is_no_text);
    tcase_add_test(t, only_the_right_password_is_right);
    Suite *s = suite_create("htpasswd");
    suite_add_tcase(s, t);
    return suite_run(s);
}
