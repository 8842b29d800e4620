/*
 * What a request's names mean: which registry, which repository there, which tag or digest. Pure functions; any thread.
 * OCI distribution-spec, "Registry Proxying" (`ns`); protocol.md §1.1, §3.3, §3.9. Their grammar is
 * base/image_name.h's.
 */
#pragma once

#include "base/image_name.h"
#include "base/limits.h"
#include "config/config.h"

/* "library/alpine" after LIMIT_NAME; the registry's name counts as well, as it does for clients. */
struct repository_name {
    const struct config_registry *registry;
    char path[LIMIT_NAME + 1];
};

/*
 * `ns` (NULL or empty: not given) decides, then a first component of `name` that is a configured registry's name or
 * alias, then the default. A name that begins with the registry that `ns` names as well loses it (BuildKit sends both).
 * A one-part name on docker.io gets "library/". -ENOENT: `ns` is not configured. -EINVAL: not a name. -ENAMETOOLONG.
 */
MUST_CHECK int repository_resolve(const struct config *config, const char *ns, const char *name,
                                  struct repository_name *ret_name);
