#include "server/tls.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/file.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define FILE_MAX (1 * MIB)
#define HOST_MAX 256
#define TICKETS_S 3600 /* so long a session can be resumed; GnuTLS changes their keys as often */

/* What one or two files have been made into. */
struct slot {
    const char *file, *key_file; /* key_file is NULL for authorities */
    struct file_mark mark;
    bool bad;
    bool early;              /* what is there is not valid yet, which has been said */
    struct tls_pair *pair;   /* under tls->lock */
    struct tls_trust *trust; /* under tls->lock */
};

struct tls {
    /* set at create */
    bool required;          /* clients must show a certificate */
    gnutls_datum_t tickets; /* from which GnuTLS makes the keys of tickets; it never leaves memory */
    size_t count;

    pthread_mutex_t lock;
    struct slot trust;   /* .file is NULL: no client is asked */
    struct slot pairs[]; /* the first is for all who name none of them */
};

/* ------------------------------------------------------------------ files */

/* Replaces what the slot has; the old one lives on in its connections. */
static void take(struct tls *t, struct slot *s, struct tls_pair *pair, struct tls_trust *trust)
{
    (void)pthread_mutex_lock(&t->lock);
    struct tls_pair *old_pair = s->pair;
    struct tls_trust *old_trust = s->trust;
    s->pair = pair;
    s->trust = trust;
    (void)pthread_mutex_unlock(&t->lock);
    tls_pair_unref(old_pair);
    tls_trust_unref(old_trust);
}

static bool has_expired(const struct tls_pair *p)
{
    return p->expires_s * 1000 < clock_real_ms();
}

/* Its time has not come, and there is a better one until then. */
static bool is_early(const struct tls_pair *p, const struct tls_pair *old)
{
    return p->begins_s * 1000 > clock_real_ms() && !has_expired(old);
}

/* *ret_new: something else than the last time was found, good or bad. What is not valid yet is found again until it is.
 */
static int load(struct tls *t, struct slot *s, bool *ret_new, struct buf *why)
{
    AUTO_BUF struct buf text = BUF_INIT(FILE_MAX);
    AUTO(file_finish_secret) struct buf key = BUF_INIT(FILE_MAX);
    int r = file_read(s->file, &text, why);
    if (r == 0 && s->key_file)
        r = file_read(s->key_file, &key, why);
    *ret_new = file_has_changed(&s->mark, r == 0 ? &text : NULL, &key);
    if (r < 0 || !*ret_new)
        return r;
    AUTO(auto_tls_pair_unref) struct tls_pair *pair = NULL;
    AUTO(auto_tls_trust_unref) struct tls_trust *trust = NULL;
    r = s->key_file ? tls_pair_create(&text, &key, &pair, why) : tls_trust_create(&text, &trust, why);
    /* At the start there is nothing better. */
    bool late = r == 0 && s->pair && pair && has_expired(pair),
         early = r == 0 && s->pair && pair && is_early(pair, s->pair);
    if (late || early)
        r = buf_addf(why, "certificate: it %s", late ? "has expired" : "is not valid yet") < 0 ? -ENOMEM : -EINVAL;
    if (r == 0)
        take(t, s, TAKE_PTR(pair), TAKE_PTR(trust));
    if (r == -ENOMEM || early)
        file_forget(&s->mark);
    *ret_new = !(early && s->early);
    s->early = early;
    return r;
}

static void note_expiry(const struct slot *s)
{
    if (s->pair)
        metrics_set(METRIC_TLS_EXPIRY, s->pair->expires_s * 1000 * CLOCK_SECOND, LABELS(s->file));
}

/* ------------------------------------------------------------------ the store */

int tls_create(const struct config *config, struct tls **ret_tls, struct buf *error)
{
    const size_t count = config->server.tls.certificate_count;
    AUTO(auto_tls_destroy) struct tls *t = calloc(1, sizeof(*t) + count * sizeof(t->pairs[0]));
    if (!t)
        return -ENOMEM;
    (void)pthread_mutex_init(&t->lock, NULL);
    if (gnutls_session_ticket_key_generate(&t->tickets) < 0)
        return -ENOMEM;
    t->required = config->server.tls.client_certificates == CONFIG_CLIENTS_REQUIRED;
    t->trust.file = config->server.tls.client_ca;
    for (; t->count < count; t->count++) {
        t->pairs[t->count].file = config->server.tls.certificates[t->count].certificate;
        t->pairs[t->count].key_file = config->server.tls.certificates[t->count].key;
    }
    for (size_t i = 0; i <= count; i++) {
        struct slot *s = i < count ? &t->pairs[i] : &t->trust;
        AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
        bool is_new;
        int r = s->file ? load(t, s, &is_new, &why) : 0;
        if (r < 0)
            return file_fail(s->file, r, &why, error);
        note_expiry(s);
        if (s->pair && has_expired(s->pair))
            log_event(LOG_ERROR, "tls_expired", LOG_S("certificate", s->file));
    }
    metrics_set(METRIC_TLS_RELOAD_SUCCESS, 1, NO_LABELS);
    *ret_tls = TAKE_PTR(t);
    return 0;
}

