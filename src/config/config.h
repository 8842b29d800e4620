/*
 * The configuration as a value: read once as a whole, checked, and const from then on. A reload makes a new one. The
 * schema table in schema.c is the one source of names, defaults, limits and documentation (docs/configuration.md).
 * Any thread may read a config; config_load() may be called from any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILE_MAX (1024ULL * 1024)
#define CONFIG_UNIX "unix:" /* before the path of a Unix socket */

enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };
enum config_pull_secrets { CONFIG_PULL_SECRETS_TLS, CONFIG_PULL_SECRETS_ALWAYS, CONFIG_PULL_SECRETS_OFF };
enum config_client_certificates { CONFIG_CLIENTS_REQUIRED, CONFIG_CLIENTS_OPTIONAL };
enum config_compression { CONFIG_COMPRESSION_OFF, CONFIG_COMPRESSION_ZSTD };
/* The status for what is not stored and cannot be had now. */
enum config_miss_status { CONFIG_MISS_503, CONFIG_MISS_404, CONFIG_MISS_429 };

struct config_list {
    char **items; /* NULL-terminated */
    size_t count;
};

/* So much of a file system. */
struct config_room {
    uint64_t bytes;
    unsigned percent; /* 1 to 100: of its size, and `bytes` is 0; 0: it is `bytes` */
};

/* One way to a registry's content: an account, another host that has the same, another Entrepot. */
struct config_source {
    char *name;                    /* for people: logs, metrics, status; no other source of the registry has it */
    char *url;                     /* no slash at the end; may have a path, which stands before /v2/ */
    char *prefix;                  /* before the repository, behind /v2/: "docker"; or NULL */
    char *credentials;             /* or NULL: anonymous */
    char *ca_file;                 /* or NULL */
    char *proxy;                   /* or NULL: the environment's */
    char *no_proxy;                /* or NULL: the environment's */
    bool allow_private;            /* may connect and be redirected to private addresses */
    struct config_list auth_hosts; /* hosts besides the registrable domain of `url` that may be sent the password */
    bool sibling;                  /* another Entrepot: asked first, for what it has */
    bool tags;                     /* is believed what a tag means */
};

/* Where a registry lives and how it is reached. All strings are set unless "or NULL" is said. */
struct config_registry {
    char *name;                    /* as written in image names and in `ns`: "docker.io", "registry.example:5000" */
    char *url;                     /* "https://registry-1.docker.io", no slash at the end; may have a path prefix */
    struct config_list aliases;    /* other names that mean the same */
    char *credentials;             /* file in Docker's config.json format, or NULL */
    char *ca_file;                 /* PEM, beside the system's, or NULL */
    char *proxy;                   /* http://, https://, socks5:// or socks5h:// URL, or NULL: the environment's */
    char *no_proxy;                /* or NULL: the environment's */
    bool allow_private;            /* may connect and be redirected to private addresses */
    struct config_list auth_hosts; /* hosts besides the registrable domain of `url` that may be sent the password */
    int64_t tag_ttl_ms;
    struct config_list open;       /* globs of repositories whose private content everybody may pull */
    struct config_source *sources; /* in the order in which they are asked; all of the above is folded into them, and */
    size_t source_count;           /* where none is said, it is the one source: at least 1, at most 16 */
};

/* PEM files: a chain, the server's own certificate first or not, and its private key. */
struct config_certificate {
    char *certificate;
    char *key;
};

/* What a rule gives. */
enum config_right { CONFIG_MAY_PULL = 1, CONFIG_MAY_SEED = 2, CONFIG_MAY_ADMIN = 4 };

/* Who may do what. */
struct config_auth_rule {
    struct config_list users;        /* globs on their names */
    struct config_list certificates; /* globs on the common name of a client's certificate */
    bool anonymous;                  /* everybody */
    struct config_list repositories; /* globs on "registry/repository" */
    bool private;                    /* also what only the registry's accounts may see */
    struct config_list may;          /* as written; read it below */
    unsigned rights;                 /* of enum config_right */
};

struct config_tag_rule {
    char *match; /* glob on "registry/repository:tag" */
    int64_t ttl_ms;
};

/* Images that are fetched again and again. */
struct config_seed {
    char *name;
    struct config_list files;
    struct config_list platforms; /* none: as seeding.platforms */
    bool pin;
    int64_t every_ms; /* 0: at start, and when the configuration is read again */
};

