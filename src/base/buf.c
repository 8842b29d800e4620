#include "base/buf.h"

#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define READ_PIECE 65536

void buf_finish(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_reset(struct buf *b)
{
    buf_cut(b, 0);
}

void buf_cut(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

int buf_reserve(struct buf *b, size_t more)
{
    assert(b->max < SIZE_MAX); /* a maximum that is none */
    if (more > b->max || b->len > b->max - more)
        return -EFBIG;
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_read(struct buf *b, int fd)
{
    for (;;) {
        size_t left = b->max - b->len;
        int r = buf_reserve(b, left < READ_PIECE ? left : READ_PIECE);
        if (r < 0)
            return r;
        b->data[b->len] = '\0';
        /* Where it is full, one byte more says whether that was the end. */
        char more;
        ssize_t n = left == 0 ? read(fd, &more, 1) : read(fd, b->data + b->len, b->cap - 1 - b->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        if (left == 0)
            return -EFBIG;
        b->len += (size_t)n;
    }
}

int buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return -EINVAL;
    int r = buf_reserve(b, (size_t)n);
    if (r < 0)
        return r;
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return r;
}

int buf_add_json(struct buf *b, const char *s)
{
    size_t was = b->len;
    int r = buf_adds(b, "\"");
    for (const unsigned char *p = (const unsigned char *)s; r == 0 && *p;) {
        size_t n = utf8_length((const char *)p);
        if (n == 0) {
            r = buf_adds(b, "\\ufffd");
            p++;
        } else if (*p == '"' || *p == '\\') {
            r = buf_addf(b, "\\%c", *p++);
        } else if (*p < 0x20 || *p == 0x7f) {
            r = buf_addf(b, "\\u%04x", *p++);
        } else {
            r = buf_add(b, p, n);
            p += n;
        }
    }
    if (r == 0)
        r = buf_adds(b, "\"");
    if (r < 0)
        buf_cut(b, was);
    return r;
}

int buf_add_urlencoded(struct buf *b, const char *s)
{
    size_t was = b->len;
    int r = 0;
    for (const unsigned char *p = (const unsigned char *)s; r == 0 && *p; p++) {
        unsigned char c = *p;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
            r = buf_add(b, p, 1);
        else
            r = buf_addf(b, "%%%02X", c);
    }
    if (r < 0)
        buf_cut(b, was);
    return r;
}

char *buf_take(struct buf *b)
{
    char *s = b->data ? TAKE_PTR(b->data) : strdup("");
    b->len = b->cap = 0;
    return s;
}
