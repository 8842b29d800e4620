#include "config/schema.h"

#include "base/clock.h"
#include "base/platform.h"
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

static int derive_threads(const struct schema_place *place, struct buf *text)
{
    (void)place;
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
    return buf_addf(text, "%d", n < 2 ? 2 : n > 64 ? 64 : n);
}

static int derive_url(const struct schema_place *place, struct buf *text)
{
    const struct config_registry *r = place->object;
    const struct builtin *b = find_builtin(r->name);
    return b ? buf_adds(text, b->url) : buf_addf(text, "https://%s", r->name);
}

static int derive_aliases(const struct schema_place *place, struct buf *text)
{
    const struct builtin *b = find_builtin(((const struct config_registry *)place->object)->name);
    return b && b->aliases ? buf_adds(text, b->aliases) : 0;
}

static int derive_audience(const struct schema_place *place, struct buf *text)
{
    const char *service = ((const struct config *)place->root)->server.auth.token.service;
    return service ? buf_adds(text, service) : 0;
}

static int derive_allow_private(const struct schema_place *place, struct buf *text)
{
    const struct config_registry *r = place->object;
    return buf_adds(text, r->url && address_url_is_private(r->url) ? "true" : "false");
}

static const struct config *root_of(const struct schema_place *place)
{
    return place->root;
}

static int derive_tag_ttl(const struct schema_place *place, struct buf *text)
{
    return buf_addf(text, "%lldms", (long long)root_of(place)->tags.ttl_ms);
}

static int add_or_unset(struct buf *text, const char *s)
{
    return s ? buf_adds(text, s) : 0;
}

static int derive_ca_file(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, root_of(place)->upstream.ca_file);
}

static int derive_proxy(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, root_of(place)->upstream.proxy);
}

static int derive_no_proxy(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, root_of(place)->upstream.no_proxy);
}

/* A source has what its registry has, unless it says otherwise. */
static const struct config_registry *registry_of(const struct schema_place *place)
{
    return place->owner;
}

/* What is said of a registry's host is no word about another host. */
static bool is_at_home(const struct schema_place *place)
{
    const char *url = ((const struct config_source *)place->object)->url, *home = registry_of(place)->url;
    return url && home && strcmp(url, home) == 0;
}

static int derive_source_url(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, registry_of(place)->url);
}

static int derive_source_ca_file(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, registry_of(place)->ca_file);
}

static int derive_source_proxy(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, registry_of(place)->proxy);
}

static int derive_source_no_proxy(const struct schema_place *place, struct buf *text)
{
    return add_or_unset(text, registry_of(place)->no_proxy);
}

static int derive_source_allow_private(const struct schema_place *place, struct buf *text)
{
    const struct config_source *s = place->object;
    bool allowed = is_at_home(place) ? registry_of(place)->allow_private : s->url && address_url_is_private(s->url);
    return buf_adds(text, allowed ? "true" : "false");
}

static int derive_source_auth_hosts(const struct schema_place *place, struct buf *text)
{
    const struct config_list *hosts = &registry_of(place)->auth_hosts;
    int r = 0;
    for (size_t i = 0; r == 0 && is_at_home(place) && i < hosts->count; i++)
        r = buf_addf(text, "%s%s", i ? " " : "", hosts->items[i]);
    return r;
}

static int derive_source_tags(const struct schema_place *place, struct buf *text)
{
    return buf_adds(text, ((const struct config_source *)place->object)->sibling ? "false" : "true");
}

/* ------------------------------------------------------------------ checks */

static const char *check_ca_file(const char *path)
{
    struct stat st;
    if (access(path, R_OK) < 0)
        return errno == ENOENT ? "there is no such file" : "the file cannot be read";
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? NULL : "this is no file";
}

static const char *check_prefix(const char *s)
{
    for (const char *p = s; *p; p += *p == '/') {
        size_t len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789._-");
        if (len == 0 || (p[0] == '.') || (p[len] != '\0' && (p[len] != '/' || p[len + 1] == '\0')))
            return "is no part of a repository's name";
        p += len;
    }
    return strlen(s) > 128 ? "is too long" : NULL;
}

static const char *check_quoted(const char *s)
{
    return strpbrk(s, "\"\\") ? "must have neither quotes nor backslashes" : NULL;
}

static const char *check_right(const char *s)
{
    return config_right(s) ? NULL : "is none of pull, seed, admin";
}

