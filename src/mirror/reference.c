#include "mirror/reference.h"

#include <errno.h>
#include <string.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The length of a separator inside a path component: "." "_" "__" or any number of "-"; 0 where there is none. */
static size_t separator(const char *s)
{
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* joined by slashes */
bool repository_is_valid(const char *path)
{
    for (;;) {
        if (!is_alnum(*path))
            return false;
        while (is_alnum(*path))
            path++;
        if (!*path)
            return true;
        path += *path == '/' ? 1 : separator(path);
    }
}

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool tag_is_valid(const char *tag)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strspn(tag, word);
    return len > 0 && len <= LIMIT_TAG && !tag[len] && tag[0] != '.' && tag[0] != '-';
}

/* The rest of `name` behind the component that names a configured registry, which is set; else NULL. */
static const char *behind_prefix(const struct config *config, const char *name,
                                 const struct config_registry **ret_registry)
{
    const char *slash = strchr(name, '/');
    const struct config_registry *r = slash ? config_find_registry(config, name, (size_t)(slash - name)) : NULL;
    if (!r)
        return NULL;
    *ret_registry = r;
    return slash + 1;
}

int repository_resolve(const struct config *config, const char *ns, const char *name, struct repository_name *ret_name)
{
    const struct config_registry *registry = config->default_registry, *named = NULL;
    const char *rest = behind_prefix(config, name, &named);
    if (ns && *ns) {
        registry = config_find_registry(config, ns, strlen(ns));
        if (!registry)
            return -ENOENT;
        if (named == registry)
            name = rest;
    } else if (named) {
        registry = named;
        name = rest;
    }
    if (!repository_is_valid(name))
        return -EINVAL;
    bool is_official = strcmp(registry->name, "docker.io") == 0 && !strchr(name, '/');
    const char *prefix = is_official ? "library/" : "";
    if (strlen(registry->name) + 1 + strlen(prefix) + strlen(name) > LIMIT_NAME)
        return -ENAMETOOLONG;
    struct repository_name found = {.registry = registry};
    (void)stpcpy(stpcpy(found.path, prefix), name);
    *ret_name = found;
    return 0;
}
