#include "server/lookout.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>

int lookout_start(struct lookout *l, void *(*run)(void *), void *arg)
{
    AUTO_CLOSE int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop < 0)
        return -errno;
    l->stop = stop;
    int r = pthread_create(&l->thread, NULL, run, arg);
    if (r != 0)
        return -r;
    (void)TAKE_FD(stop);
    l->running = true;
    return 0;
}

void lookout_stop(struct lookout *l)
{
    const uint64_t one = 1;
    if (!l->running)
        return;
    (void)!write(l->stop, &one, sizeof(one));
    (void)pthread_join(l->thread, NULL);
    (void)close(l->stop);
    l->running = false;
}
