/*
 * Reading and writing at a place of a file, all of it or an error. Whoever reads knows how long the file is to be. Any
 * thread.
 */
#pragma once

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

/* -EBADMSG: the file ends before. */
MUST_CHECK int io_read(int fd, uint64_t at, void *data, size_t len);
/* -ENOSPC: the disk is full, or a quota used up. Some of it may have been written where it fails. */
MUST_CHECK int io_write(int fd, uint64_t at, const void *data, size_t len);
