#include "server/file.h"

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

void file_finish_secret(struct buf *text)
{
    if (text->data)
        explicit_bzero(text->data, text->cap);
    buf_finish(text);
}
