#include "mirror/bundle.h"

#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Before each change's key and value. */
struct change {
    enum blobstore_table table;
    bool is_deletion;
    size_t key_len, value_len;
};

struct bundle {
    struct keeping keeping; /* first, for the keeper */
    struct buf changes;
    int failed;
};

struct bundle *bundle_create(void)
{
    struct bundle *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->changes = BUF_INIT(BUNDLE_MAX);
    return b;
}

void bundle_destroy(struct bundle *b)
{
    if (!b)
        return;
    buf_finish(&b->changes);
    free(b);
}

static void add(struct bundle *b, const struct change *c, const struct buf *key, const struct buf *value)
{
    int r = b->failed;
    if (r == 0)
        r = buf_add(&b->changes, c, sizeof(*c));
    if (r == 0)
        r = buf_add(&b->changes, key->data, key->len);
    if (r == 0 && value)
        r = buf_add(&b->changes, value->data, value->len);
    b->failed = r;
}

void bundle_put(struct bundle *b, enum blobstore_table table, const struct buf *key, const struct buf *value)
{
    const struct change c = {.table = table, .key_len = key->len, .value_len = value->len};
    add(b, &c, key, value);
}

void bundle_delete(struct bundle *b, enum blobstore_table table, const struct buf *key)
{
    const struct change c = {.table = table, .is_deletion = true, .key_len = key->len};
    add(b, &c, key, NULL);
}

static int put_all(void *arg, struct blobstore_batch *batch)
{
    const struct bundle *b = arg;
    for (size_t at = 0; at < b->changes.len;) {
        struct change c;
        memcpy(&c, b->changes.data + at, sizeof(c));
        const char *key = b->changes.data + at + sizeof(c), *value = key + c.key_len;
        if (c.is_deletion)
            blobstore_batch_delete(batch, c.table, key, c.key_len);
        else
            blobstore_batch_put(batch, c.table, key, c.key_len, value, c.value_len);
        at += sizeof(c) + c.key_len + c.value_len;
    }
    return 0;
}

static void bundle_add(struct keeping *k, struct blobstore_batch *batch)
{
    (void)put_all(k, batch);
}

static void bundle_done(struct keeping *k, int result)
{
    (void)result; /* the keeper has said so */
    bundle_destroy((struct bundle *)k);
}

int bundle_post(struct bundle *b, struct keeper *keeper)
{
    int r = b->failed;
    if (r < 0) {
        bundle_destroy(b);
        return r;
    }
    b->keeping = (struct keeping){.add = bundle_add, .done = bundle_done};
    keeper_post(keeper, &b->keeping);
    return 0;
}

int bundle_commit(struct bundle *b, struct keeper *keeper)
{
    int r = b->failed;
    if (r == 0)
        r = keeper_run(keeper, put_all, b);
    bundle_destroy(b);
    return r;
}
