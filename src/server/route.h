/*
 * What a request's method and target mean: pure, knows no registry and no HTTP library. Decodes, splits and checks the
 * syntax of names, tags, digests and parameters (OCI distribution-spec, "Pull"); what they stand for is the mirror's.
 * Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum route_kind { ROUTE_OTHER, ROUTE_PING, ROUTE_MANIFEST, ROUTE_BLOB, ROUTE_TAGS, ROUTE_REFERRERS };

enum route_verdict {
    ROUTE_OK,
    ROUTE_NOT_FOUND,
    ROUTE_BAD_METHOD,
    ROUTE_BAD_TARGET, /* a broken escape, or a control character */
    ROUTE_BAD_NAME,
    ROUTE_BAD_TAG,
    ROUTE_BAD_DIGEST,
    ROUTE_BAD_NAMESPACE,
    ROUTE_BAD_PAGE_SIZE,
    ROUTE_BAD_FRAMING, /* of the request as a whole (server/framing.h) */
};

/* The strings point into the target that was parsed. */
struct route {
    enum route_kind kind;
    bool head;
    const char *name;
    const char *reference; /* tag or digest; NULL for tags and the ping */
    const char *ns;        /* decoded parameters, or NULL */
    const char *last;
    const char *artifact_type;
    int64_t page_size; /* -1 where there is no `n` */
};

/* How a verdict is told to the client. */
struct route_refusal {
    int status;
    const char *code;
    const char *message;
};

/* Takes `target` (path and query as they came) apart in place. ret_route is set whatever the verdict, with what was
 * understood: kind is ROUTE_OTHER where the path is none of ours. */
enum route_verdict route_parse(const char *method, char *target, struct route *ret_route);
const struct route_refusal *route_refusal(enum route_verdict v); /* NULL for ROUTE_OK */
const char *route_kind_name(enum route_kind k);                  /* "manifest", for the log */
