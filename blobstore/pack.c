/*
 * Packing: a packed file is made beside the plain one, and takes its place.
 *
 *   step            does                                                        then
 *   the first       looks at some slices of a large file                       → frames, or stays
 *   frames          a few frames: compressed, written, unpacked again, hashed  → ends, behind the last
 *   the last        table, sync, and under `names`: name, directory, record,   → done
 *                   the plain file's name away
 *
 * What is hashed is what comes out of the frames again, so that the plain file is not given up for one that is wrong.
 * Where that has not the digest, nobody knows yet which of the two it is: the blob counts as never verified then.
 * A crash before the record is committed leaves a file without a record beside the plain one; a crash after it leaves
 * the plain one: the next start clears either away (recover.c).
 */
#include "blobstore/frame.h"
#include "blobstore/io.h"
#include "blobstore/seekable.h"
#include "blobstore/store.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BLOCK 4096 /* what a file system gives out: nothing is saved below that */
#define SAMPLES 8
#define WRITE_BACK (8ULL << 20) /* as for a writer */
#define TABLE_MAX (SEEK_FRAMES_MAX * (size_t)SEEK_ENTRY_SIZE)

struct blobstore_packing {
    /* set at begin */
    struct blobstore *store;
    struct digest digest;
    struct blob_record record; /* of the plain file */
    int fd;                    /* open on it */
    int64_t began;             /* wall clock, ms */
    struct frame_compressor *compressor;
    struct digest_state *hash;

    int to;                   /* -1: not begun */
    uint64_t packed;          /* bytes of content that are done with */
    uint64_t written, pushed; /* bytes of the packed file, and how many of them are on their way to the disk */
    struct buf table;         /* entries */
    struct blob_facts facts;  /* of the packed file, once it has its name */
    uint64_t saved;

    char content[FRAME_CONTENT];
    char frame[]; /* frame_bound() */
};

/* ------------------------------------------------------------------ whether it is worth it */

static uint64_t blocks(uint64_t bytes)
{
    return bytes / BLOCK + (bytes % BLOCK > 0);
}

/* An eighth at least, and a block. */
static bool is_worth_it(uint64_t from, uint64_t to)
{
    return to <= from - from / 8 && blocks(to) < blocks(from);
}

bool pack_is_pointless(int fd, uint64_t size)
{
    static const struct {
        uint8_t bytes[6];
        size_t len;
    } magics[] = {
        {{0x1f, 0x8b, 0x08}, 3},                 /* gzip */
        {{0x28, 0xb5, 0x2f, 0xfd}, 4},           /* zstd */
        {{0xfd, '7', 'z', 'X', 'Z', 0x00}, 6},   /* xz */
        {{'B', 'Z', 'h'}, 3},                    /* bzip2 */
        {{0x04, 0x22, 0x4d, 0x18}, 4},           /* lz4 */
        {{'P', 'K', 0x03, 0x04}, 4},             /* zip */
        {{'7', 'z', 0xbc, 0xaf, 0x27, 0x1c}, 6}, /* 7z */
    };
    uint8_t head[6] = {0};
    if (size <= BLOCK)
        return true;
    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return false; /* who tries it finds out */
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if (memcmp(head, magics[i].bytes, magics[i].len) == 0)
            return true;
    return false;
}

int blobstore_next_to_pack(struct blobstore *store, struct digest *ret_digest)
{
    return digest_ring_take(&store->to_pack, ret_digest);
}

/* ------------------------------------------------------------------ begin, close */

int blobstore_pack_begin(struct blobstore *store, const struct digest *digest, int level,
                         struct blobstore_packing **ret_packing)
{
    AUTO(auto_blobstore_pack_close) struct blobstore_packing *p = NULL;
    struct found_blob found;
    int r = store_open_blob(store, digest, &found);
    if (r < 0)
        return r == -EBADMSG ? -ESTALE : r; /* the next get says what it is */
    p = calloc(1, sizeof(*p) + frame_bound(FRAME_CONTENT));
    if (!p) {
        (void)close(found.fd);
        return -ENOMEM;
    }
    p->store = store;
    p->digest = *digest;
    p->record = found.record;
    p->fd = found.fd;
    p->to = -1;
    p->began = clock_real_ms();
    p->table = BUF_INIT(TABLE_MAX);
    if (p->record.form == BLOB_PACKED || p->record.stays_plain)
        return -EALREADY;
    r = frame_compressor_create(level, &p->compressor);
    if (r == 0)
        r = digest_begin(digest->algorithm, &p->hash);
    if (r == 0)
        *ret_packing = TAKE_PTR(p);
    return r;
}

