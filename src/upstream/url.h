/*
 * URLs that may be asked: http and https, without a user. libcurl's own parser reads them, so that what is checked here
 * is what is asked later. Pure functions; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

struct url {
    char *text;      /* whole and normalised, without a fragment */
    char *host;      /* lower case, IPv6 without brackets */
    char *authority; /* for messages: the host, and the port where it is not the scheme's own */
    char *origin;    /* "https://host:443": who may see what is meant for whom */
    bool https;
};

/* -EPROTO: malformed, or too long. -EPERM: another scheme, or a user in it. -ENOMEM. */
MUST_CHECK int url_parse(const char *text, struct url *ret_url);
/* A Location, absolute or relative to `base`. Errors as above; from an https base to http: -EPERM. */
MUST_CHECK int url_redirect(const struct url *base, const char *location, struct url *ret_url);
void url_finish(struct url *u);
bool url_same_origin(const struct url *a, const struct url *b);
