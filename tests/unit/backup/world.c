#include "world.h"

#include "base/limits.h"

#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static struct buf problems = {.max = 64 * 1024};

const char *world_file(const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    int directory = (int)(strrchr(helper_root(), '/') - helper_root());
    (void)snprintf(path, PATH_MAX, "%.*s/%s", directory, helper_root(), name);
    return path;
}

struct blobstore *world_open_other(void)
{
    const struct blobstore_options options = {.root = world_file("other")};
    struct blobstore_report report;
    struct blobstore *store;
    ck_ok(blobstore_open(&options, &store, &report));
    return store;
}

/* ------------------------------------------------------------------ content */

void world_put(struct blobstore *store, enum blobstore_table table, const char *key, const char *value)
{
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_put(batch, table, key, strlen(key), value, strlen(value));
    ck_ok(blobstore_batch_commit(batch));
}

bool world_has_record(struct blobstore *store, enum blobstore_table table, const char *key, const char *value)
{
    AUTO_BUF struct buf found = BUF_INIT(BLOBSTORE_VALUE_MAX);
    int r = blobstore_record_get(store, table, key, strlen(key), &found);
    ck_assert(r == 0 || r == -ENOENT);
    return r == 0 && found.len == strlen(value) && memcmp(found.data, value, found.len) == 0;
}

static const enum blobstore_table tables[] = {BLOBSTORE_TAGS, BLOBSTORE_MANIFESTS, BLOBSTORE_REPOSITORIES,
                                              BLOBSTORE_REFERENCES, BLOBSTORE_PINS};

void world_fill(struct blobstore *store, unsigned from, unsigned to)
{
    char key[32];
    for (unsigned n = from; n < to; n++) {
        (void)helper_store(store, n);
        (void)snprintf(key, sizeof(key), "record %u", n);
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
            world_put(store, tables[i], key, key + i);
    }
}

static int count(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    ++*(unsigned *)arg;
    return 0;
}

void world_check(struct blobstore *store, unsigned from, unsigned to)
{
    struct blobstore_totals totals;
    char key[32];
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.blobs, to - from);
    for (unsigned n = from; n < to; n++) {
        ck_assert(helper_has(store, n));
        (void)snprintf(key, sizeof(key), "record %u", n);
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
            ck_assert(world_has_record(store, tables[i], key, key + i));
    }
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        unsigned records = 0;
        ck_ok(blobstore_record_scan(store, tables[i], NULL, 0, count, &records));
        ck_assert_uint_eq(records, to - from);
    }
}

/* ------------------------------------------------------------------ backups */

static int to_file(void *arg, const void *data, size_t len)
{
    return fwrite(data, 1, len, arg) == len ? 0 : -EIO;
}

static struct world_backup write_backup(const char *file, struct backup_options options)
{
    struct world_backup b;
    FILE *f = fopen(file, "wb");
    ck_assert_ptr_nonnull(f);
    options.sink = to_file;
    options.arg = f;
    ck_ok(backup_write(&options, &b.header, &b.end));
    ck_ok(fclose(f));
    return b;
}

struct world_backup world_backup(struct blobstore *store, const char *file, const struct world_backup *base)
{
    return write_backup(file, (struct backup_options){.store = store,
                                                      .base = base ? base->header.id : NULL,
                                                      .base_at = base ? base->header.created_at : 0});
}

struct world_backup world_backup_metadata(struct blobstore *store, const char *file)
{
    return write_backup(file, (struct backup_options){.store = store, .is_metadata = true});
}

static struct backup_chain chain_of(const char *const *files)
{
    struct backup_chain chain = {.files = files};
    while (files[chain.count])
        chain.count++;
    buf_reset(&problems);
    return chain;
}

int world_restore(struct blobstore *store, struct backup_report *ret_report, const char *const *files)
{
    struct backup_chain chain = chain_of(files);
    return backup_restore(&chain, store, ret_report, &problems);
}

int world_verify(struct backup_report *ret_report, const char *const *files)
{
    struct backup_chain chain = chain_of(files);
    return backup_verify(&chain, ret_report, &problems);
}

