/*
 * Hash tables of elements that bring their own links: uthash, as this project has it. An element has a member
 * `UT_hash_handle hh`; a table is a pointer to its oldest element, NULL where there is none; from there `hh.next` leads
 * through all of them in the order in which they were added. HASH_FIND() and HASH_ADD_KEYPTR() look at bytes.
 *
 * Nothing is fatal: what could not be added for want of memory is in no table, as TABLE_HAS() tells. Who renews an
 * element by HASH_DELETE() and HASH_ADD_KEYPTR() asks again. Bounded by who uses it; not thread-safe.
 */
#pragma once

#include "base/hash.h"

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)hash_bytes(key, len))
#include <uthash.h>

/* Of an element that was added: whether it is there. */
#define TABLE_HAS(element) ((element)->hh.tbl != NULL)
