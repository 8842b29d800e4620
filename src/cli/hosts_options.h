/*
 * The options that say which files are meant: shared by `hosts` and `nodes`. One thread.
 */
#pragma once

#include "base/buf.h"
#include "cli/command.h"
#include "cli/hosts.h"

#include <getopt.h>

struct config;

#define HOSTS_MIRRORS_MAX 8
#define HOSTS_REGISTRIES_MAX 256

/* Of getopt_long(); their codes are above those that a command has itself. */
#define HOSTS_OPTIONS                                                                                                  \
    {"for", required_argument, NULL, 1000}, {"mirror", required_argument, NULL, 1001},                                 \
        {"registry", required_argument, NULL, 1002}, {"ca", required_argument, NULL, 1003},                            \
        {"dial-timeout", required_argument, NULL, 1004},                                                               \
    {                                                                                                                  \
        "config", required_argument, NULL, 1005                                                                        \
    }

#define HOSTS_OPTIONS_HELP                                                                                             \
    "  --mirror URL        the mirror as the clients reach it (http://127.0.0.1:5000); several are asked in order\n"   \
    "  --registry NAME     a registry to be pulled through it, several times; else all of --config, else the\n"        \
    "                      built-in ones. _default, for containerd and k3s, is every registry without a file\n"        \
    "  --config FILE       the mirror's configuration\n"                                                               \
    "  --ca FILE           the authority that signed the mirror's certificate\n"                                       \
    "  --dial-timeout D    how long to wait for a connection (2s); containerd from 2.1 heeds it\n"

struct hosts_options {
    const struct hosts_client *client;
    const char *mirrors[HOSTS_MIRRORS_MAX];
    const char *registries[HOSTS_REGISTRIES_MAX];
    const char *ca_file, *config_file;
    struct hosts_wish wish;
    struct config *config; /* owns names in `registries` */
    struct buf ca_path, ca_text;
};

void hosts_options_init(struct hosts_options *o);
void hosts_options_finish(struct hosts_options *o);
/* Takes what getopt_long() returned. STATUS_OK, or STATUS_USAGE after the complaint. */
MUST_CHECK int hosts_options_take(struct hosts_options *o, const struct command *self, int code, char **argv);
/* When all are taken: reads the files they name, checks, and fills `o->wish`. A status, after the complaint. */
MUST_CHECK int hosts_options_done(struct hosts_options *o, const struct command *self);
/* Reads the authority again; where that fails, what was read before stays. */
void hosts_options_reread(struct hosts_options *o);
