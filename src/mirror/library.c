#include "mirror/library.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mirror/damage.h"
#include "mirror/digest_key.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 1

/* With more children a document has a commit for itself: 64 of those that name as much as a manifest can are more than
 * goes into a batch, which would fail for everything in it. */
#define CHILDREN_TOGETHER 1000

/* Sizes that are too fresh to be in the index, or are known of blobs without a manifest; one place a hash. */
#define HINTS 4096 /* a power of two */

struct hint {
    struct digest digest;
    uint64_t size;
};

struct library {
    /* set at create */
    struct blobstore *store;
    struct keeper *keeper;
    struct shelf *shelf;
    pthread_mutex_t lock;
    struct hint hints[HINTS]; /* under lock */
};

int library_create(struct blobstore *store, struct keeper *keeper, struct library **ret_library)
{
    struct library *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->store = store;
    l->keeper = keeper;
    (void)pthread_mutex_init(&l->lock, NULL);
    int r = shelf_create(LIMIT_SHELF, &l->shelf);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret_library = l;
    return 0;
}

void library_destroy(struct library *l)
{
    if (!l)
        return;
    shelf_destroy(l->shelf);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* MANIFESTS: version u8, media type */
static int stored_type(struct library *l, const struct digest *digest, struct buf *value)
{
    uint8_t key[DIGEST_KEY_MAX];
    int r = blobstore_record_get(l->store, BLOBSTORE_MANIFESTS, key, digest_key_encode(digest, key), value);
    if (r < 0)
        return r;
    return value->len > 1 && value->data[0] == RECORD_VERSION ? 0 : -ENOENT;
}

/* -ENOENT: not what it should be, which has been said. */
static int read_checked(struct library *l, const struct digest *digest, struct blobstore_content *content, char *data,
                        size_t len)
{
    struct digest actual;
    int r = blobstore_content_read_all(content, data, len);
    if (r == 0)
        r = digest_of(digest->algorithm, data, len, &actual);
    if (r == 0 && !digest_equal(&actual, digest))
        r = -EBADMSG;
    if (r != -EBADMSG)
        return r;
    damage_report(l->keeper, l->store, digest, blobstore_content_fd(content), "request");
    return -ENOENT;
}

static void keep(struct library *l, struct document *d, const struct manifest *m, const char *registry,
                 const char *repository);

static int load(struct library *l, const struct digest *digest, struct document **ret_document)
{
    struct blobstore_info info;
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    AUTO_BUF struct buf type = BUF_INIT(4 * KIB);
    bool has_record = stored_type(l, digest, &type) == 0;
    int r = blobstore_get(l->store, digest, &info, &content);
    if (r == -EBADMSG)
        damage_note(digest, "request");
    if (r < 0)
        return r == -EBADMSG ? -ENOENT : r;
    if (info.size > (has_record ? LIMIT_DOCUMENT : LIMIT_MANIFEST))
        return -ENOENT;
    AUTO_FREE char *data = malloc(info.size + 1);
    if (!data)
        return -ENOMEM;
    r = read_checked(l, digest, content, data, info.size);
    if (r < 0)
        return r;
    if (has_record)
        return document_create(digest, type.data + 1, data, info.size, ret_document);
    /* The records were lost with an index: the bytes say what they were. */
    AUTO(auto_manifest_destroy) struct manifest *m = NULL;
    r = manifest_parse(data, info.size, &m);
    if (r < 0)
        return r == -ENOMEM ? r : -ENOENT;
    r = document_create(digest, m->media_type, data, info.size, ret_document);
    if (r == 0)
        keep(l, *ret_document, m, NULL, NULL);
    return r;
}

int library_get(struct library *l, const struct digest *digest, struct document **ret_document)
{
    struct document *d = shelf_get(l->shelf, digest);
    if (!d) {
        int r = load(l, digest, &d);
        if (r < 0)
            return r;
        shelf_put(l->shelf, d);
    }
    blobstore_touch(l->store, digest);
    *ret_document = d;
    return 0;
}

int library_peek(struct library *l, const struct digest *digest, struct document **ret_document)
{
    struct document *d = shelf_get(l->shelf, digest);
    int r = d ? 0 : load(l, digest, &d);
    if (r == 0)
        *ret_document = d;
    return r;
}

bool library_has(struct library *l, const struct digest *digest)
{
    AUTO(auto_document_unref) struct document *d = shelf_get(l->shelf, digest);
    struct blobstore_info info;
    return d || blobstore_stat(l->store, digest, &info) == 0;
}

void library_forget(struct library *l, const struct digest *digest)
{
    shelf_drop(l->shelf, digest);
}

/* --- storing ------------------------------------------------------------------------------------------------ */

struct addition {
    struct keeping keeping;
    struct library *library;
    struct document *document;
    struct blobstore_writer *writer;
    struct manifest_child *children;
    size_t child_count;
    size_t place_len; /* of registry NUL repository NUL */
    char place[];
};

static int write_document(struct addition *a)
{
    uint64_t length;
    int r = blobstore_writer_open(a->library->store, &a->document->digest, &a->writer, &length);
    if (r == 0 && length > 0) { /* left by a flight that was cut: it is shorter to write it again */
        blobstore_writer_close(TAKE_PTR(a->writer), BLOBSTORE_DISCARD);
        r = blobstore_writer_open(a->library->store, &a->document->digest, &a->writer, &length);
    }
    if (r == 0)
        r = blobstore_writer_append(a->writer, a->document->data, a->document->len);
    return r;
}

static void put_records(struct addition *a, struct blobstore_batch *batch)
{
    const struct document *d = a->document;
    uint8_t key[LIMIT_NAME + 8 + 2 * DIGEST_KEY_MAX], value[1 + MEDIA_TYPE_MAX] = {RECORD_VERSION};
    size_t own = digest_key_encode(&d->digest, key), type_len = strlen(d->media_type);
    memcpy(value + 1, d->media_type, type_len);
    blobstore_batch_put(batch, BLOBSTORE_MANIFESTS, key, own, value, 1 + type_len);

    /* REPOSITORIES: registry NUL repository NUL digest → version u8, seen u64 */
    uint64_t now = htobe64((uint64_t)clock_real_ms());
    memcpy(value + 1, &now, sizeof(now));
    memcpy(key, a->place, a->place_len);
    if (a->place_len)
        blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, key,
                            a->place_len + digest_key_encode(&d->digest, key + a->place_len), value, 1 + sizeof(now));

    /* REFERENCES: digest referred to, digest of the manifest → version u8, is_manifest u8, size u64 */
    for (size_t i = 0; i < a->child_count; i++) {
        const struct manifest_child *c = &a->children[i];
        uint64_t size = htobe64(c->size);
        size_t len = digest_key_encode(&c->digest, key);
        len += digest_key_encode(&d->digest, key + len);
        value[1] = c->is_manifest;
        memcpy(value + 2, &size, sizeof(size));
        blobstore_batch_put(batch, BLOBSTORE_REFERENCES, key, len, value, 2 + sizeof(size));
    }
}

