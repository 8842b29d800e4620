/* The hash of a flight: a worker reads the file behind the bytes that come, and verifies the digest at the end. */
#include "mirror/flight_state.h"

#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define HASH_BLOCK (256 * KIB)
/* A worker hashes so much, then others have their turn. */
#define HASH_TURN (8 * MIB)

/* Wrong bytes: whether another attempt may bring the right ones. */
static bool may_restart(struct flight *f)
{
    if (f->inherited > 0)
        return true; /* what an earlier flight has left may be anything, after a crash: nobody is blamed for it */
    if (!f->has_others)
        return false;
    flights_shun(f->all, &f->digest, f->givers);
    f->shunned |= f->givers;
    bool may = !f->tried_others;
    f->tried_others = true;
    return may;
}

static void verify(struct flight *f)
{
    struct digest actual;
    int r = digest_end(f->hash, &actual);
    if (r < 0)
        flight_fail(f, r, NULL, "the bytes could not be hashed", BLOBSTORE_KEEP);
    else if (digest_equal(&actual, &f->digest))
        flight_land(f);
    else if (may_restart(f))
        flight_restart(f);
    else
        flight_fail(f, -EBADMSG, NULL, "the upstream's bytes do not have the digest they should have",
                    BLOBSTORE_DISCARD);
}

/* Reads the file behind the bytes that come. 0, or why it cannot go on. */
static int hash_turn(struct flight *f, uint64_t target)
{
    AUTO_FREE char *block = malloc(HASH_BLOCK);
    if (!block)
        return -ENOMEM;
    uint64_t stop = target - f->hashed > HASH_TURN ? f->hashed + HASH_TURN : target;
    while (f->hashed < stop) {
        size_t want = stop - f->hashed < HASH_BLOCK ? (size_t)(stop - f->hashed) : HASH_BLOCK;
        ssize_t n = pread(f->fd, block, want, (off_t)f->hashed);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        int r = digest_update(f->hash, block, (size_t)n);
        if (r < 0)
            return r;
        f->hashed += (uint64_t)n;
    }
    return 0;
}

void flight_hash(struct work *work)
{
    struct flight *f = (struct flight *)work;
    gate_lock(&f->gate);
    uint64_t target = f->written;
    gate_unlock(&f->gate);
    int r = workers_are_stopping(f->all->needs.workers) ? -ECANCELED : hash_turn(f, target);
    gate_lock(&f->gate);
    bool more = r == 0 && f->hashed < f->written;
    bool is_mine = f->complete && !more; /* no job is under way: the flight has come to this worker */
    f->hash_posted = more;
    if (r < 0)
        f->broken = r;
    gate_unlock(&f->gate);
    if (more)
        workers_post(f->all->needs.workers, &f->work);
    else if (is_mine && r == 0)
        verify(f);
    else if (is_mine)
        flight_fail(f, r, NULL, r == -ECANCELED ? "shutting down" : "the partial file could not be read",
                    BLOBSTORE_KEEP);
    if (!more)
        flight_unref(f);
}

bool flight_wants_hash(struct flight *f)
{
    if (f->hash_posted || f->broken)
        return false;
    f->hash_posted = true;
    f->refs++;
    return true;
}