/* It stands in logs, metrics and status. */
static const char *check_source_name(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-[]");
    return s[len] ? "a name has letters, digits and any of . _ : - [ ] only" : len > 64 ? "is too long" : NULL;
}

/* ------------------------------------------------------------------ the tables */

#define AT(field) .offset = offsetof(struct config, field)

static const char *const miss_statuses[] = {
    [CONFIG_MISS_503] = "503", [CONFIG_MISS_404] = "404", [CONFIG_MISS_429] = "429", NULL};

static const char *const tls_versions[] = {[CONFIG_TLS_1_2] = "1.2", [CONFIG_TLS_1_3] = "1.3", NULL};
static const char *const client_certificates[] = {
    [CONFIG_CLIENTS_REQUIRED] = "required", [CONFIG_CLIENTS_OPTIONAL] = "optional", NULL};

#define CERTIFICATE_AT(field) .offset = offsetof(struct config_certificate, field)

static const struct schema_item certificate_items[] = {
    {"certificate", SCHEMA_TEXT, CERTIFICATE_AT(certificate), .required = true, .doc = "As `server.tls.certificate`."},
    {"key", SCHEMA_TEXT, CERTIFICATE_AT(key), .required = true, .doc = "As `server.tls.key`."},
    {NULL}};

static const struct schema_item tls_items[] = {
    {"listen", SCHEMA_TEXTS, AT(server.tls.listen), .max = 16, .check = address_check_listen, .restart = true,
     .doc = "Where clients are served over TLS. Addresses as in `server.listen`, which may be `[]` then."},
    {"certificate", SCHEMA_TEXT, AT(server.tls.certificate), .restart = true,
     .doc =
         "A PEM file: the certificate, and behind it those that lead to its authority. It and its key are read again "
         "when they change, without disturbing a connection. What is not right is not taken: what was there stays, the "
         "log says `event=tls_reload` with the reason, and `entrepot_tls_reload_success` is 0."},
    {"key", SCHEMA_TEXT, AT(server.tls.key), .restart = true,
     .doc = "A PEM file: its private key, without a password."},
    {"certificates", SCHEMA_LIST, AT(server.tls.certificates),
     .count_offset = offsetof(struct config, server.tls.certificate_count), .size = sizeof(struct config_certificate),
     .items = certificate_items, .max = 64,
     .doc =
         "More of them. The name that a client asks for (SNI) chooses among all by the names that they bear; who asks "
         "for none of these is shown the first."},
    {"min_version", SCHEMA_CHOICE, AT(server.tls.min_version), .choices = tls_versions, .fallback = "1.2",
     .restart = true, .doc = "The oldest version of TLS that is spoken."},
    {"client_ca", SCHEMA_TEXT, AT(server.tls.client_ca), .restart = true,
     .doc = "A PEM file of the authorities whose certificates clients show. Read again when it changes."},
    {"client_certificates", SCHEMA_CHOICE, AT(server.tls.client_certificates), .choices = client_certificates,
     .fallback = "required", .restart = true,
     .doc = "Where there is a `client_ca`: whether a client must show a certificate. One that does not convince ends "
            "the connection either way."},
    {"hsts", SCHEMA_DURATION, AT(server.tls.hsts_ms), .min = 0, .max = 3660 * DAY, .fallback = "0s", .restart = true,
     .doc = "For how long browsers shall use TLS only for this host (`Strict-Transport-Security`); 0 says nothing of "
            "it."},
    {NULL}};

static const char *const pull_secrets[] = {[CONFIG_PULL_SECRETS_TLS] = "tls",
                                           [CONFIG_PULL_SECRETS_ALWAYS] = "always",
                                           [CONFIG_PULL_SECRETS_OFF] = "off",
                                           NULL};

static const struct schema_item token_items[] = {
    {"keys", SCHEMA_TEXT, AT(server.auth.token.keys), .restart = true,
     .doc = "A file with the public keys of the token server: PEM (`PUBLIC KEY`, or `CERTIFICATE`), or a JSON Web Key "
            "Set. RSA of 2048 bits or more (RS256), EC on P-256 (ES256), Ed25519 (EdDSA). Read again when it changes, "
            "as `server.auth.htpasswd` is."},
    {"realm", SCHEMA_TEXT, AT(server.auth.token.realm), .check = address_check_url, .restart = true,
     .doc = "Where clients get their tokens: the URL of the token server, `https://auth.example/token`."},
    {"service", SCHEMA_TEXT, AT(server.auth.token.service), .check = check_quoted, .restart = true,
     .doc = "What the token server calls this mirror."},
    {"issuer", SCHEMA_TEXT, AT(server.auth.token.issuer), .restart = true, .doc = "What stands in a token's `iss`."},
    {"audience", SCHEMA_TEXT, AT(server.auth.token.audience), .derive = derive_audience, .derived = "`service`",
     .restart = true, .doc = "What stands in a token's `aud`, or among what stands there."},
    {"leeway", SCHEMA_DURATION, AT(server.auth.token.leeway_ms), .min = 0, .max = HOUR, .fallback = "60s",
     .restart = true, .doc = "By how much the clocks of token server and mirror may differ (`exp`, `nbf`, `iat`)."},
    {NULL}};

