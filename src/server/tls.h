/*
 * What TLS needs on the server's side: the certificates, which are read again when their files change, one chosen for
 * each handshake; the authorities of clients. A connection keeps what it began with; what is new is for the next. What
 * is bad in a file leaves what was there: an error in the log, and the metrics say so.
 *
 * tls_reload() is one thread's at a time, the rest any thread's. A peer belongs to its connection.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "config/config.h"
#include "server/tls_pair.h"

struct tls;

/* Of one connection; zeroed before, and not to be moved. */
struct tls_peer {
    struct tls *tls;
    struct tls_pair *pair;
    struct tls_trust *trust;
    char name[TLS_NAME_MAX]; /* common name of the certificate that was shown and is good; or "" */
    int fd;
    /* What is sent now is followed by more at once: the socket may wait for it to fill segments (MSG_MORE). */
    bool has_more;
};

/* Reads everything; on failure `error` has it in words, with the file. `config` must live as long. */
MUST_CHECK int tls_create(const struct config *config, struct tls **ret_tls, struct buf *error);
void tls_destroy(struct tls *t); /* accepts NULL */
/* Looks at the files, and takes over what has changed and is good. */
void tls_reload(struct tls *t);

/* A session whose handshake has not begun; `peer` has what it needs until tls_peer_finish(), which comes when nothing
 * of the session happens any more. */
void tls_begin(struct tls *t, gnutls_session_t session, struct tls_peer *peer);
void tls_peer_finish(struct tls_peer *peer);
/* For libmicrohttpd: the certificate for a session of tls_begin(). */
gnutls_certificate_retrieve_function3 tls_choose;
/* What is spoken, in GnuTLS's words; the configuration's. */
const char *tls_priorities(const struct config *config);

AUTO_DEFINE(struct tls, tls_destroy);
