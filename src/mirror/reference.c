#include "mirror/reference.h"

#include <errno.h>
#include <string.h>

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
