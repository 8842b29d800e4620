/*
 * Why a request cannot be served, as its client is told: HTTP status, OCI error code, plain words. The choice of a
 * status is a choice of what the client does next (protocol.md §4.2: 404 and 5xx let a kubelet go on to its next host
 * at once, 429 makes containerd ask five times more). Pure; any thread.
 */
#pragma once

#include "mirror/mirror.h"
#include "mirror/recent.h"

#include <stddef.h>

#define TROUBLE_TEXT_MAX 640

struct trouble {
    int status;
    const char *code;  /* static */
    int retry_after_s; /* -1: none */
    char message[TROUBLE_TEXT_MAX];
};

/* `now`: monotonic ms. `miss`: what the administrator wants to be answered when something cannot be had now. */
void trouble_of_failure(const struct failure *f, enum mirror_object object, const char *registry, int64_t now,
                        enum config_miss_status miss, struct trouble *ret_trouble);
void trouble_of_request(int status, const char *code, const char *message, struct trouble *ret_trouble);
/* The value of a Warning header (RFC 9111 §5.5; protocol.md §3.8): what is served is so old, and why. */
void trouble_warning(const struct failure *f, int64_t age_ms, char *text, size_t len);
