#include "backup/unpacker.h"

#include "base/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define READ_SIZE (1 * MIB)

struct unpacker {
    const char *file;
    struct buf *problems;
    int fd;
    struct archive *archive;
    struct archive_entry *entry; /* the archive's */
    struct backup_name name;     /* of the entry */
    uint64_t size;
    struct digest_state *head; /* of what was read so far; NULL behind the head */
    struct backup_header header;
    struct backup_item *items;
    size_t count, capacity;
    uint64_t listed_bytes;
    char *data; /* READ_SIZE */
};

/* ------------------------------------------------------------------ problems */

int unpacker_problem(const struct unpacker *r, const char *entry, const char *fmt, ...)
{
    va_list ap;
    size_t before = r->problems->len;
    int n = buf_addf(r->problems, "%s: %s%s", r->file, entry ? entry : "", entry ? ": " : "");
    va_start(ap, fmt);
    if (n == 0)
        n = buf_vaddf(r->problems, fmt, ap);
    va_end(ap);
    if (n == 0)
        n = buf_adds(r->problems, "\n");
    if (n < 0) /* there are enough of them */
        buf_cut(r->problems, before);
    return -EBADMSG;
}

static int entry_problem(const struct unpacker *r, const char *what)
{
    char name[BACKUP_NAME_MAX];
    backup_name_format(&r->name, name);
    return unpacker_problem(r, name, "%s", what);
}

/* What libarchive says is wrong; its words are about the file. */
static int archive_problem(const struct unpacker *r)
{
    const char *why = archive_error_string(r->archive);
    if (archive_errno(r->archive) == ENOMEM)
        return -ENOMEM;
    return unpacker_problem(r, NULL, "cut short, or damaged: %s", why ? why : "it cannot be read");
}

/* A name that is none of ours, as a JSON string lest it do something to a terminal. */
static int foreign_problem(const struct unpacker *r, const char *what)
{
    AUTO_BUF struct buf quoted = BUF_INIT(8 * KIB);
    char name[256];
    const char *found = archive_entry_pathname(r->entry);
    (void)snprintf(name, sizeof(name), "%s", found ? found : "?");
    return buf_add_json(&quoted, name) < 0 ? -ENOMEM : unpacker_problem(r, quoted.data, "%s", what);
}

/* ------------------------------------------------------------------ entries */

/* 1: there is one, of ours. 0: the tar has ended. */
static int next_entry(struct unpacker *r)
{
    int rc = archive_read_next_header(r->archive, &r->entry);
    if (rc == ARCHIVE_EOF)
        return 0;
    if (rc != ARCHIVE_OK)
        return archive_problem(r);
    const char *name = archive_entry_pathname(r->entry);
    if (!name || backup_name_parse(name, &r->name) < 0)
        return foreign_problem(r, "no entry of a backup");
    if (archive_entry_filetype(r->entry) != AE_IFREG || archive_entry_hardlink(r->entry) ||
        archive_entry_sparse_count(r->entry) > 0)
        return entry_problem(r, "not a plain file");
    if (!archive_entry_size_is_set(r->entry) || archive_entry_size(r->entry) < 0)
        return entry_problem(r, "has no size");
    r->size = (uint64_t)archive_entry_size(r->entry);
    return 1;
}

static int expect_entry(struct unpacker *r, enum backup_kind kind, size_t index, uint64_t most)
{
    const struct backup_name name = {.kind = kind, .index = index};
    char wanted[BACKUP_NAME_MAX];
    int n = next_entry(r);
    if (n < 0)
        return n;
    if (n > 0 && r->name.kind == kind && r->name.index == index)
        return r->size <= most ? 0 : entry_problem(r, "larger than it may be");
    backup_name_format(&name, wanted);
    return n == 0 ? unpacker_problem(r, wanted, "the file is cut short before it")
                  : entry_problem(r, "not where it belongs");
}

/* Up to `len` bytes of the entry; 0: its end. */
static ssize_t read_data(struct unpacker *r, void *data, size_t len)
{
    la_ssize_t n = archive_read_data(r->archive, data, len);
    if (n < 0)
        return archive_problem(r);
    int h = r->head && n > 0 ? digest_update(r->head, data, (size_t)n) : 0;
    return h < 0 ? h : n;
}

static int read_small(struct unpacker *r, struct buf *text)
{
    ssize_t n;
    do {
        n = read_data(r, r->data, READ_SIZE);
        if (n > 0)
            n = buf_add(text, r->data, (size_t)n) < 0 ? -ENOMEM : n;
    } while (n > 0);
    return (int)n;
}

/* Calls `take` for what is in the entry, one after the other; `take` says how many bytes it was. */
static int read_items(struct unpacker *r,
                      int (*take)(struct unpacker *r, const struct unpacker_visitor *visitor, const char *data,
                                  size_t len, size_t *ret_used),
                      const struct unpacker_visitor *visitor)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read_data(r, r->data + len, READ_SIZE - len);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return len == 0 ? 0 : entry_problem(r, "ends in the middle of a record");
        len += (size_t)n;
        size_t at = 0, used;
        int t;
        while ((t = take(r, visitor, r->data + at, len - at, &used)) == 0)
            at += used;
        if (t == -EBADMSG)
            return entry_problem(r, "has something in it that is no record");
        if (t != -EAGAIN)
            return t;
        memmove(r->data, r->data + at, len - at);
        len -= at;
    }
}

