#include "server/file.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int file_read(const char *file, struct buf *text, struct buf *why)
{
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r = fd < 0 ? -errno : buf_read(text, fd);
    if (r == 0)
        return 0;
    return buf_adds(why, r == -EFBIG ? "too large" : strerror(-r)) < 0 ? -ENOMEM : r;
}

static int fingerprint(const struct buf *a, const struct buf *b, struct digest *ret_digest)
{
    AUTO(auto_digest_destroy) struct digest_state *state = NULL;
    const uint64_t len = a->len;
    int r = digest_begin(DIGEST_SHA256, &state);
    if (r == 0)
        r = digest_update(state, &len, sizeof(len));
    if (r == 0)
        r = digest_update(state, a->data, a->len);
    if (r == 0 && b)
        r = digest_update(state, b->data, b->len);
    return r == 0 ? digest_end(state, ret_digest) : r;
}

bool file_has_changed(struct file_mark *mark, const struct buf *a, const struct buf *b)
{
    struct digest now = {0};
    if (a && fingerprint(a, b, &now) < 0)
        return true; /* without memory: rather once too often */
    bool changed = !digest_equal(&now, &mark->seen);
    mark->seen = now;
    return changed;
}

void file_forget(struct file_mark *mark)
{
    *mark = (struct file_mark){0};
}

static const char *words(int r, const struct buf *why)
{
    return why->len ? why->data : strerror(-r);
}

int file_fail(const char *file, int r, const struct buf *why, struct buf *error)
{
    return buf_addf(error, "%s: %s", file, words(r, why)) < 0 ? -ENOMEM : r;
}

void file_log_reload(const char *event, const char *file, int r, const struct buf *why)
{
    if (r < 0)
        log_event(LOG_ERROR, event, LOG_S("file", file), LOG_S("result", "failed, the old one stays"),
                  LOG_S("error", words(r, why)));
    else
        log_event(LOG_INFO, event, LOG_S("file", file), LOG_S("result", "done"));
}

void file_finish_secret(struct buf *text)
{
    if (text->data)
        explicit_bzero(text->data, text->cap);
    buf_finish(text);
}
