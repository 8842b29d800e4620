/*
 * One request, from its request line to the last byte of its answer: libmicrohttpd's callbacks, the waiting for the
 * mirror, the line in the log.
 *
 * Life of a request, and who calls what; all of it on the worker thread of its connection but for the wake-up:
 *
 *   request_create()     the request line is read; the target is kept as it came
 *   request_handle()     1st call, headers are read: the route. A refused upload is answered here, unread
 *                        then, where there is a body: it is thrown away
 *                        last call: mirror_open() and mirror_step(); where that waits the connection is suspended, and
 *                        the call comes again after the wake-up
 *   body's reader        pulls the answer's bytes; may suspend as well (body.c)
 *   request_completed()  answer sent, or connection lost, at any of these points: mirror_close() forgets a waiter, so
 *                        that no wake-up comes for a connection that is gone
 *
 * Lock order: libmicrohttpd's lock of a response (held around the reader) → the mirror's → libmicrohttpd's of its
 * connection lists (taken by suspend and resume). Hence no response is made, queued or destroyed in suspend() or
 * wake().
 */
#pragma once

#include "server/auth.h"
#include "server/door.h"
#include "server/forwarded.h"
#include "server/multipart.h"
#include "server/pull_secrets.h"
#include "server/route.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct mirror_session;

#define REQUEST_ID_TEXT 20

struct request {
    /* set at create */
    struct door *door;
    struct MHD_Connection *connection;
    struct client *connected; /* the other end of the connection; NULL: no memory was left for it */
    uint32_t id;
    int64_t began_us;

    /* set when the headers are there */
    bool parsed;
    struct forwarded forwarded; /* who the client is, behind proxies too */
    int retry_after_s;          /* > 0: too many requests came from there */
    bool secure;                /* its way to here begins with TLS */
    enum route_verdict verdict;
    struct route route;
    const char *path, *method; /* libmicrohttpd's, for the log */
    size_t discarded;          /* bytes of a request body */

    struct identity identity;
    bool identified;
    bool admitted;                  /* by the rules */
    struct pull_secret secret;      /* a client's own account at the upstream */
    struct mirror_session *session; /* NULL until the mirror was asked */
    bool waited;                    /* was suspended since there was progress */

    /* set with the answer */
    int status;        /* 0: none yet */
    bool refused;      /* by libmicrohttpd itself: it was no request */
    uint64_t length;   /* bytes of the answer's body */
    const char *range; /* header that was answered, for the log */
    int64_t first_us;  /* when there was an answer, and of a flight's the first bytes; 0: not yet */

    /* the body's reader */
    bool streamed;  /* there is one, it counts among door->streams */
    bool cut;       /* it had to end short */
    uint64_t first; /* offset of a single range */
    int packed_fd;  /* where the body is read as it is stored: r->length bytes */
    uint64_t handed_out;
    struct multipart *parts;
    bool may_wait; /* of parts: the bytes may not be there yet */
    bool at_once;  /* all bytes are there, and sent over TLS */

    char target[];
};

/* MHD_OPTION_URI_LOG_CALLBACK: makes the request; NULL without memory. `cls` is the door. */
void *request_create(void *cls, const char *target, struct MHD_Connection *connection);
/* The access handler; `context` is the request. */
enum MHD_Result request_handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                               const char *version, const char *upload, size_t *upload_len, void **context);
/* MHD_OPTION_NOTIFY_COMPLETED: logs and destroys. */
void request_completed(void *cls, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why);

/* A request header's value, or NULL. */
const char *request_header(const struct request *r, const char *name);
/* Whether the client has closed its side while we were not looking: libmicrohttpd does not look while suspended. */
bool request_abandoned(const struct request *r);
/* `text` has REQUEST_ID_TEXT bytes. Returns it. */
const char *request_id(const struct request *r, char *text);
