#include "backup/chain.h"

#include <errno.h>
#include <string.h>

static const struct unpacker_visitor nobody;

/* ------------------------------------------------------------------ do they belong together */

static int check_link(const struct unpacker *r, const struct backup_header *before, bool whole)
{
    const struct backup_header *h = unpacker_header(r);
    if (before && (h->is_metadata || before->is_metadata))
        return unpacker_problem(r, NULL, "a backup of metadata stands alone");
    if (!*h->base && before)
        return unpacker_problem(r, NULL, "a whole backup, which comes first or stands alone");
    if (before && strcmp(h->base, before->id) != 0)
        return unpacker_problem(r, NULL, "its base is the backup %s, and the file before it is %s", h->base,
                                before->id);
    if (*h->base && !before && whole)
        return unpacker_problem(r, NULL, "an incremental backup; its base, the backup %s, is missing before it",
                                h->base);
    return 0;
}

int chain_check(const struct backup_chain *in, bool whole, struct buf *problems)
{
    struct backup_header before;
    if (in->count == 0 || in->count > BACKUP_FILES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < in->count; i++) {
        AUTO(auto_unpacker_close) struct unpacker *r = NULL;
        int n = unpacker_open(in->files[i], problems, &r);
        if (n == 0)
            n = check_link(r, i > 0 ? &before : NULL, whole);
        if (n < 0)
            return n;
        before = *unpacker_header(r);
    }
    return 0;
}

/* ------------------------------------------------------------------ reading them */

static int open_head(const char *file, const struct unpacker_visitor *visitor, struct buf *problems,
                     struct unpacker **ret_unpacker)
{
    AUTO(auto_unpacker_close) struct unpacker *r = NULL;
    int n = unpacker_open(file, problems, &r);
    if (n == 0)
        n = unpacker_read_head(r, visitor);
    if (n == 0)
        *ret_unpacker = TAKE_PTR(r);
    return n;
}

int chain_begin(struct chain *c, const struct backup_chain *in, const struct unpacker_visitor *visitor,
                struct buf *problems)
{
    size_t count;
    c->in = in;
    c->problems = problems;
    int r = open_head(in->files[in->count - 1], visitor, problems, &c->last);
    if (r < 0)
        return r;
    (void)unpacker_list(c->last, &count);
    c->states = calloc(count + 1, sizeof(*c->states));
    c->report.header = *unpacker_header(c->last);
    c->is_whole = c->report.header.base[0] == '\0'; /* or the first file is: chain_read_blobs() */
    return c->states ? 0 : -ENOMEM;
}

int chain_read_blobs(struct chain *c, const struct unpacker_visitor *visitor)
{
    int n = 0;
    for (size_t i = 0; n == 0 && i + 1 < c->in->count; i++) {
        AUTO(auto_unpacker_close) struct unpacker *r = NULL;
        n = open_head(c->in->files[i], &nobody, c->problems, &r);
        if (n == 0)
            n = unpacker_read_blobs(r, visitor);
        if (n == 0 && *unpacker_header(r)->base == '\0')
            c->is_whole = true;
    }
    return n == 0 ? unpacker_read_blobs(c->last, visitor) : n;
}

static size_t index_of(const struct chain *c, const struct backup_item *item)
{
    size_t count;
    return (size_t)(item - unpacker_list(c->last, &count));
}

const struct backup_item *chain_find(const struct chain *c, const struct digest *digest)
{
    return unpacker_find(c->last, digest);
}

enum chain_state chain_state(const struct chain *c, const struct backup_item *item)
{
    return (enum chain_state)c->states[index_of(c, item)];
}

void chain_note(struct chain *c, const struct backup_item *item, enum chain_state state)
{
    c->report.wrong += state == CHAIN_WRONG;
    if (!item)
        return;
    uint8_t *known = &c->states[index_of(c, item)];
    if (*known >= (uint8_t)state)
        return;
    *known = (uint8_t)state;
    if (state != CHAIN_GOOD)
        return;
    c->report.blobs++;
    c->report.bytes += item->size;
    const struct backup_progress progress = {.blobs = c->report.blobs,
                                             .bytes = c->report.bytes,
                                             .all_blobs = c->report.header.blobs,
                                             .all_bytes = c->report.header.bytes};
    if (c->in->progress)
        c->in->progress(c->in->arg, &progress);
}

void chain_conclude(struct chain *c)
{
    size_t count;
    const struct backup_item *items = unpacker_list(c->last, &count);
    for (size_t i = 0; i < count; i++)
        if (c->states[i] == CHAIN_UNSEEN && !c->is_whole && !items[i].is_here)
            c->report.elsewhere++;
        else if (c->states[i] == CHAIN_UNSEEN)
            c->report.missing++;
}

void chain_finish(struct chain *c)
{
    unpacker_close(TAKE_PTR(c->last));
    free(TAKE_PTR(c->states));
}

/* ------------------------------------------------------------------ what needs no store */

int backup_read_header(const char *file, struct backup_header *ret_header, struct buf *problems)
{
    AUTO(auto_unpacker_close) struct unpacker *r = NULL;
    int n = unpacker_open(file, problems, &r);
    if (n == 0)
        *ret_header = *unpacker_header(r);
    return n;
}

int backup_fits(const char *file, const char *base, struct buf *problems)
{
    AUTO(auto_unpacker_close) struct unpacker *r = NULL, *b = NULL;
    size_t count;
    int n = open_head(base, &nobody, problems, &b);
    if (n == 0)
        n = open_head(file, &nobody, problems, &r);
    if (n == 0)
        n = check_link(r, unpacker_header(b), /* whole= */ false);
    if (n < 0)
        return n;
    const struct backup_item *items = unpacker_list(r, &count);
    for (size_t i = 0; i < count; i++)
        if (!items[i].is_here && !unpacker_find(b, &items[i].digest))
            return unpacker_problem(r, NULL,
                                    "leaves out contents that its base has not (a clock was set back, or the store was "
                                    "restored since): a whole backup is needed");
    return 0;
}

static int count_record(void *arg, enum blobstore_table table, const struct backup_record *record)
{
    struct chain *c = arg;
    (void)table;
    (void)record;
    c->report.records++;
    return 0;
}

static int note_blob(void *arg, const struct backup_item *item, bool good)
{
    struct chain *c = arg;
    chain_note(c, chain_find(c, &item->digest), good ? CHAIN_GOOD : CHAIN_WRONG);
    return 0;
}

int backup_verify(const struct backup_chain *in, struct backup_report *ret_report, struct buf *problems)
{
    AUTO(chain_finish) struct chain c = {0};
    const struct unpacker_visitor visitor = {.record = count_record, .blob_end = note_blob, .arg = &c};
    int r = chain_check(in, /* whole= */ false, problems);
    if (r == 0)
        r = chain_begin(&c, in, &visitor, problems);
    if (r == 0)
        r = chain_read_blobs(&c, &visitor);
    if (r < 0)
        return r;
    chain_conclude(&c);
    *ret_report = c.report;
    return 0;
}
