#include "upstream/header.h"

#include "base/limits.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define RETRY_AFTER_MIN_MS 1000LL
#define RETRY_AFTER_MAX_MS (24 * 3600 * 1000LL)
#define EPOCH_SECONDS 1000000000LL /* a Retry-After from here on is a date: 2001, or a wait of thirty years */

void header_init(struct header *h)
{
    *h = (struct header){.content_length = -1, .range_start = -1, .range_end = -1, .range_total = -1};
    h->content_type = h->digest = h->etag = h->link = h->filters = h->location = h->retry_after = h->challenges =
        h->limit = h->remaining = h->limit_source = h->limit_reset = BUF_INIT(LIMIT_RESPONSE_HEADER);
}

void header_finish(struct header *h)
{
    buf_finish(&h->content_type);
    buf_finish(&h->digest);
    buf_finish(&h->etag);
    buf_finish(&h->link);
    buf_finish(&h->filters);
    buf_finish(&h->location);
    buf_finish(&h->retry_after);
    buf_finish(&h->challenges);
    buf_finish(&h->limit);
    buf_finish(&h->remaining);
    buf_finish(&h->limit_source);
    buf_finish(&h->limit_reset);
}

const char *header_text(const struct buf *field)
{
    return field->len ? field->data : "";
}

/* Digits only. */
static bool parse_number(const char **p, int64_t *ret_number)
{
    int64_t n = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; (*p)++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, **p - '0', &n))
            return false;
    *ret_number = n;
    return *p > start;
}

bool header_parse_content_range(const char *text, int64_t *ret_start, int64_t *ret_end, int64_t *ret_total)
{
    int64_t start, end, total = -1;
    if (strncasecmp(text, "bytes ", 6) != 0)
        return false;
    const char *p = text + 6;
    if (!parse_number(&p, &start) || *p++ != '-' || !parse_number(&p, &end) || *p++ != '/')
        return false;
    if (*p == '*')
        p++;
    else if (!parse_number(&p, &total))
        return false;
    if (*p || end < start || end == INT64_MAX || (total >= 0 && end >= total))
        return false;
    *ret_start = start;
    *ret_end = end;
    *ret_total = total;
    return true;
}

static int64_t clamp(int64_t ms)
{
    return ms < RETRY_AFTER_MIN_MS ? RETRY_AFTER_MIN_MS : ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
}

int64_t header_parse_retry_after(const char *text, int64_t now_ms)
{
    const char *p = text;
    int64_t n;
    if (*p >= '0' && *p <= '9') {
        if (!parse_number(&p, &n) || *p || n > INT64_MAX / 1000)
            return -1;
        return clamp(n >= EPOCH_SECONDS ? n * 1000 - now_ms : n * 1000);
    }
    time_t date = *p ? curl_getdate(p, NULL) : -1;
    return date == -1 ? -1 : clamp((int64_t)date * 1000 - now_ms);
}

int64_t header_retry_after_ms(const struct header *h, int64_t now_ms)
{
    int64_t ms = header_parse_retry_after(header_text(&h->retry_after), now_ms);
    return ms >= 0 || h->status != 429 ? ms : header_parse_retry_after(header_text(&h->limit_reset), now_ms);
}

static int content_length(struct header *h, const char *value)
{
    int64_t n;
    if (!parse_number(&value, &n) || *value || (h->content_length >= 0 && h->content_length != n))
        return -EPROTO;
    h->content_length = n;
    return 0;
}

static int content_type(struct header *h, const char *value)
{
    if (h->content_type.len)
        return 0;
    size_t len = strcspn(value, "; \t");
    int r = buf_add(&h->content_type, value, len);
    for (size_t i = 0; r == 0 && i < len; i++)
        if (value[i] >= 'A' && value[i] <= 'Z')
            h->content_type.data[i] = (char)(value[i] - 'A' + 'a');
    return r;
}

/* The first of its name counts. */
static int once(struct buf *field, const char *value)
{
    return field->len ? 0 : buf_adds(field, value);
}

static int joined(struct buf *field, const char *separator, const char *value)
{
    int r = field->len ? buf_adds(field, separator) : 0;
    return r < 0 ? r : buf_adds(field, value);
}

/* With or without x-: some have the one, some the other (protocol.md §1.4). */
static struct buf *limit_field(struct header *h, const char *name)
{
    if (strcasecmp(name, "Docker-RateLimit-Source") == 0)
        return &h->limit_source;
    if (strncasecmp(name, "X-", 2) == 0)
        name += 2;
    return strcasecmp(name, "RateLimit-Limit") == 0       ? &h->limit
           : strcasecmp(name, "RateLimit-Remaining") == 0 ? &h->remaining
           : strcasecmp(name, "RateLimit-Reset") == 0     ? &h->limit_reset
                                                          : NULL;
}

static int field(struct header *h, const char *name, const char *value)
{
    if (strcasecmp(name, "Content-Length") == 0)
        return content_length(h, value);
    if (strcasecmp(name, "Transfer-Encoding") == 0)
        h->chunked = true;
    if (strcasecmp(name, "Content-Encoding") == 0 && strcasecmp(value, "identity") != 0 && *value)
        h->encoded = true;
    if (strcasecmp(name, "Content-Range") == 0)
        (void)header_parse_content_range(value, &h->range_start, &h->range_end, &h->range_total);
    if (strcasecmp(name, "Content-Type") == 0)
        return content_type(h, value);
    if (strcasecmp(name, "Docker-Content-Digest") == 0)
        return once(&h->digest, value);
    if (strcasecmp(name, "ETag") == 0)
        return once(&h->etag, value);
    if (strcasecmp(name, "Location") == 0)
        return once(&h->location, value);
    if (strcasecmp(name, "Retry-After") == 0)
        return once(&h->retry_after, value);
    if (strcasecmp(name, "Link") == 0)
        return joined(&h->link, ", ", value);
    if (strcasecmp(name, "OCI-Filters-Applied") == 0)
        return joined(&h->filters, ",", value);
    if (strcasecmp(name, "WWW-Authenticate") == 0)
        return joined(&h->challenges, "\n", value);
    struct buf *limit = limit_field(h, name);
    return limit ? once(limit, value) : 0;
}

static int status_line(struct header *h, const char *line)
{
    size_t bytes = h->bytes;
    header_finish(h);
    header_init(h);
    h->bytes = bytes;
    const char *p = strchr(line, ' ');
    int64_t status;
    if (!p || (p++, !parse_number(&p, &status)) || status < 100 || status > 999)
        return -EPROTO;
    h->status = (int)status;
    return 0;
}

int header_line(struct header *h, const char *line, size_t len)
{
    h->bytes += len;
    if (h->bytes > LIMIT_RESPONSE_HEADER)
        return -EFBIG;
    if (h->complete)
        return 0; /* trailers are nobody's business */
    while (len > 0 && strchr("\r\n \t", line[len - 1]))
        len--;
    if (memchr(line, '\0', len))
        return -EPROTO;
    if (len == 0) {
        if (h->chunked)
            h->content_length = -1;
        h->complete = h->status >= 200;
        return h->complete;
    }
    AUTO_FREE char *text = strndup(line, len);
    if (!text)
        return -ENOMEM;
    if (strncasecmp(text, "HTTP/", 5) == 0)
        return status_line(h, text);
    char *colon = strchr(text, ':');
    if (!colon)
        return 0;
    *colon++ = '\0';
    return field(h, text, colon + strspn(colon, " \t"));
}
