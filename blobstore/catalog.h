/*
 * What the index says of blobs: their records, the totals that go with them, and of which store they are. Within a
 * transaction of the caller's (index.h); a put or delete keeps the totals right, and its errors stick to the
 * transaction.
 */
#pragma once

#include "base/digest.h"
#include "blobstore/index.h"
#include "blobstore/records.h"

struct catalog_totals {
    uint64_t blobs;
    struct totals_record sum;
};

/* -ENOENT: no record. -EBADMSG: one that cannot be read. */
MUST_CHECK int catalog_find(struct index_txn *t, const struct digest *digest, struct blob_record *ret_record);
/* 0 where no use was ever written down. */
int64_t catalog_used_at(struct index_txn *t, const struct digest *digest);
void catalog_put(struct index_txn *t, const struct digest *digest, const struct blob_record *record);
/* With its access time. */
void catalog_delete(struct index_txn *t, const struct digest *digest);
void catalog_put_used_at(struct index_txn *t, const struct digest *digest, int64_t used_at);

MUST_CHECK int catalog_totals(struct index_txn *t, struct catalog_totals *ret_totals);
/* After a count of all records; catalog_put() and catalog_delete() go on from there. */
void catalog_set_sum(struct index_txn *t, const struct totals_record *sum);
/* -ENOENT: there is none yet. -EBADMSG: cannot be read. */
MUST_CHECK int catalog_witness(struct index_txn *t, struct witness_record *ret_witness);
void catalog_set_witness(struct index_txn *t, const struct witness_record *witness);