/* ------------------------------------------------------------------ the head */

static int add_item(struct unpacker *r, const struct backup_item *item)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 1024;
        struct backup_item *items = reallocarray(r->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        r->items = items;
        r->capacity = capacity;
    }
    r->items[r->count++] = *item;
    return 0;
}

static int take_item(struct unpacker *r, const struct unpacker_visitor *visitor, const char *data, size_t len,
                     size_t *ret_used)
{
    struct backup_item item;
    (void)visitor;
    int n = backup_item_decode(data, len, &item, ret_used);
    if (n < 0)
        return n;
    bool in_order = r->count == 0 || backup_digest_compare(&r->items[r->count - 1].digest, &item.digest) < 0;
    if (!in_order || r->count == LIMIT_BACKUP_BLOBS || (!item.is_here && !*r->header.base) ||
        __builtin_add_overflow(r->listed_bytes, item.size, &r->listed_bytes))
        return -EBADMSG;
    return add_item(r, &item);
}

static int take_record(struct unpacker *r, const struct unpacker_visitor *visitor, const char *data, size_t len,
                       size_t *ret_used)
{
    struct backup_record record;
    int n = backup_record_decode(data, len, &record, ret_used);
    return n == 0 && visitor->record ? visitor->record(visitor->arg, backup_tables[r->name.index], &record) : n;
}

static int check_head(struct unpacker *r)
{
    AUTO_BUF struct buf text = BUF_INIT(BACKUP_SMALL_MAX);
    struct digest actual, said;
    int n = digest_end(r->head, &actual);
    digest_destroy(TAKE_PTR(r->head));
    if (n == 0)
        n = expect_entry(r, BACKUP_HEAD, 0, BACKUP_SMALL_MAX);
    if (n == 0)
        n = read_small(r, &text);
    if (n < 0)
        return n;
    bool good = text.len > 0 && digest_parse(text.data, text.len - 1, &said) == 0 && digest_equal(&said, &actual);
    return good ? 0 : entry_problem(r, "the records or the list before it are damaged");
}

int unpacker_read_head(struct unpacker *r, const struct unpacker_visitor *visitor)
{
    int n = expect_entry(r, BACKUP_LIST, 0, LIMIT_BACKUP_BLOBS * BACKUP_ITEM_MAX);
    if (n == 0)
        n = read_items(r, take_item, visitor);
    if (n == 0 && (r->count != r->header.blobs || r->listed_bytes != r->header.bytes))
        n = entry_problem(r, "not as long as the header says");
    for (size_t i = 0; n == 0 && i < BACKUP_TABLES; i++) {
        n = expect_entry(r, BACKUP_RECORDS, i, LIMIT_BACKUP_TABLE);
        if (n == 0)
            n = read_items(r, take_record, visitor);
    }
    return n == 0 ? check_head(r) : n;
}

static int compare_items(const void *a, const void *b)
{
    return backup_digest_compare(&((const struct backup_item *)a)->digest, &((const struct backup_item *)b)->digest);
}

const struct backup_item *unpacker_list(const struct unpacker *r, size_t *ret_count)
{
    *ret_count = r->count;
    return r->items;
}

const struct backup_item *unpacker_find(const struct unpacker *r, const struct digest *digest)
{
    const struct backup_item key = {.digest = *digest};
    return r->count ? bsearch(&key, r->items, r->count, sizeof(*r->items), compare_items) : NULL;
}

/* ------------------------------------------------------------------ blobs */

static int read_blob(struct unpacker *r, const struct backup_item *item, const struct unpacker_visitor *visitor)
{
    AUTO(auto_digest_destroy) struct digest_state *state = NULL;
    struct digest actual;
    int n = digest_begin(item->digest.algorithm, &state);
    while (n == 0) {
        ssize_t len = read_data(r, r->data, READ_SIZE);
        if (len <= 0) {
            n = (int)len;
            break;
        }
        n = digest_update(state, r->data, (size_t)len);
        if (n == 0 && visitor->data)
            n = visitor->data(visitor->arg, r->data, (size_t)len);
    }
    if (n == 0)
        n = digest_end(state, &actual);
    if (n < 0)
        return n;
    bool good = digest_equal(&actual, &item->digest);
    if (!good)
        (void)entry_problem(r, "its bytes do not have this digest");
    return visitor->blob_end ? visitor->blob_end(visitor->arg, item, good) : 0;
}