#define AUTH_RULE_AT(field) .offset = offsetof(struct config_auth_rule, field)

static const struct schema_item auth_rule_items[] = {
    {"users", SCHEMA_TEXTS, AUTH_RULE_AT(users), .max = 256,
     .doc = "Patterns for names of users: `jo`, `ci-*`, `*` for all who have logged in."},
    {"certificates", SCHEMA_TEXTS, AUTH_RULE_AT(certificates), .max = 256,
     .doc = "Patterns for the common name of the certificate that a client has shown (`server.tls.client_ca`)."},
    {"anonymous", SCHEMA_BOOL, AUTH_RULE_AT(anonymous), .fallback = "false",
     .doc = "It is about everybody, also those who do not log in."},
    {"repositories", SCHEMA_TEXTS, AUTH_RULE_AT(repositories), .max = 256, .fallback = "*",
     .doc = "Patterns for `registry/repository`, with the registry's own name: `docker.io/library/*`. `*` is any text, "
            "slashes too."},
    {"private", SCHEMA_BOOL, AUTH_RULE_AT(private), .fallback = "false",
     .doc = "Also what an account of the registry may see and the public may not, as `registries.NAME.open` says it "
            "for everybody."},
    {"may", SCHEMA_TEXTS, AUTH_RULE_AT(may), .min = 1, .max = 3, .fallback = "pull", .check = check_right,
     .doc =
         "What they may there. `pull`. `seed`: by the admin API at an address with a port, start, see and stop seeds "
         "of these repositories, pin and unpin, audit and look at what is stored of them ([admin-api.md]"
         "(admin-api.md)). `admin`: everything of the admin API, so that `repositories` has to be `*`. Neither "
         "brings `pull` with it, and neither can be everybody's."},
    {NULL}};

static const struct schema_item auth_items[] = {
    {"htpasswd", SCHEMA_TEXT, AT(server.auth.htpasswd), .restart = true,
     .doc = "A file of users, with hashes of their passwords by bcrypt (`htpasswd -B`), of a cost of 14 at most: about "
            "a second a login. With it, or with `token` or "
            "`rules`, clients log in. Read again when it changes; where that is not right, what was there stays, and "
            "the log "
            "says `event=auth_reload`. Passwords want TLS."},
    {"token", SCHEMA_SECTION, .items = token_items,
     .doc =
         "Tokens of a token server, as the distribution project specifies them: clients without one are told where "
         "to get it. What its `access` grants (`repository:NAME:pull`) may be pulled, if `rules` do not forbid it to "
         "the user, its `sub`. NAME is `registry/repository`, or of the default registry the repository alone."},
    {"rules", SCHEMA_LIST, AT(server.auth.rules), .count_offset = offsetof(struct config, server.auth.rule_count),
     .size = sizeof(struct config_auth_rule), .items = auth_rule_items, .max = 1000, .restart = true,
     .derived = "who has logged in may pull everything",
     .doc = "Who may do what: it is enough that one rule allows it. Who may not is asked to log in, or told 403. Where "
            "no rule gives `pull`, who has logged in may pull everything."},
    {"remember", SCHEMA_DURATION, AT(server.auth.remember_ms), .min = CLOCK_SECOND, .max = HOUR, .fallback = "5m",
     .restart = true,
     .doc = "For how long a password that was right is not checked again, which takes some tens of milliseconds. What "
            "is remembered is a hash that is keyed by chance."},
    {"failures", SCHEMA_COUNT, AT(server.auth.failures), .min = 1, .max = 1000000, .fallback = "10", .restart = true,
     .doc = "Logins in a minute that may fail from one address; then it is told 429 until some time has passed."},
    {"pull_secrets", SCHEMA_CHOICE, AT(server.auth.pull_secrets), .choices = pull_secrets, .fallback = "tls",
     .restart = true,
     .doc = "Where clients do not log in here: whether who asks for a private repository is asked for his own account "
            "at the registry, as containerd sends the `imagePullSecrets` of a pod. The registry is asked whether it "
            "may pull, and who may there may here. The content comes by the account of `registries.NAME`. `tls`: over "
            "TLS only, or through a trusted proxy that says so; `always`: also in plain text, which anybody on the way "
            "can read."},
    {"pull_secrets_ttl", SCHEMA_DURATION, AT(server.auth.pull_secrets_ttl_ms), .min = 0, .max = DAY, .fallback = "5m",
     .doc = "For how long the registry's word counts that an account may pull. The account itself is not kept."},
    {"pull_secrets_stale_for", SCHEMA_DURATION, AT(server.auth.pull_secrets_stale_for_ms), .min = 0, .max = 30 * DAY,
     .fallback = "12h", .doc = "For how long it counts while the registry does not answer."},
    {NULL}};

