#include "config/value.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest first. */
static const struct unit durations[] = {
    {"d", 24 * 60 * 60 * 1000ULL}, {"h", 60 * 60 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1},
};
static const struct unit sizes[] = {
    {"TiB", 1ULL << 40}, {"GiB", 1ULL << 30}, {"MiB", 1ULL << 20},
    {"KiB", 1ULL << 10}, {"Ti", 1ULL << 40},  {"Gi", 1ULL << 30},
    {"Mi", 1ULL << 20},  {"Ki", 1ULL << 10},  {"", 1},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads digits and moves *s behind them. */
static int read_number(const char **s, uint64_t *ret_number)
{
    const char *p = *s;
    uint64_t n = 0;
    if (!is_digit(*p))
        return -EINVAL;
    for (; is_digit(*p); p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return -ERANGE;
    *s = p;
    *ret_number = n;
    return 0;
}

/* Reads letters, which must be a unit of units[from] and later, and moves *s behind them; returns its index. */
static int read_unit(const char **s, const struct unit *units, size_t from, size_t count)
{
    const char *p = *s;
    while (is_letter(*p))
        p++;
    size_t len = (size_t)(p - *s);
    for (size_t i = from; i < count; i++)
        if (strlen(units[i].name) == len && memcmp(units[i].name, *s, len) == 0) {
            *s = p;
            return (int)i;
        }
    return -EINVAL;
}

int value_parse_count(const char *s, uint64_t *ret_count)
{
    uint64_t n;
    int r = read_number(&s, &n);
    if (r < 0)
        return r;
    if (*s)
        return -EINVAL;
    *ret_count = n;
    return 0;
}

int value_parse_duration(const char *s, int64_t *ret_ms)
{
    uint64_t total = 0;
    size_t next = 0;
    if (strcmp(s, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    do {
        uint64_t n;
        int r = read_number(&s, &n);
        if (r < 0)
            return r;
        int unit = read_unit(&s, durations, next, ARRAY_SIZE(durations));
        if (unit < 0)
            return unit;
        next = (size_t)unit + 1;
        if (__builtin_mul_overflow(n, durations[unit].factor, &n) || __builtin_add_overflow(total, n, &total) ||
            total > INT64_MAX)
            return -ERANGE;
    } while (*s);
    *ret_ms = (int64_t)total;
    return 0;
}

int value_parse_size(const char *s, uint64_t *ret_bytes)
{
    uint64_t n;
    int r = read_number(&s, &n);
    if (r < 0)
        return r;
    int unit = read_unit(&s, sizes, 0, ARRAY_SIZE(sizes));
    if (unit < 0 || *s)
        return -EINVAL;
    if (__builtin_mul_overflow(n, sizes[unit].factor, &n))
        return -ERANGE;
    *ret_bytes = n;
    return 0;
}

int value_parse_percent(const char *s, unsigned *ret_percent)
{
    uint64_t n;
    int r = read_number(&s, &n);
    if (r < 0)
        return r;
    if (strcmp(s, "%") != 0)
        return -EINVAL;
    if (n < 1 || n > 100)
        return -ERANGE;
    *ret_percent = (unsigned)n;
    return 0;
}

int value_add_count(struct buf *b, uint64_t count)
{
    return buf_addf(b, "%llu", (unsigned long long)count);
}

int value_add_duration(struct buf *b, uint64_t ms)
{
    uint64_t left = ms;
    int r = left == 0 ? buf_adds(b, "0s") : 0;
    for (size_t i = 0; r == 0 && left > 0; i++) {
        uint64_t n = left / durations[i].factor;
        left %= durations[i].factor;
        if (n > 0)
            r = buf_addf(b, "%llu%s", (unsigned long long)n, durations[i].name);
    }
    return r;
}

int value_add_size(struct buf *b, uint64_t bytes)
{
    size_t i = 0;
    while (bytes == 0 ? *sizes[i].name != '\0' : bytes % sizes[i].factor != 0)
        i++;
    return buf_addf(b, "%llu%s", (unsigned long long)(bytes / sizes[i].factor), sizes[i].name);
}
