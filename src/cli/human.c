#include "cli/human.h"

#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

const char *human_size(uint64_t bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double n = (double)bytes;
    for (; n >= 1023.95 && unit + 1 < ARRAY_SIZE(units); unit++)
        n /= 1024;
    (void)snprintf(text, HUMAN_TEXT, unit == 0 ? "%.0f %s" : "%.1f %s", n, units[unit]);
    return text;
}

const char *human_duration(int64_t ms, char *text)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{24 * 60 * CLOCK_MINUTE, "d"}, {60 * CLOCK_MINUTE, "h"}, {CLOCK_MINUTE, "min"}, {CLOCK_SECOND, "s"}};
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(units) && ms < units[i].ms)
        i++;
    (void)snprintf(text, HUMAN_TEXT, "%lld %s", (long long)(ms / units[i].ms), units[i].name);
    return text;
}

int human_read_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        char name;
        int64_t ms;
    } units[] = {{'s', CLOCK_SECOND},
                 {'m', CLOCK_MINUTE},
                 {'h', 60 * CLOCK_MINUTE},
                 {'d', 24 * 60 * CLOCK_MINUTE},
                 {'w', 7 * 24 * 60 * CLOCK_MINUTE}};
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || n <= 0 || n > 1000000 || !*end || end[1])
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (*end == units[i].name) {
            *ret_ms = n * units[i].ms;
            return 0;
        }
    return -EINVAL;
}

const char *human_age(int64_t then, int64_t now, char *text)
{
    char duration[HUMAN_TEXT];
    bool past = then <= now;
    if (then == 0) {
        (void)snprintf(text, HUMAN_TEXT, "never");
        return text;
    }
    (void)human_duration(past ? now - then : then - now, duration);
    (void)snprintf(text, HUMAN_TEXT, past ? "%.38s ago" : "in %.38s", duration);
    return text;
}

const char *human_count(uint64_t n, char *text)
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), at = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *human_short_digest(const char *digest, char *text)
{
    const char *hex = strchr(digest, ':');
    (void)snprintf(text, HUMAN_TEXT, "%.12s", hex ? hex + 1 : digest);
    return text;
}
