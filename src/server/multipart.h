/*
 * A multipart/byteranges body (RFC 9110 §14.6): its length is known beforehand, its bytes are made when they are read.
 * What stands between the parts is made from the ranges, the parts themselves come from a function of the caller's. One
 * thread at a time.
 */
#pragma once

#include "base/auto.h"
#include "server/range.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MULTIPART_BOUNDARY 32 /* characters */

/* As mirror_read(): > 0 bytes, 0 nothing yet, < 0 an error. */
typedef ssize_t multipart_source(void *arg, uint64_t offset, void *data, size_t len);

struct multipart;

/* Takes over `ranges`, which has two or more; `size` is the whole representation's. content_type must outlive it.
 * -ENOMEM, -EOVERFLOW. */
MUST_CHECK int multipart_create(struct ranges *ranges, uint64_t size, const char *content_type,
                                struct multipart **ret_multipart);
void multipart_destroy(struct multipart *m); /* accepts NULL */
uint64_t multipart_length(const struct multipart *m);
const char *multipart_boundary(const struct multipart *m);
/* Reads at `offset` < length, as much as `len`. Where the source may say "nothing yet", it is asked only when there is
 * nothing else to return: 0 must not come after bytes. Any offset is right; each following on the last is quick. */
MUST_CHECK ssize_t multipart_read(struct multipart *m, uint64_t offset, void *data, size_t len, bool may_wait,
                                  multipart_source *source, void *arg);

AUTO_DEFINE(struct multipart, multipart_destroy);
