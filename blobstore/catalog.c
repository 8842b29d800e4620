#include "blobstore/catalog.h"

#include <errno.h>
#include <string.h>

#define WITNESS_KEY "witness"
#define TOTALS_KEY "totals"

int catalog_find(struct index_txn *t, const struct digest *digest, struct blob_record *ret_record)
{
    uint8_t key[BLOB_KEY_MAX];
    const void *value;
    size_t len;
    int r = index_find(t, INDEX_BLOBS, key, blob_key_encode(digest, key), &value, &len);
    return r == 0 ? blob_record_decode(value, len, ret_record) : r;
}

int64_t catalog_used_at(struct index_txn *t, const struct digest *digest)
{
    uint8_t key[BLOB_KEY_MAX];
    const void *value;
    size_t len;
    int64_t used_at = 0;
    if (index_find(t, INDEX_ACCESS, key, blob_key_encode(digest, key), &value, &len) < 0 ||
        access_record_decode(value, len, &used_at) < 0)
        return 0;
    return used_at;
}

static struct totals_record sum_of(struct index_txn *t)
{
    struct totals_record sum = {0};
    const void *value;
    size_t len;
    if (index_find(t, INDEX_META, TOTALS_KEY, strlen(TOTALS_KEY), &value, &len) == 0)
        (void)!totals_record_decode(value, len, &sum); /* one that cannot be read counts as absent */
    return sum;
}

void catalog_set_sum(struct index_txn *t, const struct totals_record *sum)
{
    uint8_t value[TOTALS_RECORD_SIZE];
    totals_record_encode(sum, value);
    index_put(t, INDEX_META, TOTALS_KEY, strlen(TOTALS_KEY), value, sizeof(value));
}

/* The sum without what the record of this blob has in it. */
static struct totals_record sum_without(struct index_txn *t, const struct digest *digest)
{
    struct totals_record sum = sum_of(t);
    struct blob_record record;
    if (catalog_find(t, digest, &record) == 0) {
        sum.bytes -= record.file.size;
        sum.content -= record.size;
    }
    return sum;
}

void catalog_put(struct index_txn *t, const struct digest *digest, const struct blob_record *record)
{
    uint8_t key[BLOB_KEY_MAX], value[BLOB_RECORD_SIZE];
    struct totals_record sum = sum_without(t, digest);
    sum.bytes += record->file.size;
    sum.content += record->size;
    blob_record_encode(record, value);
    index_put(t, INDEX_BLOBS, key, blob_key_encode(digest, key), value, sizeof(value));
    catalog_set_sum(t, &sum);
}

void catalog_delete(struct index_txn *t, const struct digest *digest)
{
    uint8_t key[BLOB_KEY_MAX];
    size_t len = blob_key_encode(digest, key);
    struct totals_record sum = sum_without(t, digest);
    index_delete(t, INDEX_BLOBS, key, len);
    index_delete(t, INDEX_ACCESS, key, len);
    catalog_set_sum(t, &sum);
}

void catalog_put_used_at(struct index_txn *t, const struct digest *digest, int64_t used_at)
{
    uint8_t key[BLOB_KEY_MAX], value[ACCESS_RECORD_SIZE];
    access_record_encode(used_at, value);
    index_put(t, INDEX_ACCESS, key, blob_key_encode(digest, key), value, sizeof(value));
}

int catalog_totals(struct index_txn *t, struct catalog_totals *ret_totals)
{
    uint64_t blobs;
    int r = index_count(t, INDEX_BLOBS, &blobs);
    if (r < 0)
        return r;
    *ret_totals = (struct catalog_totals){.blobs = blobs, .sum = sum_of(t)};
    return 0;
}

int catalog_witness(struct index_txn *t, struct witness_record *ret_witness)
{
    const void *value;
    size_t len;
    int r = index_find(t, INDEX_META, WITNESS_KEY, strlen(WITNESS_KEY), &value, &len);
    return r == 0 ? witness_record_decode(value, len, ret_witness) : r;
}

void catalog_set_witness(struct index_txn *t, const struct witness_record *witness)
{
    uint8_t value[WITNESS_RECORD_SIZE];
    witness_record_encode(witness, value);
    index_put(t, INDEX_META, WITNESS_KEY, strlen(WITNESS_KEY), value, sizeof(value));
}
