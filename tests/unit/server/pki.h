/*
 * Certificates for the tests: made in memory, of ECDSA keys, good for a day around now unless it is said otherwise.
 */
#pragma once

#include "base/buf.h"

#include <gnutls/x509.h>

struct pki {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
    struct buf certificate_text, key_text; /* PEM */
};

/* Signed by `issuer`, or by itself. `name` is its common name, and its DNS name too. */
void pki_create(struct pki *p, const char *name, const struct pki *issuer, long expires_in_s);
void pki_create_for(struct pki *p, const char *name, const struct pki *issuer, long begins_in_s, long expires_in_s);
void pki_finish(struct pki *p);
void pki_write(const struct buf *text, const char *file);