static const struct schema_item limits_items[] = {
    {"requests_per_second", SCHEMA_COUNT, AT(server.limits.requests_per_second), .min = 0, .max = 1000000,
     .fallback = "0", .restart = true,
     .doc = "Requests of one address in a second, over time; what is more is told 429 with `Retry-After`. Of IPv6, a "
            "network of 64 bits is one address; behind trusted proxies it is the client's. 0: as many as there are."},
    {"request_burst", SCHEMA_COUNT, AT(server.limits.request_burst), .min = 1, .max = 1000000, .fallback = "1000",
     .restart = true,
     .doc = "And as many of them at once, after a while of silence: an image is some dozens of requests, a node that "
            "starts pulls many."},
    {"connections_per_client", SCHEMA_COUNT, AT(server.limits.connections_per_client), .min = 0, .max = 1000000,
     .fallback = "0", .restart = true,
     .doc = "Connections of one address at once; what is more is closed at once. Trusted proxies are not counted. 0: "
            "as many as `max_connections` allows."},
    {"header_timeout", SCHEMA_DURATION, AT(server.limits.header_timeout_ms), .min = CLOCK_SECOND, .max = HOUR,
     .fallback = "30s", .restart = true,
     .doc =
         "From the first byte of a request to its end: the head, and a body where it has one; over TLS, the handshake "
         "and the first request together. Then the connection ends. It holds for `admin.listen`'s addresses as well."},
    {"min_rate", SCHEMA_SIZE, AT(server.limits.min_rate), .min = 0, .max = INT64_MAX, .fallback = "1KiB",
     .restart = true,
     .doc =
         "Bytes a second that a client has to take of an answer, while there are some for it; who takes less is cut "
         "off. A wait for the upstream is not the client's. 0: any client may be as slow as `idle_timeout` lets it."},
    {"min_rate_over", SCHEMA_DURATION, AT(server.limits.min_rate_over_ms), .min = CLOCK_SECOND, .max = HOUR,
     .fallback = "2m", .restart = true, .doc = "The time over which `min_rate` is the average."},
    {NULL}};

static const struct schema_item server_items[] = {
    {"listen", SCHEMA_TEXTS, AT(server.listen), .max = 16, .fallback = "127.0.0.1:5000", .check = address_check_listen,
     .restart = true,
     .doc = "Where clients are served: IPv4 addresses, or IPv6 addresses in brackets, each with a port. `0.0.0.0:5000` "
            "is every IPv4 address of the machine; port 0 is any that is free, and the log says which."},
    {"tls", SCHEMA_SECTION, .items = tls_items, .doc = "The same, encrypted."},
    {"auth", SCHEMA_SECTION, .items = auth_items, .doc = "Who may pull. Everybody who reaches it, by default."},
    {"limits", SCHEMA_SECTION, .items = limits_items,
     .doc = "What one client may do. Their number is not limited by default."},
    {"trusted_proxies", SCHEMA_TEXTS, AT(server.trusted_proxies), .max = 64, .check = address_check_network,
     .restart = true,
     .doc = "Addresses and networks (`10.0.0.0/8`) of proxies and tunnels before this mirror. Theirs are the only "
            "`X-Forwarded-For` and `X-Forwarded-Proto` that are believed: who the client is, and whether it came over "
            "TLS."},
    {"threads", SCHEMA_COUNT, AT(server.threads), .min = 1, .max = 256, .derive = derive_threads,
     .derived = "the number of processors, at least 2 and at most 64", .restart = true,
     .doc =
         "Threads that serve clients. A read of a file that is not in memory holds its thread up: on slow disks more "
         "threads than processors help, on others they cost a little."},
    {"max_connections", SCHEMA_COUNT, AT(server.max_connections), .min = 16, .max = 1000000, .fallback = "4096",
     .restart = true,
     .doc =
         "Client connections at once, over TLS and without counted apart; more of them wait to be accepted. Every 126 "
         "of them have a thread."},
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
     .doc = "Parts of one `Range` header. A request for more is told 400, and its client asks for fewer. Lazy-pulling "
            "snapshotters ask for up to 1024."},
    {"miss_status", SCHEMA_CHOICE, AT(server.miss_status), .choices = miss_statuses, .fallback = "503",
     .doc = "What is answered when something is not stored and cannot be had now. `503` with `Retry-After` makes "
            "containerd, Docker and BuildKit go on to the next mirror, or to the registry itself, and the kubelet come "
            "again. `404` makes every client go on at once. `429` makes containerd ask five times in a row, and podman "
            "wait."},
    {NULL}};

