#include "config/config.h"

#include "base/limits.h"
#include "base/nearest.h"
#include "config/address.h"
#include "config/reader.h"
#include "config/schema.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------ what must fit together */

static void check_default_registry(struct reader *reader, struct config *c)
{
    const char *name = c->default_registry_name;
    c->default_registry = config_find_registry(c, name, strlen(name));
    if (c->default_registry)
        return;
    struct nearest nearest;
    nearest_begin(&nearest, name);
    for (size_t i = 0; i < c->registry_count; i++)
        nearest_offer(&nearest, c->registries[i].name);
    const char *const path[] = {"default_registry", NULL};
    if (nearest.name)
        reader_error(reader, path, "is none of the registries; did you mean \"%s\"?", nearest.name);
    else
        reader_error(reader, path, "is none of the registries");
}

/* Who has the name of alias `k` of registry `i` already: as its own name, or as an alias that comes before. */
static const struct config_registry *find_owner(const struct config *c, size_t i, size_t k)
{
    const char *name = c->registries[i].aliases.items[k];
    for (size_t j = 0; j < c->registry_count; j++) {
        const struct config_registry *r = &c->registries[j];
        if (strcmp(r->name, name) == 0)
            return r;
        size_t before = j < i ? r->aliases.count : j == i ? k : 0;
        for (size_t n = 0; n < before; n++)
            if (strcmp(r->aliases.items[n], name) == 0)
                return r;
    }
    return NULL;
}

static void check_aliases(struct reader *reader, const struct config *c)
{
    for (size_t i = 0; i < c->registry_count; i++) {
        const struct config_registry *r = &c->registries[i];
        const char *const path[] = {"registries", r->name, "aliases", NULL};
        for (size_t k = 0; k < r->aliases.count; k++) {
            const struct config_registry *owner = find_owner(c, i, k);
            if (owner == r)
                reader_error(reader, path, "%s is said twice", r->aliases.items[k]);
            else if (owner)
                reader_error(reader, path, "%s is a name of %s already", r->aliases.items[k], owner->name);
        }
    }
}

static void check_seeds(struct reader *reader, const struct config *c)
{
    const char *const path[] = {"seeds", NULL};
    for (size_t i = 0; i < c->seed_count; i++)
        for (size_t k = 0; k < i; k++)
            if (c->seeds[i].name && c->seeds[k].name && strcmp(c->seeds[i].name, c->seeds[k].name) == 0)
                reader_error(reader, path, "%s is said twice", c->seeds[i].name);
}

static void strip_slashes(char *url)
{
    for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
}

/* ------------------------------------------------------------------ sources */

static bool has_source(const struct config_registry *r, const char *name)
{
    for (size_t i = 0; i < r->source_count; i++)
        if (r->sources[i].name && strcmp(r->sources[i].name, name) == 0)
            return true;
    return false;
}

/* "host", "host-2", "host-3" … */
static int name_source(const struct config_registry *r, struct config_source *s)
{
    assert(s->url); /* folded in by now */
    const char *host = strstr(s->url, "://");
    host = host ? host + 3 : s->url;
    AUTO_BUF struct buf name = BUF_INIT(SCHEMA_TEXT_MAX);
    for (size_t i = 1;; i++) {
        buf_reset(&name);
        int e = buf_addf(&name, "%.*s", (int)strcspn(host, "/"), host);
        if (e == 0 && i > 1)
            e = buf_addf(&name, "-%zu", i);
        if (e < 0)
            return e;
        if (!has_source(r, name.data)) {
            s->name = buf_take(&name);
            return s->name ? 0 : -ENOMEM;
        }
    }
}

static int duplicate(const char *s, char **ret_copy)
{
    *ret_copy = s ? strdup(s) : NULL;
    return s && !*ret_copy ? -ENOMEM : 0;
}

/* A registry of which no source is said is its own. */
static int add_own_source(struct config_registry *r)
{
    struct config_source *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    r->sources = s;
    r->source_count = 1;
    s->allow_private = r->allow_private;
    s->tags = true;
    int e = duplicate(r->url, &s->url);
    if (e == 0)
        e = duplicate(r->credentials, &s->credentials);
    if (e == 0)
        e = duplicate(r->ca_file, &s->ca_file);
    if (e == 0)
        e = duplicate(r->proxy, &s->proxy);
    if (e == 0)
        e = duplicate(r->no_proxy, &s->no_proxy);
    s->auth_hosts.items = calloc(r->auth_hosts.count + 1, sizeof(char *));
    if (!s->auth_hosts.items)
        return -ENOMEM;
    for (; e == 0 && s->auth_hosts.count < r->auth_hosts.count; s->auth_hosts.count++)
        e = duplicate(r->auth_hosts.items[s->auth_hosts.count], &s->auth_hosts.items[s->auth_hosts.count]);
    return e;
}

