/*
 * Which addresses a public upstream may lead to: none of the machine's own, of private networks, or of special purpose.
 * IPv6 addresses that carry an IPv4 address (mapped, NAT64, 6to4) are judged by what they carry. Pure functions; any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* Everything that is not plainly public is private: unknown families, and what cannot be read. */
bool address_is_private(const struct sockaddr *address);
/* `host` is the text of an IP address, IPv6 without brackets. */
bool address_is_literal(const char *host);
/* A literal that is private, or "localhost" and names below it. Other names are not: they are judged by the address
 * that is connected to. */
bool address_host_is_private(const char *host);
