/*
 * A packed file, open for reading: content that is compressed at rest, in frames that know nothing of each other, with
 * a table at its end (seekable.h). A byte costs the frame that it is in.
 *
 * A reader is one thread's at a time. It keeps the frame that it was in last, as long as all readers together keep no
 * more than PACKED_KEPT_MAX; beyond that a frame is unpacked again for each read.
 */
#pragma once

#include "base/auto.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PACKED_KEPT_MAX (32u << 20)

struct packed;

/* `fd` is the caller's and outlives it; `kept` counts the bytes that all readers keep. -EBADMSG: not a packed file, or
 * its table is damaged. */
MUST_CHECK int packed_open(int fd, atomic_size_t *kept, struct packed **ret_packed);
void packed_close(struct packed *p);          /* accepts NULL */
uint64_t packed_size(const struct packed *p); /* of the content */
/* > 0: bytes of the content at `offset` < size, no more than to the end of a frame. -EBADMSG: damaged. */
MUST_CHECK ssize_t packed_read(struct packed *p, uint64_t offset, void *data, size_t len);

AUTO_DEFINE(struct packed, packed_close);
