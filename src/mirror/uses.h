/*
 * Uses: which blobs somebody is being served now. What is in use is not evicted; and where it went all the same (it was
 * damaged, or the reader came at the same moment), the room that its file takes until the last reader has gone is
 * known. Any thread.
 */
#pragma once

#include "base/auto.h"
#include "base/digest.h"

struct uses;

/* One reader's, embedded in his session; zeroes before its first use. */
struct use {
    struct digest digest; /* DIGEST_NONE: not entered */
    /* under the lock of uses */
    struct use *next;
    bool is_gone;  /* the blob is not stored any more */
    uint64_t held; /* bytes of it that this reader answers for: one of them does */
};

MUST_CHECK int uses_create(struct uses **ret_uses);
void uses_destroy(struct uses *u); /* nobody is entered; accepts NULL */
/* Before the blob is opened. */
void uses_enter(struct uses *u, struct use *use, const struct digest *digest);
/* After it is closed. Nothing, where it was not entered. */
void uses_leave(struct uses *u, struct use *use);
bool uses_has(struct uses *u, const struct digest *digest);
/* The blob has been removed from the store; those who have it open hold its room. */
void uses_note_removed(struct uses *u, const struct digest *digest, uint64_t size);
/* Bytes of blobs that are not stored any more and take room all the same. */
uint64_t uses_held(struct uses *u);
