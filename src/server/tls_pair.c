#include "server/tls_pair.h"

#include "base/controls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <string.h>

#define CLIENT_CHAIN_MAX 8
#define KEY_ID_MAX 64

struct tls_trust {
    _Atomic unsigned references;
    gnutls_x509_trust_list_t list;
};

/* Of the files' text, and of what is to be said of it. */
static gnutls_datum_t datum_of(const struct buf *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text->data, .size = (unsigned)text->len};
}

static int say(struct buf *why, const char *what, const char *reason)
{
    return buf_addf(why, "%s: %s", what, reason) < 0 ? -ENOMEM : -EINVAL;
}

static int fail(struct buf *why, const char *what, int r)
{
    return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : say(why, what, gnutls_strerror(r));
}

static int check_belongs(const struct tls_pair *p, struct buf *why)
{
    unsigned char of_certificate[KEY_ID_MAX], of_key[KEY_ID_MAX];
    size_t certificate_len = sizeof(of_certificate), key_len = sizeof(of_key);
    gnutls_pubkey_t public_key;
    int r = gnutls_x509_crt_get_key_id(p->own, GNUTLS_KEYID_USE_SHA256, of_certificate, &certificate_len);
    if (r < 0)
        return fail(why, "certificate", r);
    r = gnutls_pubkey_init(&public_key);
    if (r < 0)
        return -ENOMEM;
    r = gnutls_pubkey_import_privkey(public_key, p->key, 0, 0);
    if (r >= 0)
        r = gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len);
    gnutls_pubkey_deinit(public_key);
    if (r < 0)
        return fail(why, "key", r);
    if (certificate_len != key_len || memcmp(of_certificate, of_key, key_len) != 0)
        return say(why, "key", "it is not the certificate's");
    return 0;
}

/* Reads the chain in any order, with the server's own first from then on. */
static int read_chain(struct tls_pair *p, const struct buf *text, struct buf *why)
{
    const gnutls_datum_t data = datum_of(text);
    gnutls_x509_crt_t *list;
    unsigned count;
    int r = gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT);
    if (r < 0)
        return fail(why, "certificate", r);
    r = count > TLS_CHAIN_MAX ? say(why, "certificate", "there are too many in the file") : 0;
    for (unsigned i = 0; r == 0 && i < count; i++) {
        r = gnutls_pcert_import_x509(&p->chain[i], list[i], 0);
        if (r < 0)
            r = fail(why, "certificate", r);
        else
            p->chain_len++;
    }
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 && r == 0)
            p->own = list[i];
        else
            gnutls_x509_crt_deinit(list[i]);
    }
    gnutls_free(list);
    if (r == 0) {
        p->begins_s = gnutls_x509_crt_get_activation_time(p->own);
        p->expires_s = gnutls_x509_crt_get_expiration_time(p->own);
    }
    return r;
}

int tls_pair_create(const struct buf *certificate, const struct buf *key, struct tls_pair **ret_pair, struct buf *why)
{
    AUTO(auto_tls_pair_unref) struct tls_pair *p = calloc(1, sizeof(*p));
    const gnutls_datum_t key_data = datum_of(key);
    if (!p)
        return -ENOMEM;
    p->references = 1;
    int r = read_chain(p, certificate, why);
    if (r < 0)
        return r;
    r = gnutls_privkey_init(&p->key);
    if (r < 0)
        return -ENOMEM;
    r = gnutls_privkey_import_x509_raw(p->key, &key_data, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r < 0)
        return fail(why, "key", r);
    r = check_belongs(p, why);
    if (r == 0)
        *ret_pair = TAKE_PTR(p);
    return r;
}

struct tls_pair *tls_pair_ref(struct tls_pair *p)
{
    p->references++;
    return p;
}

void tls_pair_unref(struct tls_pair *p)
{
    if (!p || --p->references > 0)
        return;
    for (unsigned i = 0; i < p->chain_len; i++)
        gnutls_pcert_deinit(&p->chain[i]);
    if (p->own)
        gnutls_x509_crt_deinit(p->own);
    if (p->key)
        gnutls_privkey_deinit(p->key);
    free(p);
}

unsigned tls_pair_fitness(const struct tls_pair *p, const char *name, const gnutls_pk_algorithm_t *algorithms,
                          int count)
{
    const int own = gnutls_privkey_get_pk_algorithm(p->key, NULL);
    bool usable = count == 0;
    for (int i = 0; !usable && i < count; i++)
        usable = (int)algorithms[i] == own;
    bool named = name && gnutls_x509_crt_check_hostname2(p->own, name, 0);
    return (named ? 2 : 0) + (usable ? 1 : 0);
}

int tls_trust_create(const struct buf *authorities, struct tls_trust **ret_trust, struct buf *why)
{
    AUTO(auto_tls_trust_unref) struct tls_trust *t = calloc(1, sizeof(*t));
    const gnutls_datum_t data = datum_of(authorities);
    if (!t)
        return -ENOMEM;
    t->references = 1;
    if (gnutls_x509_trust_list_init(&t->list, 0) < 0)
        return -ENOMEM;
    int r = gnutls_x509_trust_list_add_trust_mem(t->list, &data, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    if (r < 0)
        return fail(why, "authorities", r);
    if (r == 0)
        return say(why, "authorities", "there is no certificate in the file");
    *ret_trust = TAKE_PTR(t);
    return 0;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t)
{
    t->references++;
    return t;
}

void tls_trust_unref(struct tls_trust *t)
{
    if (!t || --t->references > 0)
        return;
    if (t->list)
        gnutls_x509_trust_list_deinit(t->list, /* all= */ 1);
    free(t);
}

/* Unclear ones, with a control character or none at all, are nobody. */
static void read_name(gnutls_x509_crt_t certificate, char name[TLS_NAME_MAX])
{
    size_t len = TLS_NAME_MAX;
    bool good = gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) >= 0;
    name[good && !has_controls(name, len) ? len : 0] = '\0';
}

bool tls_trust_accepts(const struct tls_trust *t, const gnutls_datum_t *chain, unsigned len, char name[TLS_NAME_MAX])
{
    gnutls_x509_crt_t list[CLIENT_CHAIN_MAX];
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
    };
    unsigned n = 0, status = ~0U;
    bool good = len > 0 && len <= CLIENT_CHAIN_MAX;
    for (; good && n < len; n++) {
        good = gnutls_x509_crt_init(&list[n]) >= 0;
        if (!good)
            break;
        if (gnutls_x509_crt_import(list[n], &chain[n], GNUTLS_X509_FMT_DER) < 0) {
            gnutls_x509_crt_deinit(list[n]);
            good = false;
            break;
        }
    }
    good = good &&
           gnutls_x509_trust_list_verify_crt2(t->list, list, n, &purpose, 1, /* flags= */ 0, &status, NULL) >= 0 &&
           status == 0;
    if (good)
        read_name(list[0], name);
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(list[i]);
    return good;
}