static const struct schema_item ops_items[] = {
    {"listen", SCHEMA_TEXTS, AT(ops.listen), .min = 0, .max = 16, .check = address_check_listen, .restart = true,
     .doc = "Where the side of the administrator is served: health, metrics, status. Addresses as in `server.listen`. "
            "Whoever reaches it may read and do all that there is; nobody does by default."},
    {NULL}};

static const char *const compressions[] = {[CONFIG_COMPRESSION_OFF] = "off", [CONFIG_COMPRESSION_ZSTD] = "zstd", NULL};

static const struct schema_item store_items[] = {
    {"path", SCHEMA_TEXT, AT(store.path), .fallback = "./var", .restart = true,
     .doc = "The directory of blobs and index, made where it does not exist. A local file system, and one process a "
            "store."},
    {"max_size", SCHEMA_ROOM, AT(store.max_size), .min = 1, .max = INT64_MAX, .fallback = "90%",
     .doc = "How large all blobs may be together, unfinished ones among them. Above it, unfinished ones go that nobody "
            "is fetching; then what was not used for the longest time, an image as a whole, until `low_watermark` is "
            "reached. The index and quarantine come on top."},
    {"min_free", SCHEMA_ROOM, AT(store.min_free), .min = 0, .max = INT64_MAX, .fallback = "5%",
     .doc =
         "What is to stay free on the file system of the store, whoever fills it: below it blobs go as above, until a "
         "tenth more than this is free. 0 leaves it to the disk to be full."},
    {"low_watermark", SCHEMA_COUNT, AT(store.low_watermark), .min = 1, .max = 100, .fallback = "90",
     .doc = "Percent of `max_size` down to which blobs go when they have outgrown it."},
    {"verify_every", SCHEMA_DURATION, AT(store.verify_every_ms), .min = 0, .max = 3660 * DAY, .fallback = "24h",
     .doc =
         "A stored blob that was not read and found right for so long, or since a stop that was not orderly, is read "
         "through and checked on its way to the next client that wants the whole of it, who does not get the last of "
         "wrong bytes. All others are sent without being looked at. 0 checks each time."},
    {"scrub_interval", SCHEMA_DURATION, AT(store.scrub_interval_ms), .min = 0, .max = 3660 * DAY, .fallback = "7d",
     .doc =
         "Everything that is stored is read and checked once in so long, slowly, and at once after a stop that was not "
         "orderly. What is damaged goes into quarantine and is fetched again when it is asked for. 0 never does."},
    {"scrub_rate", SCHEMA_SIZE, AT(store.scrub_rate), .min = 65536, .max = INT64_MAX, .fallback = "10MiB",
     .doc = "Bytes a second that are read for it at most: 10 MiB are 6 TB in a week."},
    {"compression", SCHEMA_CHOICE, AT(store.compression), .choices = compressions, .fallback = "zstd",
     .doc = "Content that shrinks by an eighth or more (layers that are not compressed, large manifests and lists) is "
            "kept in zstd frames, after it has been stored. It is served as it was, or as `Content-Encoding: zstd` to "
            "a client that asks for that. `off` leaves what is stored as it is."},
    {"fs_verity", SCHEMA_BOOL, AT(store.fs_verity), .fallback = "false",
     .doc =
         "When the scrub has read a file of up to 1 GiB and found it right, have the file system refuse to give other "
         "bytes than these for as long as the file is there (fs-verity of ext4, btrfs and f2fs; ext4 must have been "
         "made with `-O verity`). Where it cannot, the log says so once."},
    {NULL}};

