/*
 * The running program: all floors started in their order, signals, and all of them stopped in theirs. The main thread.
 */
#pragma once

struct command;

int serve_command(const struct command *self, int argc, char **argv);
