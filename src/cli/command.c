#include "cli/command.h"

#include "base/nearest.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#define PROGRAM "entrepot"

const char command_statuses[] = "Exit status: 0 all is well, 1 it failed, 2 the command line is wrong, 3 something is "
                                "wanting, 4 no server is there.\n";

static void print_usage(FILE *f, const struct command *commands)
{
    (void)fputs(
        "Usage: " PROGRAM " COMMAND [ARGUMENTS]\n\n"
        "A mirror of container registries: it fetches images once, keeps them, and serves them from its disk.\n\n"
        "Commands:\n",
        f);
    for (const struct command *c = commands; c->name; c++)
        (void)fprintf(f, "  %-14s %s\n", c->name, c->summary);
    (void)fprintf(f, "\n" PROGRAM " COMMAND --help says more.\n%s", command_statuses);
}

static int print_help(const struct command *c)
{
    printf("Usage: " PROGRAM " %s%s%s\n\n%s\n%s", c->name, *c->arguments ? " " : "", c->arguments, c->help,
           command_statuses);
    return command_printed();
}

static bool is_help(const char *s)
{
    return strcmp(s, "--help") == 0 || strcmp(s, "-h") == 0;
}

/* NULL: there is none of that name, which is said. */
static const struct command *find(const struct command *commands, const char *name)
{
    struct nearest nearest;
    nearest_begin(&nearest, name);
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
        nearest_offer(&nearest, c->name);
    }
    (void)fprintf(stderr, PROGRAM ": there is no command %s", name);
    if (nearest.name)
        (void)fprintf(stderr, "; did you mean %s?", nearest.name);
    (void)fputs("\n" PROGRAM " --help lists the commands.\n", stderr);
    return NULL;
}

static int help_of(const struct command *commands, const char *name)
{
    const struct command *c = find(commands, name);
    return c ? print_help(c) : STATUS_USAGE;
}

int command_main(const struct command *commands, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "help") == 0 && argc > 2 && !is_help(argv[2]))
        return help_of(commands, argv[2]);
    if (is_help(name) || strcmp(name, "help") == 0) {
        print_usage(stdout, commands);
        return command_printed();
    }
    if (argc < 2) {
        print_usage(stderr, commands);
        return STATUS_USAGE;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *c = find(commands, name);
    if (!c)
        return STATUS_USAGE;
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return print_help(c);
    return c->run(c, argc - 1, argv + 1);
}

int command_misused(const struct command *self, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, PROGRAM " %s: ", self->name);
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\n" PROGRAM " %s --help says more.\n", self->name);
    va_end(ap);
    return STATUS_USAGE;
}

int command_option(int argc, char **argv, const struct option *options)
{
    opterr = 0;
    return getopt_long(argc, argv, ":", options, NULL);
}

int command_bad_option(const struct command *self, int option, char **argv)
{
    if (option == ':')
        return command_misused(self, "%s needs a value", argv[optind - 1]);
    return command_misused(self, "there is no option %s", argv[optind - 1]);
}

int command_printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return STATUS_OK;
    (void)fprintf(stderr, PROGRAM ": standard output: %s\n", strerror(errno));
    return STATUS_FAILED;
}
