/* A backup as a whole, as verify reads it: what it says is wrong with it is a text that ends. */
#include "backup/unpacker.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look_at_record(void *arg, enum blobstore_table table, const struct backup_record *record)
{
    (void)table;
    assert(record->key_len > 0 && record->key_len <= BLOBSTORE_KEY_MAX && record->value_len <= BLOBSTORE_VALUE_MAX);
    *(unsigned *)arg += record->key[record->key_len - 1];
    return 0;
}

static int look_at_blob(void *arg, const struct backup_item *item)
{
    (void)arg;
    assert(item->is_here && item->size <= LIMIT_BLOB);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF struct buf problems = BUF_INIT(64 * KIB);
    AUTO(auto_unpacker_close) struct unpacker *u = NULL;
    unsigned sum = 0;
    const struct unpacker_visitor visitor = {.record = look_at_record, .blob = look_at_blob, .arg = &sum};
    int r = unpacker_open_memory(data, size, &problems, &u);
    if (r == 0)
        r = unpacker_read_head(u, &visitor);
    if (r == 0)
        r = unpacker_read_blobs(u, &visitor);
    assert(r == 0 || r == -EBADMSG || r == -ENOMEM);
    if (r == -EBADMSG)
        assert(problems.len > 0 && problems.data[problems.len - 1] == '\n');
    return 0;
}
