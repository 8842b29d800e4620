/*
 * How a backup is written: the names of its entries, and what is in those that are not blobs, byte by byte
 * (docs/store-format.md, "The format of a backup"). Pure functions; any thread. Knows neither tar nor files. What it
 * decodes may be hostile.
 */
#pragma once

#include "backup/backup.h"

#define BACKUP_FORMAT_VERSION 1

/* Entries come in this order; of BACKUP_RECORDS one a table, of BACKUP_BLOB any number. Those before BACKUP_HEAD are
 * the head, of which that has the digest. */
enum backup_kind { BACKUP_HEADER, BACKUP_LIST, BACKUP_RECORDS, BACKUP_HEAD, BACKUP_BLOB, BACKUP_END };

/* The tables that are in a backup, in the order of their entries. What is served to whom (REPOSITORIES) is restored
 * before any content. */
extern const enum blobstore_table backup_tables[];
#define BACKUP_TABLES 5

/* What an entry is called. `index`: of backup_tables, for BACKUP_RECORDS; `digest`, for BACKUP_BLOB. */
struct backup_name {
    enum backup_kind kind;
    size_t index;
    struct digest digest;
};
#define BACKUP_NAME_MAX (DIGEST_TEXT_MAX + 16)

void backup_name_format(const struct backup_name *name, char text[BACKUP_NAME_MAX]);
MUST_CHECK int backup_name_parse(const char *text, struct backup_name *ret_name); /* -EINVAL: there is none such */

/* The JSON of the first and the last entry. -EBADMSG; -ENOTSUP: a backup, of a version that we do not know. */
#define BACKUP_SMALL_MAX 4096
MUST_CHECK int backup_header_encode(const struct backup_header *h, struct buf *json);
MUST_CHECK int backup_header_decode(const char *json, size_t len, struct backup_header *ret_header);
MUST_CHECK int backup_end_encode(const struct backup_end *e, struct buf *json);
MUST_CHECK int backup_end_decode(const char *json, size_t len, struct backup_end *ret_end);

/* One of the list: a blob that was stored. */
struct backup_item {
    struct digest digest;
    uint64_t size;
    int64_t stored_at, used_at; /* wall clock, ms */
    bool is_here;               /* its content is in this file; else in an earlier one */
};
#define BACKUP_ITEM_MAX (1 + 3 * 8 + 1 + DIGEST_RAW_MAX)

/* Returns the length. */
size_t backup_item_encode(const struct backup_item *item, uint8_t bytes[BACKUP_ITEM_MAX]);
/* Of the beginning of some bytes; *ret_used: how many it is. -EAGAIN: more are needed. -EBADMSG. */
MUST_CHECK int backup_item_decode(const void *bytes, size_t len, struct backup_item *ret_item, size_t *ret_used);
/* The order of the list, which is that of the index: < 0, 0, > 0. */
int backup_digest_compare(const struct digest *a, const struct digest *b);

struct backup_record {
    const uint8_t *key, *value;
    size_t key_len, value_len;
};
#define BACKUP_RECORD_HEAD 4
#define BACKUP_RECORD_MAX (BACKUP_RECORD_HEAD + BLOBSTORE_KEY_MAX + BLOBSTORE_VALUE_MAX)

/* Adds it to `bytes`, all of it or nothing. */
MUST_CHECK int backup_record_encode(const struct backup_record *r, struct buf *bytes);
/* As backup_item_decode(); the pointers lead into the bytes. */
MUST_CHECK int backup_record_decode(const void *bytes, size_t len, struct backup_record *ret_record, size_t *ret_used);
