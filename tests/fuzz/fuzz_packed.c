/* A packed file: frames and their table. Whatever it is, it is read to its end, from some offset on, or refused. */
#include "blobstore/packed.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#define READS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char bytes[100000];
    atomic_size_t kept = 0;
    struct packed *p = NULL;
    AUTO_CLOSE int fd = memfd_create("packed", MFD_CLOEXEC);
    assert(fd >= 0);
    if (pwrite(fd, data, size, 0) != (ssize_t)size || packed_open(fd, &kept, &p) < 0)
        return 0;
    uint64_t all = packed_size(p), at = all / 3;
    assert(all > 0);
    for (unsigned i = 0; i < READS && at < all; i++) {
        uint64_t left = all - at;
        ssize_t n = packed_read(p, at, bytes, left < sizeof(bytes) ? (size_t)left : sizeof(bytes));
        assert(n == -EBADMSG || (n > 0 && (uint64_t)n <= left));
        if (n < 0)
            break;
        at += (uint64_t)n;
    }
    packed_close(p);
    assert(kept == 0);
    return 0;
}
