#include "accounts.h"

#include "base/hash.h"
#include "config/config.h"

#include <errno.h>
#include <sys/stat.h>

/* Through links: a mounted Secret changes by a swap of one. */
static uint64_t look(const char *file)
{
    struct stat st;
    if (stat(file, &st) < 0)
        return (uint64_t)errno;
    const int64_t seen[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, (int64_t)st.st_size, st.st_mtim.tv_sec,
                            st.st_mtim.tv_nsec, st.st_ctim.tv_sec,  st.st_ctim.tv_nsec};
    return hash_bytes(seen, sizeof(seen));
}

uint64_t accounts_look(const struct config *config)
{
    uint64_t all[2] = {0, 0}; /* what was found so far, and the next */
    for (size_t i = 0; i < config->registry_count; i++) {
        const struct config_registry *r = &config->registries[i];
        for (size_t k = 0; k < r->source_count; k++) {
            const char *const files[] = {r->sources[k].credentials, r->sources[k].ca_file};
            for (size_t f = 0; f < ARRAY_SIZE(files); f++) {
                if (!files[f])
                    continue;
                all[1] = look(files[f]);
                all[0] = hash_bytes(all, sizeof(all));
            }
        }
    }
    return all[0];
}
