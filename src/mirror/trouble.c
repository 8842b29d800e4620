#include "mirror/trouble.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>

static const char *absence_code(enum mirror_object object)
{
    switch (object) {
    case MIRROR_BLOB:
        return "BLOB_UNKNOWN";
    case MIRROR_TAGS:
        return "NAME_UNKNOWN";
    case MIRROR_MANIFEST:
    case MIRROR_REFERRERS:
        break;
    }
    return "MANIFEST_UNKNOWN";
}

static int retry_after(const struct failure *f, int64_t now)
{
    int64_t left = (f->until - now + CLOCK_SECOND - 1) / CLOCK_SECOND;
    return left < 1 ? 1 : left > 3600 ? 3600 : (int)left;
}

/* It may be had later: the administrator has said what that is to look like. */
static void set_miss(enum config_miss_status miss, enum mirror_object object, struct trouble *t)
{
    switch (miss) {
    case CONFIG_MISS_503:
        break;
    case CONFIG_MISS_404:
        t->status = 404;
        t->code = absence_code(object);
        break;
    case CONFIG_MISS_429:
        t->status = 429;
        t->code = "TOOMANYREQUESTS";
        break;
    }
}

void trouble_of_failure(const struct failure *f, enum mirror_object object, const char *registry, int64_t now,
                        enum config_miss_status miss, struct trouble *ret_trouble)
{
    struct trouble t = {.status = 503, .code = "UNAVAILABLE", .retry_after_s = retry_after(f, now)};
    if (failure_is_absence(f)) {
        t.status = 404;
        t.code = absence_code(object);
        t.retry_after_s = -1;
    } else if (f->error == -ESTALE) { /* RFC 9111 §5.2.1.7 */
        t.status = 504;
        t.retry_after_s = -1;
    } else if (f->error == -EPERM || f->error == -EBADMSG || f->error == -EFBIG || f->error == -EPROTO) {
        t.status = 502;
        t.code = "UNKNOWN";
    } else {
        if (f->error == -EAGAIN)
            t.code = "TOOMANYREQUESTS";
        set_miss(miss, object, &t);
    }
    int n = snprintf(t.message, sizeof(t.message), "%s: %s", registry, f->message);
    if (t.retry_after_s > 0 && n > 0 && (size_t)n < sizeof(t.message))
        (void)snprintf(t.message + n, sizeof(t.message) - (size_t)n, "; worth another try in %d s", t.retry_after_s);
    *ret_trouble = t;
}

void trouble_of_request(int status, const char *code, const char *message, struct trouble *ret_trouble)
{
    *ret_trouble = (struct trouble){.status = status, .code = code, .retry_after_s = -1};
    (void)snprintf(ret_trouble->message, sizeof(ret_trouble->message), "%s", message);
}

void trouble_warning(const struct failure *f, int64_t age_ms, char *text, size_t len)
{
    if (age_ms < 0)
        (void)snprintf(text, len, "299 - \"stale, last checked before the clock was set back: %s", f->message);
    else
        (void)snprintf(text, len, "299 - \"stale, last checked %lld s ago: %s", (long long)(age_ms / CLOCK_SECOND),
                       f->message);
    for (char *p = text + 7; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f || *p == '"' || *p == '\\')
            *p = '\'';
    size_t end = 0;
    while (text[end])
        end++;
    if (end + 1 >= len)
        end = len - 2;
    text[end] = '"';
    text[end + 1] = '\0';
}
