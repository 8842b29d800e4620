#include "backup/format.h"

#include "base/json_text.h"
#include "base/limits.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define FORMAT_NAME "entrepot-backup"

const enum blobstore_table backup_tables[BACKUP_TABLES] = {
    BLOBSTORE_REPOSITORIES, BLOBSTORE_TAGS, BLOBSTORE_MANIFESTS, BLOBSTORE_REFERENCES, BLOBSTORE_PINS,
};

/* ------------------------------------------------------------------ names */

static const char *const single_names[] = {
    [BACKUP_HEADER] = "entrepot-backup.json",
    [BACKUP_LIST] = "blobs.list",
    [BACKUP_RECORDS] = NULL, /* one a table */
    [BACKUP_HEAD] = "head.sha256",
    [BACKUP_BLOB] = NULL, /* one a blob */
    [BACKUP_END] = "end.json",
};
static const char *const table_names[BACKUP_TABLES] = {
    "records/repositories", "records/tags", "records/manifests", "records/references", "records/pins",
};
static const char blobs_prefix[] = "blobs/";

void backup_name_format(const struct backup_name *name, char text[BACKUP_NAME_MAX])
{
    char digest[DIGEST_TEXT_MAX];
    const char *fixed = name->kind == BACKUP_RECORDS ? table_names[name->index] : single_names[name->kind];
    if (fixed)
        (void)snprintf(text, BACKUP_NAME_MAX, "%s", fixed);
    else
        (void)snprintf(text, BACKUP_NAME_MAX, "%s%s/%s", blobs_prefix, digest_algorithm_name(name->digest.algorithm),
                       strchr(digest_format(&name->digest, digest), ':') + 1);
}

/* "blobs/sha256/…": the digest with a slash for its colon */
static int parse_blob(const char *text, struct digest *ret_digest)
{
    char digest[DIGEST_TEXT_MAX];
    size_t len = strlen(text);
    if (len >= sizeof(digest))
        return -EINVAL;
    memcpy(digest, text, len + 1);
    char *slash = strchr(digest, '/');
    if (!slash)
        return -EINVAL;
    *slash = ':';
    return digest_parse(digest, len, ret_digest) < 0 ? -EINVAL : 0;
}

int backup_name_parse(const char *text, struct backup_name *ret_name)
{
    struct backup_name name = {0};
    if (strncmp(text, blobs_prefix, strlen(blobs_prefix)) == 0) {
        name.kind = BACKUP_BLOB;
        int r = parse_blob(text + strlen(blobs_prefix), &name.digest);
        if (r == 0)
            *ret_name = name;
        return r;
    }
    for (size_t i = 0; i < BACKUP_TABLES; i++)
        if (strcmp(text, table_names[i]) == 0) {
            *ret_name = (struct backup_name){.kind = BACKUP_RECORDS, .index = i};
            return 0;
        }
    for (size_t i = 0; i < ARRAY_SIZE(single_names); i++)
        if (single_names[i] && strcmp(text, single_names[i]) == 0) {
            *ret_name = (struct backup_name){.kind = (enum backup_kind)i};
            return 0;
        }
    return -EINVAL;
}

/* ------------------------------------------------------------------ the first and the last entry */

bool backup_id_is_valid(const char *id)
{
    return strlen(id) == BACKUP_ID_MAX - 1 && strspn(id, "0123456789abcdef") == BACKUP_ID_MAX - 1;
}

static int add_json(json_t *j, struct buf *json)
{
    AUTO_FREE char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
    int r = text ? buf_adds(json, text) : -ENOMEM;
    return r == 0 ? buf_adds(json, "\n") : r;
}

int backup_header_encode(const struct backup_header *h, struct buf *json)
{
    AUTO_JSON json_t *j =
        json_pack("{s:s, s:i, s:s, s:s, s:s*, s:I, s:s, s:I, s:I}", "format", FORMAT_NAME, "version",
                  BACKUP_FORMAT_VERSION, "program", ENTREPOT_VERSION, "id", h->id, "base", *h->base ? h->base : NULL,
                  "created_at", (json_int_t)h->created_at, "contents", h->is_metadata ? "metadata" : "blobs", "blobs",
                  (json_int_t)h->blobs, "bytes", (json_int_t)h->bytes);
    return add_json(j, json);
}

static int load_json(const char *text, size_t len, json_t **ret_json)
{
    AUTO_JSON json_t *j = NULL;
    int r = json_text_read(text, len, JSON_REJECT_DUPLICATES, &j, NULL);
    if (r == -ENOMEM)
        return r;
    if (!json_is_object(j))
        return -EBADMSG;
    *ret_json = TAKE_PTR(j);
    return 0;
}

int backup_header_decode(const char *text, size_t len, struct backup_header *ret_header)
{
    AUTO_JSON json_t *j = NULL;
    const char *format, *id, *base = "", *contents;
    int version;
    json_int_t created_at, blobs, bytes;
    int r = load_json(text, len, &j);
    if (r < 0)
        return r;
    if (json_unpack(j, "{s:s, s:i}", "format", &format, "version", &version) < 0 || strcmp(format, FORMAT_NAME) != 0)
        return -EBADMSG;
    if (version != BACKUP_FORMAT_VERSION)
        return -ENOTSUP;
    if (json_unpack(j, "{s:s, s?s, s:I, s:s, s:I, s:I}", "id", &id, "base", &base, "created_at", &created_at,
                    "contents", &contents, "blobs", &blobs, "bytes", &bytes) < 0)
        return -EBADMSG;
    bool is_metadata = strcmp(contents, "metadata") == 0;
    if (!backup_id_is_valid(id) || (*base && !backup_id_is_valid(base)) || created_at < 0 || blobs < 0 || bytes < 0 ||
        (!is_metadata && strcmp(contents, "blobs") != 0) || (is_metadata && (*base || blobs || bytes)))
        return -EBADMSG;
    struct backup_header h = {
        .created_at = created_at, .is_metadata = is_metadata, .blobs = (uint64_t)blobs, .bytes = (uint64_t)bytes};
    memcpy(h.id, id, BACKUP_ID_MAX);
    if (*base)
        memcpy(h.base, base, BACKUP_ID_MAX);
    *ret_header = h;
    return 0;
}

