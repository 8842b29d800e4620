/* Commands that ask the server once: a client that is opened, asked and closed; and those that only show the answer. */
#pragma once

#include "cli/client.h"

/* Asks with at most one parameter (as client_param()); otherwise as client_open() and client_call(). */
MUST_CHECK int ask_once(const struct command *self, const struct client_options *options, const char *method,
                        const char *path, const char *name, const char *value, const char *body, json_t **ret_answer);

/* A command that shows what can be had by GET, and has no options of its own. */
struct ask_view {
    const char *path;
    const char *param;    /* its one argument is this parameter; NULL: there are no arguments */
    const char *question; /* where there are more or fewer: "which image?", "there are no arguments" */
    int (*print)(const json_t *answer);
};
MUST_CHECK int ask_and_show(const struct command *self, int argc, char **argv, const struct ask_view *view);
