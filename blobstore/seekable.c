#include "blobstore/seekable.h"

#include <errno.h>

#define SKIPPABLE_MAGIC 0x184D2A5EU
#define SEEKABLE_MAGIC 0x8F92EAB1U

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++, v >>= 8)
        at[i] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static uint32_t skipped_size(uint32_t frames)
{
    return (uint32_t)(seek_table_size(frames) - SEEK_HEADER_SIZE);
}

void seek_header_encode(uint32_t frames, uint8_t bytes[SEEK_HEADER_SIZE])
{
    put32(bytes, SKIPPABLE_MAGIC);
    put32(bytes + 4, skipped_size(frames));
}

void seek_entry_encode(const struct seek_entry *e, uint8_t bytes[SEEK_ENTRY_SIZE])
{
    put32(bytes, e->packed);
    put32(bytes + 4, e->content);
}

void seek_footer_encode(uint32_t frames, uint8_t bytes[SEEK_FOOTER_SIZE])
{
    put32(bytes, frames);
    bytes[4] = 0; /* no checksums in the entries */
    put32(bytes + 5, SEEKABLE_MAGIC);
}

int seek_footer_decode(const uint8_t bytes[SEEK_FOOTER_SIZE], uint32_t *ret_frames)
{
    uint32_t frames = get32(bytes);
    if (frames == 0 || frames > SEEK_FRAMES_MAX || bytes[4] != 0 || get32(bytes + 5) != SEEKABLE_MAGIC)
        return -EBADMSG;
    *ret_frames = frames;
    return 0;
}

int seek_header_check(const uint8_t bytes[SEEK_HEADER_SIZE], uint32_t frames)
{
    return get32(bytes) == SKIPPABLE_MAGIC && get32(bytes + 4) == skipped_size(frames) ? 0 : -EBADMSG;
}

void seek_entry_decode(const uint8_t bytes[SEEK_ENTRY_SIZE], struct seek_entry *ret_entry)
{
    *ret_entry = (struct seek_entry){.packed = get32(bytes), .content = get32(bytes + 4)};
}