bool world_problem(const char *words)
{
    if (problems.len > 0 && strstr(problems.data, words))
        return true;
    (void)fprintf(stderr, "# problems: %s\n", problems.len ? problems.data : "none");
    return false;
}

/* ------------------------------------------------------------------ tars */

struct archive *world_tar(const char *file)
{
    struct archive *a = archive_write_new();
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_open_filename(a, file), ARCHIVE_OK);
    return a;
}

void world_add(struct archive *a, const char *name, const void *data, size_t len)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0400);
    archive_entry_set_size(e, (la_int64_t)len);
    ck_assert_int_eq(archive_write_header(a, e), ARCHIVE_OK);
    if (len > 0)
        ck_assert_int_eq(archive_write_data(a, data, len), (la_ssize_t)len);
    archive_entry_free(e);
}

void world_add_header(struct archive *a, const struct backup_header *h)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    ck_ok(backup_header_encode(h, &json));
    world_add(a, "entrepot-backup.json", json.data, json.len);
}

void world_add_head(struct archive *a, const struct backup_header *h, const struct buf *list, const struct buf *records)
{
    AUTO_BUF struct buf all = BUF_INIT(MIB);
    char text[DIGEST_TEXT_MAX + 1];
    struct digest digest;
    ck_ok(backup_header_encode(h, &all));
    world_add(a, "entrepot-backup.json", all.data, all.len);
    world_add(a, "blobs.list", list ? list->data : NULL, list ? list->len : 0);
    if (list)
        ck_ok(buf_add(&all, list->data, list->len));
    for (size_t i = 0; i < BACKUP_TABLES; i++) {
        char name[BACKUP_NAME_MAX];
        backup_name_format(&(struct backup_name){.kind = BACKUP_RECORDS, .index = i}, name);
        const struct buf *data = i == 0 ? records : NULL;
        world_add(a, name, data ? data->data : NULL, data ? data->len : 0);
        if (data)
            ck_ok(buf_add(&all, data->data, data->len));
    }
    ck_ok(digest_of(DIGEST_SHA256, all.data, all.len, &digest));
    char digits[DIGEST_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "%s\n", digest_format(&digest, digits));
    world_add(a, "head.sha256", text, strlen(text));
}

void world_list(struct backup_header *h, struct buf *list, unsigned n, bool is_here)
{
    uint8_t bytes[BACKUP_ITEM_MAX], content[HELPER_CONTENT_MAX];
    const struct backup_item item = {.digest = helper_digest(n),
                                     .size = helper_content(n, content),
                                     .stored_at = 1,
                                     .used_at = 2,
                                     .is_here = is_here};
    ck_ok(buf_add(list, bytes, backup_item_encode(&item, bytes)));
    h->blobs++;
    h->bytes += item.size;
}

void world_add_blob(struct archive *a, unsigned n, bool is_good)
{
    uint8_t content[HELPER_CONTENT_MAX];
    char name[BACKUP_NAME_MAX];
    size_t len = helper_content(n, content);
    content[len / 2] ^= !is_good;
    backup_name_format(&(struct backup_name){.kind = BACKUP_BLOB, .digest = helper_digest(n)}, name);
    world_add(a, name, content, len);
}

struct archive *world_begin_two(const char *file, struct backup_header *h, unsigned ret_order[2],
                                struct backup_end *ret_end)
{
    AUTO_BUF struct buf list = BUF_INIT(4 * KIB);
    const struct digest zero = helper_digest(0), two = helper_digest(2);
    ret_order[0] = backup_digest_compare(&zero, &two) < 0 ? 0 : 2;
    ret_order[1] = 2 - ret_order[0];
    h->blobs = h->bytes = 0;
    for (size_t i = 0; i < 2; i++)
        world_list(h, &list, ret_order[i], true);
    *ret_end = (struct backup_end){.blobs = h->blobs, .bytes = h->bytes};
    struct archive *a = world_tar(file);
    world_add_head(a, h, &list, NULL);
    return a;
}

void world_add_end(struct archive *a, const struct backup_end *e)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    ck_ok(backup_end_encode(e, &json));
    world_add(a, "end.json", json.data, json.len);
}

void world_end(struct archive *a)
{
    ck_assert_int_eq(archive_write_close(a), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_free(a), ARCHIVE_OK);
}
