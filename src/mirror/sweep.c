#include "mirror/sweep.h"

#include "mirror/digest_key.h"
#include "mirror/place_key.h"
#include "mirror/pointers.h"

#include <errno.h>
#include <string.h>

#define STEP 256

/* --- whose record it is ------------------------------------------------------------------------------------- */

static int of_digest(const void *key, size_t key_len, const void *value, size_t value_len, struct digest *ret_digest)
{
    size_t len;
    (void)value;
    (void)value_len;
    return digest_key_decode(key, key_len, ret_digest, &len);
}

static int of_namer(const void *key, size_t key_len, const void *value, size_t value_len, struct digest *ret_digest)
{
    struct digest named;
    size_t len;
    int r = digest_key_decode(key, key_len, &named, &len);
    return r == 0 ? of_digest((const char *)key + len, key_len - len, value, value_len, ret_digest) : r;
}

/* Others of that table begin with NUL, or have nothing behind the name. */
static int of_place(const void *key, size_t key_len, const void *value, size_t value_len, struct digest *ret_digest)
{
    struct place_key place;
    (void)value;
    (void)value_len;
    return place_key_read_sighting(key, key_len, &place, ret_digest) ? 0 : -EINVAL;
}

static int of_pointer(const void *key, size_t key_len, const void *value, size_t value_len, struct digest *ret_digest)
{
    struct pointer pointer;
    (void)key;
    (void)key_len;
    int r = pointer_decode(value, value_len, &pointer);
    if (r == 0)
        *ret_digest = pointer.digest;
    return r;
}

static const struct {
    enum blobstore_table table;
    int (*whose)(const void *key, size_t key_len, const void *value, size_t value_len, struct digest *ret_digest);
} tables[] = {
    {BLOBSTORE_MANIFESTS, of_digest},
    {BLOBSTORE_REFERENCES, of_namer},
    {BLOBSTORE_REPOSITORIES, of_place},
    {BLOBSTORE_TAGS, of_pointer},
};

/* --- steps -------------------------------------------------------------------------------------------------- */

struct swept {
    uint8_t key[BLOBSTORE_KEY_MAX];
    size_t key_len;
    struct digest digest;
};

struct step {
    struct sweep *sweep;
    size_t count;
    struct swept found[STEP];
};

static int take(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct step *step = arg;
    struct swept *found = &step->found[step->count];
    if (tables[step->sweep->table].whose(key, key_len, value, value_len, &found->digest) == 0) {
        memcpy(found->key, key, key_len);
        found->key_len = key_len;
        step->count++;
    }
    return 0;
}

/* Of what was found, that of which the document is not stored. */
static int delete_orphans(struct blobstore *store, struct step *step)
{
    struct blobstore_batch *batch = NULL;
    struct blobstore_info info;
    int r = 0;
    for (size_t i = 0; r == 0 && i < step->count; i++) {
        const struct swept *found = &step->found[i];
        if (blobstore_stat(store, &found->digest, &info) != -ENOENT)
            continue;
        if (!batch)
            r = blobstore_batch_begin(store, &batch);
        if (r < 0)
            break;
        blobstore_batch_delete(batch, tables[step->sweep->table].table, found->key, found->key_len);
        step->sweep->deleted++;
    }
    return batch ? blobstore_batch_commit(batch) : r;
}

int sweep_step(struct blobstore *store, struct sweep *s)
{
    if (s->table == ARRAY_SIZE(tables))
        return 0;
    AUTO_FREE struct step *step = malloc(sizeof(*step));
    if (!step)
        return -ENOMEM;
    step->sweep = s;
    step->count = 0;
    int more = blobstore_record_step(store, tables[s->table].table, &s->at, STEP, take, step);
    int r = more < 0 ? more : delete_orphans(store, step);
    if (r < 0)
        return r;
    if (!more) {
        s->table++;
        s->at.key_len = 0;
    }
    return 1;
}