static void addition_add(struct keeping *k, struct blobstore_batch *batch)
{
    struct addition *a = (struct addition *)k;
    struct blobstore_info info;
    int r = blobstore_stat(a->library->store, &a->document->digest, &info);
    if (r == -ENOENT) {
        r = write_document(a);
        if (r == 0)
            r = blobstore_batch_publish(batch, a->writer);
        if (r == 0)
            metrics_add(METRIC_STORED_BYTES, (int64_t)a->document->len, LABELS(a->place)); /* its registry */
    }
    if (r == 0 || r == -EBUSY) { /* busy: somebody else stores the same bytes now */
        put_records(a, batch);
    } else {
        char text[DIGEST_TEXT_MAX];
        log_event(LOG_ERROR, "not_stored", LOG_S("digest", digest_format(&a->document->digest, text)),
                  LOG_S("error", strerrorname_np(-r)));
    }
}

static void addition_done(struct keeping *k, int result)
{
    struct addition *a = (struct addition *)k;
    (void)result; /* the keeper has said so; the document is served from memory and asked for again */
    blobstore_writer_close(a->writer, BLOBSTORE_DISCARD);
    document_unref(a->document);
    free(a->children);
    free(a);
}

void library_note_size(struct library *l, const struct digest *digest, uint64_t size)
{
    struct hint *h = &l->hints[digest_hash(digest) & (HINTS - 1)];
    (void)pthread_mutex_lock(&l->lock);
    *h = (struct hint){.digest = *digest, .size = size};
    (void)pthread_mutex_unlock(&l->lock);
}

/* Posts it to the keeper; `registry` and `repository` NULL: not known where it is from. Without memory it is not kept
 * at all: with a part of its references, what the others name would seem to be used by nobody. */
static void keep(struct library *l, struct document *d, const struct manifest *m, const char *registry,
                 const char *repository)
{
    size_t registry_len = registry ? strlen(registry) + 1 : 0, repository_len = repository ? strlen(repository) + 1 : 0;
    size_t child_count = m ? m->child_count : 0;
    AUTO_FREE struct addition *a = calloc(1, sizeof(*a) + registry_len + repository_len);
    if (!a || (child_count > 0 && !(a->children = calloc(child_count, sizeof(*a->children)))))
        return;
    a->keeping = (struct keeping){.add = addition_add, .done = addition_done};
    a->library = l;
    a->document = document_ref(d);
    a->place_len = registry_len + repository_len;
    if (registry && repository) {
        memcpy(a->place, registry, registry_len);
        memcpy(a->place + registry_len, repository, repository_len);
    }
    if (child_count > 0)
        memcpy(a->children, m->children, child_count * sizeof(*a->children));
    a->child_count = child_count;
    a->keeping.is_alone = child_count > CHILDREN_TOGETHER;
    keeper_post(l->keeper, &TAKE_PTR(a)->keeping);
}

void library_add(struct library *l, struct document *d, const struct manifest *m, const char *registry,
                 const char *repository)
{
    shelf_put(l->shelf, d);
    for (size_t i = 0; m && i < m->child_count; i++)
        library_note_size(l, &m->children[i].digest, m->children[i].size);
    keep(l, d, m, registry, repository);
}

static int take_size(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    const uint8_t *v = value;
    (void)key;
    (void)key_len;
    if (value_len != 10 || v[0] != RECORD_VERSION)
        return 0;
    memcpy(arg, v + 2, sizeof(uint64_t));
    return 1;
}

int library_size_hint(struct library *l, const struct digest *digest, uint64_t *ret_size)
{
    const struct hint *h = &l->hints[digest_hash(digest) & (HINTS - 1)];
    (void)pthread_mutex_lock(&l->lock);
    bool is_known = digest_equal(&h->digest, digest);
    if (is_known)
        *ret_size = h->size;
    (void)pthread_mutex_unlock(&l->lock);
    if (is_known)
        return 0;
    uint8_t key[DIGEST_KEY_MAX];
    uint64_t size;
    int r =
        blobstore_record_scan(l->store, BLOBSTORE_REFERENCES, key, digest_key_encode(digest, key), take_size, &size);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret_size = be64toh(size);
    return 0;
}
