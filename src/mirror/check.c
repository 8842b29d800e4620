#include "mirror/check.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct digest digest;
    int fd;
    uint64_t size, hashed; /* and given: the next that is wanted */
    int64_t began;
    enum check_verdict verdict;
    struct digest_state *hash;
    uint64_t held_from;          /* where what is held back begins */
    char held[FLIGHT_HOLD_BACK]; /* the very bytes that were hashed */
};

int check_open(const struct digest *digest, int fd, uint64_t size, struct check **ret_check)
{
    struct check *c = malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->digest = *digest;
    c->fd = fd;
    c->size = size;
    c->hashed = 0;
    c->began = clock_real_ms();
    c->verdict = CHECK_OPEN;
    c->held_from = size > FLIGHT_HOLD_BACK ? size - FLIGHT_HOLD_BACK : 0;
    int r = digest_begin(digest->algorithm, &c->hash);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret_check = c;
    return 0;
}

static ssize_t read_at(const struct check *c, uint64_t offset, void *data, size_t len)
{
    ssize_t n;
    do
        n = pread(c->fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n > 0 ? n : -EIO; /* shorter than it was published, or not to be read */
}

/* The next bytes of the file, hashed. */
static ssize_t read_next(struct check *c, void *data, size_t len)
{
    ssize_t n = read_at(c, c->hashed, data, len);
    if (n < 0 || digest_update(c->hash, data, (size_t)n) < 0)
        return -EIO;
    c->hashed += (uint64_t)n;
    return n;
}

/* Everything before it has been hashed: what is held back, and the verdict. */
static bool is_right(struct check *c)
{
    struct digest actual;
    while (c->hashed < c->size)
        if (read_next(c, c->held + (c->hashed - c->held_from), (size_t)(c->size - c->hashed)) < 0)
            return false;
    return digest_end(c->hash, &actual) == 0 && digest_equal(&actual, &c->digest);
}

ssize_t check_read(struct check *c, uint64_t offset, void *data, size_t len)
{
    if (c->verdict == CHECK_OPEN && offset != c->hashed)
        c->verdict = CHECK_LEFT;
    if (c->verdict == CHECK_OPEN && offset < c->held_from) {
        ssize_t n = read_next(c, data, len < c->held_from - offset ? len : (size_t)(c->held_from - offset));
        if (n < 0)
            c->verdict = CHECK_WRONG;
        return n;
    }
    if (c->verdict == CHECK_OPEN)
        c->verdict = is_right(c) ? CHECK_RIGHT : CHECK_WRONG;
    if (c->verdict == CHECK_WRONG)
        return -EIO;
    if (len > c->size - offset)
        len = (size_t)(c->size - offset);
    if (c->verdict == CHECK_LEFT || offset < c->held_from)
        return read_at(c, offset, data, len);
    memcpy(data, c->held + (offset - c->held_from), len);
    return (ssize_t)len;
}

enum check_verdict check_finish(struct check *c)
{
    char block[16 * KIB];
    while (c->verdict == CHECK_OPEN && c->hashed < c->held_from)
        (void)!check_read(c, c->hashed, block, sizeof(block)); /* the verdict tells */
    if (c->verdict == CHECK_OPEN)
        c->verdict = is_right(c) ? CHECK_RIGHT : CHECK_WRONG;
    return c->verdict;
}

enum check_verdict check_verdict(const struct check *c)
{
    return c->verdict;
}

int64_t check_began(const struct check *c)
{
    return c->began;
}

void check_close(struct check *c)
{
    if (!c)
        return;
    digest_destroy(c->hash);
    free(c);
}
