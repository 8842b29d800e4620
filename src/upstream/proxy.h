/*
 * Whether a request goes through a proxy, by libcurl's rules: NO_PROXY is a list of names (and all below them),
 * addresses and networks, or `*`. It is decided here and not by libcurl, because the answer is needed before a socket
 * is opened: the address of a proxy is the administrator's word, that of an upstream is not. Any thread.
 */
#pragma once

#include <stdbool.h>

/* `host` as in struct url. `no_proxy` may be NULL. */
bool proxy_is_bypassed(const char *no_proxy, const char *host);
/* The environment's proxy for a scheme, or NULL: http_proxy, https_proxy and HTTPS_PROXY, all_proxy and ALL_PROXY. */
const char *proxy_from_environment(bool https);
const char *proxy_no_proxy_from_environment(void);