static void check_sources(struct reader *reader, const struct config_registry *r)
{
    const char *const path[] = {"registries", r->name, "sources", NULL};
    const char *const credentials[] = {"registries", r->name, "credentials", NULL};
    bool tags = false;
    for (size_t i = 0; i < r->source_count; i++) {
        const struct config_source *s = &r->sources[i];
        tags = tags || s->tags;
        for (size_t k = 0; k < i; k++)
            if (s->name && r->sources[k].name && strcmp(s->name, r->sources[k].name) == 0)
                reader_error(reader, path, "%s is said twice", s->name);
    }
    if (!tags)
        reader_error(reader, path, "one of them must be believed what a tag means (tags)");
    if (r->credentials)
        reader_error(reader, credentials, "where there are sources, they stand there");
}

static int fold_sources(struct reader *reader, struct config_registry *r)
{
    int e = 0;
    strip_slashes(r->url);
    for (size_t i = 0; i < r->source_count; i++)
        strip_slashes(r->sources[i].url);
    if (r->source_count > 0)
        check_sources(reader, r);
    else
        e = add_own_source(r);
    for (size_t i = 0; e == 0 && i < r->source_count; i++)
        if (!r->sources[i].name)
            e = name_source(r, &r->sources[i]);
    return e;
}

/* ------------------------------------------------------------------ rules */

unsigned config_right(const char *word)
{
    static const struct {
        const char *word;
        enum config_right right;
    } rights[] = {{"pull", CONFIG_MAY_PULL}, {"seed", CONFIG_MAY_SEED}, {"admin", CONFIG_MAY_ADMIN}};
    for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
        if (strcmp(rights[i].word, word) == 0)
            return rights[i].right;
    return 0;
}

bool config_rule_is_everywhere(const struct config_auth_rule *rule)
{
    return config_has_match(&rule->repositories, ""); /* nothing but stars matches it */
}

static void check_rule(struct reader *reader, const struct config_auth_rule *rule, size_t index)
{
    char number[32];
    (void)snprintf(number, sizeof(number), "[%zu]", index);
    const char *const may[] = {"server", "auth", "rules", number, "may", NULL};
    const char *const repositories[] = {"server", "auth", "rules", number, "repositories", NULL};
    const char *const private[] = {"server", "auth", "rules", number, "private", NULL};
    if (rule->anonymous && (rule->rights & ~CONFIG_MAY_PULL))
        reader_error(reader, may, "nobody may seed or administer without logging in (anonymous)");
    if ((rule->rights & CONFIG_MAY_ADMIN) && !config_rule_is_everywhere(rule))
        reader_error(reader, repositories, "who may administer may so everywhere: \"*\", or leave it out");
    if (rule->private && !(rule->rights & CONFIG_MAY_PULL))
        reader_error(reader, private, "is about pulls, which this rule does not give (may)");
}

static void fold_rules(struct reader *reader, struct config *c)
{
    for (size_t i = 0; i < c->server.auth.rule_count; i++) {
        struct config_auth_rule *rule = &c->server.auth.rules[i];
        for (size_t k = 0; k < rule->may.count; k++)
            rule->rights |= config_right(rule->may.items[k]);
        check_rule(reader, rule, i);
    }
}

/* ------------------------------------------------------------------ the admin API */

