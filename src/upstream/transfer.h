/*
 * A transfer: one HTTP request and its answer, the only user of libcurl's easy handles. It follows no redirect and
 * answers no challenge; it refuses addresses that its source may not lead to, and it has deadlines. Upstream's thread
 * only.
 *
 *   phase       waits for                      ends by
 *   CREATED     loop_start()                   transfer_destroy()
 *   QUEUED      a free connection of its host  LIMIT_QUEUE_MS
 *   CONNECTING  name, TCP, proxy, TLS          connect_timeout (libcurl's clock)
 *   ASKED       the header                     header_timeout
 *   ANSWERED    the body                       stall_timeout between bytes; LIMIT_SMALL_BODY_MS in all but for blobs
 *   ENDED       (owner->done is called, then it is freed)
 */
#pragma once

#include "base/auto.h"
#include "upstream/header.h"
#include "upstream/list.h"
#include "upstream/source.h"
#include "upstream/timers.h"
#include "upstream/url.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct transfer;

/* `header` and `body` run inside libcurl: they start and end no transfer. */
struct transfer_owner {
    /* The header is complete. 0: the body is wanted. TRANSFER_IGNORE: what comes is read and thrown away, and how it
     * ends does not matter. Negative: the transfer ends with it. */
    int (*header)(void *arg, struct transfer *t);
    int (*body)(void *arg, const void *data, size_t len); /* other than 0 ends the transfer with it */
    void (*done)(void *arg, struct transfer *t);          /* last; t->error and t->message say how */
};
#define TRANSFER_IGNORE 1

enum transfer_phase { TRANSFER_CREATED, TRANSFER_QUEUED, TRANSFER_CONNECTING, TRANSFER_ASKED, TRANSFER_ANSWERED };

struct transfer_request {
    struct source *source;
    const struct url *url;
    const char *authorization; /* value of the field, or NULL */
    const char *accept;        /* likewise */
    const char *hop;           /* not NULL: to a sibling, who answers from what it has; who asks */
    uint64_t offset, length;   /* Range, where one of them is not 0; a length of 0: to the end */
    bool head;
    bool bulk;  /* a blob's: it may last, and others go before it */
    bool spare; /* does not wait for a connection, and leaves half of them to others */
};

#define TRANSFER_MESSAGE 256

struct transfer {
    /* set at create */
    struct loop *loop;
    struct source *source;
    struct url url;
    const struct transfer_owner *owner;
    void *arg;
    bool head, bulk, spare;
    bool proxied; /* by source_proxy() */
    bool guarded; /* must not reach a private address */
    CURL *easy;
    struct curl_slist *fields;

    /* as it goes */
    enum transfer_phase phase;
    struct list link;  /* in its host's queue, or among the active */
    struct host *host; /* where it has or awaits a connection */
    struct timer timer;
    int64_t last_byte, body_end;
    unsigned dialled, refused; /* addresses */
    struct header header;
    bool ignore; /* the body */
    size_t ignored;
    struct buf remark; /* the beginning of an ignored body, of a 429: it says which limit that is */

    int error;
    char message[TRANSFER_MESSAGE];
    char curl_error[CURL_ERROR_SIZE];
};

/* Copies what it needs. -ENOMEM. -EPERM: the URL's host is a private address and may not be. */
MUST_CHECK int transfer_create(struct loop *loop, const struct transfer_request *request,
                               const struct transfer_owner *owner, void *arg, struct transfer **ret_transfer);
void transfer_destroy(struct transfer *t); /* accepts NULL; not while the loop has it */
/* Records why it fails, in words that have the host in front; the first failure counts. Returns `error`. */
int transfer_fail(struct transfer *t, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Translates how libcurl ended it. */
void transfer_conclude(struct transfer *t, CURLcode code);
