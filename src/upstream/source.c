#include "upstream/source.h"

#include "base/ip.h"
#include "base/limits.h"
#include "upstream/credentials.h"
#include "upstream/grants.h"
#include "upstream/ledger.h"
#include "upstream/proxy.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <libpsl.h>
#include <string.h>
#include <strings.h>

/* Docker Hub has many names; any of them in a credentials file means it. */
static const char *const hub_names[] = {"docker.io", "index.docker.io", "registry-1.docker.io",
                                        "registry.hub.docker.com"};

#define SIBLING_NAME "sibling"

static int duplicate(const char *s, char **ret_copy)
{
    *ret_copy = s ? strdup(s) : NULL;
    return s && !*ret_copy ? -ENOMEM : 0;
}

/* "FILE: why", for the log. A line that finds no room is lost; the file is done without all the same. */
static void report(struct buf *errors, const char *file, const char *why)
{
    int r = buf_addf(errors, "%s: %s\n", file, why);
    (void)r;
}

static int read_file(const char *file, struct buf *text)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : buf_read(text, fd);
}

/* CURLOPT_CAINFO replaces the system's certificates; so both become one bundle. */
static int read_ca(struct source *s, const char *file, struct buf *errors)
{
    struct buf bundle = BUF_INIT(LIMIT_CA_FILE);
    const char *system = curl_version_info(CURLVERSION_NOW)->cainfo;
    int r = system ? read_file(system, &bundle) : 0;
    if (r == -ENOENT)
        r = 0; /* a machine without certificates of its own is no error */
    if (r == 0)
        r = buf_adds(&bundle, "\n");
    if (r == 0)
        r = read_file(file, &bundle);
    if (r == 0) {
        s->ca_len = bundle.len;
        s->ca = buf_take(&bundle);
        return s->ca ? 0 : -ENOMEM;
    }
    buf_finish(&bundle);
    if (r == -ENOMEM)
        return r;
    report(errors, file, strerror(-r));
    return 0;
}

static bool is_hub(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(hub_names); i++)
        if (strcasecmp(name, hub_names[i]) == 0)
            return true;
    return false;
}

/* An entry for the registry's names is meant for the registry's own host: another one is not told that account. One for
 * SIBLING_NAME is any sibling's, so that one Secret does for all replicas, whatever their names. */
static int read_account(struct source *s, const struct config_registry *registry, const struct config_source *source,
                        struct buf *errors)
{
    AUTO_FREE const char **names = calloc(registry->aliases.count + 3 + ARRAY_SIZE(hub_names), sizeof(*names));
    if (!names)
        return -ENOMEM;
    size_t n = 0;
    bool home = strcmp(registry->url, source->url) == 0, hub = false;
    if (home)
        names[n++] = registry->name;
    names[n++] = s->url.authority;
    if (source->sibling)
        names[n++] = SIBLING_NAME;
    for (size_t i = 0; home && i < registry->aliases.count; i++)
        names[n++] = registry->aliases.items[i];
    for (size_t i = 0; i < n; i++)
        hub = hub || is_hub(names[i]);
    for (size_t i = 0; hub && i < ARRAY_SIZE(hub_names); i++)
        names[n++] = hub_names[i];

    struct buf why = BUF_INIT(4 * KIB);
    int e = credentials_read(source->credentials, &(struct credentials_names){names, n}, &s->basic, &why);
    if (e < 0 && e != -ENOMEM)
        report(errors, source->credentials, why.len ? why.data : strerror(-e));
    buf_finish(&why);
    return e == -ENOMEM ? e : 0;
}

static int copy_proxies(struct source *s, const struct config_source *source)
{
    const char *no_proxy = source->no_proxy ? source->no_proxy : proxy_no_proxy_from_environment();
    int e = duplicate(no_proxy, &s->no_proxy);
    for (int https = 0; e == 0 && https < 2; https++)
        e = duplicate(source->proxy ? source->proxy : proxy_from_environment(https), &s->proxy[https]);
    return e;
}

static int copy_list(const struct config_list *list, char ***ret_copy)
{
    char **copy = calloc(list->count + 1, sizeof(*copy));
    *ret_copy = copy;
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        int e = duplicate(list->items[i], &copy[i]);
        if (e < 0)
            return e;
    }
    return 0;
}

static void free_texts(struct source *s)
{
    free(s->registry);
    free(s->name);
    free(s->prefix);
    free(s->hop);
    url_finish(&s->url);
    free(s->ca);
    free(s->proxy[0]);
    free(s->proxy[1]);
    free(s->no_proxy);
    for (size_t i = 0; s->auth_hosts && s->auth_hosts[i]; i++)
        free(s->auth_hosts[i]);
    free(s->auth_hosts);
}

