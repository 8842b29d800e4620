/*
 * The table at the end of a packed file, which says where its frames are: that of the zstd seekable format 0.1.0, a
 * skippable frame, so that every zstd decoder reads the file and passes over the table. Little-endian, as all of zstd.
 * Pure functions; any thread.
 */
#pragma once

#include "base/auto.h"

#include <stdint.h>

#define SEEK_HEADER_SIZE 8
#define SEEK_ENTRY_SIZE 8
#define SEEK_FOOTER_SIZE 9
#define SEEK_FRAMES_MAX 0x8000000U

struct seek_entry {
    uint32_t packed;  /* bytes of the frame in the file */
    uint32_t content; /* bytes that it has in it */
};

/* Of the whole table, for so many frames. */
static inline uint64_t seek_table_size(uint32_t frames)
{
    return SEEK_HEADER_SIZE + (uint64_t)frames * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE;
}

void seek_header_encode(uint32_t frames, uint8_t bytes[SEEK_HEADER_SIZE]);
void seek_entry_encode(const struct seek_entry *e, uint8_t bytes[SEEK_ENTRY_SIZE]);
void seek_footer_encode(uint32_t frames, uint8_t bytes[SEEK_FOOTER_SIZE]);

/* -EBADMSG: not that of a table as we write them: without checksums, which our frames have themselves. */
MUST_CHECK int seek_footer_decode(const uint8_t bytes[SEEK_FOOTER_SIZE], uint32_t *ret_frames);
MUST_CHECK int seek_header_check(const uint8_t bytes[SEEK_HEADER_SIZE], uint32_t frames);
void seek_entry_decode(const uint8_t bytes[SEEK_ENTRY_SIZE], struct seek_entry *ret_entry);
