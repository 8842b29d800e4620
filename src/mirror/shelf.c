#include "mirror/shelf.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SHELF_BUCKETS 4096 /* a power of two */

struct shelf {
    size_t max_bytes; /* set at create */
    pthread_mutex_t lock;
    /* under lock */
    size_t bytes;
    struct document *newest, *oldest;
    struct document *buckets[SHELF_BUCKETS];
};

int document_create(const struct digest *digest, const char *media_type, const void *data, size_t len,
                    struct document **ret_document)
{
    size_t type_len = strlen(media_type);
    if (type_len >= MEDIA_TYPE_MAX)
        return -EFBIG;
    struct document *d = malloc(sizeof(*d) + len + 1);
    if (!d)
        return -ENOMEM;
    *d = (struct document){.refs = 1, .digest = *digest, .len = len};
    memcpy(d->media_type, media_type, type_len + 1);
    if (len)
        memcpy(d->data, data, len);
    d->data[len] = '\0';
    *ret_document = d;
    return 0;
}

struct document *document_ref(struct document *d)
{
    d->refs++;
    return d;
}

void document_unref(struct document *d)
{
    if (d && --d->refs == 0)
        free(d);
}

int shelf_create(size_t max_bytes, struct shelf **ret_shelf)
{
    struct shelf *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->max_bytes = max_bytes;
    (void)pthread_mutex_init(&s->lock, NULL);
    *ret_shelf = s;
    return 0;
}

static struct document **bucket(struct shelf *s, const struct digest *digest)
{
    return &s->buckets[digest_hash(digest) & (SHELF_BUCKETS - 1)];
}

static void unlink_age(struct shelf *s, struct document *d)
{
    *(d->newer ? &d->newer->older : &s->newest) = d->older;
    *(d->older ? &d->older->newer : &s->oldest) = d->newer;
    d->newer = d->older = NULL;
}

static void link_newest(struct shelf *s, struct document *d)
{
    d->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = d;
    s->newest = d;
}

static size_t weight(const struct document *d)
{
    return sizeof(*d) + d->len;
}

static struct document **find(struct shelf *s, const struct digest *digest)
{
    struct document **at = bucket(s, digest);
    while (*at && !digest_equal(&(*at)->digest, digest))
        at = &(*at)->chain;
    return at;
}

/* Under the lock: off the shelf; the shelf's reference is the caller's then. */
static struct document *take_off(struct shelf *s, struct document **at)
{
    struct document *d = *at;
    *at = d->chain;
    d->chain = NULL;
    unlink_age(s, d);
    s->bytes -= weight(d);
    return d;
}

void shelf_destroy(struct shelf *s)
{
    if (!s)
        return;
    while (s->oldest)
        document_unref(take_off(s, find(s, &s->oldest->digest)));
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct document *shelf_get(struct shelf *s, const struct digest *digest)
{
    (void)pthread_mutex_lock(&s->lock);
    struct document *d = *find(s, digest);
    if (d) {
        (void)document_ref(d);
        if (d != s->newest) {
            unlink_age(s, d);
            link_newest(s, d);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return d;
}

void shelf_put(struct shelf *s, struct document *d)
{
    if (weight(d) > s->max_bytes / 4)
        return;
    (void)pthread_mutex_lock(&s->lock);
    struct document **at = find(s, &d->digest);
    if (!*at) {
        *at = document_ref(d);
        link_newest(s, d);
        s->bytes += weight(d);
        while (s->bytes > s->max_bytes)
            document_unref(take_off(s, find(s, &s->oldest->digest)));
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void shelf_drop(struct shelf *s, const struct digest *digest)
{
    (void)pthread_mutex_lock(&s->lock);
    struct document **at = find(s, digest);
    struct document *d = *at ? take_off(s, at) : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    document_unref(d);
}
