#include "config/config.h"

#include "base/limits.h"
#include "config/nearest.h"
#include "config/reader.h"
#include "config/schema.h"

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

static void strip_slashes(char *url)
{
    for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
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
        for (size_t i = 0; i < c->registry_count; i++)
            strip_slashes(c->registries[i].url);
        check_aliases(reader, c);
        check_default_registry(reader, c);
    }
    r = reader_close(reader);
    if (r == 0)
        *ret_config = TAKE_PTR(c);
    return r;
}

static int read_file(const char *file, struct buf *text)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        int r = buf_reserve(text, text->max - text->len < 64 * KIB ? text->max - text->len : 64 * KIB);
        if (r < 0)
            return r;
        /* Where it is full, one byte more says whether that was the end. */
        char more;
        ssize_t n =
            text->len == text->max ? read(fd, &more, 1) : read(fd, text->data + text->len, text->cap - 1 - text->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        if (text->len == text->max)
            return -EFBIG;
        text->len += (size_t)n;
    }
}

int config_load(const char *file, struct config **ret_config, struct buf *errors)
{
    AUTO_BUF struct buf text = BUF_INIT(CONFIG_FILE_MAX);
    int r = read_file(file, &text);
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

int64_t config_tag_ttl_ms(const struct config *c, const struct config_registry *r, const char *repository,
                          const char *tag)
{
    char reference[256 + LIMIT_NAME + LIMIT_TAG + 4]; /* a registry's name has 253 characters and a port at most */
    int n = snprintf(reference, sizeof(reference), "%s/%s:%s", r->name, repository, tag);
    if (n < 0 || (size_t)n >= sizeof(reference))
        return r->tag_ttl_ms; /* no name that a client may ask for */
    for (size_t i = 0; i < c->tags.rule_count; i++)
        if (fnmatch(c->tags.rules[i].match, reference, 0) == 0)
            return c->tags.rules[i].ttl_ms;
    return r->tag_ttl_ms;
}
