#include "upstream/token.h"

#include "base/json_text.h"
#include "base/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* `digits` of them, and then one of `after`; *p is behind it. */
static bool read_number(const char **p, int digits, const char *after, int *ret_number)
{
    int n = 0;
    for (; digits > 0; digits--, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        n = n * 10 + (**p - '0');
    }
    if (after[0] && (!**p || !strchr(after, **p)))
        return false;
    *p += after[0] != '\0';
    *ret_number = n;
    return true;
}

/* Minutes east of Greenwich: "Z", "+02:00". */
static bool read_zone(const char *p, int *ret_minutes)
{
    int hours = 0, minutes = 0, sign = *p == '-' ? -1 : 1;
    if (*p == 'Z' || *p == 'z')
        p++;
    else if ((*p != '+' && *p != '-') || (p++, !read_number(&p, 2, ":", &hours)) || !read_number(&p, 2, "", &minutes))
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return *p == '\0';
}

/* RFC 3339: "2024-09-04T08:01:41.048681016Z". The fraction does not matter. */
static bool parse_time(const char *p, int64_t *ret_ms)
{
    struct tm tm = {0};
    int zone;
    if (!read_number(&p, 4, "-", &tm.tm_year) || !read_number(&p, 2, "-", &tm.tm_mon) ||
        !read_number(&p, 2, "Tt ", &tm.tm_mday) || !read_number(&p, 2, ":", &tm.tm_hour) ||
        !read_number(&p, 2, ":", &tm.tm_min) || !read_number(&p, 2, "", &tm.tm_sec))
        return false;
    if (*p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (!read_zone(p, &zone))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ms = ((int64_t)timegm(&tm) - zone * 60) * 1000;
    return true;
}

/* Goes into a header as it is: visible characters only, so that it cannot end the line. */
static bool is_sendable(const char *token)
{
    size_t len = strlen(token);
    if (len == 0 || len > LIMIT_TOKEN)
        return false;
    for (; *token; token++)
        if (*token <= ' ' || *token >= 0x7f)
            return false;
    return true;
}

static int64_t life_of(const json_t *reply, int64_t now_ms)
{
    double seconds = json_number_value(json_object_get(reply, "expires_in")); /* 0 where it is no number */
    int64_t life = TOKEN_LIFE_MIN_MS;
    if (seconds * 1000 > (double)TOKEN_LIFE_MAX_MS)
        life = TOKEN_LIFE_MAX_MS;
    else if (seconds * 1000 > (double)TOKEN_LIFE_MIN_MS)
        life = (int64_t)(seconds * 1000);
    /* A token that was issued a while ago has lived already. Where that leaves none of its life, or it comes from the
     * future, the clocks disagree, and ours counts. */
    const char *issued = json_string_value(json_object_get(reply, "issued_at"));
    int64_t at;
    if (issued && parse_time(issued, &at) && at < now_ms && now_ms - at <= life - TOKEN_LIFE_MIN_MS)
        life -= now_ms - at;
    return life;
}

int token_reply_parse(const char *text, size_t len, int64_t now_ms, struct token_reply *ret_reply)
{
    AUTO_JSON json_t *reply = NULL;
    if (json_text_read(text, len, JSON_REJECT_DUPLICATES, &reply, NULL) == -ENOMEM)
        return -ENOMEM;
    const char *token = json_string_value(json_object_get(reply, "token"));
    if (!token || !token[0])
        token = json_string_value(json_object_get(reply, "access_token"));
    if (!token || !is_sendable(token))
        return -EPROTO;
    struct token_reply r = {.token = strdup(token), .life_ms = life_of(reply, now_ms)};
    if (!r.token)
        return -ENOMEM;
    *ret_reply = r;
    return 0;
}