struct config {
    char *file; /* where it came from, "" for the built-in */
    unsigned version;
    struct {
        struct config_list listen; /* "127.0.0.1:5000", "[::1]:5000"; none where there is TLS: no plain HTTP */
        struct {
            struct config_list listen;               /* none: off; else there is at least one certificate */
            char *certificate, *key;                 /* read them below, where they are the first */
            struct config_certificate *certificates; /* the first is for whoever names none of the others */
            size_t certificate_count;
            enum config_tls_version min_version;
            char *client_ca; /* or NULL: no client is asked for a certificate */
            enum config_client_certificates client_certificates;
            int64_t hsts_ms; /* 0: no such header */
        } tls;
        struct {
            char *htpasswd; /* or NULL */
            struct {
                char *keys; /* NULL: no tokens are taken, and the others are NULL but for the audience */
                char *realm, *service, *issuer, *audience;
                int64_t leeway_ms;
            } token;
            struct config_auth_rule *rules; /* none that gives pulls, and nothing of the above: everybody may pull */
            size_t rule_count;
            int64_t remember_ms;
            unsigned failures; /* a minute and address */
            enum config_pull_secrets pull_secrets;
            int64_t pull_secrets_ttl_ms;
            int64_t pull_secrets_stale_for_ms;
        } auth;
        struct {
            unsigned requests_per_second; /* of one address; 0: any number */
            unsigned request_burst;
            unsigned connections_per_client; /* 0: any number */
            int64_t header_timeout_ms;
            uint64_t min_rate; /* bytes a second; 0: none */
            int64_t min_rate_over_ms;
        } limits;
        struct config_list trusted_proxies; /* "10.0.0.0/8", "fd00::/8", "192.0.2.1" */
        unsigned threads;
        unsigned max_connections;
        int64_t idle_timeout_ms;
        int64_t answer_timeout_ms;
        int64_t drain_timeout_ms;
        unsigned max_ranges;
        enum config_miss_status miss_status;
    } server;
    struct {
        struct config_list listen; /* none: off */
    } ops;
    struct {
        char *path;
        struct config_room max_size;
        struct config_room min_free; /* 0 bytes: none */
        unsigned low_watermark;      /* percent of max_size */
        int64_t verify_every_ms;
        int64_t scrub_interval_ms; /* 0: never */
        uint64_t scrub_rate;       /* bytes a second */
        enum config_compression compression;
        bool fs_verity; /* the scrub seals what it has found right */
    } store;
    struct {
        struct config_list listen; /* "unix:/path", "127.0.0.1:5002"; none: off */
        char *token_file;          /* or NULL */
        bool tls;                  /* at the addresses with a port, by server.tls */
    } admin;
    struct {
        enum config_log_level level;
        enum config_log_format format;
    } log;
    struct {
        int64_t ttl_ms;
        int64_t stale_for_ms; /* 0: never */
        bool stale_while_revalidate;
        bool stale_on_absence;
        struct config_tag_rule *rules;
        size_t rule_count;
    } tags;
    struct {
        int64_t connect_timeout_ms;
        int64_t header_timeout_ms;
        int64_t stall_timeout_ms;
        int64_t flight_timeout_ms;
        unsigned max_connections_per_host;
        char *ca_file; /* these three, or NULL, are what a registry has that says nothing: read them there */
        char *proxy;
        char *no_proxy;
    } upstream;
    struct {
        unsigned count;    /* 1: off */
        uint64_t min_size; /* bytes */
    } segments;
    struct {
        unsigned reserve_revalidation; /* percent of the limit that the class below live pulls leaves */
        unsigned reserve_seeding;
        int64_t probe_after_ms;
    } budget;
    struct {
        bool enabled;
        unsigned max_flights;
    } prefetch;
    struct {
        struct config_list platforms; /* none: those of the host */
        unsigned max_flights;
    } seeding;
    struct config_seed *seeds;
    size_t seed_count;
    char *default_registry_name; /* as written: may be an alias */
    struct config_registry *registries;
    size_t registry_count;
    const struct config_registry *default_registry;
};

/* Reads and checks `file`. On failure -EINVAL (or -ENOENT, -EACCES, -ENOMEM …), and `errors` has every error found, one
 * a line: "FILE:LINE:COL: key.path: message". Relative paths in it are relative to the working directory. */
MUST_CHECK int config_load(const char *file, struct config **ret_config, struct buf *errors);
/* The same of text in memory; `name` stands for the file name in errors. */
MUST_CHECK int config_parse(const char *text, size_t len, const char *name, struct config **ret_config,
                            struct buf *errors);
/* What an empty file means. */
MUST_CHECK int config_default(struct config **ret_config);
void config_destroy(struct config *c);
/* The reference of every option, as Markdown, from the schema table. */
MUST_CHECK int config_reference(struct buf *markdown);
/* Adds to `keys` the options that differ and take effect at the next start only: "server.listen, store.path". */
MUST_CHECK int config_restart_keys(const struct config *was, const struct config *now, struct buf *keys);

/* By name or alias (case-insensitive); NULL where there is none. */
const struct config_registry *config_find_registry(const struct config *c, const char *name, size_t len);
/* How long a tag of this repository stays fresh: the first rule that matches, else the registry's, else the default. */
int64_t config_tag_ttl_ms(const struct config *c, const struct config_registry *r, const char *repository,
                          const char *tag);
/* The pattern of the first rule that matches "registry/repository:tag", or NULL. */
const char *config_tag_rule(const struct config *c, const char *reference);
/* In bytes, of a file system of this size. */
uint64_t config_room_bytes(const struct config_room *room, uint64_t file_system);
/* Whether one of the networks has the address, which is text. */
bool config_has_address(const struct config_list *networks, const char *address);
/* Whether one of the globs is matched by the text. */
bool config_has_match(const struct config_list *patterns, const char *text);
/* Whether somebody can say here who he is, or has to. */
bool config_has_accounts(const struct config *c);
/* Whether clients have to say who they are to pull. Not so where accounts are for the admin API alone. */
bool config_has_logins(const struct config *c);
/* Whether somebody who logs in may use the admin API at an address with a port. */
bool config_has_admin_accounts(const struct config *c);
/* The words of server.auth.rules[].may; 0: it is none. */
unsigned config_right(const char *word);
/* Whether it is about all repositories. */
bool config_rule_is_everywhere(const struct config_auth_rule *rule);
/* Whether everybody may pull its private content: it matches one of registries.NAME.open. */
bool config_is_open(const struct config_registry *r, const char *repository);

AUTO_DEFINE(struct config, config_destroy);
