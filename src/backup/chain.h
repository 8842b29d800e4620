/*
 * The files of a chain as one: the whole backup, then the incremental ones, each the base of the next. What the last
 * one lists is what was stored; the contents are in any of them. One thread.
 */
#pragma once

#include "backup/unpacker.h"

enum chain_state { CHAIN_UNSEEN, CHAIN_WRONG, CHAIN_GOOD };

struct chain {
    const struct backup_chain *in;
    struct buf *problems;
    struct unpacker *last;       /* its head has been read */
    uint8_t *states;             /* of the items of its list: the best copy so far */
    bool is_whole;               /* there is a whole backup among them */
    struct backup_report report; /* of its records: what the visitor of the head has counted */
};

/* Whether the files belong together, in this order; `whole`: and nothing is missing before the first. */
MUST_CHECK int chain_check(const struct backup_chain *in, bool whole, struct buf *problems);
/* Reads the head of the last file; records go to the visitor. `c` is zeroed, and to be finished whatever is returned.
 */
MUST_CHECK int chain_begin(struct chain *c, const struct backup_chain *in, const struct unpacker_visitor *visitor,
                           struct buf *problems);
/* Reads the blobs of all files, the first file first. */
MUST_CHECK int chain_read_blobs(struct chain *c, const struct unpacker_visitor *visitor);
/* The item of the last file's list; NULL: not in it, so of no use. */
const struct backup_item *chain_find(const struct chain *c, const struct digest *digest);
enum chain_state chain_state(const struct chain *c, const struct backup_item *item);
/* A copy has been seen. `item`: of the last file's list, or NULL. */
void chain_note(struct chain *c, const struct backup_item *item, enum chain_state state);
/* Counts what was not seen. */
void chain_conclude(struct chain *c);
void chain_finish(struct chain *c);
