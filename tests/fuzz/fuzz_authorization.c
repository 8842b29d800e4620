/* The value of an Authorization field. */
#include "server/authorization.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct authorization a;
    char *value = calloc(1, size + 1);
    if (!value)
        return 0;
    memcpy(value, data, size);
    if (authorization_parse(value, &a) == 0) {
        if (a.kind == AUTHORIZATION_BASIC)
            assert(!strchr(a.user, ':') && (*a.user || *a.password) && !strpbrk(a.password, "\r\n"));
        if (a.kind == AUTHORIZATION_BEARER)
            assert(*a.token && !strpbrk(a.token, " \t"));
        authorization_finish(&a);
    }
    free(value);
    return 0;
}
