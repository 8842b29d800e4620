/* A method and a target, a line each. */
#include "server/route.h"

#include "base/digest.h"
#include "base/limits.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s, size_t max)
{
    if (!s)
        return;
    assert(*s && strlen(s) <= max);
    for (; *s; s++)
        assert((unsigned char)*s >= 0x20 && *s != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *method = malloc(size + 1);
    struct route r;
    struct digest d;
    assert(method);
    memcpy(method, data, size);
    method[size] = '\0';
    char *target = strchr(method, '\n');
    if (target) {
        *target++ = '\0';
        enum route_verdict v = route_parse(method, target, &r);
        assert((v == ROUTE_OK) == (route_refusal(v) == NULL));
        assert(v != ROUTE_OK || r.kind != ROUTE_OTHER);
        assert(v != ROUTE_OK || r.kind == ROUTE_PING || r.name);
        assert(route_kind_name(r.kind) && r.page_size >= -1);
        check_text(r.name, LIMIT_NAME);
        check_text(r.reference, DIGEST_TEXT_MAX);
        check_text(r.ns, LIMIT_NAME);
        check_text(r.last, size);
        check_text(r.artifact_type, size);
        if (v == ROUTE_OK && (r.kind == ROUTE_BLOB || r.kind == ROUTE_REFERRERS))
            assert(digest_parse(r.reference, strlen(r.reference), &d) == 0);
    }
    free(method);
    return 0;
}
