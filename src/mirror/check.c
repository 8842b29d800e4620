#include "mirror/check.h"

#include "base/clock.h"
#include "base/limits.h"
#include "blobstore/blobstore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct digest digest;
    struct blobstore_content *content;
    uint64_t size, hashed; /* and given: the next that is wanted */
    int64_t began;
    enum check_verdict verdict;
    struct digest_state *hash;
    uint64_t held_from; /* where what is held back begins */
    char *held;         /* from there on: the very bytes that were hashed; NULL before they are read */
};

int check_open(const struct digest *digest, struct blobstore_content *content, uint64_t size, struct check **ret_check)
{
    struct check *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->digest = *digest;
    c->content = content;
    c->size = size;
    c->began = clock_real_ms();
    c->held_from = size > FLIGHT_HOLD_BACK ? size - FLIGHT_HOLD_BACK : 0;
    int r = digest_begin(digest->algorithm, &c->hash);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret_check = c;
    return 0;
}

/* The next bytes of the content, hashed; else the verdict is set, and the result -EIO. */
static ssize_t read_next(struct check *c, void *data, size_t len)
{
    ssize_t n = blobstore_content_read(c->content, c->hashed, data, len);
    if (n < 0)
        c->verdict = n == -ENOMEM ? CHECK_FAILED : CHECK_WRONG;
    else if (digest_update(c->hash, data, (size_t)n) < 0)
        c->verdict = CHECK_FAILED;
    if (c->verdict != CHECK_OPEN)
        return -EIO;
    c->hashed += (uint64_t)n;
    return n;
}

/* Everything before it has been hashed: reads what is held back, and sets the verdict. */
static void conclude(struct check *c)
{
    struct digest actual;
    c->held = malloc((size_t)(c->size - c->held_from) + 1);
    if (!c->held)
        c->verdict = CHECK_FAILED;
    while (c->verdict == CHECK_OPEN && c->hashed < c->size)
        (void)!read_next(c, c->held + (c->hashed - c->held_from), (size_t)(c->size - c->hashed)); /* it has set it */
    if (c->verdict != CHECK_OPEN)
        return;
    if (digest_end(c->hash, &actual) < 0)
        c->verdict = CHECK_FAILED;
    else
        c->verdict = digest_equal(&actual, &c->digest) ? CHECK_RIGHT : CHECK_WRONG;
}

ssize_t check_read(struct check *c, uint64_t offset, void *data, size_t len)
{
    if (c->verdict == CHECK_OPEN && offset != c->hashed)
        c->verdict = CHECK_LEFT;
    if (c->verdict == CHECK_OPEN && offset < c->held_from)
        return read_next(c, data, len < c->held_from - offset ? len : (size_t)(c->held_from - offset));
    if (c->verdict == CHECK_OPEN)
        conclude(c);
    if (c->verdict == CHECK_WRONG || c->verdict == CHECK_FAILED)
        return -EIO;
    if (len > c->size - offset)
        len = (size_t)(c->size - offset);
    if (c->verdict == CHECK_LEFT || offset < c->held_from) {
        ssize_t n = blobstore_content_read(c->content, offset, data, len);
        if (n == -EBADMSG)
            c->verdict = CHECK_WRONG;
        return n;
    }
    memcpy(data, c->held + (offset - c->held_from), len);
    return (ssize_t)len;
}

enum check_verdict check_finish(struct check *c)
{
    char block[16 * KIB];
    while (c->verdict == CHECK_OPEN && c->hashed < c->held_from)
        (void)!check_read(c, c->hashed, block, sizeof(block)); /* the verdict tells */
    if (c->verdict == CHECK_OPEN)
        conclude(c);
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
    free(c->held);
    free(c);
}
