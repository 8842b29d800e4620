#include "blobstore/frame.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

struct frame_compressor {
    ZSTD_CCtx *context;
};

static int error_of(size_t result)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_no_error:
        return 0;
    case ZSTD_error_memory_allocation:
        return -ENOMEM;
    case ZSTD_error_parameter_unsupported:
    case ZSTD_error_parameter_outOfBound:
        return -EINVAL;
    default:
        return -EBADMSG;
    }
}

int frame_compressor_create(int level, struct frame_compressor **ret_compressor)
{
    AUTO(auto_frame_compressor_destroy) struct frame_compressor *c = calloc(1, sizeof(*c));
    if (c)
        c->context = ZSTD_createCCtx();
    if (!c || !c->context)
        return -ENOMEM;
    int r = error_of(ZSTD_CCtx_setParameter(c->context, ZSTD_c_compressionLevel, level));
    if (r == 0)
        r = error_of(ZSTD_CCtx_setParameter(c->context, ZSTD_c_checksumFlag, 1));
    if (r == 0)
        *ret_compressor = TAKE_PTR(c);
    return r;
}

void frame_compressor_destroy(struct frame_compressor *c)
{
    if (!c)
        return;
    (void)ZSTD_freeCCtx(c->context);
    free(c);
}

size_t frame_bound(size_t content_len)
{
    return ZSTD_compressBound(content_len);
}

int frame_compress(struct frame_compressor *c, const void *content, size_t len, void *to, size_t *ret_len)
{
    size_t n = ZSTD_compress2(c->context, to, frame_bound(len), content, len);
    int r = error_of(n);
    if (r == 0)
        *ret_len = n;
    return r;
}

int frame_decompress(const void *frame, size_t frame_len, void *to, size_t len)
{
    size_t n = ZSTD_decompress(to, len, frame, frame_len);
    int r = error_of(n);
    return r == 0 && n != len ? -EBADMSG : r;
}
