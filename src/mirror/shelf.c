#include "mirror/shelf.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct shelf {
    size_t max_bytes; /* set at create */
    pthread_mutex_t lock;
    /* under lock */
    size_t bytes;
    struct document *documents; /* the least recently used first */
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

static size_t weight(const struct document *d)
{
    return sizeof(*d) + d->len;
}

static struct document *find(const struct shelf *s, const struct digest *digest)
{
    struct document *d;
    HASH_FIND(hh, s->documents, digest, sizeof(*digest), d);
    return d;
}

/* Off the shelf, and its reference. */
static void take_off(struct shelf *s, struct document *d)
{
    HASH_DEL(s->documents, d);
    s->bytes -= weight(d);
    document_unref(d);
}

/* With a reference, as the newest. */
static void put(struct shelf *s, struct document *d)
{
    HASH_ADD(hh, s->documents, digest, sizeof(d->digest), d);
    if (!TABLE_HAS(d))
        return;
    (void)document_ref(d);
    s->bytes += weight(d);
    while (s->bytes > s->max_bytes)
        take_off(s, s->documents);
}

void shelf_destroy(struct shelf *s)
{
    if (!s)
        return;
    while (s->documents)
        take_off(s, s->documents);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct document *shelf_get(struct shelf *s, const struct digest *digest)
{
    (void)pthread_mutex_lock(&s->lock);
    struct document *d = find(s, digest);
    if (d) {
        (void)document_ref(d);
        take_off(s, d);
        put(s, d);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return d;
}

void shelf_put(struct shelf *s, struct document *d)
{
    if (weight(d) > s->max_bytes / 4)
        return;
    (void)pthread_mutex_lock(&s->lock);
    if (!find(s, &d->digest))
        put(s, d);
    (void)pthread_mutex_unlock(&s->lock);
}

void shelf_drop(struct shelf *s, const struct digest *digest)
{
    (void)pthread_mutex_lock(&s->lock);
    struct document *d = find(s, digest);
    if (d)
        take_off(s, d);
    (void)pthread_mutex_unlock(&s->lock);
}
