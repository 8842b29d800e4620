/*
 * A certificate with its key, and the authorities of clients: made from the text of PEM files, whole or not at all,
 * immutable and counted from then on. A connection keeps those with which it began. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/buf.h"
#include "base/digest.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

#define TLS_CHAIN_MAX 16
#define TLS_NAME_MAX 128 /* bytes of a client's name, with the NUL */

struct tls_pair {
    _Atomic unsigned references;
    gnutls_pcert_st chain[TLS_CHAIN_MAX]; /* the server's own first */
    unsigned chain_len;
    gnutls_x509_crt_t own;
    gnutls_privkey_t key;
    int64_t begins_s, expires_s; /* wall clock, since 1970 */
};

/* In words in `why`: -EINVAL where they are not what they should be or do not belong together. */
MUST_CHECK int tls_pair_create(const struct buf *certificate, const struct buf *key, struct tls_pair **ret_pair,
                               struct buf *why);
struct tls_pair *tls_pair_ref(struct tls_pair *p);
void tls_pair_unref(struct tls_pair *p); /* accepts NULL */
/* How well it fits a client: more is better. `name` may be NULL; `algorithms` are of the keys that it can check. */
unsigned tls_pair_fitness(const struct tls_pair *p, const char *name, const gnutls_pk_algorithm_t *algorithms,
                          int count);

struct tls_trust;

MUST_CHECK int tls_trust_create(const struct buf *authorities, struct tls_trust **ret_trust, struct buf *why);
struct tls_trust *tls_trust_ref(struct tls_trust *t);
void tls_trust_unref(struct tls_trust *t); /* accepts NULL */
/* Whether a client's chain leads to one of them, for the purpose; then its common name is put into `name`. */
bool tls_trust_accepts(const struct tls_trust *t, const gnutls_datum_t *chain, unsigned len, char name[TLS_NAME_MAX]);

AUTO_DEFINE(struct tls_pair, tls_pair_unref);
AUTO_DEFINE(struct tls_trust, tls_trust_unref);
