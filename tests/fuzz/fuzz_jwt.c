/* A first line that is a token, and behind it a file of keys: what is not signed by one of them has a flaw. */
#include "server/jwt.h"
#include "server/jwt_keys.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jwt_terms terms = {.issuer = "issuer", .audience = "mirror", .now_ms = 1000000000};
    static const uint8_t zeros[64];
    AUTO_BUF struct buf why = BUF_INIT(1024);
    AUTO(auto_jwt_keys_unref) struct jwt_keys *keys = NULL;
    AUTO(auto_jwt_destroy) struct jwt *token = NULL;
    const uint8_t *end = memchr(data, '\n', size);
    size_t len = end ? (size_t)(end - data) : size, rest = end ? size - len - 1 : 0;
    AUTO_FREE char *text = strndup((const char *)data, len);

    int r = jwt_keys_create(end ? (const char *)end + 1 : "", rest, &keys, &why);
    assert(r == 0 ? keys && jwt_keys_count(keys) > 0 && jwt_keys_count(keys) <= JWT_KEYS_MAX
                  : r == -ENOMEM || (r == -EINVAL && why.len > 0));
    if (keys) {
        assert(!jwt_keys_verify(keys, "none", NULL, "", 0, zeros, 0));
        assert(!jwt_keys_verify(keys, "HS256", NULL, zeros, sizeof(zeros), zeros, 32));
    }
    if (!text || jwt_create(text, &token) < 0)
        return 0;
    assert(strlen(jwt_subject(token)) < JWT_MAX);
    (void)jwt_grants(token, "repository", "library/alpha", "pull");
    if (keys)
        (void)jwt_find_flaw(token, keys, &terms);
    return 0;
}