static const struct schema_item admin_items[] = {
    {"listen", SCHEMA_TEXTS, AT(admin.listen), .min = 0, .max = 16, .fallback = CONFIG_UNIX,
     .check = address_check_admin, .restart = true,
     .doc = "Where the admin API is served, which the commands talk to: `unix:PATH`, a socket that its owner and root "
            "may open, or an address with a port, which asks for the token of `token_file`, or for an account to which "
            "`server.auth.rules` give `seed` or `admin`. `unix:` without a path is `admin.sock` in the store. `[]` "
            "turns it off."},
    {"token_file", SCHEMA_TEXT, AT(admin.token_file), .restart = true,
     .doc =
         "A file with the token (16 characters or more) that may do everything at an address with a port. It is read "
         "at each request. The token goes over the wire as it is: listen on 127.0.0.1, or with `tls`."},
    {"tls", SCHEMA_BOOL, AT(admin.tls), .fallback = "false", .restart = true,
     .doc = "Speaks TLS at the addresses with a port, with certificates, `client_ca` and all else of `server.tls`, "
            "which need not `listen` for it."},
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
    {"stale_for", SCHEMA_DURATION, AT(tags.stale_for_ms), .min = 0, .max = 3660 * DAY, .fallback = "30d",
     .doc =
         "For how long after its last confirmation a tag is served although the upstream does not answer, refuses, or "
         "has spent its limit: with a `Warning` header, a metric and a line in the log. 0 never does."},
    {"stale_while_revalidate", SCHEMA_BOOL, AT(tags.stale_while_revalidate), .fallback = "false",
     .doc =
         "Answers from the store at once when the ttl of a tag is over, and asks the upstream meanwhile: the next pull "
         "has the news. A tag that moved is seen one pull later."},
    {"stale_on_absence", SCHEMA_BOOL, AT(tags.stale_on_absence), .fallback = "false",
     .doc = "Serves a stored tag even where the upstream says that there is no such tag any more (404). Otherwise its "
            "word ends the tag."},
    {"rules", SCHEMA_LIST, AT(tags.rules), .count_offset = offsetof(struct config, tags.rule_count),
     .size = sizeof(struct config_tag_rule), .items = rule_items, .max = 1000,
     .doc = "Exceptions; the first that matches holds, before `registries.NAME.tag_ttl` and `tags.ttl`."},
    {NULL}};

#define CA_FILE_DOC                                                                                                    \
    "A PEM file of certificate authorities to be trusted beside the system's. Read at start, on SIGHUP, and within "   \
    "seconds when it has changed."
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

static const struct schema_item segments_items[] = {
    {"count", SCHEMA_COUNT, AT(segments.count), .min = 1, .max = 16, .fallback = "4",
     .doc = "Connections that fetch one blob at once, where the source gives parts of it and has connections to spare: "
            "none is taken for this when half of `upstream.max_connections_per_host` are in use. 1 turns it off."},
    {"min_size", SCHEMA_SIZE, AT(segments.min_size), .min = 1 << 20, .max = INT64_MAX, .fallback = "64MiB",
     .doc = "Only where at least so much of a blob is missing. A connection fetches an eighth of this at a time, and "
            "more where the blob is much larger."},
    {NULL}};

static const struct schema_item budget_items[] = {
    {"reserve_revalidation", SCHEMA_COUNT, AT(budget.reserve_revalidation), .min = 0, .max = 100, .fallback = "10",
     .doc =
         "Percent of a pull limit that is left to live pulls when a tag that moved is fetched anew ahead of a pull."},
    {"reserve_seeding", SCHEMA_COUNT, AT(budget.reserve_seeding), .min = 0, .max = 100, .fallback = "30",
     .doc = "Percent of a pull limit that seeding leaves to all others."},
    {"probe_after", SCHEMA_DURATION, AT(budget.probe_after_ms), .min = CLOCK_SECOND, .max = DAY, .fallback = "5m",
     .doc =
         "A limit that was seen longer ago is asked for anew, by a `HEAD`, which costs nothing, before it is believed "
         "to be spent, and before anything but a live pull spends of it."},
    {NULL}};

static const struct schema_item prefetch_items[] = {
    {"enabled", SCHEMA_BOOL, AT(prefetch.enabled), .fallback = "true",
     .doc = "When a platform's manifest has been fetched, its blobs are fetched before the client asks for them."},
    {"max_flights", SCHEMA_COUNT, AT(prefetch.max_flights), .min = 1, .max = 1024, .fallback = "16",
     .doc = "Fetches at once that nobody has asked for yet; what is more than that waits for its client."},
    {NULL}};

