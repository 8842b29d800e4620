/*
 * The address of a Unix socket by its path. The kernel takes 107 bytes of path; a longer one goes by way of a
 * descriptor of its directory, and is good as long as that is open. Any thread.
 */
#pragma once

#include "base/auto.h"

#include <sys/un.h>

struct unix_address {
    struct sockaddr_un address;
    int directory; /* -1: the path itself fits */
};

/* -ENAMETOOLONG, or what opening the directory said. */
MUST_CHECK int unix_address_init(const char *path, struct unix_address *ret_address);
void unix_address_finish(struct unix_address *a);
