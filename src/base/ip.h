/*
 * Which addresses are private: the machine's own, of private networks, or of special purpose. A public upstream may not
 * lead to one; who configures one means what is near. IPv6 addresses that carry an IPv4 address (mapped, NAT64, 6to4)
 * are judged by what they carry. And which bits of theirs are the same. Pure functions; any thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* Everything that is not plainly public is private: unknown families, and what cannot be read. */
bool ip_is_private(const struct sockaddr *address);
/* `host` is the text of an IP address, IPv6 without brackets. */
bool ip_is_literal(const char *host);
/* A literal that is private, or "localhost" and names below it. Other names are not: they are judged by the address
 * that is connected to. */
bool ip_host_is_private(const char *host);
/* Whether two addresses, of as many bytes as that takes, begin with the same bits. */
bool ip_has_prefix(const void *ip, const void *prefix, unsigned bits);
