/*
 * Who a client is whom proxies have brought here (X-Forwarded-For, X-Forwarded-Proto): read from the end, where the
 * nearest proxy has written, and believed as far as those are trusted. Pure; any thread.
 */
#pragma once

#include "config/config.h"

#include <arpa/inet.h>
#include <stdbool.h>

#define FORWARDED_MAX 32 /* addresses that are looked at */

struct forwarded {
    char address[INET6_ADDRSTRLEN]; /* the client's: the last that is no trusted proxy's; `peer` where nobody says */
    bool trusted;                   /* `peer` is a trusted proxy */
    bool secure;                    /* and says that the client came to it over TLS */
};

/* `peer` is the other end's address; the headers may be NULL. Several fields of one name are joined by commas before.
 */
void forwarded_read(const struct config_list *proxies, const char *peer, const char *forwarded_for, const char *proto,
                    struct forwarded *ret_forwarded);
