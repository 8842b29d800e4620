#include "upstream/limit429.h"

#include "base/json_text.h"

#include <string.h>
#include <strings.h>

#define MOMENT_MS 100LL /* "retry-after: 880.092µs": less than this is no wait that can be kept */
#define MOMENT_MAX_MS 10000LL
#define RATE_MS 2000LL /* "Rate exceeded": so many a second */

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* The number and unit behind "retry-after:" in a message, in milliseconds; -1 where there is none. */
static int64_t hint_in(const char *message)
{
    static const char name[] = "retry-after:";
    const char *p = strcasestr(message, name);
    if (!p)
        return -1;
    p += sizeof(name) - 1;
    p += strspn(p, " ");
    int64_t n = 0;
    size_t digits = strspn(p, "0123456789");
    if (digits == 0 || digits > 9)
        return -1;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (p[i] - '0');
    p += digits;
    if (*p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (strncmp(p, "ms", 2) == 0)
        return n + 1;
    if (*p == 's')
        return (n + 1) * 1000;
    return *p == 'n' || *p == 'u' || (unsigned char)*p >= 0x80 ? 1 : -1; /* µ is two bytes, and there are two of it */
}

static int64_t bounded(int64_t ms)
{
    return ms < MOMENT_MS ? MOMENT_MS : ms > MOMENT_MAX_MS ? MOMENT_MAX_MS : ms;
}

/* By its words: a code alone does not say which limit it is. Texts of Docker Hub are never looked at. */
static enum limit_kind by_message(const char *message, enum limit_kind otherwise, int64_t *ret_pause_ms)
{
    if (strcasestr(message, "data limit exceeded"))
        return LIMIT_DATA;
    int64_t ms = hint_in(message);
    if (ms < 0 && strcasestr(message, "rate exceeded"))
        ms = RATE_MS;
    if (ms < 0)
        return otherwise;
    *ret_pause_ms = bounded(ms);
    return LIMIT_MOMENT;
}

enum limit_kind limit429_classify(const struct limit_answer *answer, int64_t *ret_pause_ms)
{
    char text[LIMIT429_BODY_MAX + 1];
    size_t len = answer->body ? answer->len : 0;
    len = len < LIMIT429_BODY_MAX ? len : LIMIT429_BODY_MAX;
    if (len > 0)
        memcpy(text, answer->body, len);
    text[len] = '\0';
    AUTO_JSON json_t *root = NULL;
    if (json_text_read(text, len, 0, &root, NULL) < 0)
        return by_message(text, LIMIT_ABUSE, ret_pause_ms);
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const json_t *error = first ? first : root;
    if (strcasecmp(text_of(error, "code"), "TOOMANYREQUESTS") == 0)
        return by_message(text_of(error, "message"), answer->manifest_get ? LIMIT_PULL : LIMIT_ABUSE, ret_pause_ms);
    return LIMIT_ABUSE;
}
