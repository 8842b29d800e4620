/*
 * A thread that waits in poll() for what its owner looks after, and ends when it is told to: among the descriptors that
 * it polls is `stop`. A member of its owner, zeroed at first. Start and stop are one thread's at a time.
 */
#pragma once

#include "base/auto.h"

#include <pthread.h>
#include <stdbool.h>

struct lookout {
    int stop; /* can be read from when the thread is to end */
    pthread_t thread;
    bool running;
};

MUST_CHECK int lookout_start(struct lookout *l, void *(*run)(void *), void *arg);
/* Returns when it has ended. Nothing where it was not started. */
void lookout_stop(struct lookout *l);
