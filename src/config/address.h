/*
 * Addresses, host names and URLs of the configuration. The checks return NULL, or what is wrong in words. Pure
 * functions; any thread.
 */
#pragma once

#include <stdbool.h>

/* What the server listens on: "127.0.0.1:5000", "[::1]:5000". */
const char *address_check_listen(const char *s);
/* The same, or "unix:" and a path, or nothing behind it. */
const char *address_check_admin(const char *s);
/* A host with or without a port: "docker.io", "registry.example:5000", "10.0.0.1", "[fd00::1]:5000". In lower case, so
 * that one registry has one name. */
const char *address_check_host(const char *s);
/* http or https, a host, a port and a path where wanted; no user, no query. */
const char *address_check_url(const char *s);
/* http, https, socks5 or socks5h; may have a user. */
const char *address_check_proxy(const char *s);
/* An IPv4 or IPv6 address without brackets, or a network: "10.0.0.0/8", "fd00::/8", "192.0.2.1". */
const char *address_check_network(const char *s);

/* Whether the address, as text, is in the network. An IPv4 address may also be written as IPv6 has it
 * (::ffff:192.0.2.1). False where either is not well-formed. */
bool address_is_in(const char *network, const char *address);
/* The host of the URL is private (base/ip.h): who wrote it means what is near. False where `s` is no URL. */
bool address_url_is_private(const char *url);
