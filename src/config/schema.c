#include "config/schema.h"

#include "base/clock.h"
#include "config/address.h"
#include "config/config.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define HOUR (60 * CLOCK_MINUTE)
#define DAY (24 * HOUR)

/* ------------------------------------------------------------------ what is built in */

static const struct builtin {
    const char *name, *url, *aliases;
} builtins[] = {
    {"docker.io", "https://registry-1.docker.io", "index.docker.io registry-1.docker.io"},
    {"ghcr.io", "https://ghcr.io", NULL},
    {"quay.io", "https://quay.io", NULL},
    {"registry.k8s.io", "https://registry.k8s.io", NULL},
    {"gcr.io", "https://gcr.io", NULL},
    {"mcr.microsoft.com", "https://mcr.microsoft.com", NULL},
    {"public.ecr.aws", "https://public.ecr.aws", NULL},
    {"nvcr.io", "https://nvcr.io", NULL},
};

static const char *builtin_registry(size_t index)
{
    return index < ARRAY_SIZE(builtins) ? builtins[index].name : NULL;
}

static const struct builtin *find_builtin(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

/* ------------------------------------------------------------------ defaults that depend on others */

static int derive_threads(const void *root, const void *object, struct buf *text)
{
    (void)root;
    (void)object;
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
    return buf_addf(text, "%d", n < 2 ? 2 : n > 64 ? 64 : n);
}

static int derive_url(const void *root, const void *object, struct buf *text)
{
    (void)root;
    const struct config_registry *r = object;
    const struct builtin *b = find_builtin(r->name);
    return b ? buf_adds(text, b->url) : buf_addf(text, "https://%s", r->name);
}

static int derive_aliases(const void *root, const void *object, struct buf *text)
{
    (void)root;
    const struct builtin *b = find_builtin(((const struct config_registry *)object)->name);
    return b && b->aliases ? buf_adds(text, b->aliases) : 0;
}

static int derive_allow_private(const void *root, const void *object, struct buf *text)
{
    (void)root;
    const struct config_registry *r = object;
    return buf_adds(text, r->url && address_url_is_private(r->url) ? "true" : "false");
}

static int derive_tag_ttl(const void *root, const void *object, struct buf *text)
{
    (void)object;
    return buf_addf(text, "%lldms", (long long)((const struct config *)root)->tags.ttl_ms);
}

static int derive_ca_file(const void *root, const void *object, struct buf *text)
{
    (void)object;
    const char *s = ((const struct config *)root)->upstream.ca_file;
    return s ? buf_adds(text, s) : 0;
}

static int derive_proxy(const void *root, const void *object, struct buf *text)
{
    (void)object;
    const char *s = ((const struct config *)root)->upstream.proxy;
    return s ? buf_adds(text, s) : 0;
}

static int derive_no_proxy(const void *root, const void *object, struct buf *text)
{
    (void)object;
    const char *s = ((const struct config *)root)->upstream.no_proxy;
    return s ? buf_adds(text, s) : 0;
}

/* ------------------------------------------------------------------ checks */

static const char *check_ca_file(const char *path)
{
    struct stat st;
    if (access(path, R_OK) < 0)
        return errno == ENOENT ? "there is no such file" : "the file cannot be read";
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? NULL : "this is no file";
}

/* ------------------------------------------------------------------ the tables */

#define AT(field) .offset = offsetof(struct config, field)

static const struct schema_item server_items[] = {
    {"listen", SCHEMA_TEXTS, AT(server.listen), .min = 1, .max = 16, .fallback = "127.0.0.1:5000",
     .check = address_check_listen, .restart = true,
     .doc = "Where clients are served: IPv4 addresses, or IPv6 addresses in brackets, each with a port. `0.0.0.0:5000` "
            "is every IPv4 address of the machine; port 0 is any that is free, and the log says which."},
    {"threads", SCHEMA_COUNT, AT(server.threads), .min = 1, .max = 256, .derive = derive_threads,
     .derived = "the number of processors, at least 2 and at most 64", .restart = true,
     .doc =
         "Threads that serve clients. A read of a file that is not in memory holds its thread up: on slow disks more "
         "threads than processors help, on others they cost a little."},
    {"max_connections", SCHEMA_COUNT, AT(server.max_connections), .min = 16, .max = 1000000, .fallback = "4096",
     .restart = true,
     .doc = "Client connections at once; more of them wait to be accepted. The threads share them out evenly: leave "
            "room."},
    {"idle_timeout", SCHEMA_DURATION, AT(server.idle_timeout_ms), .min = CLOCK_SECOND, .max = HOUR, .fallback = "75s",
     .restart = true,
     .doc =
         "A connection on which nothing moves for so long is closed. Keep it above the 30 s for which containerd keeps "
         "an idle connection, lest a request meet the closing."},
    {"answer_timeout", SCHEMA_DURATION, AT(server.answer_timeout_ms), .min = 100, .max = 10 * CLOCK_MINUTE,
     .fallback = "8s",
     .doc = "How long a request may wait for the upstream's first answer before it is told to come again."},
    {"drain_timeout", SCHEMA_DURATION, AT(server.drain_timeout_ms), .min = 0, .max = HOUR, .fallback = "25s",
     .restart = true,
     .doc = "After SIGTERM, how long running downloads may take to end before they are cut off. Keep it below the time "
            "that the supervisor grants (30 s in Kubernetes, 90 s in systemd)."},
    {"max_ranges", SCHEMA_COUNT, AT(server.max_ranges), .min = 1, .max = 16384, .fallback = "2048", .restart = true,
     .doc = "Parts of one `Range` header. A request for more is not answered in parts. Lazy-pulling snapshotters "
            "ask for up to 1024."},
    {NULL}};

static const struct schema_item store_items[] = {
    {"path", SCHEMA_TEXT, AT(store.path), .fallback = "./var", .restart = true,
     .doc = "The directory of blobs and index, made where it does not exist. A local file system, and one process a "
            "store."},
    {NULL}};

static const char *const log_levels[] = {[CONFIG_LOG_ERROR] = "error",
                                         [CONFIG_LOG_WARN] = "warn",
                                         [CONFIG_LOG_INFO] = "info",
                                         [CONFIG_LOG_DEBUG] = "debug",
                                         NULL};
static const char *const log_formats[] = {[CONFIG_LOG_TEXT] = "text", [CONFIG_LOG_JSON] = "json", NULL};

static const struct schema_item log_items[] = {
    {"level", SCHEMA_CHOICE, AT(log.level), .choices = log_levels, .fallback = "info",
     .doc = "What is logged: this and what is graver. `info` has one line a request."},
    {"format", SCHEMA_CHOICE, AT(log.format), .choices = log_formats, .fallback = "text",
     .doc = "`text` is `key=value` pairs, `json` an object a line. Both go to standard error."},
    {NULL}};

#define RULE_AT(field) .offset = offsetof(struct config_tag_rule, field)

static const struct schema_item rule_items[] = {
    {"match", SCHEMA_TEXT, RULE_AT(match), .required = true,
     .doc = "A pattern for the whole of `registry/repository:tag`, with the registry's own name and not an alias: "
            "`docker.io/library/*:latest`. `*` is any text, slashes too, `?` one character, `[…]` one of several."},
    {"ttl", SCHEMA_DURATION, RULE_AT(ttl_ms), .required = true, .min = 0, .max = 366 * DAY,
     .doc = "As `tags.ttl`, for the tags that match."},
    {NULL}};

static const struct schema_item tags_items[] = {
    {"ttl", SCHEMA_DURATION, AT(tags.ttl_ms), .min = 0, .max = 366 * DAY, .fallback = "5m",
     .doc =
         "For how long a tag is taken to mean the same digest. After that the next pull asks the upstream by `HEAD`, "
         "which costs nothing at Docker Hub. 0 asks each time."},
    {"rules", SCHEMA_LIST, AT(tags.rules), .count_offset = offsetof(struct config, tags.rule_count),
     .size = sizeof(struct config_tag_rule), .items = rule_items, .max = 1000,
     .doc = "Exceptions; the first that matches holds, before `registries.NAME.tag_ttl` and `tags.ttl`."},
    {NULL}};

#define CA_FILE_DOC "A PEM file of certificate authorities to be trusted beside the system's."
#define PROXY_DOC                                                                                                      \
    "The proxy to go through: an `http://`, `https://`, `socks5://` or `socks5h://` URL (with `h` the proxy resolves " \
    "names)."
#define NO_PROXY_DOC                                                                                                   \
    "Hosts that are reached without the proxy: names (with all that end in them), addresses and networks, separated "  \
    "by commas; `*` is every host."

static const struct schema_item upstream_items[] = {
    {"connect_timeout", SCHEMA_DURATION, AT(upstream.connect_timeout_ms), .min = 100, .max = 5 * CLOCK_MINUTE,
     .fallback = "5s", .doc = "To resolve a name, connect, and agree on TLS."},
    {"header_timeout", SCHEMA_DURATION, AT(upstream.header_timeout_ms), .min = 100, .max = 10 * CLOCK_MINUTE,
     .fallback = "20s", .doc = "From the request to the header of the answer."},
    {"stall_timeout", SCHEMA_DURATION, AT(upstream.stall_timeout_ms), .min = 100, .max = 10 * CLOCK_MINUTE,
     .fallback = "20s", .doc = "A body of which nothing comes for so long is broken off, and the fetch resumed."},
    {"flight_timeout", SCHEMA_DURATION, AT(upstream.flight_timeout_ms), .min = CLOCK_SECOND, .max = DAY,
     .fallback = "2m",
     .doc =
         "A fetch that has made no progress for so long, through all its attempts, is given up; what has come is kept "
         "for the next."},
    {"max_connections_per_host", SCHEMA_COUNT, AT(upstream.max_connections_per_host), .min = 1, .max = 1024,
     .fallback = "16", .doc = "Connections to one host at once; more fetches wait for their turn."},
    {"ca_file", SCHEMA_TEXT, AT(upstream.ca_file), .check = check_ca_file, .doc = CA_FILE_DOC " For every registry."},
    {"proxy", SCHEMA_TEXT, AT(upstream.proxy), .check = address_check_proxy,
     .derived = "what the environment says (`https_proxy`, `http_proxy`, `all_proxy`)",
     .doc = PROXY_DOC " For every registry."},
    {"no_proxy", SCHEMA_TEXT, AT(upstream.no_proxy), .derived = "what the environment says (`no_proxy`)",
     .doc = NO_PROXY_DOC},
    {NULL}};

#define REGISTRY_AT(field) .offset = offsetof(struct config_registry, field)

static const struct schema_item registry_items[] = {
    {"url", SCHEMA_TEXT, REGISTRY_AT(url), .check = address_check_url, .derive = derive_url,
     .derived = "built in, or `https://NAME`",
     .doc = "Where the registry is: `http://` or `https://`, host, port, and a path before `/v2/` where it has one."},
    {"aliases", SCHEMA_TEXTS, REGISTRY_AT(aliases), .max = 16, .check = address_check_host, .derive = derive_aliases,
     .derived = "built in, or none",
     .doc = "Other names that clients use for it. Each name has one meaning. A name without a dot or port hides the "
            "repositories of the default registry whose first part it is."},
    {"credentials", SCHEMA_TEXT, REGISTRY_AT(credentials), .derived = "anonymous",
     .doc =
         "A file in the format of Docker's `config.json` (`auths`), such as a mounted pull secret. Read at start and "
         "again on SIGHUP; while it cannot be read the registry is asked anonymously, and the log says so."},
    {"ca_file", SCHEMA_TEXT, REGISTRY_AT(ca_file), .check = check_ca_file, .derive = derive_ca_file,
     .derived = "`upstream.ca_file`", .doc = CA_FILE_DOC},
    {"proxy", SCHEMA_TEXT, REGISTRY_AT(proxy), .check = address_check_proxy, .derive = derive_proxy,
     .derived = "`upstream.proxy`", .doc = PROXY_DOC},
    {"no_proxy", SCHEMA_TEXT, REGISTRY_AT(no_proxy), .derive = derive_no_proxy, .derived = "`upstream.no_proxy`",
     .doc = NO_PROXY_DOC},
    {"allow_private", SCHEMA_BOOL, REGISTRY_AT(allow_private), .derive = derive_allow_private,
     .derived = "true where the host of `url` is a private or loopback address or `localhost`, else false",
     .doc = "May connect, and be redirected, to private addresses. Set it for a registry of the own network that is "
            "known by a name; leave it for public ones, so that no answer of theirs leads into the own network."},
    {"auth_hosts", SCHEMA_TEXTS, REGISTRY_AT(auth_hosts), .max = 16, .check = address_check_host,
     .doc = "Hosts that may be sent the password for a token, besides those that share the registered domain of `url` "
            "(`auth.docker.io` for `registry-1.docker.io`)."},
    {"tag_ttl", SCHEMA_DURATION, REGISTRY_AT(tag_ttl_ms), .min = 0, .max = 366 * DAY, .derive = derive_tag_ttl,
     .derived = "`tags.ttl`", .doc = "As `tags.ttl`, for this registry."},
    {NULL}};

/* A derived default looks at the rows above its own: `tags` and `upstream` come before `registries`. */
const struct schema_item config_schema[] = {
    {"version", SCHEMA_COUNT, AT(version), .min = 1, .max = 1, .fallback = "1", .doc = "The version of this format."},
    {"server", SCHEMA_SECTION, .items = server_items, .doc = "The side of the clients."},
    {"store", SCHEMA_SECTION, .items = store_items, .doc = "Where everything is kept."},
    {"log", SCHEMA_SECTION, .items = log_items, .doc = "What is told."},
    {"tags", SCHEMA_SECTION, .items = tags_items, .doc = "How fresh a tag must be."},
    {"upstream", SCHEMA_SECTION, .items = upstream_items, .doc = "The side of the registries, for all of them."},
    {"default_registry", SCHEMA_TEXT, AT(default_registry_name), .fallback = "docker.io",
     .doc = "The registry that is meant where a request names none: the name or an alias of one of `registries`."},
    {"registries", SCHEMA_MAP, AT(registries), .count_offset = offsetof(struct config, registry_count),
     .size = sizeof(struct config_registry), .items = registry_items, .min = 1, .max = 256, .check = address_check_host,
     .builtin = builtin_registry,
     .doc = "The registries that may be mirrored, by the name that stands in image names; others are refused. The "
            "built-in ones are there without being named; what is said of one of them replaces the same key only, and "
            "`NAME: false` takes it away."},
    {NULL}};

_Static_assert(offsetof(struct config_registry, name) == 0, "a struct of a MAP begins with its name");
_Static_assert(sizeof(enum config_log_level) == sizeof(unsigned) && sizeof(enum config_log_format) == sizeof(unsigned),
               "a CHOICE is stored as unsigned");
