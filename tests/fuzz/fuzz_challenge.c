/* WWW-Authenticate, all fields of an answer, one a line. What comes out is whole, and its copy is the same. */
#include "upstream/challenge.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct challenge c, copy;
    if (challenge_parse((const char *)data, size, &c) < 0)
        return 0;
    if (c.scheme == CHALLENGE_BEARER && (!c.realm || !c.realm[0]))
        abort();
    if (c.scheme == CHALLENGE_NONE && (c.realm || c.service || c.scope || c.error))
        abort();
    if (challenge_copy(&c, &copy) == 0) {
        if (!same(c.realm, copy.realm) || !same(c.service, copy.service) || !same(c.scope, copy.scope) ||
            !same(c.error, copy.error))
            abort();
        challenge_finish(&copy);
    }
    challenge_finish(&c);
    return 0;
}
