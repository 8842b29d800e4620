/*
 * When a node's files are there: from the first answer of the mirror until it has been silent for long. Pure; one
 * thread. Times are of clock_monotonic_ms().
 *
 *   state     answer          silence, shorter    silence, long
 *   there     write: again    leave               remove → gone
 *   gone      write → there   leave               leave
 *
 * Whether an earlier run left files is not known at first: that state is `there`, so that they have their time, too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watch {
    int64_t gone_after_ms;
    int64_t heard_ms; /* the last answer, or the beginning */
    bool gone;
};

enum watch_step { WATCH_LEAVE, WATCH_WRITE, WATCH_REMOVE };

void watch_begin(struct watch *w, int64_t gone_after_ms, int64_t now_ms);
/* What is to be done now that the mirror was asked. To write what is there already costs nothing, and repairs. */
enum watch_step watch_asked(struct watch *w, bool answered, int64_t now_ms);
