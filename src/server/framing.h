/*
 * Whether all who read a request's head agree on where the request ends. libmicrohttpd takes the first of two lengths,
 * knows no other coding than chunked, and takes a name with a blank behind it for one that it does not know. A proxy
 * before us that reads it otherwise would hand on as another client's request what is the rest of this one (RFC 9112
 * §11.2). Any thread; a struct is one request's.
 */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

/* Zeroed, then told of each field. */
struct framing {
    unsigned hosts, lengths, codings;
    bool unclear; /* a name that is none, or a coding that is not chunked */
};

void framing_note(struct framing *f, const char *name, const char *value);
bool framing_is_clear(const struct framing *f);
/* Of a request whose headers are there. */
bool framing_of_is_clear(struct MHD_Connection *connection);
