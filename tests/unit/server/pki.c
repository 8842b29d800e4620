#include "pki.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void take(struct buf *text, gnutls_datum_t *data)
{
    *text = BUF_INIT(1 << 16);
    ck_assert_int_eq(buf_add(text, data->data, data->size), 0);
    gnutls_free(data->data);
}

void pki_create(struct pki *p, const char *name, const struct pki *issuer, long expires_in_s)
{
    pki_create_for(p, name, issuer, -86400, expires_in_s);
}

void pki_create_for(struct pki *p, const char *name, const struct pki *issuer, long begins_in_s, long expires_in_s)
{
    static unsigned char serial;
    const time_t now = time(NULL);
    gnutls_datum_t data;
    serial++;
    ck_assert_int_eq(gnutls_x509_privkey_init(&p->key), 0);
    ck_assert_int_eq(
        gnutls_x509_privkey_generate(p->key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
    gnutls_x509_crt_t c;
    ck_assert_int_eq(gnutls_x509_crt_init(&c), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_version(c, 3), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_serial(c, &serial, 1), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_key(c, p->key), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_activation_time(c, now + begins_in_s), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_expiration_time(c, now + expires_in_s), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name)), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name), 0), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_basic_constraints(c, issuer == NULL, -1), 0);
    ck_assert_int_eq(
        gnutls_x509_crt_sign2(c, issuer ? issuer->certificate : c, issuer ? issuer->key : p->key, GNUTLS_DIG_SHA256, 0),
        0);
    p->certificate = c;
    ck_assert_int_eq(gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_PEM, &data), 0);
    take(&p->certificate_text, &data);
    ck_assert_int_eq(gnutls_x509_privkey_export2(p->key, GNUTLS_X509_FMT_PEM, &data), 0);
    take(&p->key_text, &data);
}

void pki_finish(struct pki *p)
{
    gnutls_x509_crt_deinit(p->certificate);
    gnutls_x509_privkey_deinit(p->key);
    buf_finish(&p->certificate_text);
    buf_finish(&p->key_text);
}

void pki_write(const struct buf *text, const char *file)
{
    AUTO_FCLOSE FILE *f = fopen(file, "w");
    ck_assert(f && (text->len == 0 || fwrite(text->data, text->len, 1, f) == 1));
}
