/* A request's names: `ns` and <name>, a line each. What they mean must be a name again, and stay what it is. */
#include "mirror/reference.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char hub[] = "docker.io", hub_alias[] = "registry-1.docker.io", other[] = "registry.example:5000";
static char *aliases[] = {hub_alias, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_registry registries[] = {{.name = hub, .aliases = {.items = aliases, .count = 1}},
                                                  {.name = other}};
    const struct config config = {
        .registries = registries, .registry_count = ARRAY_SIZE(registries), .default_registry = &registries[0]};
    AUTO_FREE char *text = malloc(size + 1);
    struct repository_name name, again;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *line = strchr(text, '\n');
    const char *ns = line ? text : NULL, *path = line ? line + 1 : text;
    if (line)
        *line = '\0';
    (void)tag_is_valid(path);
    if (repository_resolve(&config, ns, path, &name) < 0)
        return 0;
    assert(repository_is_valid(name.path));
    assert(!strstr(name.path, "..") && !strchr(name.path, '%') && name.path[0] != '/');
    assert(strlen(name.registry->name) + 1 + strlen(name.path) <= LIMIT_NAME);
    /* Written out in full, it means the same. */
    char full[2 * LIMIT_NAME + 2];
    (void)stpcpy(stpcpy(stpcpy(full, name.registry->name), "/"), name.path);
    assert(repository_resolve(&config, NULL, full, &again) == 0);
    assert(again.registry == name.registry && strcmp(again.path, name.path) == 0);
    return 0;
}
