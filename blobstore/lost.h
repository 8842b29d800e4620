/*
 * Blobs that went because they were damaged: the last of them, so that somebody may fetch them again. In memory alone.
 * Under a lock of its own, a leaf.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

#include <pthread.h>
#include <stddef.h>

#define LOST_MAX 256

struct lost {
    pthread_mutex_t lock;
    /* under lock: a ring */
    struct digest digests[LOST_MAX];
    size_t first, count;
};

void lost_init(struct lost *l);
void lost_finish(struct lost *l);
/* In the place of the one that is there for the longest time, where it is full. */
void lost_add(struct lost *l, const struct digest *digest);
/* -ENOENT: none is there. */
MUST_CHECK int lost_take(struct lost *l, struct digest *ret_digest);