static void destroy(struct source *s)
{
    for (int i = 0; i < 2; i++) {
        grants_destroy(s->grants[i]);
        ledger_leave_account(s->ledger, s->accounts[i]);
    }
    ledger_leave_health(s->ledger, s->health);
    free(s->account);
    credentials_free(s->basic);
    if (s->lender)
        source_unref(s->lender);
    else
        free_texts(s);
    free(s);
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_limits(struct source *s, const struct config *config)
{
    s->connect_timeout_ms = config->upstream.connect_timeout_ms;
    s->header_timeout_ms = config->upstream.header_timeout_ms;
    s->stall_timeout_ms = config->upstream.stall_timeout_ms;
    s->max_connections = config->upstream.max_connections_per_host ? config->upstream.max_connections_per_host : 1;
    if (s->sibling) {
        s->connect_timeout_ms = shorter(s->connect_timeout_ms, LIMIT_SIBLING_CONNECT_MS);
        s->header_timeout_ms = shorter(s->header_timeout_ms, LIMIT_SIBLING_HEADER_MS);
    }
}

static int copy_names(struct source *s, const struct config_registry *registry, const struct config_source *source,
                      const char *hop)
{
    int r = duplicate(registry->name, &s->registry);
    if (r == 0)
        r = duplicate(source->name, &s->name);
    if (r == 0)
        r = duplicate(source->prefix ? source->prefix : "", &s->prefix);
    if (r == 0)
        r = duplicate(hop, &s->hop);
    return r;
}

/* What was known of it before, or is known of the account by another source. */
static int join_ledger(struct source *s)
{
    const char *origin = s->url.origin;
    int r = s->basic ? credentials_user(s->basic, &s->account) : duplicate("", &s->account);
    if (r < 0)
        return r;
    s->health = ledger_health(s->ledger, s->registry, s->name, origin);
    s->accounts[0] = ledger_account(s->ledger, origin, s->account);
    s->accounts[1] = ledger_account(s->ledger, origin, "");
    return s->health && s->accounts[0] && s->accounts[1] ? 0 : -ENOMEM;
}

static int create_grants(struct source *s)
{
    for (int i = 0; i < 2; i++)
        if (!(s->grants[i] = grants_create()))
            return -ENOMEM;
    return 0;
}

int source_create(const struct source_needs *needs, const struct config_registry *registry,
                  const struct config_source *source, struct source **ret_source)
{
    AUTO(auto_source_unref) struct source *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->references = 1;
    s->ledger = needs->ledger;
    s->allow_private = source->allow_private;
    s->sibling = source->sibling;
    s->tags = source->tags;
    s->home = strcmp(registry->url, source->url) == 0;
    set_limits(s, needs->config);
    int r = copy_names(s, registry, source, needs->hop);
    if (r == 0)
        r = url_parse(source->url, &s->url);
    if (r < 0)
        return r == -ENOMEM ? r : -EINVAL;
    r = copy_proxies(s, source);
    if (r == 0)
        r = copy_list(&source->auth_hosts, &s->auth_hosts);
    if (r == 0 && source->ca_file)
        r = read_ca(s, source->ca_file, needs->errors);
    if (r == 0 && source->credentials)
        r = read_account(s, registry, source, needs->errors);
    if (r == 0)
        r = join_ledger(s);
    if (r < 0)
        return r;
    r = create_grants(s);
    if (r == 0)
        *ret_source = TAKE_PTR(s);
    return r;
}

int source_with_login(struct source *from, const char *login, struct source **ret_source)
{
    AUTO(auto_source_unref) struct source *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct source){
        .references = 1,
        .lender = source_ref(from),
        .registry = from->registry,
        .name = from->name,
        .url = from->url,
        .prefix = from->prefix,
        .tags = from->tags,
        .home = from->home,
        .hop = from->hop,
        .ca = from->ca,
        .ca_len = from->ca_len,
        .proxy = {from->proxy[0], from->proxy[1]},
        .no_proxy = from->no_proxy,
        .allow_private = from->allow_private,
        .auth_hosts = from->auth_hosts,
        .connect_timeout_ms = from->connect_timeout_ms,
        .header_timeout_ms = from->header_timeout_ms,
        .stall_timeout_ms = from->stall_timeout_ms,
        .max_connections = from->max_connections,
        .ledger = from->ledger,
    };
    int r = duplicate(login, &s->basic);
    if (r == 0)
        r = join_ledger(s);
    if (r == 0)
        r = create_grants(s);
    if (r == 0)
        *ret_source = TAKE_PTR(s);
    return r;
}

struct source *source_ref(struct source *s)
{
    (void)__atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
    return s;
}

void source_unref(struct source *s)
{
    if (s && __atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) == 0)
        destroy(s);
}

static bool same_site(const char *a, const char *b)
{
    if (strcasecmp(a, b) == 0)
        return true; /* an IP address is its own site, at every port */
    if (ip_is_literal(a) || ip_is_literal(b))
        return false;
    const psl_ctx_t *psl = psl_builtin();
    const char *domain_a = psl_registrable_domain(psl, a), *domain_b = psl_registrable_domain(psl, b);
    return domain_a && domain_b && strcasecmp(domain_a, domain_b) == 0;
}

bool source_trusts(const struct source *s, const struct url *url)
{
    if (s->url.https && !url->https)
        return false;
    if (same_site(s->url.host, url->host))
        return true;
    for (char **host = s->auth_hosts; *host; host++)
        if (strcasecmp(*host, url->host) == 0 || strcasecmp(*host, url->authority) == 0)
            return true;
    return false;
}

const char *source_proxy(const struct source *s, const struct url *url)
{
    return proxy_is_bypassed(s->no_proxy, url->host) ? NULL : s->proxy[url->https];
}

bool source_may_be_private(const struct source *s, const struct url *url)
{
    return s->allow_private || (url_same_origin(&s->url, url) && ip_host_is_private(url->host));
}
