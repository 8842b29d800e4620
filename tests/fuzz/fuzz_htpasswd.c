/* A file of users: each that is taken has a hash that is one. */
#include "server/htpasswd.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF struct buf why = BUF_INIT(1024);
    struct htpasswd *h;
    int r = htpasswd_parse((const char *)data, size, &h, &why);
    if (r < 0) {
        assert(why.len > 0 || r == -ENOMEM);
        return 0;
    }
    const char *hash = htpasswd_find(h, "jo");
    assert(!hash || (*hash && strlen(hash) < HTPASSWD_HASH_MAX && htpasswd_count(h) > 0));
    htpasswd_destroy(h);
    return 0;
}
