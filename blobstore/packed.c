#include "blobstore/packed.h"

#include "blobstore/frame.h"
#include "blobstore/io.h"
#include "blobstore/seekable.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_AT_ONCE 512

struct packed {
    /* set at open */
    int fd;
    atomic_size_t *kept;
    uint64_t size;     /* of the content */
    uint64_t table_at; /* where the frames end */
    uint32_t frames;
    uint32_t content; /* of every frame but the last */

    /* the frame that was looked for last, and where it is in the file */
    uint32_t frame;
    uint64_t frame_at;
    uint32_t frame_len;

    char *data; /* the content of data_of; NULL: nothing is kept */
    uint32_t data_of;
};

/* ------------------------------------------------------------------ the table */

static uint64_t entry_at(const struct packed *p, uint32_t frame)
{
    return p->table_at + SEEK_HEADER_SIZE + (uint64_t)frame * SEEK_ENTRY_SIZE;
}

static uint32_t content_of(const struct packed *p, uint32_t frame)
{
    return frame + 1 < p->frames ? p->content : (uint32_t)(p->size - (uint64_t)p->content * frame);
}

static int read_entry(const struct packed *p, uint32_t frame, struct seek_entry *ret_entry)
{
    uint8_t bytes[SEEK_ENTRY_SIZE];
    int r = io_read(p->fd, entry_at(p, frame), bytes, sizeof(bytes));
    if (r == 0)
        seek_entry_decode(bytes, ret_entry);
    return r;
}

static bool is_possible(const struct packed *p, uint32_t frame, const struct seek_entry *e)
{
    return e->content == content_of(p, frame) && e->packed > 0 && e->packed <= frame_bound(e->content);
}

/* Sums up the frames from p->frame on, up to `to`, and goes there. */
static int walk(struct packed *p, uint32_t to)
{
    uint8_t entries[ENTRIES_AT_ONCE * SEEK_ENTRY_SIZE];
    while (p->frame < to) {
        uint32_t n = to - p->frame < ENTRIES_AT_ONCE ? to - p->frame : ENTRIES_AT_ONCE;
        int r = io_read(p->fd, entry_at(p, p->frame), entries, n * SEEK_ENTRY_SIZE);
        if (r < 0)
            return r;
        for (uint32_t i = 0; i < n; i++) {
            struct seek_entry e;
            seek_entry_decode(entries + i * SEEK_ENTRY_SIZE, &e);
            if (!is_possible(p, p->frame, &e))
                return -EBADMSG;
            p->frame_at += e.packed;
            p->frame++;
        }
    }
    return p->frame_at <= p->table_at ? 0 : -EBADMSG;
}

/* Finds out where the frame is. */
static int seek(struct packed *p, uint32_t frame)
{
    struct seek_entry e;
    if (frame < p->frame)
        p->frame = 0, p->frame_at = 0;
    int r = walk(p, frame);
    if (r == 0)
        r = read_entry(p, frame, &e);
    if (r == 0 && (!is_possible(p, frame, &e) || e.packed > p->table_at - p->frame_at))
        r = -EBADMSG;
    if (r < 0)
        return r;
    p->frame_len = e.packed;
    return 0;
}

static int read_table(struct packed *p, uint64_t file_size)
{
    uint8_t bytes[SEEK_FOOTER_SIZE];
    struct seek_entry first, last;
    if (file_size < seek_table_size(1))
        return -EBADMSG;
    int r = io_read(p->fd, file_size - SEEK_FOOTER_SIZE, bytes, SEEK_FOOTER_SIZE);
    if (r == 0)
        r = seek_footer_decode(bytes, &p->frames);
    if (r == 0 && seek_table_size(p->frames) > file_size)
        r = -EBADMSG;
    if (r < 0)
        return r;
    p->table_at = file_size - seek_table_size(p->frames);
    r = io_read(p->fd, p->table_at, bytes, SEEK_HEADER_SIZE);
    if (r == 0)
        r = seek_header_check(bytes, p->frames);
    if (r == 0)
        r = read_entry(p, 0, &first);
    if (r == 0)
        r = read_entry(p, p->frames - 1, &last);
    if (r < 0)
        return r;
    if (first.content == 0 || first.content > FRAME_CONTENT_MAX || last.content == 0 || last.content > first.content)
        return -EBADMSG;
    p->content = first.content;
    p->size = (uint64_t)first.content * (p->frames - 1) + last.content;
    r = walk(p, p->frames); /* every entry, once */
    if (r == 0 && p->frame_at != p->table_at)
        r = -EBADMSG;
    return r;
}

int packed_open(int fd, atomic_size_t *kept, struct packed **ret_packed)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    struct packed *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->fd = fd;
    p->kept = kept;
    int r = read_table(p, (uint64_t)st.st_size);
    if (r < 0) {
        packed_close(p);
        return r;
    }
    *ret_packed = p;
    return 0;
}

void packed_close(struct packed *p)
{
    if (!p)
        return;
    if (p->data)
        (void)atomic_fetch_sub(p->kept, p->content);
    free(p->data);
    free(p);
}

uint64_t packed_size(const struct packed *p)
{
    return p->size;
}

/* ------------------------------------------------------------------ frames */

static int unpack(struct packed *p, uint32_t frame, char *to)
{
    int r = seek(p, frame);
    if (r < 0)
        return r;
    AUTO_FREE char *bytes = malloc(p->frame_len);
    if (!bytes)
        return -ENOMEM;
    r = io_read(p->fd, p->frame_at, bytes, p->frame_len);
    return r == 0 ? frame_decompress(bytes, p->frame_len, to, content_of(p, frame)) : r;
}

/* Where the content of a frame can be kept; NULL: there is enough kept already, or no memory. */
static char *keep(struct packed *p)
{
    if (p->data)
        return p->data;
    if (atomic_fetch_add(p->kept, p->content) + p->content <= PACKED_KEPT_MAX)
        p->data = malloc(p->content);
    if (!p->data)
        (void)atomic_fetch_sub(p->kept, p->content);
    p->data_of = UINT32_MAX;
    return p->data;
}

ssize_t packed_read(struct packed *p, uint64_t offset, void *data, size_t len)
{
    uint32_t frame = (uint32_t)(offset / p->content), content = content_of(p, frame);
    size_t within = (size_t)(offset % p->content);
    AUTO_FREE char *passing = NULL;
    if (within == 0 && len >= content && !(p->data && p->data_of == frame)) {
        int r = unpack(p, frame, data);
        return r == 0 ? (ssize_t)content : r;
    }
    char *from = keep(p);
    if (!from)
        from = passing = malloc(p->content);
    if (!from)
        return -ENOMEM;
    if (passing || p->data_of != frame) {
        p->data_of = UINT32_MAX;
        int r = unpack(p, frame, from);
        if (r < 0)
            return r;
        p->data_of = passing ? UINT32_MAX : frame;
    }
    if (len > content - within)
        len = content - within;
    memcpy(data, from + within, len);
    return (ssize_t)len;
}
