/* A size and a Range header, a line each. What is found must lie within the size; a multipart body made of it must be
 * as long as it says, however it is read. */
#include "server/multipart.h"
#include "server/range.h"

#include <assert.h>
#include <string.h>

#define MAX_RANGES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t read_zeros(void *arg, uint64_t offset, void *data, size_t len)
{
    const uint64_t *size = arg;
    assert(len > 0 && offset < *size && len <= *size - offset);
    memset(data, 0, len);
    return (ssize_t)len;
}

static void read_all(struct ranges *ranges, uint64_t size)
{
    struct multipart *m;
    char block[977];
    uint64_t offset = 0;
    assert(multipart_create(ranges, size, "a/b", &m) == 0);
    while (offset < multipart_length(m)) {
        ssize_t n = multipart_read(m, offset, block, sizeof(block), false, read_zeros, &size);
        assert(n > 0);
        offset += (uint64_t)n;
    }
    assert(offset == multipart_length(m));
    multipart_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ranges found = {0};
    enum range_verdict v;
    char *text = malloc(size + 1), *header;
    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    uint64_t length = strtoull(text, &header, 10) & INT64_MAX;
    if (*header == '\n' && range_parse(header + 1, length, MAX_RANGES, &v, &found) == 0) {
        assert((v == RANGE_PART) == (found.count > 0) && found.count <= MAX_RANGES);
        for (size_t i = 0; i < found.count; i++)
            assert(found.items[i].first <= found.items[i].last && found.items[i].last < length);
        if (found.count > 1 && length < 1 << 16)
            read_all(&found, length);
    }
    ranges_finish(&found);
    free(text);
    return 0;
}
