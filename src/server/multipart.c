#include "server/multipart.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* The body is count + 1 sections, each a delimiter followed by the bytes of its range; the last one, the closing
 * delimiter, has none. */
struct multipart {
    /* set at create */
    size_t count;
    struct range *ranges;
    uint64_t *starts; /* where each section begins, count + 1 of them */
    uint64_t size, length;
    const char *content_type;
    char boundary[MULTIPART_BOUNDARY + 1];

    size_t at; /* the section that was read last */
    char *delimiter;
    size_t delimiter_cap, delimiter_len;
    size_t delimiter_of; /* the section it belongs to */
};

static int format_delimiter(const struct multipart *m, size_t section, char *text, size_t cap)
{
    if (section == m->count)
        return snprintf(text, cap, "\r\n--%s--\r\n", m->boundary);
    const struct range *r = &m->ranges[section];
    return snprintf(text, cap,
                    "%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
                    section == 0 ? "" : "\r\n", m->boundary, m->content_type, r->first, r->last, m->size);
}

static uint64_t data_length(const struct multipart *m, size_t section)
{
    return section == m->count ? 0 : m->ranges[section].last - m->ranges[section].first + 1;
}

/* A boundary that the content's author could foresee would let content pose as a part. */
static int make_boundary(char *text)
{
    unsigned char raw[MULTIPART_BOUNDARY / 2];
    if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
        return -EIO;
    for (size_t i = 0; i < sizeof(raw); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", raw[i]);
    return 0;
}

int multipart_create(struct ranges *ranges, uint64_t size, const char *content_type, struct multipart **ret_multipart)
{
    AUTO(auto_multipart_destroy) struct multipart *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->count = ranges->count;
    m->size = size;
    m->content_type = content_type;
    m->starts = calloc(m->count + 1, sizeof(*m->starts));
    m->delimiter_cap = strlen(content_type) + 256;
    m->delimiter = malloc(m->delimiter_cap);
    if (!m->starts || !m->delimiter)
        return -ENOMEM;
    int r = make_boundary(m->boundary);
    if (r < 0)
        return r;
    m->ranges = ranges->items;
    for (size_t i = 0; r == 0 && i <= m->count; i++) {
        m->starts[i] = m->length;
        uint64_t more = (uint64_t)format_delimiter(m, i, NULL, 0) + data_length(m, i);
        if (__builtin_add_overflow(m->length, more, &m->length) || m->length > INT64_MAX)
            r = -EOVERFLOW;
    }
    if (r < 0) {
        m->ranges = NULL; /* still the caller's */
        return r;
    }
    m->delimiter_of = SIZE_MAX;
    *ranges = (struct ranges){0};
    *ret_multipart = TAKE_PTR(m);
    return 0;
}

void multipart_destroy(struct multipart *m)
{
    if (!m)
        return;
    free(m->ranges);
    free(m->starts);
    free(m->delimiter);
    free(m);
}

uint64_t multipart_length(const struct multipart *m)
{
    return m->length;
}

const char *multipart_boundary(const struct multipart *m)
{
    return m->boundary;
}

static void seek(struct multipart *m, uint64_t offset)
{
    if (offset < m->starts[m->at])
        m->at = 0;
    while (m->at < m->count && m->starts[m->at + 1] <= offset)
        m->at++;
    if (m->delimiter_of != m->at) {
        m->delimiter_len = (size_t)format_delimiter(m, m->at, m->delimiter, m->delimiter_cap);
        m->delimiter_of = m->at;
    }
}

ssize_t multipart_read(struct multipart *m, uint64_t offset, void *data, size_t len, bool may_wait,
                       multipart_source *source, void *arg)
{
    char *to = data;
    size_t done = 0;

    while (done < len && offset < m->length) {
        seek(m, offset);
        uint64_t within = offset - m->starts[m->at];
        size_t n = len - done;
        if (within < m->delimiter_len) {
            if (n > m->delimiter_len - within)
                n = m->delimiter_len - (size_t)within;
            memcpy(to + done, m->delimiter + within, n);
        } else {
            if (done > 0 && may_wait)
                break;
            within -= m->delimiter_len;
            if (n > data_length(m, m->at) - within)
                n = (size_t)(data_length(m, m->at) - within);
            ssize_t got = source(arg, m->ranges[m->at].first + within, to + done, n);
            assert(got != 0 || may_wait);
            if (got <= 0)
                return done > 0 ? (ssize_t)done : got;
            n = (size_t)got;
        }
        done += n;
        offset += n;
    }
    return (ssize_t)done;
}
