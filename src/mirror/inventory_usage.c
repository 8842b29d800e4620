/*
 * Who takes the room. Two walks: through the records of where manifests were seen, and then through what manifests
 * name, which is in the order of what is named: so all who have a blob are together.
 */
#include "mirror/digest_key.h"
#include "mirror/inventory.h"
#include "mirror/place_key.h"
#include "mirror/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 1024
#define SIGHTINGS_MAX (1U << 20)

/* A manifest was seen in a repository. */
struct sighting {
    struct digest digest;
    uint32_t repository;
};

struct accounts {
    struct mirror *m;
    struct inventory_usage *repositories;
    size_t repository_count, repository_cap;
    struct sighting *sightings; /* sorted by digest after the first walk */
    size_t count, cap;
    struct inventory_usage_sum sum;

    /* of the second walk: the blob that is looked at, and who has it */
    struct digest blob;
    uint32_t owners[256];
    size_t owner_count;
};

static void accounts_destroy(struct accounts *a)
{
    if (!a)
        return;
    free(a->repositories);
    free(a->sightings);
    free(a);
}
AUTO_DEFINE(struct accounts, accounts_destroy);

static int grow(void *array, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return 0;
    size_t wanted = *cap ? 2 * *cap : 256;
    void *bigger = reallocarray(*(void **)array, wanted, size);
    if (!bigger)
        return -ENOMEM;
    *(void **)array = bigger;
    *cap = wanted;
    return 0;
}

/* ------------------------------------------------------------------ the first walk */

/* Records of one repository are together. */
static int enter_repository(struct accounts *a, const char *registry, const char *repository)
{
    char name[sizeof(a->repositories->repository)];
    (void)snprintf(name, sizeof(name), "%s/%s", registry, repository);
    if (a->repository_count > 0 && strcmp(a->repositories[a->repository_count - 1].repository, name) == 0)
        return 0;
    int r = grow(&a->repositories, &a->repository_cap, a->repository_count, sizeof(*a->repositories));
    if (r < 0)
        return r;
    struct inventory_usage *u = &a->repositories[a->repository_count++];
    *u = (struct inventory_usage){0};
    memcpy(u->repository, name, sizeof(name));
    return 0;
}

static int take_sighting(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct accounts *a = arg;
    struct place_key place;
    struct digest digest;
    (void)value;
    (void)value_len;
    if (!place_key_read_sighting(key, key_len, &place, &digest))
        return 0;
    if (a->count == SIGHTINGS_MAX)
        return -EFBIG;
    int r = enter_repository(a, place.registry, place.repository);
    if (r == 0)
        r = grow(&a->sightings, &a->cap, a->count, sizeof(*a->sightings));
    if (r == 0)
        a->sightings[a->count++] = (struct sighting){digest, (uint32_t)a->repository_count - 1};
    return r;
}

static int take_sightings(struct accounts *a)
{
    struct blobstore_cursor at = {.key_len = 0};
    int r;
    do
        r = blobstore_record_step(a->m->store, BLOBSTORE_REPOSITORIES, &at, STEP, take_sighting, a);
    while (r > 0);
    return r;
}

static int compare_digests(const struct digest *a, const struct digest *b)
{
    return a->algorithm != b->algorithm ? (a->algorithm > b->algorithm) - (a->algorithm < b->algorithm)
                                        : memcmp(a->raw, b->raw, sizeof(a->raw));
}

static int compare_sightings(const void *a, const void *b)
{
    return compare_digests(&((const struct sighting *)a)->digest, &((const struct sighting *)b)->digest);
}

/* ------------------------------------------------------------------ who has a blob */

static void add_owner(struct accounts *a, uint32_t repository)
{
    for (size_t i = 0; i < a->owner_count; i++)
        if (a->owners[i] == repository)
            return;
    if (a->owner_count < sizeof(a->owners) / sizeof(a->owners[0]))
        a->owners[a->owner_count++] = repository;
}