static const char *check_platform(const char *s)
{
    struct platform p;
    return strcmp(s, "all") == 0 || platform_parse(s, &p) == 0 ? NULL : "is no platform such as linux/amd64";
}

static const struct schema_item seeding_items[] = {
    {"platforms", SCHEMA_TEXTS, AT(seeding.platforms), .max = 32, .check = check_platform,
     .derived = "the one that this program was built for",
     .doc = "The platforms of an image that are fetched where a list does not name them: such as `linux/amd64`, or "
            "`all`. Name those of the cluster's nodes."},
    {"max_flights", SCHEMA_COUNT, AT(seeding.max_flights), .min = 1, .max = 64, .fallback = "4",
     .doc = "Blobs that are fetched at once for seeds."},
    {NULL}};

#define SEED_AT(field) .offset = offsetof(struct config_seed, field)

static const char *check_seed_name(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return s[len] ? "a name has letters, digits and any of . _ - only" : len > 63 ? "is too long" : NULL;
}

static const struct schema_item seed_items[] = {
    {"name", SCHEMA_TEXT, SEED_AT(name), .required = true, .check = check_seed_name,
     .doc = "What it is called: in `entrepot seeds`, logs, and the pins that it makes. No two have the same."},
    {"files", SCHEMA_TEXTS, SEED_AT(files), .required = true, .min = 1, .max = 64,
     .doc = "Lists of images, in any of the formats that `entrepot seed` takes; read again at each run. What is wrong "
            "with them is said in the log."},
    {"platforms", SCHEMA_TEXTS, SEED_AT(platforms), .max = 32, .check = check_platform,
     .derived = "`seeding.platforms`", .doc = "For images whose list does not name them."},
    {"pin", SCHEMA_BOOL, SEED_AT(pin), .fallback = "false",
     .doc = "Its images are not evicted as long as it stands here."},
    {"every", SCHEMA_DURATION, SEED_AT(every_ms), .min = 0, .max = 366 * DAY, .fallback = "0s",
     .doc = "So long after a run has ended the next one begins; at least a minute. 0: only at start and when the "
            "configuration is read again."},
    {NULL}};

#define SOURCE_AT(field) .offset = offsetof(struct config_source, field)

static const struct schema_item source_items[] = {
    {"name", SCHEMA_TEXT, SOURCE_AT(name), .check = check_source_name,
     .derived = "the host of `url`, with a number behind it where it stands there already",
     .doc = "What it is called in logs, metrics and status."},
    {"url", SCHEMA_TEXT, SOURCE_AT(url), .check = address_check_url, .derive = derive_source_url,
     .derived = "the registry's", .doc = "As `registries.NAME.url`."},
    {"prefix", SCHEMA_TEXT, SOURCE_AT(prefix), .check = check_prefix,
     .doc = "What stands before the repository there: with `docker` at `https://public.ecr.aws` the repository "
            "`library/alpine` is `docker/library/alpine`. Projects of a Harbor that is a proxy are such a prefix."},
    {"credentials", SCHEMA_TEXT, SOURCE_AT(credentials), .derived = "anonymous",
     .doc =
         "As `registries.NAME.credentials`, a file a source. The file's entry for the host of `url` is used; where "
         "`url` is the registry's own, one for the registry's names will do; of a sibling, one for the name `sibling`. "
         "There it is a login of that mirror's `server.auth`, and is sent with each request: over plain HTTP where "
         "`url` says so."},
    {"ca_file", SCHEMA_TEXT, SOURCE_AT(ca_file), .check = check_ca_file, .derive = derive_source_ca_file,
     .derived = "the registry's", .doc = CA_FILE_DOC},
    {"proxy", SCHEMA_TEXT, SOURCE_AT(proxy), .check = address_check_proxy, .derive = derive_source_proxy,
     .derived = "the registry's", .doc = PROXY_DOC},
    {"no_proxy", SCHEMA_TEXT, SOURCE_AT(no_proxy), .derive = derive_source_no_proxy, .derived = "the registry's",
     .doc = NO_PROXY_DOC},
    {"allow_private", SCHEMA_BOOL, SOURCE_AT(allow_private), .derive = derive_source_allow_private,
     .derived = "the registry's where `url` is; elsewhere true where the host is a private or loopback address or "
                "`localhost`, else false",
     .doc = "As `registries.NAME.allow_private`. A sibling by a name of the cluster needs it."},
    {"auth_hosts", SCHEMA_TEXTS, SOURCE_AT(auth_hosts), .max = 16, .check = address_check_host,
     .derive = derive_source_auth_hosts, .derived = "the registry's where `url` is, elsewhere none",
     .doc = "As `registries.NAME.auth_hosts`."},
    {"sibling", SCHEMA_BOOL, SOURCE_AT(sibling), .fallback = "false",
     .doc = "Another Entrepot. It is asked before the others for what has a digest, and answers from what it has or is "
            "just fetching; it does not ask its own upstreams for us."},
    {"tags", SCHEMA_BOOL, SOURCE_AT(tags), .derive = derive_source_tags, .derived = "true; of a sibling false",
     .doc =
         "Whether it is believed what a tag means, and what tags and referrers there are. What has a digest is taken "
         "from any source: it is verified."},
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
         "A file in the format of Docker's `config.json` (`auths`), such as a mounted pull secret. Read at start, on "
         "SIGHUP, and within seconds when it has changed; while it cannot be read the registry is asked anonymously, "
         "and the log says so."},
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
    {"open", SCHEMA_TEXTS, REGISTRY_AT(open), .max = 256,
     .doc = "Patterns of repositories, such as `company/*`, whose private content everybody may pull who reaches this "
            "mirror. What an account may see and the public may not is otherwise served to nobody without an account."},
    {"sources", SCHEMA_LIST, REGISTRY_AT(sources), .count_offset = offsetof(struct config_registry, source_count),
     .size = sizeof(struct config_source), .items = source_items, .min = 1, .max = 16,
     .derived = "one, of what is said above",
     .doc =
         "Ways to the content, in the order in which they are asked: several accounts, the registry without any, other "
         "hosts that have the same, other Entrepots. When one fails, refuses, or has spent its limit, the next is "
         "asked. What is said above holds for those that say nothing, but `credentials`, which stand here then."},
    {NULL}};