void blobstore_pack_close(struct blobstore_packing *p)
{
    if (!p)
        return;
    if (p->to >= 0) {
        (void)close(p->to);
        (void)place_remove_packing(&p->store->place, &p->digest); /* if it has not got its name */
    }
    (void)close(p->fd);
    frame_compressor_destroy(p->compressor);
    digest_destroy(p->hash);
    buf_finish(&p->table);
    free(p);
}

uint64_t blobstore_pack_saved(const struct blobstore_packing *p)
{
    return p->saved;
}

/* ------------------------------------------------------------------ the steps */

static int write_out(struct blobstore_packing *p, const void *data, size_t len)
{
    int r = io_write(p->to, p->written, data, len);
    if (r < 0)
        return r;
    p->written += len;
    if (p->written - p->pushed >= WRITE_BACK) {
        (void)sync_file_range(p->to, (off_t)p->pushed, (off_t)(p->written - p->pushed), SYNC_FILE_RANGE_WRITE);
        p->pushed = p->written;
    }
    return 0;
}

/* Whether slices of a large file shrink. */
static int sample(struct blobstore_packing *p, bool *ret_worth_it)
{
    uint64_t from = 0, to = 0, stride = p->record.size / SAMPLES;
    if (p->record.size <= BLOBSTORE_PACK_STEP) {
        *ret_worth_it = true; /* it is as quick to do it */
        return 0;
    }
    for (unsigned i = 0; i < SAMPLES; i++) {
        size_t len = 0;
        int r = io_read(p->fd, i * stride, p->content, FRAME_CONTENT / 2);
        if (r == 0)
            r = frame_compress(p->compressor, p->content, FRAME_CONTENT / 2, p->frame, &len);
        if (r < 0)
            return r;
        from += FRAME_CONTENT / 2;
        to += len;
    }
    *ret_worth_it = is_worth_it(from, to);
    return 0;
}

/* The record as it is in the index now, if it still is that of the file that is being packed. */
static int find_same(struct blobstore_packing *p, struct index_txn *t, struct blob_record *ret_record)
{
    struct blob_record record;
    int r = catalog_find(t, &p->digest, &record);
    if (r < 0)
        return r == -ENOENT || r == -EBADMSG ? -ESTALE : r;
    if (record.form != BLOB_PLAIN || !blob_facts_equal(&record.file, &p->record.file))
        return -ESTALE;
    *ret_record = record;
    return 0;
}

typedef void change_fn(const struct blobstore_packing *p, struct blob_record *record);

static int change_record(struct blobstore_packing *p, change_fn *change)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    struct blob_record record;
    int r = index_begin_write(p->store->index, &t);
    if (r == 0)
        r = find_same(p, &t, &record);
    if (r < 0)
        return r;
    change(p, &record);
    catalog_put(&t, &p->digest, &record);
    return index_commit(&t);
}

static void becomes_packed(const struct blobstore_packing *p, struct blob_record *record)
{
    record->form = BLOB_PACKED;
    record->file = p->facts;
    record->verified_at = p->began;
}

static void stays_plain(const struct blobstore_packing *p, struct blob_record *record)
{
    (void)p;
    record->stays_plain = true;
}

static void is_doubted(const struct blobstore_packing *p, struct blob_record *record)
{
    (void)p;
    record->verified_at = 0;
}

