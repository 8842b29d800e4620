/* A configuration is either good and whole, or refused with at least one line that says why. */
#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct config *c)
{
    assert(c->default_registry && c->server.listen.count > 0 && c->store.path && c->registry_count > 0);
    for (size_t i = 0; i < c->registry_count; i++) {
        const struct config_registry *r = &c->registries[i];
        assert(config_find_registry(c, r->name, strlen(r->name)) == r);
        for (size_t k = 0; k < r->aliases.count; k++)
            assert(config_find_registry(c, r->aliases.items[k], strlen(r->aliases.items[k])) == r);
        assert(config_tag_ttl_ms(c, r, "library/alpine", "latest") >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF struct buf errors = BUF_INIT(1 << 20), keys = BUF_INIT(1 << 16);
    AUTO(auto_config_destroy) struct config *c = NULL, *defaults = NULL;
    int r = config_parse((const char *)data, size, "fuzz", &c, &errors);
    assert(r == 0 || r == -EINVAL);
    assert((r == 0) == (c != NULL) && (r == 0) == (errors.len == 0));
    if (r < 0) {
        assert(strncmp(errors.data, "fuzz:", 5) == 0 && errors.data[errors.len - 1] == '\n');
        return 0;
    }
    use(c);
    r = config_default(&defaults);
    if (r == 0)
        r = config_restart_keys(defaults, c, &keys);
    assert(r == 0);
    return 0;
}