/* A derived default looks at the rows above its own: `tags` and `upstream` come before `registries`. */
const struct schema_item config_schema[] = {
    {"version", SCHEMA_COUNT, AT(version), .min = 1, .max = 1, .fallback = "1", .doc = "The version of this format."},
    {"server", SCHEMA_SECTION, .items = server_items, .doc = "The side of the clients."},
    {"ops", SCHEMA_SECTION, .items = ops_items, .doc = "The side of the administrator."},
    {"store", SCHEMA_SECTION, .items = store_items, .doc = "Where everything is kept."},
    {"admin", SCHEMA_SECTION, .items = admin_items, .doc = "The API of the administrator's commands."},
    {"log", SCHEMA_SECTION, .items = log_items, .doc = "What is told."},
    {"tags", SCHEMA_SECTION, .items = tags_items, .doc = "How fresh a tag must be."},
    {"upstream", SCHEMA_SECTION, .items = upstream_items, .doc = "The side of the registries, for all of them."},
    {"segments", SCHEMA_SECTION, .items = segments_items,
     .doc = "Large blobs, of which several parts are fetched at once: for sources that are slow by the connection."},
    {"budget", SCHEMA_SECTION, .items = budget_items,
     .doc =
         "Registries that limit pulls, as Docker Hub does by the number of manifests, say so with each answer; what is "
         "left is spent where a pod waits for it."},
    {"prefetch", SCHEMA_SECTION, .items = prefetch_items, .doc = "What is fetched before it is asked for."},
    {"seeding", SCHEMA_SECTION, .items = seeding_items,
     .doc = "Images that are fetched before anybody pulls them ([seeding.md](seeding.md))."},
    {"seeds", SCHEMA_LIST, AT(seeds), .count_offset = offsetof(struct config, seed_count),
     .size = sizeof(struct config_seed), .items = seed_items, .max = 32, .doc = "What is seeded again and again."},
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
_Static_assert(sizeof(enum config_log_level) == sizeof(unsigned) &&
                   sizeof(enum config_log_format) == sizeof(unsigned) &&
                   sizeof(enum config_miss_status) == sizeof(unsigned) &&
                   sizeof(enum config_tls_version) == sizeof(unsigned) &&
                   sizeof(enum config_client_certificates) == sizeof(unsigned) &&
                   sizeof(enum config_pull_secrets) == sizeof(unsigned) &&
                   sizeof(enum config_compression) == sizeof(unsigned),
               "a CHOICE is stored as unsigned");
