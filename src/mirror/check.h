/*
 * A check: a stored blob that is hashed on its way to a client who reads all of it, from the first byte on, and does
 * not get the last ones before they are known to be right. Who reads it in another way is served without. One thread at
 * a time.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <sys/types.h>

struct blobstore_content;
struct check;

enum check_verdict {
    CHECK_OPEN,   /* it is being read */
    CHECK_RIGHT,  /* read to its end: the bytes have the digest */
    CHECK_WRONG,  /* they do not, or cannot be read: nothing more comes of it */
    CHECK_FAILED, /* there was no memory: nothing more comes of it, and nobody knows */
    CHECK_LEFT,   /* not read from the first byte on: nobody knows */
};

/* `content` is the caller's and stays open. */
MUST_CHECK int check_open(const struct digest *digest, struct blobstore_content *content, uint64_t size,
                          struct check **ret_check);
/* > 0 bytes of the content at `offset` < size; < 0: nothing more comes. */
MUST_CHECK ssize_t check_read(struct check *c, uint64_t offset, void *data, size_t len);
/* Reads on, to the last bytes, which are kept; for files that are small. */
enum check_verdict check_finish(struct check *c);
enum check_verdict check_verdict(const struct check *c);
int64_t check_began(const struct check *c); /* wall clock, ms */
void check_close(struct check *c);          /* accepts NULL */
