/*
 * The sub-commands of the program: a table, its help, and the choice among them. A command is one function that reads
 * its own arguments and returns the exit status. One thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_WANTING = 3,     /* it was looked for, and is not all there */
    STATUS_UNREACHABLE = 4, /* no server answers */
};

struct command {
    const char *name;                                              /* NULL ends a table */
    const char *arguments;                                         /* "[FILE]" */
    const char *summary;                                           /* for the list of commands */
    const char *help;                                              /* paragraphs that end with a newline */
    int (*run)(const struct command *self, int argc, char **argv); /* argv[0] is the command's name */
    const struct command *all;                                     /* the table, for a command that needs it, or NULL */
};

/* What the program's exit status means, in a line. */
extern const char command_statuses[];

/* Runs the command that argv[1] names; help, --help of the program and of each command, and --version are answered
 * here. */
int command_main(const struct command *commands, int argc, char **argv);

/* For commands. Says what is wrong with the command line; returns STATUS_USAGE. */
int command_misused(const struct command *self, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct option;
/* getopt_long() that says nothing itself, for long options; and what is said of what it did not know. */
int command_option(int argc, char **argv, const struct option *options);
int command_bad_option(const struct command *self, int option, char **argv);
/* Ends what was printed to standard output; STATUS_FAILED where it did not get there. */
MUST_CHECK int command_printed(void);

int audit_command(const struct command *self, int argc, char **argv);
int backup_command(const struct command *self, int argc, char **argv);
int check_config_command(const struct command *self, int argc, char **argv);
int status_command(const struct command *self, int argc, char **argv);
int top_command(const struct command *self, int argc, char **argv);
int ls_command(const struct command *self, int argc, char **argv);
int tags_command(const struct command *self, int argc, char **argv);
int inspect_command(const struct command *self, int argc, char **argv);
int explain_command(const struct command *self, int argc, char **argv);
int pin_command(const struct command *self, int argc, char **argv);
int unpin_command(const struct command *self, int argc, char **argv);
int pins_command(const struct command *self, int argc, char **argv);
int rm_command(const struct command *self, int argc, char **argv);
int purge_command(const struct command *self, int argc, char **argv);
int gc_command(const struct command *self, int argc, char **argv);
int du_command(const struct command *self, int argc, char **argv);
int rebuild_command(const struct command *self, int argc, char **argv);
int seed_command(const struct command *self, int argc, char **argv);
int seeds_command(const struct command *self, int argc, char **argv);
int hosts_command(const struct command *self, int argc, char **argv);
int nodes_command(const struct command *self, int argc, char **argv);
int reference_command(const struct command *self, int argc, char **argv);
int completion_command(const struct command *self, int argc, char **argv);
int manual_command(const struct command *self, int argc, char **argv);
int restore_command(const struct command *self, int argc, char **argv);
int verify_command(const struct command *self, int argc, char **argv);
int version_command(const struct command *self, int argc, char **argv);