int backup_end_encode(const struct backup_end *e, struct buf *json)
{
    AUTO_JSON json_t *j =
        json_pack("{s:I, s:I, s:I, s:I}", "blobs", (json_int_t)e->blobs, "bytes", (json_int_t)e->bytes, "missing",
                  (json_int_t)e->missing, "damaged", (json_int_t)e->damaged);
    return add_json(j, json);
}

int backup_end_decode(const char *text, size_t len, struct backup_end *ret_end)
{
    AUTO_JSON json_t *j = NULL;
    json_int_t blobs, bytes, missing, damaged;
    int r = load_json(text, len, &j);
    if (r < 0)
        return r;
    if (json_unpack(j, "{s:I, s:I, s:I, s:I}", "blobs", &blobs, "bytes", &bytes, "missing", &missing, "damaged",
                    &damaged) < 0)
        return -EBADMSG;
    if (blobs < 0 || bytes < 0 || missing < 0 || damaged < 0)
        return -EBADMSG;
    *ret_end = (struct backup_end){
        .blobs = (uint64_t)blobs, .bytes = (uint64_t)bytes, .missing = (uint64_t)missing, .damaged = (uint64_t)damaged};
    return 0;
}

/* ------------------------------------------------------------------ the list */

/* flags u8, size u64, stored_at u64, used_at u64, algorithm u8, digest; integers big-endian */
#define ITEM_KEY (1 + 3 * 8)
#define ITEM_IS_HERE 0x01

static void put64(uint8_t *at, uint64_t n)
{
    n = htobe64(n);
    memcpy(at, &n, sizeof(n));
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t n;
    memcpy(&n, at, sizeof(n));
    return be64toh(n);
}

size_t backup_item_encode(const struct backup_item *item, uint8_t bytes[BACKUP_ITEM_MAX])
{
    size_t raw = digest_raw_size(item->digest.algorithm);
    bytes[0] = item->is_here ? ITEM_IS_HERE : 0;
    put64(bytes + 1, item->size);
    put64(bytes + 9, (uint64_t)item->stored_at);
    put64(bytes + 17, (uint64_t)item->used_at);
    bytes[ITEM_KEY] = (uint8_t)item->digest.algorithm;
    memcpy(bytes + ITEM_KEY + 1, item->digest.raw, raw);
    return ITEM_KEY + 1 + raw;
}

int backup_item_decode(const void *data, size_t len, struct backup_item *ret_item, size_t *ret_used)
{
    const uint8_t *bytes = data;
    if (len < ITEM_KEY + 1)
        return -EAGAIN;
    size_t raw = digest_raw_size((enum digest_algorithm)bytes[ITEM_KEY]);
    struct backup_item item = {.is_here = bytes[0] & ITEM_IS_HERE,
                               .size = get64(bytes + 1),
                               .stored_at = (int64_t)get64(bytes + 9),
                               .used_at = (int64_t)get64(bytes + 17),
                               .digest.algorithm = (enum digest_algorithm)bytes[ITEM_KEY]};
    if (raw == 0 || (bytes[0] & ~ITEM_IS_HERE) || item.size > LIMIT_BLOB || item.stored_at < 0 || item.used_at < 0)
        return -EBADMSG;
    if (len < ITEM_KEY + 1 + raw)
        return -EAGAIN;
    memcpy(item.digest.raw, bytes + ITEM_KEY + 1, raw);
    *ret_item = item;
    *ret_used = ITEM_KEY + 1 + raw;
    return 0;
}

int backup_digest_compare(const struct digest *a, const struct digest *b)
{
    if (a->algorithm != b->algorithm)
        return a->algorithm < b->algorithm ? -1 : 1;
    return memcmp(a->raw, b->raw, sizeof(a->raw));
}

/* ------------------------------------------------------------------ records */

/* key_len u16, value_len u16, key, value */
int backup_record_encode(const struct backup_record *r, struct buf *bytes)
{
    uint16_t lengths[2] = {htobe16((uint16_t)r->key_len), htobe16((uint16_t)r->value_len)};
    int n = buf_reserve(bytes, sizeof(lengths) + r->key_len + r->value_len);
    if (n == 0)
        n = buf_add(bytes, lengths, sizeof(lengths));
    if (n == 0)
        n = buf_add(bytes, r->key, r->key_len);
    return n == 0 ? buf_add(bytes, r->value, r->value_len) : n;
}

int backup_record_decode(const void *data, size_t len, struct backup_record *ret_record, size_t *ret_used)
{
    const uint8_t *bytes = data;
    uint16_t lengths[2];
    if (len < sizeof(lengths))
        return -EAGAIN;
    memcpy(lengths, bytes, sizeof(lengths));
    struct backup_record r = {.key_len = be16toh(lengths[0]), .value_len = be16toh(lengths[1])};
    if (r.key_len == 0 || r.key_len > BLOBSTORE_KEY_MAX || r.value_len > BLOBSTORE_VALUE_MAX)
        return -EBADMSG;
    if (len < sizeof(lengths) + r.key_len + r.value_len)
        return -EAGAIN;
    r.key = bytes + sizeof(lengths);
    r.value = r.key + r.key_len;
    *ret_record = r;
    *ret_used = sizeof(lengths) + r.key_len + r.value_len;
    return 0;
}
