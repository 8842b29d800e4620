/* What is in the entries of a backup that are not blobs. The first byte chooses which. */
#include "backup/format.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_header(const char *text, size_t len)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    struct backup_header h, again;
    if (backup_header_decode(text, len, &h) < 0)
        return;
    assert(backup_id_is_valid(h.id));
    assert(backup_header_encode(&h, &json) == 0);
    assert(backup_header_decode(json.data, json.len, &again) == 0);
    assert(strcmp(h.id, again.id) == 0 && strcmp(h.base, again.base) == 0 && h.blobs == again.blobs);
}

static void try_end(const char *text, size_t len)
{
    AUTO_BUF struct buf json = BUF_INIT(BACKUP_SMALL_MAX);
    struct backup_end e, again;
    if (backup_end_decode(text, len, &e) < 0)
        return;
    assert(backup_end_encode(&e, &json) == 0);
    assert(backup_end_decode(json.data, json.len, &again) == 0);
    assert(memcmp(&e, &again, sizeof(e)) == 0);
}

static void try_name(const char *data, size_t len)
{
    char text[BACKUP_NAME_MAX], *copy = strndup(data, len);
    struct backup_name name;
    if (copy && backup_name_parse(copy, &name) == 0) {
        backup_name_format(&name, text);
        assert(strcmp(text, copy) == 0);
    }
    free(copy);
}

static void try_items(const char *data, size_t len)
{
    struct backup_item item;
    uint8_t bytes[BACKUP_ITEM_MAX];
    size_t used;
    for (; backup_item_decode(data, len, &item, &used) == 0; data += used, len -= used)
        assert(backup_item_encode(&item, bytes) == used && memcmp(bytes, data, used) == 0);
}

static void try_records(const char *data, size_t len)
{
    struct backup_record record;
    size_t used;
    for (; backup_record_decode(data, len, &record, &used) == 0; data += used, len -= used) {
        AUTO_BUF struct buf bytes = BUF_INIT(BACKUP_RECORD_MAX);
        assert(backup_record_encode(&record, &bytes) == 0);
        assert(bytes.len == used && memcmp(bytes.data, data, used) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(const char *data, size_t len) = {try_header, try_end, try_name, try_items,
                                                                    try_records};
    if (size > 0)
        targets[data[0] % ARRAY_SIZE(targets)]((const char *)data + 1, size - 1);
    return 0;
}
