#include "base/unix_address.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

int unix_address_init(const char *path, struct unix_address *ret_address)
{
    struct unix_address a = {.address.sun_family = AF_UNIX, .directory = -1};
    const size_t cap = sizeof(a.address.sun_path);
    if (strlen(path) < cap) {
        memcpy(a.address.sun_path, path, strlen(path) + 1);
    } else {
        const char *slash = strrchr(path, '/');
        AUTO_FREE char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
        if (!directory)
            return slash ? -ENOMEM : -ENAMETOOLONG;
        AUTO_CLOSE int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        int n = snprintf(a.address.sun_path, cap, "/proc/self/fd/%d%s", fd, slash);
        if (n < 0 || (size_t)n >= cap)
            return -ENAMETOOLONG;
        a.directory = TAKE_FD(fd);
    }
    *ret_address = a;
    return 0;
}

void unix_address_finish(struct unix_address *a)
{
    if (a->directory >= 0)
        (void)close(a->directory);
    a->directory = -1;
}
