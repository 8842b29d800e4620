/*
 * The commands' way to a running server: the admin API over its Unix socket, or at an address with a token or a
 * password. What goes
 * wrong is said on standard error here, once, in plain words; the functions return exit statuses. libcurl is
 * known here and in probe.c only. One thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "base/json_text.h"
#include "cli/command.h"

#include <getopt.h>

/* What every command that talks to the server is told; zeroed by the caller. */
struct client_options {
    const char *admin;  /* "unix:/path", "/path", "127.0.0.1:5002", "https://mirror.example:5002" */
    const char *config; /* where it says where the server is */
    /* for an address: who asks */
    const char *token_file, *user, *password_file;
    const char *ca_file, *certificate, *key; /* of TLS: whom to trust, and a certificate of one's own */
    bool json;                               /* print the server's answer as it is */
};

enum {
    CLIENT_ADMIN = 0x100,
    CLIENT_CONFIG,
    CLIENT_TOKEN_FILE,
    CLIENT_USER,
    CLIENT_PASSWORD_FILE,
    CLIENT_CA_FILE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    CLIENT_JSON,
};

/* Rows for the command's own table of options, and what its help says of them. */
#define CLIENT_OPTIONS                                                                                                 \
    {"admin", required_argument, NULL, CLIENT_ADMIN}, {"config", required_argument, NULL, CLIENT_CONFIG},              \
        {"token-file", required_argument, NULL, CLIENT_TOKEN_FILE}, {"user", required_argument, NULL, CLIENT_USER},    \
        {"password-file", required_argument, NULL, CLIENT_PASSWORD_FILE},                                              \
        {"ca-file", required_argument, NULL, CLIENT_CA_FILE},                                                          \
        {"certificate", required_argument, NULL, CLIENT_CERTIFICATE}, {"key", required_argument, NULL, CLIENT_KEY},    \
    {                                                                                                                  \
        "json", no_argument, NULL, CLIENT_JSON                                                                         \
    }
#define CLIENT_HELP                                                                                                    \
    "  --json                print the server's answer as it is\n"                                                     \
    "  --admin ADDRESS       where the server is: unix:PATH, HOST:PORT or https://HOST:PORT; else $ENTREPOT_ADMIN,\n"  \
    "                        else as the configuration says, else the socket of the store in ./var or\n"               \
    "                        /var/lib/entrepot\n"                                                                      \
    "  --config FILE         the configuration of the server\n"                                                        \
    "  --token-file FILE     the token for HOST:PORT; else $ENTREPOT_TOKEN_FILE, else as the configuration says\n"     \
    "  --user NAME           who logs in at HOST:PORT, instead of a token; else $ENTREPOT_USER\n"                      \
    "  --password-file FILE  his password; else $ENTREPOT_PASSWORD_FILE\n"                                             \
    "  --ca-file FILE        whom to trust for https; else $ENTREPOT_CA_FILE, else whom the system trusts\n"           \
    "  --certificate FILE    a certificate to show for https; else $ENTREPOT_CERTIFICATE\n"                            \
    "  --key FILE            its private key; else $ENTREPOT_KEY\n"

/* Takes an option of getopt_long() that is one of the above; false: it is the command's own. */
bool client_take_option(struct client_options *o, int option, const char *value);

/* Reads the options of a command that has no others; an exit status. What is left begins at argv[optind]. */
MUST_CHECK int client_read_options(const struct command *self, int argc, char **argv, struct client_options *o);

struct client;

/* STATUS_OK, or the exit status. Nothing is asked yet. */
MUST_CHECK int client_open(const struct command *self, const struct client_options *options,
                           struct client **ret_client);
void client_close(struct client *c); /* accepts NULL */

/* Adds a parameter to a target; nothing where the value is NULL or "". */
MUST_CHECK int client_param(struct buf *target, const char *name, const char *value);
/* Asks; `target` is path and query, encoded; `body` is JSON or NULL. The answer is the caller's to let go of, and set
 * with STATUS_OK only. STATUS_UNREACHABLE: nobody is there. */
MUST_CHECK int client_call(struct client *c, const char *method, const char *target, const char *body,
                           json_t **ret_answer);
/* The same for an answer that is a stream: each part of it goes to `take`, which returns false to end it. */
MUST_CHECK int client_stream(struct client *c, const char *method, const char *target, const char *body,
                             bool (*take)(void *arg, const void *data, size_t len), void *arg);
/* What the last answer's status was; 0: none has come. */
long client_status(const struct client *c);

/* Prints `answer` for --json; the exit status. */
MUST_CHECK int client_print_json(const json_t *answer);
/* Says it on standard error, as all commands do: "entrepot status: …"; returns STATUS_FAILED. */
int client_failed(const struct command *self, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for each of some lines, which it takes apart. */
void client_problems(const struct command *self, struct buf *lines);

AUTO_DEFINE(struct client, client_close);