/* Blobs come in the order of the list, which may be ahead of them: `*at` is behind the last. */
static int take_blob(struct unpacker *r, const struct unpacker_visitor *visitor, const struct backup_item **at)
{
    const struct backup_item *item = unpacker_find(r, &r->name.digest);
    if (!item || !item->is_here)
        return entry_problem(r, "not listed");
    if (item < *at)
        return entry_problem(r, "there twice, or not where it belongs");
    if (r->size != item->size)
        return entry_problem(r, "not as large as it is listed");
    *at = item + 1;
    int n = visitor->blob ? visitor->blob(visitor->arg, item) : 1;
    if (n > 0)
        return read_blob(r, item, visitor);
    return n == 0 && archive_read_data_skip(r->archive) != ARCHIVE_OK ? archive_problem(r) : n;
}

static int check_end(struct unpacker *r, uint64_t blobs, uint64_t bytes)
{
    AUTO_BUF struct buf text = BUF_INIT(BACKUP_SMALL_MAX);
    struct backup_end end;
    uint64_t here = 0;
    if (r->size > BACKUP_SMALL_MAX)
        return entry_problem(r, "larger than it may be");
    int n = read_small(r, &text);
    if (n < 0)
        return n;
    for (size_t i = 0; i < r->count; i++)
        here += r->items[i].is_here;
    if (backup_end_decode(text.data ? text.data : "", text.len, &end) < 0 || end.blobs != blobs || end.bytes != bytes ||
        here - blobs != end.missing)
        return entry_problem(r, "does not fit what is before it");
    n = next_entry(r);
    return n > 0 ? entry_problem(r, "behind the end") : n;
}

int unpacker_read_blobs(struct unpacker *r, const struct unpacker_visitor *visitor)
{
    const struct backup_item *at = r->items;
    uint64_t blobs = 0, bytes = 0;
    for (;;) {
        int n = next_entry(r);
        if (n < 0)
            return n;
        if (n == 0)
            return unpacker_problem(r, NULL, "cut short: it has no end");
        if (r->name.kind == BACKUP_END)
            return check_end(r, blobs, bytes);
        if (r->name.kind != BACKUP_BLOB)
            return entry_problem(r, "not where it belongs");
        n = take_blob(r, visitor, &at);
        if (n < 0)
            return n;
        blobs++;
        bytes += r->size;
    }
}

/* ------------------------------------------------------------------ open */

static int read_header(struct unpacker *r)
{
    AUTO_BUF struct buf text = BUF_INIT(BACKUP_SMALL_MAX);
    int n = expect_entry(r, BACKUP_HEADER, 0, BACKUP_SMALL_MAX);
    if (n == 0)
        n = read_small(r, &text);
    if (n < 0)
        return n;
    n = backup_header_decode(text.data ? text.data : "", text.len, &r->header);
    if (n == -ENOTSUP)
        return entry_problem(r, "a version that this program does not know");
    return n < 0 ? entry_problem(r, "not the header of a backup") : 0;
}

static int create(const char *file, struct buf *problems, struct unpacker **ret_unpacker)
{
    AUTO(auto_unpacker_close) struct unpacker *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->file = file;
    r->problems = problems;
    r->fd = -1;
    r->archive = archive_read_new();
    r->data = malloc(READ_SIZE);
    if (!r->archive || !r->data)
        return -ENOMEM;
    int n = digest_begin(DIGEST_SHA256, &r->head);
    if (n < 0)
        return n;
    if (archive_read_support_filter_zstd(r->archive) != ARCHIVE_OK ||
        archive_read_support_format_tar(r->archive) != ARCHIVE_OK)
        return -ENOTSUP;
    *ret_unpacker = TAKE_PTR(r);
    return 0;
}

int unpacker_open(const char *file, struct buf *problems, struct unpacker **ret_unpacker)
{
    AUTO(auto_unpacker_close) struct unpacker *r = NULL;
    int n = create(file, problems, &r);
    if (n < 0)
        return n;
    r->fd = open(file, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0) {
        n = -errno;
        (void)unpacker_problem(r, NULL, "%s", strerror(-n));
        return n;
    }
    (void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (archive_read_open_fd(r->archive, r->fd, READ_SIZE) != ARCHIVE_OK)
        return archive_problem(r);
    n = read_header(r);
    if (n == 0)
        *ret_unpacker = TAKE_PTR(r);
    return n;
}

int unpacker_open_memory(const void *data, size_t len, struct buf *problems, struct unpacker **ret_unpacker)
{
    AUTO(auto_unpacker_close) struct unpacker *r = NULL;
    int n = create("memory", problems, &r);
    if (n == 0 && archive_read_open_memory(r->archive, data, len) != ARCHIVE_OK)
        return archive_problem(r);
    if (n == 0)
        n = read_header(r);
    if (n == 0)
        *ret_unpacker = TAKE_PTR(r);
    return n;
}

void unpacker_close(struct unpacker *r)
{
    if (!r)
        return;
    (void)archive_read_free(r->archive);
    if (r->fd >= 0)
        (void)close(r->fd);
    digest_destroy(r->head);
    free(r->items);
    free(r->data);
    free(r);
}

const struct backup_header *unpacker_header(const struct unpacker *r)
{
    return &r->header;
}