/* The first sighting of the digest, or `count`. */
static size_t find_sighting(const struct accounts *a, const struct digest *digest)
{
    size_t low = 0, high = a->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_digests(&a->sightings[middle].digest, digest) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_owners(struct accounts *a, const struct digest *manifest)
{
    for (size_t i = find_sighting(a, manifest); i < a->count && digest_equal(&a->sightings[i].digest, manifest); i++)
        add_owner(a, a->sightings[i].repository);
}

/* Books the blob that was looked at, outside of a transaction. */
static void book(struct accounts *a, const struct digest *digest)
{
    struct blobstore_info info;
    if (a->owner_count == 0 || blobstore_stat(a->m->store, digest, &info) < 0)
        return;
    for (size_t i = 0; i < a->owner_count; i++)
        *(a->owner_count == 1 ? &a->repositories[a->owners[i]].own : &a->repositories[a->owners[i]].shared) +=
            info.file_size;
    if (a->owner_count > 1)
        a->sum.shared += info.file_size;
    a->sum.unnamed -= info.file_size;
}

static void book_manifests(struct accounts *a)
{
    for (size_t i = 0; i < a->count;) {
        const struct digest *digest = &a->sightings[i].digest;
        struct blobstore_info info;
        bool is_stored = blobstore_stat(a->m->store, digest, &info) == 0;
        a->owner_count = 0;
        for (; i < a->count && digest_equal(&a->sightings[i].digest, digest); i++) {
            add_owner(a, a->sightings[i].repository);
            a->repositories[a->sightings[i].repository].manifests += is_stored;
        }
        book(a, digest);
    }
}

/* ------------------------------------------------------------------ the second walk */

struct names {
    struct blobstore_cursor at;
    size_t count;
    struct {
        struct digest blob, manifest;
    } pairs[STEP];
};

static int take_pair(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct names *n = arg;
    size_t first, second;
    (void)value;
    (void)value_len;
    if (digest_key_decode(key, key_len, &n->pairs[n->count].blob, &first) == 0 &&
        digest_key_decode((const uint8_t *)key + first, key_len - first, &n->pairs[n->count].manifest, &second) == 0)
        n->count++;
    return 0;
}

static void end_blob(struct accounts *a)
{
    size_t i = find_sighting(a, &a->blob);
    bool is_manifest = i < a->count && digest_equal(&a->sightings[i].digest, &a->blob);
    if (!is_manifest) /* those have been booked */
        book(a, &a->blob);
    a->owner_count = 0;
}

static int book_blobs(struct accounts *a)
{
    AUTO_FREE struct names *n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    int r;
    a->owner_count = 0;
    a->blob = (struct digest){0};
    do {
        n->count = 0;
        r = blobstore_record_step(a->m->store, BLOBSTORE_REFERENCES, &n->at, STEP, take_pair, n);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n->count; i++) {
            struct blobstore_info info;
            if (!digest_equal(&n->pairs[i].blob, &a->blob)) {
                end_blob(a);
                a->blob = n->pairs[i].blob;
            }
            if (blobstore_stat(a->m->store, &n->pairs[i].manifest, &info) == 0)
                add_owners(a, &n->pairs[i].manifest);
        }
    } while (r > 0);
    end_blob(a);
    return 0;
}

/* ------------------------------------------------------------------ the account */

static int compare_usage(const void *a, const void *b)
{
    const struct inventory_usage *x = a, *y = b;
    if (x->own != y->own)
        return (x->own < y->own) - (x->own > y->own);
    return strcmp(x->repository, y->repository);
}

int inventory_usage(struct mirror *m, void (*each)(void *arg, const struct inventory_usage *usage), void *arg,
                    struct inventory_usage_sum *ret_sum)
{
    AUTO(auto_accounts_destroy) struct accounts *a = calloc(1, sizeof(*a));
    struct blobstore_totals totals;
    if (!a)
        return -ENOMEM;
    a->m = m;
    int r = blobstore_totals(m->store, &totals);
    if (r == 0)
        r = take_sightings(a);
    if (r < 0)
        return r;
    a->sum = (struct inventory_usage_sum){.bytes = totals.bytes, .unnamed = totals.bytes};
    if (a->count > 0)
        qsort(a->sightings, a->count, sizeof(*a->sightings), compare_sightings);
    book_manifests(a);
    r = book_blobs(a);
    if (r < 0)
        return r;
    if (a->sum.unnamed > totals.bytes) /* something came while we were counting */
        a->sum.unnamed = 0;
    if (a->repository_count > 0)
        qsort(a->repositories, a->repository_count, sizeof(*a->repositories), compare_usage);
    for (size_t i = 0; i < a->repository_count; i++)
        if (a->repositories[i].manifests > 0)
            each(arg, &a->repositories[i]);
    *ret_sum = a->sum;
    return 0;
}
