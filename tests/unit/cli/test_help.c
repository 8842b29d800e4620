/* The help of commands, and what is made of it: lines, the manual page, what shells complete. */
#include "cli/completion.h"
#include "cli/help.h"
#include "cli/manual.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define KIB 1024u

static const char sample[] = "Says \\it, and:\n"
                             "'more'.\n"
                             "\n"
                             "  --config FILE   where it is,\n"
                             "                  all of it\n"
                             "  --quiet  nothing\n"
                             "  entrepot x --config y\n"
                             "TERM, INT   stop\n"
                             "            at once\n"
                             "no gap  here\n"
                             "last";

static const struct {
    enum help_kind kind;
    const char *term, *text;
} wanted[] = {
    {HELP_PROSE, "", "Says \\it, and:"},
    {HELP_PROSE, "", "'more'."},
    {HELP_BLANK, "", ""},
    {HELP_OPTION, "--config FILE", "where it is,"},
    {HELP_MORE, "", "all of it"},
    {HELP_OPTION, "--quiet", "nothing"},
    {HELP_EXAMPLE, "", "entrepot x --config y"},
    {HELP_TERM, "TERM, INT", "stop"},
    {HELP_MORE, "", "at once"},
    {HELP_PROSE, "", "no gap  here"},
    {HELP_PROSE, "", "last"},
};

static void check_text(const char *text, size_t len, const char *want)
{
    ck_assert_uint_eq(len, strlen(want));
    if (len > 0)
        ck_assert_int_eq(strncmp(text, want, len), 0);
}

START_TEST(each_line_is_what_it_looks_like)
{
    struct help h = {.rest = sample};
    struct help_line l;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        ck_assert(help_next(&h, &l));
        ck_assert_msg(l.kind == wanted[i].kind, "line %zu is a %d", i, (int)l.kind);
        check_text(l.term, l.term_len, wanted[i].term);
        check_text(l.text, l.text_len, wanted[i].text);
    }
    ck_assert(!help_next(&h, &l));
}
END_TEST

START_TEST(options_are_found_among_the_rest)
{
    struct help h = {.rest = sample};
    struct help_line l;
    ck_assert(help_next_option(&h, &l));
    check_text(l.term, l.term_len, "--config FILE");
    ck_assert(help_next_option(&h, &l));
    check_text(l.term, l.term_len, "--quiet");
    ck_assert(!help_next_option(&h, &l));
}
END_TEST

/* A line of options with nothing said of them is its own text's end, not another line's. */
START_TEST(an_option_without_a_text_is_one_all_the_same)
{
    struct help h = {.rest = "  --all\n  --json  \n"};
    struct help_line l;
    ck_assert(help_next(&h, &l));
    ck_assert_int_eq(l.kind, HELP_OPTION);
    check_text(l.term, l.term_len, "--all");
    ck_assert_uint_eq(l.text_len, 0);
    ck_assert(help_next(&h, &l));
    ck_assert_int_eq(l.kind, HELP_OPTION);
}
END_TEST

static const struct command commands[] = {
    {.name = "look", .arguments = "[FILE]...", .summary = "it's a look: so", .help = sample},
    {.name = "go", .arguments = "", .summary = "go", .help = "Goes.\n"},
    {.name = NULL},
};

START_TEST(the_manual_has_every_command_and_no_line_that_roff_takes_for_its_own)
{
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    ck_assert_int_eq(manual_write(commands, &b), 0);
    ck_assert_ptr_nonnull(strstr(b.data, "\n.SS entrepot look [FILE]...\nSays \\eit, and:\n\\&'more'.\n.PP\n"
                                         ".TP\n\\fB\\-\\-config FILE\\fR\nwhere it is,\nall of it\n"
                                         ".TP\n\\fB\\-\\-quiet\\fR\nnothing\n"
                                         ".EX\n  entrepot x \\-\\-config y\n.EE\n"
                                         ".TP\n\\fBTERM, INT\\fR\nstop\nat once\n"));
    ck_assert_ptr_nonnull(strstr(b.data, "\n.SS entrepot go\nGoes.\n.SH EXIT STATUS\n"));
}
END_TEST

START_TEST(each_shell_is_told_of_commands_options_and_files)
{
    static const struct {
        const char *shell, *lines[4];
    } shells[] = {
        {"bash",
         {"-W '--help --version look go'",
          "    look) options='--config --quiet --help' paths=' --config ' files=yes ;;",
          "    go) options='--help' paths=' ' files= ;;", "complete -o filenames -F _entrepot entrepot\n"}},
        {"zsh",
         {"'look:it'\\''s a look\\: so'", "'--config[where it is,]:FILE:_files'", "'--quiet[nothing]'",
          "#compdef entrepot\n"}},
        {"fish",
         {"-a look -d 'it'\\''s a look: so'", "-r -F -l config -d 'where it is,'", "from go' -f -l help",
          "from look' -l quiet -d 'nothing'"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
        ck_assert_int_eq(completion_write(commands, shells[i].shell, &b), 0);
        for (size_t j = 0; j < ARRAY_SIZE(shells[i].lines); j++)
            ck_assert_msg(strstr(b.data, shells[i].lines[j]), "%s lacks: %s\n%s", shells[i].shell, shells[i].lines[j],
                          b.data);
    }
    AUTO_BUF struct buf none = BUF_INIT(KIB);
    ck_assert_int_eq(completion_write(commands, "tcsh", &none), -EINVAL);
}
END_TEST

START_TEST(what_does_not_fit_is_an_error_and_not_a_half)
{
    for (size_t max = 1; max < 600; max += 7) {
        AUTO_BUF struct buf b = BUF_INIT(max);
        ck_assert_int_eq(manual_write(commands, &b), -EFBIG);
        AUTO_BUF struct buf c = BUF_INIT(max);
        ck_assert_int_eq(completion_write(commands, "bash", &c), -EFBIG);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("help");
    TCase *tests = tcase_create("help");
    tcase_add_test(tests, each_line_is_what_it_looks_like);
    tcase_add_test(tests, options_are_found_among_the_rest);
    tcase_add_test(tests, an_option_without_a_text_is_one_all_the_same);
    tcase_add_test(tests, the_manual_has_every_command_and_no_line_that_roff_takes_for_its_own);
    tcase_add_test(tests, each_shell_is_told_of_commands_options_and_files);
    tcase_add_test(tests, what_does_not_fit_is_an_error_and_not_a_half);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
