/*
 * Looking on while the server works off a seed, until it has ended or somebody presses Ctrl-C; and what has come of it.
 * One thread.
 */
#pragma once

#include "cli/client.h"

/* Ctrl-C and SIGTERM are asked for from now on, not answered: the seed goes on without us. Before the seed is ordered.
 */
void seed_watch_begin(void);
/* Returns what the command is to return: whether all of it went well. */
MUST_CHECK int seed_watch(struct client *client, int64_t id, bool json);
/* Says on standard error how to watch it again. */
void seed_watch_how(int64_t id);
