#include "server/body.h"

#include "base/clock.h"
#include "base/limits.h"
#include "mirror/mirror.h"
#include "server/client.h"
#include "server/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* Every response with a reader has a block of its own. Large ones are quick (feasibility.md §2), and a thousand of them
 * would fill memory: by these steps a thousand streams have less than 20 MiB of blocks, beside the 24 KiB or more that
 * libmicrohttpd has for each connection. */
static size_t block_size(unsigned streams, uint64_t length)
{
    static const struct {
        unsigned streams;
        size_t block;
    } steps[] = {{16, 256 * KIB}, {64, 64 * KIB}, {256, 32 * KIB}, {UINT_MAX, 8 * KIB}};
    size_t i = 0;
    while (streams > steps[i].streams)
        i++;
    return length < steps[i].block ? (size_t)length : steps[i].block;
}

static ssize_t read_mirror(void *arg, uint64_t offset, void *data, size_t len)
{
    return mirror_read(arg, offset, data, len);
}

static void note_handed_out(struct request *r, uint64_t until)
{
    r->handed_out = until;
    if (r->at_once)
        r->connected->peer.has_more = until < r->length;
    if (r->first_us == 0)
        r->first_us = clock_monotonic_us();
}

/* MHD_ContentReaderCallback: 0 is allowed only because the connection is suspended then. */
static ssize_t read_body(void *cls, uint64_t offset, char *data, size_t len)
{
    struct request *r = cls;
    if (r->waited && request_abandoned(r))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    r->waited = false;
    ssize_t n = r->parts ? multipart_read(r->parts, offset, data, len, r->may_wait, read_mirror, r->session)
                         : mirror_read(r->session, r->first + offset, data, len);
    if (n < 0) {
        r->cut = true;
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (n > 0)
        note_handed_out(r, offset + (uint64_t)n);
    return n;
}

/* `told` is the length that the client is told. */
static struct MHD_Response *from_reader(struct request *r, uint64_t length, uint64_t told,
                                        MHD_ContentReaderCallback read)
{
    r->length = length;
    r->streamed = true;
    unsigned streams = ++r->door->streams;
    return MHD_create_response_from_callback(told, block_size(streams, length), read, r, NULL);
}

static struct MHD_Response *from_memory(struct request *r, const void *memory, uint64_t length)
{
    r->length = length;
    /* The session outlives the response: libmicrohttpd says that a request is completed when it has sent the last of
     * it, and only then lets go of the response. It does not write to the buffer. */
    return MHD_create_response_from_buffer((size_t)length, (void *)(uintptr_t)memory, MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *from_file(struct request *r, int fd, struct range range)
{
    AUTO_CLOSE int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return NULL;
    r->length = range.last - range.first + 1;
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(r->length, own, range.first);
    if (response)
        (void)TAKE_FD(own); /* closed with the response */
    return response;
}

static struct MHD_Response *from_part(struct request *r, struct range range)
{
    const uint64_t length = range.last - range.first + 1;
    r->first = range.first;
    return from_reader(r, length, length, read_body);
}

/* There is no sendfile then, and libmicrohttpd would read the file in pieces of 4 KiB and send each as a record of its
 * own (feasibility.md §1.2). */
static bool is_encrypted(const struct request *r)
{
    return r->connected && r->connected->secure;
}

struct MHD_Response *body_whole(struct request *r, const struct mirror_answer *a)
{
    if (a->size == 0 || a->body == MIRROR_NO_BODY)
        return body_text(r, "");
    return body_range(r, a, (struct range){.first = 0, .last = a->size - 1});
}

struct MHD_Response *body_range(struct request *r, const struct mirror_answer *a, struct range range)
{
    switch (a->body) {
    case MIRROR_MEMORY:
        return from_memory(r, (const char *)a->memory + range.first, range.last - range.first + 1);
    case MIRROR_FILE:
        r->at_once = is_encrypted(r);
        return r->at_once ? from_part(r, range) : from_file(r, a->fd, range);
    case MIRROR_FLIGHT:
        return from_part(r, range);
    case MIRROR_NO_BODY:
        break;
    }
    return NULL;
}

struct MHD_Response *body_ranges(struct request *r, const struct mirror_answer *a, struct ranges *ranges)
{
    if (multipart_create(ranges, a->size, a->content_type, &r->parts) < 0)
        return NULL;
    r->may_wait = a->body == MIRROR_FLIGHT;
    return from_reader(r, multipart_length(r->parts), multipart_length(r->parts), read_body);
}

static ssize_t read_packed(void *cls, uint64_t offset, char *data, size_t len)
{
    struct request *r = cls;
    ssize_t n;
    if (offset == r->length)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (len > r->length - offset)
        len = (size_t)(r->length - offset);
    do
        n = pread(r->packed_fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        r->cut = true;
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    note_handed_out(r, offset + (uint64_t)n);
    return n;
}

struct MHD_Response *body_packed(struct request *r, const struct mirror_answer *a)
{
    r->packed_fd = a->packed_fd;
    return from_reader(r, a->packed_size, MHD_SIZE_UNKNOWN, read_packed);
}

static ssize_t read_nothing(void *cls, uint64_t offset, char *data, size_t len)
{
    (void)cls;
    (void)offset;
    (void)data;
    (void)len;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

struct MHD_Response *body_absent(struct request *r, uint64_t length)
{
    r->length = 0;
    return MHD_create_response_from_callback(length, 1, read_nothing, NULL, NULL);
}

struct MHD_Response *body_text(struct request *r, const char *text)
{
    return from_memory(r, text, strlen(text));
}

struct MHD_Response *body_owned(struct request *r, char *data, size_t len)
{
    r->length = len;
    struct MHD_Response *response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    return response;
}
