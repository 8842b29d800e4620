#include "server/watch.h"

#include "base/clock.h"
#include "server/lookout.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

/* Several files are rarely written at once: it is waited until nothing has happened for so long, but not for ever. */
#define SETTLE_MS 200
#define SETTLE_MAX_MS (2 * CLOCK_SECOND)

#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct watch {
    /* set at create */
    const char *const *files;
    size_t count;
    int64_t every_ms;
    watch_changed *fn;
    void *arg;
    int inotify; /* -1: the system has none left, and only time tells */
    struct lookout lookout;
};

static void watch_directory_of(const struct watch *w, const char *file)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(file, '/');
    int n = !slash ? snprintf(directory, sizeof(directory), ".")
                   : snprintf(directory, sizeof(directory), "%.*s", (int)(slash == file ? 1 : slash - file), file);
    if (n > 0 && (size_t)n < sizeof(directory))
        (void)inotify_add_watch(w->inotify, directory, EVENTS | IN_ONLYDIR); /* not there now: there is the clock */
}

/* Again at each turn, which costs nothing where it is watched already: a directory may have been replaced. */
static void watch_directories(const struct watch *w)
{
    for (size_t i = 0; w->inotify >= 0 && i < w->count; i++) {
        AUTO_FREE char *target = realpath(w->files[i], NULL);
        watch_directory_of(w, w->files[i]);
        if (target)
            watch_directory_of(w, target);
    }
}

static void discard_events(const struct watch *w)
{
    _Alignas(struct inotify_event) char events[4096];
    while (read(w->inotify, events, sizeof(events)) > 0)
        ;
}

/* False: to be stopped. */
static bool settle(const struct watch *w, struct pollfd *fds)
{
    const int64_t until = clock_monotonic_ms() + SETTLE_MAX_MS;
    while (fds[1].revents && clock_monotonic_ms() < until) {
        discard_events(w);
        if (poll(fds, 2, SETTLE_MS) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            return false;
    }
    return true;
}

static void *run(void *arg)
{
    struct watch *w = arg;
    struct pollfd fds[] = {{.fd = w->lookout.stop, .events = POLLIN}, {.fd = w->inotify, .events = POLLIN}};
    for (;;) {
        watch_directories(w);
        w->fn(w->arg);
        int n = poll(fds, 2, (int)w->every_ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (fds[0].revents || (n > 0 && !settle(w, fds)))
            return NULL;
    }
}

int watch_create(const char *const *files, size_t count, int64_t every_ms, watch_changed *fn, void *arg,
                 struct watch **ret_watch)
{
    AUTO(auto_watch_destroy) struct watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->files = files;
    w->count = count;
    w->every_ms = every_ms;
    w->fn = fn;
    w->arg = arg;
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int r = lookout_start(&w->lookout, run, w);
    if (r == 0)
        *ret_watch = TAKE_PTR(w);
    return r;
}

void watch_destroy(struct watch *w)
{
    if (!w)
        return;
    lookout_stop(&w->lookout);
    if (w->inotify >= 0)
        (void)close(w->inotify);
    free(w);
}
