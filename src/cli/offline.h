/*
 * The commands' way to a store that no server has: they take it themselves. What goes wrong is said on standard error
 * here; the function returns an exit status. One thread.
 */
#pragma once

#include "blobstore/blobstore.h"
#include "cli/command.h"

/* Opens the store of the configuration `file` (NULL: of the default one). Of the options all but the root are the
 * caller's. `must_exist`: a directory that is not there is no store. */
MUST_CHECK int offline_open(const struct command *self, const char *file, bool must_exist,
                            struct blobstore_options *options, struct blobstore **ret_store,
                            struct blobstore_report *ret_report);
/* Reads --config FILE, the one option of these commands; the rest of the arguments begins at optind. */
MUST_CHECK int offline_arguments(const struct command *self, int argc, char **argv, const char **ret_config);

AUTO_DEFINE(struct blobstore, blobstore_close);
