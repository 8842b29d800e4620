#include "mirror/budgets.h"

#include "base/limits.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define RECORD_VERSION 1

/* version u8; limit, remaining, window, observed_at, blocked_until i64; the source's id and a NUL */
#define NUMBERS 5
#define FIXED (1 + NUMBERS * sizeof(uint64_t))

int budgets_encode(const struct upstream_budget *b, struct buf *key, struct buf *value)
{
    const int64_t numbers[NUMBERS] = {b->limit, b->remaining, b->window_ms, b->observed_at, b->blocked_until};
    const uint8_t version = RECORD_VERSION;
    int r = buf_add(key, b->origin, strlen(b->origin) + 1);
    if (r == 0)
        r = buf_add(key, b->account, strlen(b->account) + 1);
    if (r == 0)
        r = buf_add(value, &version, sizeof(version));
    for (size_t i = 0; r == 0 && i < NUMBERS; i++) {
        uint64_t n = htobe64((uint64_t)numbers[i]);
        r = buf_add(value, &n, sizeof(n));
    }
    return r == 0 ? buf_add(value, b->id, strlen(b->id) + 1) : r;
}

int budgets_decode(const void *key, size_t key_len, const void *value, size_t value_len,
                   struct upstream_budget *ret_budget)
{
    const char *k = key, *v = value;
    const char *account = memchr(k, '\0', key_len);
    int64_t numbers[NUMBERS];
    if (!account || account == k || k[key_len - 1] != '\0' || account == k + key_len - 1 || value_len <= FIXED ||
        v[0] != RECORD_VERSION || v[value_len - 1] != '\0')
        return -EINVAL;
    for (size_t i = 0; i < NUMBERS; i++) {
        uint64_t n;
        memcpy(&n, v + 1 + i * sizeof(n), sizeof(n));
        numbers[i] = (int64_t)be64toh(n);
    }
    *ret_budget = (struct upstream_budget){
        .origin = k,
        .account = account + 1,
        .limit = numbers[0],
        .remaining = numbers[1],
        .window_ms = numbers[2],
        .observed_at = numbers[3],
        .blocked_until = numbers[4],
        .empty_in_ms = -1,
        .id = v + FIXED,
    };
    return 0;
}

static int restore(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct upstream_budget budget;
    if (budgets_decode(key, key_len, value, value_len, &budget) == 0)
        upstream_restore_budget(arg, &budget);
    return 0;
}

int budgets_restore(struct blobstore *store, struct upstream *upstream)
{
    return blobstore_record_scan(store, BLOBSTORE_BUDGETS, "", 0, restore, upstream);
}

static void put(struct blobstore_batch *batch, const struct upstream_budget *budget)
{
    AUTO_BUF struct buf key = BUF_INIT(BLOBSTORE_KEY_MAX), value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    if (budget->observed_at != 0 && budgets_encode(budget, &key, &value) == 0)
        blobstore_batch_put(batch, BLOBSTORE_BUDGETS, key.data, key.len, value.data, value.len);
}

static void put_both(void *arg, const struct upstream_source_state *state)
{
    put(arg, &state->budget);
    if (*state->account)
        put(arg, &state->public_budget);
}

void budgets_put(struct upstream *upstream, struct blobstore_batch *batch)
{
    int r = upstream_each_source(upstream, put_both, batch);
    (void)r; /* without memory the last checkpoint stays */
}
