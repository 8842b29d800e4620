/* Preloaded: the 50th sendfile() of a process sends half of what it should, as one does that a signal has stopped, and
 * says so. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define SAID "a send was short\n"

static atomic_int calls;

static ssize_t shorten(const char *name, int out, int in, off_t *offset, size_t len)
{
    ssize_t (*real)(int, int, off_t *, size_t);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    if (++calls != 50)
        return real(out, in, offset, len);
    (void)!write(STDERR_FILENO, SAID, sizeof(SAID) - 1);
    return real(out, in, offset, len / 2);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    return shorten("sendfile", out, in, offset, len);
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t len)
{
    return shorten("sendfile64", out, in, offset, len);
}
