#include "cli/watch.h"

void watch_begin(struct watch *w, int64_t gone_after_ms, int64_t now_ms)
{
    *w = (struct watch){.gone_after_ms = gone_after_ms, .heard_ms = now_ms};
}

enum watch_step watch_asked(struct watch *w, bool answered, int64_t now_ms)
{
    if (answered) {
        w->heard_ms = now_ms;
        w->gone = false;
        return WATCH_WRITE;
    }
    if (w->gone || now_ms - w->heard_ms < w->gone_after_ms)
        return WATCH_LEAVE;
    w->gone = true;
    return WATCH_REMOVE;
}
