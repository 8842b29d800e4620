/*
 * The sweep: takes away records that are of no use any more because the document they speak of is not stored: its media
 * type, what it refers to, where it was seen, tags that stand for it. In small steps; of the keeper's thread, which
 * alone stores documents and writes those records. Links to private repositories stay: they may be of content that is
 * on its way.
 */
#pragma once

#include "blobstore/blobstore.h"

struct sweep {
    size_t table; /* which of them; zeroes at the start */
    struct blobstore_cursor at;
    uint64_t deleted;
};

/* 1: there is more to do. 0: it has been through all tables. Waits for the disk where something goes. */
MUST_CHECK int sweep_step(struct blobstore *store, struct sweep *s);