static int pack_frame(struct blobstore_packing *p, size_t len)
{
    uint8_t entry[SEEK_ENTRY_SIZE];
    size_t frame_len = 0;
    int r = io_read(p->fd, p->packed, p->content, len);
    if (r == 0)
        r = frame_compress(p->compressor, p->content, len, p->frame, &frame_len);
    if (r == 0)
        r = write_out(p, p->frame, frame_len);
    if (r == 0)
        r = frame_decompress(p->frame, frame_len, p->content, len);
    if (r == 0)
        r = digest_update(p->hash, p->content, len);
    if (r < 0)
        return r;
    seek_entry_encode(&(struct seek_entry){.packed = (uint32_t)frame_len, .content = (uint32_t)len}, entry);
    r = buf_add(&p->table, entry, sizeof(entry));
    if (r == 0)
        p->packed += len;
    return r;
}

static int pack_frames(struct blobstore_packing *p)
{
    uint64_t until = p->packed + BLOBSTORE_PACK_STEP;
    while (p->packed < p->record.size && p->packed < until) {
        uint64_t left = p->record.size - p->packed;
        int r = pack_frame(p, left < FRAME_CONTENT ? (size_t)left : FRAME_CONTENT);
        if (r < 0)
            return r;
    }
    return 1;
}

static int write_table(struct blobstore_packing *p)
{
    uint8_t header[SEEK_HEADER_SIZE], footer[SEEK_FOOTER_SIZE];
    uint32_t frames = (uint32_t)(p->table.len / SEEK_ENTRY_SIZE);
    seek_header_encode(frames, header);
    seek_footer_encode(frames, footer);
    int r = write_out(p, header, sizeof(header));
    if (r == 0)
        r = write_out(p, p->table.data, p->table.len);
    if (r == 0)
        r = write_out(p, footer, sizeof(footer));
    return r;
}

/* Under `names`: the packed file gets its name and its record, and the plain one loses its name. */
static int replace_locked(struct blobstore_packing *p)
{
    struct blobstore *store = p->store;
    struct blob_record record;
    {
        AUTO_INDEX_TXN struct index_txn t = {0};
        int r = index_begin_read(store->index, &t);
        if (r == 0)
            r = find_same(p, &t, &record);
        if (r < 0)
            return r;
    }
    int r = place_publish_packing(&store->place, &p->digest, p->to, &p->facts);
    if (r == 0)
        r = place_sync_fan(&store->place, p->digest.algorithm, p->digest.raw[0]);
    if (r == 0)
        r = change_record(p, becomes_packed);
    if (r < 0 || place_remove_form(&store->place, &p->digest, BLOB_PLAIN) < 0)
        atomic_store(&store->untidy, true); /* one of the two files does not count: the next start takes it away */
    return r;
}

static int finish(struct blobstore_packing *p)
{
    struct digest actual;
    int r = digest_end(p->hash, &actual);
    if (r == 0 && !digest_equal(&actual, &p->digest))
        r = -EBADMSG;
    if (r == 0)
        r = write_table(p);
    if (r < 0)
        return r;
    if (!is_worth_it(p->record.size, p->written))
        return change_record(p, stays_plain);
    if (fdatasync(p->to) < 0)
        return errno == EDQUOT ? -ENOSPC : -errno;
    (void)pthread_mutex_lock(&p->store->names);
    r = replace_locked(p);
    (void)pthread_mutex_unlock(&p->store->names);
    if (r == 0)
        p->saved = p->record.size - p->written;
    return r;
}

static int begin(struct blobstore_packing *p)
{
    bool worth_it = false;
    int r = pack_is_pointless(p->fd, p->record.size) ? 0 : sample(p, &worth_it);
    if (r < 0)
        return r;
    if (!worth_it)
        return change_record(p, stays_plain);
    r = place_open_packing(&p->store->place, &p->digest, &p->to);
    return r == 0 ? 1 : r == -EDQUOT ? -ENOSPC : r;
}

int blobstore_pack_step(struct blobstore_packing *p)
{
    int r = p->to < 0 ? begin(p) : p->packed < p->record.size ? pack_frames(p) : finish(p);
    if (r == -EBADMSG)
        (void)!change_record(p, is_doubted); /* else it is found when it is due */
    return r;
}