/* "unix:" alone is a socket in the store. */
static int fold_admin(struct reader *reader, struct config *c)
{
    const char *const path[] = {"admin", "listen", NULL};
    for (size_t i = 0; i < c->admin.listen.count; i++) {
        char **item = &c->admin.listen.items[i];
        if (strcmp(*item, CONFIG_UNIX) == 0) {
            AUTO_BUF struct buf socket = BUF_INIT(SCHEMA_TEXT_MAX + 64);
            int e = buf_addf(&socket, CONFIG_UNIX "%s/admin.sock", c->store.path);
            if (e < 0)
                return e;
            free(*item);
            *item = buf_take(&socket);
        } else if (strncmp(*item, CONFIG_UNIX, strlen(CONFIG_UNIX)) != 0 && !c->admin.token_file &&
                   !config_has_admin_accounts(c)) {
            reader_error(reader, path,
                         "%s asks for a token: admin.token_file; or for users to whom server.auth.rules "
                         "gives seed or admin",
                         *item);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ TLS */

/* server.tls.certificate and .key are the first of the certificates. */
static int fold_certificates(struct reader *reader, struct config *c)
{
    const char *const listen[] = {"server", "listen", NULL};
    const char *const tls_listen[] = {"server", "tls", "listen", NULL};
    const char *const key[] = {"server", "tls", "key", NULL};
    const char *const admin_tls[] = {"admin", "tls", NULL};
    const char *const certificate[] = {"server", "tls", "certificate", NULL};
    if (c->server.tls.certificate && !c->server.tls.key)
        reader_error(reader, certificate, "needs server.tls.key");
    if (c->server.tls.key && !c->server.tls.certificate)
        reader_error(reader, key, "needs server.tls.certificate");
    if (c->server.listen.count == 0 && c->server.tls.listen.count == 0)
        reader_error(reader, listen, "there must be an address here, or in server.tls.listen");
    if (c->server.tls.listen.count > 0 && c->server.tls.certificate_count == 0 && !c->server.tls.certificate)
        reader_error(reader, tls_listen, "needs server.tls.certificate and server.tls.key");
    if (c->admin.tls && c->server.tls.certificate_count == 0 && !c->server.tls.certificate)
        reader_error(reader, admin_tls, "needs server.tls.certificate and server.tls.key");
    if (!c->server.tls.certificate || !c->server.tls.key)
        return 0;

    size_t n = c->server.tls.certificate_count;
    struct config_certificate first = {0}, *all = calloc(n + 1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    if (n > 0)
        memcpy(all + 1, c->server.tls.certificates, n * sizeof(*all));
    free(c->server.tls.certificates);
    c->server.tls.certificates = all;
    c->server.tls.certificate_count = n + 1;
    int e = duplicate(c->server.tls.certificate, &first.certificate);
    if (e == 0)
        e = duplicate(c->server.tls.key, &first.key);
    all[0] = first;
    return e;
}

/* ------------------------------------------------------------------ tokens */

/* All of it, or nothing. */
static void check_token(struct reader *reader, const struct config *c)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"keys", c->server.auth.token.keys},
                  {"realm", c->server.auth.token.realm},
                  {"service", c->server.auth.token.service},
                  {"issuer", c->server.auth.token.issuer}};
    size_t given = 0;
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        given += needed[i].value != NULL;
    for (size_t i = 0; given > 0 && i < ARRAY_SIZE(needed); i++) {
        const char *const path[] = {"server", "auth", "token", needed[i].name, NULL};
        if (!needed[i].value)
            reader_error(reader, path, "is needed where there are tokens");
    }
}

/* ------------------------------------------------------------------ loading */

int config_parse(const char *text, size_t len, const char *name, struct config **ret_config, struct buf *errors)
{
    AUTO(auto_config_destroy) struct config *c = calloc(1, sizeof(*c));
    struct reader *reader;
    if (!c || !(c->file = strdup(name)))
        return -ENOMEM;
    int r = reader_open(text, len, name, errors, &reader);
    if (r < 0)
        return r;
    reader_read(reader, config_schema, c);
    if (reader_is_good(reader)) {
        for (size_t i = 0; r == 0 && i < c->registry_count; i++)
            r = fold_sources(reader, &c->registries[i]);
        fold_rules(reader, c);
        if (r == 0)
            r = fold_admin(reader, c);
        check_aliases(reader, c);
        check_seeds(reader, c);
        check_default_registry(reader, c);
        check_token(reader, c);
        if (r == 0)
            r = fold_certificates(reader, c);
    }
    int e = reader_close(reader);
    if (r == 0)
        r = e;
    if (r == 0)
        *ret_config = TAKE_PTR(c);
    return r;
}

int config_load(const char *file, struct config **ret_config, struct buf *errors)
{
    AUTO_BUF struct buf text = BUF_INIT(CONFIG_FILE_MAX);
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : buf_read(&text, fd);
    if (r == 0)
        return config_parse(text.data, text.len, file, ret_config, errors);
    int e = r == -EFBIG ? buf_addf(errors, "%s: is larger than %llu KiB\n", file, CONFIG_FILE_MAX / KIB)
                        : buf_addf(errors, "%s: cannot be read: %s\n", file, strerror(-r));
    (void)e; /* the result says enough */
    return r;
}

int config_default(struct config **ret_config)
{
    AUTO_BUF struct buf errors = BUF_INIT(4 * KIB);
    return config_parse("", 0, "", ret_config, &errors);
}

void config_destroy(struct config *c)
{
    if (!c)
        return;
    schema_finish(config_schema, c);
    free(c->file);
    free(c);
}

int config_restart_keys(const struct config *was, const struct config *now, struct buf *keys)
{
    return schema_restart_keys(config_schema, was, now, keys);
}

/* ------------------------------------------------------------------ questions to a configuration */

static bool same_name(const char *a, const char *name, size_t len)
{
    return strlen(a) == len && strncasecmp(a, name, len) == 0;
}

const struct config_registry *config_find_registry(const struct config *c, const char *name, size_t len)
{
    for (size_t i = 0; i < c->registry_count; i++) {
        const struct config_registry *r = &c->registries[i];
        if (same_name(r->name, name, len))
            return r;
        for (size_t k = 0; k < r->aliases.count; k++)
            if (same_name(r->aliases.items[k], name, len))
                return r;
    }
    return NULL;
}

static const struct config_tag_rule *find_rule(const struct config *c, const char *reference)
{
    for (size_t i = 0; i < c->tags.rule_count; i++)
        if (fnmatch(c->tags.rules[i].match, reference, 0) == 0)
            return &c->tags.rules[i];
    return NULL;
}

int64_t config_tag_ttl_ms(const struct config *c, const struct config_registry *r, const char *repository,
                          const char *tag)
{
    char reference[256 + LIMIT_NAME + LIMIT_TAG + 4]; /* a registry's name has 253 characters and a port at most */
    int n = snprintf(reference, sizeof(reference), "%s/%s:%s", r->name, repository, tag);
    if (n < 0 || (size_t)n >= sizeof(reference))
        return r->tag_ttl_ms; /* no name that a client may ask for */
    const struct config_tag_rule *rule = find_rule(c, reference);
    return rule ? rule->ttl_ms : r->tag_ttl_ms;
}

const char *config_tag_rule(const struct config *c, const char *reference)
{
    const struct config_tag_rule *rule = find_rule(c, reference);
    return rule ? rule->match : NULL;
}

uint64_t config_room_bytes(const struct config_room *room, uint64_t file_system)
{
    return room->percent ? file_system / 100 * room->percent + file_system % 100 * room->percent / 100 : room->bytes;
}

bool config_has_address(const struct config_list *networks, const char *address)
{
    for (size_t i = 0; i < networks->count; i++)
        if (address_is_in(networks->items[i], address))
            return true;
    return false;
}

bool config_has_accounts(const struct config *c)
{
    return c->server.auth.htpasswd || c->server.auth.token.keys || c->server.auth.rule_count > 0;
}

bool config_has_admin_accounts(const struct config *c)
{
    const bool users = c->server.auth.htpasswd || c->server.auth.token.keys;
    const bool certificates = c->admin.tls && c->server.tls.client_ca;
    for (size_t i = 0; i < c->server.auth.rule_count; i++) {
        const struct config_auth_rule *rule = &c->server.auth.rules[i];
        if ((rule->rights & ~CONFIG_MAY_PULL) &&
            ((users && rule->users.count > 0) || (certificates && rule->certificates.count > 0)))
            return true;
    }
    return false;
}

bool config_has_logins(const struct config *c)
{
    bool for_admin = false, open = false, private = false;
    for (size_t i = 0; i < c->server.auth.rule_count; i++) {
        const struct config_auth_rule *rule = &c->server.auth.rules[i];
        const bool pulls = rule->rights & CONFIG_MAY_PULL;
        for_admin = for_admin || (rule->rights & ~CONFIG_MAY_PULL);
        open = open || (pulls && rule->anonymous && config_rule_is_everywhere(rule));
        private = private || (pulls && rule->private);
    }
    return config_has_accounts(c) && !(for_admin && open && !private);
}

bool config_has_match(const struct config_list *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (fnmatch(patterns->items[i], text, 0) == 0)
            return true;
    return false;
}

bool config_is_open(const struct config_registry *r, const char *repository)
{
    return config_has_match(&r->open, repository);
}