void tls_destroy(struct tls *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        tls_pair_unref(t->pairs[i].pair);
    tls_trust_unref(t->trust.trust);
    if (t->tickets.data)
        explicit_bzero(t->tickets.data, t->tickets.size);
    gnutls_free(t->tickets.data);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

static void reload(struct tls *t, struct slot *s)
{
    AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
    bool is_new;
    int r = load(t, s, &is_new, &why);
    if (!is_new)
        return; /* and s->bad is as it was */
    s->bad = r < 0;
    file_log_reload("tls_reload", s->file, r, &why);
    if (r == 0)
        note_expiry(s);
}

void tls_reload(struct tls *t)
{
    bool bad = false;
    for (size_t i = 0; i < t->count; i++) {
        reload(t, &t->pairs[i]);
        bad = bad || t->pairs[i].bad;
    }
    if (t->trust.file)
        reload(t, &t->trust);
    metrics_set(METRIC_TLS_RELOAD_SUCCESS, !bad && !t->trust.bad, NO_LABELS);
}

/* ------------------------------------------------------------------ sessions */

const char *tls_priorities(const struct config *config)
{
    return config->server.tls.min_version == CONFIG_TLS_1_3
               ? "NORMAL:-VERS-ALL:+VERS-TLS1.3:%SERVER_PRECEDENCE"
               : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";
}

/* gnutls_certificate_verify_function: in the handshake, when the client has shown a certificate or said that it has
 * none. */
static int verify(gnutls_session_t session)
{
    struct tls_peer *peer = gnutls_session_get_ptr(session);
    unsigned len = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &len);
    bool good = chain && len > 0 ? tls_trust_accepts(peer->trust, chain, len, peer->name) : !peer->tls->required;
    return good ? 0 : -1;
}

/* gnutls_push_func. A record is a quarter of what the kernel sends at once; pushed one by one, each wakes its reader.
 */
static ssize_t push(gnutls_transport_ptr_t transport, const void *data, size_t len)
{
    const struct tls_peer *peer = transport;
    return send(peer->fd, data, len, MSG_NOSIGNAL | (peer->has_more ? MSG_MORE : 0));
}

void tls_begin(struct tls *t, gnutls_session_t session, struct tls_peer *peer)
{
    static const unsigned char http[] = "http/1.1";
    const gnutls_datum_t protocol = {.data = (unsigned char *)(uintptr_t)http, .size = sizeof(http) - 1};
    peer->tls = t;
    gnutls_session_set_ptr(session, peer);
    peer->fd = gnutls_transport_get_int(session);
    gnutls_transport_set_ptr2(session, gnutls_transport_get_ptr(session), peer);
    gnutls_transport_set_push_function(session, push);
    /* Whoever offers others as well is told that this is the one; without memory he has to know. */
    (void)gnutls_alpn_set_protocols(session, &protocol, 1, 0);
    if (!t->trust.file) {
        /* Where clients show certificates, each of their connections is looked at anew, lest one that has been taken
         * back lives on in a ticket. Without memory there is a whole handshake. */
        (void)gnutls_session_ticket_enable_server(session, &t->tickets);
        gnutls_db_set_cache_expiration(session, TICKETS_S);
        return;
    }
    (void)pthread_mutex_lock(&t->lock);
    peer->trust = tls_trust_ref(t->trust.trust);
    (void)pthread_mutex_unlock(&t->lock);
    gnutls_certificate_server_set_request(session, t->required ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    gnutls_session_set_verify_function(session, verify);
}

void tls_peer_finish(struct tls_peer *peer)
{
    tls_pair_unref(peer->pair);
    tls_trust_unref(peer->trust);
    peer->pair = NULL;
    peer->trust = NULL;
}

int tls_choose(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
               unsigned *certs_len, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_len, gnutls_privkey_t *key,
               unsigned *flags)
{
    struct tls_peer *peer = gnutls_session_get_ptr(session);
    if (!peer) /* there was no memory for it */
        return -1;
    struct tls *t = peer->tls;
    char name[HOST_MAX];
    size_t len = sizeof(name);
    unsigned type;
    bool named = gnutls_server_name_get(session, name, &len, &type, 0) >= 0 && type == GNUTLS_NAME_DNS;

    /* It may be asked several times in a handshake; what it was given has to live. */
    if (!peer->pair) {
        unsigned best = 0;
        (void)pthread_mutex_lock(&t->lock);
        struct tls_pair *chosen = t->pairs[0].pair;
        for (size_t i = 0; i < t->count; i++) {
            unsigned fitness =
                tls_pair_fitness(t->pairs[i].pair, named ? name : NULL, info->pk_algos, info->pk_algos_length);
            if (fitness > best) {
                best = fitness;
                chosen = t->pairs[i].pair;
            }
        }
        peer->pair = tls_pair_ref(chosen);
        (void)pthread_mutex_unlock(&t->lock);
    }
    *certs = peer->pair->chain;
    *certs_len = peer->pair->chain_len;
    *key = peer->pair->key;
    *ocsp = NULL;
    *ocsp_len = 0;
    *flags = 0;
    return 0;
}
