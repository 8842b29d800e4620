#include "server/verdicts.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define CORNERS 1024 /* a power of two */
#define PLACES 4     /* in each */

struct place {
    struct verdicts_key key;
    int64_t until_ms; /* 0: empty */
    bool value;
};

struct verdicts {
    uint8_t secret[32]; /* set at create */
    pthread_mutex_t lock;
    struct place places[CORNERS][PLACES]; /* under lock */
};

int verdicts_create(struct verdicts **ret_verdicts)
{
    AUTO(auto_verdicts_destroy) struct verdicts *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    (void)pthread_mutex_init(&m->lock, NULL);
    if (getrandom(m->secret, sizeof(m->secret), 0) != (ssize_t)sizeof(m->secret))
        return -EIO;
    *ret_verdicts = TAKE_PTR(m);
    return 0;
}

void verdicts_destroy(struct verdicts *m)
{
    if (!m)
        return;
    (void)pthread_mutex_destroy(&m->lock);
    explicit_bzero(m->secret, sizeof(m->secret));
    free(m);
}

void verdicts_key(const struct verdicts *m, const char *const *texts, size_t count, struct verdicts_key *ret_key)
{
    gnutls_hmac_hd_t hmac;
    /* Without memory a key that nobody else has: what is noted under it is not found again. */
    if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, m->secret, sizeof(m->secret)) < 0) {
        (void)!getrandom(ret_key->bytes, sizeof(ret_key->bytes), 0);
        return;
    }
    for (size_t i = 0; i < count; i++)
        (void)gnutls_hmac(hmac, texts[i], strlen(texts[i]) + 1);
    gnutls_hmac_deinit(hmac, ret_key->bytes);
}

static struct place *corner_of(struct verdicts *m, const struct verdicts_key *key)
{
    uint16_t n;
    memcpy(&n, key->bytes, sizeof(n));
    return m->places[n & (CORNERS - 1)];
}

bool verdicts_recall(struct verdicts *m, const struct verdicts_key *key, int64_t now_ms, bool *ret_value)
{
    bool found = false;
    (void)pthread_mutex_lock(&m->lock);
    const struct place *corner = corner_of(m, key);
    for (size_t i = 0; !found && i < PLACES; i++) {
        if (corner[i].until_ms > now_ms && memcmp(&corner[i].key, key, sizeof(*key)) == 0) {
            *ret_value = corner[i].value;
            found = true;
        }
    }
    (void)pthread_mutex_unlock(&m->lock);
    return found;
}

void verdicts_note(struct verdicts *m, const struct verdicts_key *key, bool value, int64_t until_ms)
{
    (void)pthread_mutex_lock(&m->lock);
    struct place *corner = corner_of(m, key), *at = &corner[0];
    for (size_t i = 0; i < PLACES; i++) {
        if (memcmp(&corner[i].key, key, sizeof(*key)) == 0) {
            at = &corner[i];
            break;
        }
        if (corner[i].until_ms < at->until_ms)
            at = &corner[i];
    }
    *at = (struct place){.key = *key, .until_ms = until_ms, .value = value};
    (void)pthread_mutex_unlock(&m->lock);
}
