#include "cli/progress.h"

#include "cli/width.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN 20
#define BAR_MIN 10
#define BAR_MAX 40
#define FULL "━"
#define EMPTY "─"

static size_t terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
        return WIDTH_DEFAULT;
    return w.ws_col < WIDTH_MIN ? WIDTH_MIN : w.ws_col;
}

void progress_init(struct progress *p)
{
    *p = (struct progress){.is_terminal = isatty(STDERR_FILENO) == 1, .width = WIDTH_DEFAULT};
}

void progress_begin(struct progress *p)
{
    p->count = 0;
    p->width = terminal_width();
}

/* The last column stays free: some terminals would begin a new line. */
static size_t usable(const struct progress *p)
{
    return p->width - 1;
}

void progress_line(struct progress *p, const char *fmt, ...)
{
    char text[PROGRESS_LINE_MAX];
    va_list ap;
    if (p->count == PROGRESS_LINES_MAX)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    bool fits = width_of(text) <= usable(p);
    int len = (int)(width_skip(text, fits ? usable(p) : usable(p) - 1) - text);
    (void)snprintf(p->lines[p->count++], PROGRESS_LINE_MAX, "%.*s%s", len, text, fits ? "" : "…");
}

void progress_format_bar(char *line, size_t len, size_t width, const char *name, uint64_t part, uint64_t whole,
                         const char *tail)
{
    size_t tail_width = width_of(tail), name_width = width_of(name), used = 0;
    size_t rest = width > tail_width + 2 ? width - tail_width - 2 : 0; /* for name and bar, with two spaces between */
    size_t bar = rest / 2 > BAR_MAX ? BAR_MAX : rest / 2;
    char shown[PROGRESS_LINE_MAX / 4];
    if (bar < BAR_MIN)
        bar = 0;
    if (rest > bar && name_width > rest - bar)
        name_width = rest - bar;
    width_shorten(name, name_width, "…", shown, sizeof(shown));
    int n = snprintf(line, len, "%s%*s ", shown, (int)(rest - bar - width_of(shown)), "");
    used += n > 0 && (size_t)n < len ? (size_t)n : 0;
    if (part > whole)
        part = whole;
    size_t full = whole ? (size_t)((double)part / (double)whole * (double)bar) : 0;
    for (size_t i = 0; i < bar && used + sizeof(FULL) < len; i++)
        used += (size_t)(stpcpy(line + used, i < full ? FULL : EMPTY) - (line + used));
    (void)snprintf(line + used, len - used, " %s", tail);
}

void progress_bar(struct progress *p, const char *name, uint64_t part, uint64_t whole, const char *tail)
{
    if (p->count < PROGRESS_LINES_MAX)
        progress_format_bar(p->lines[p->count++], PROGRESS_LINE_MAX, usable(p), name, part, whole, tail);
}

/* To where the picture begins. */
static void go_up(const struct progress *p)
{
    if (p->drawn > 0)
        (void)fprintf(stderr, "\033[%zuA", p->drawn);
    (void)fputs("\r\033[J", stderr);
}

void progress_show(struct progress *p)
{
    if (p->is_terminal)
        go_up(p);
    for (size_t i = 0; i < p->count; i++)
        (void)fprintf(stderr, "%s\n", p->lines[i]);
    (void)fflush(stderr);
    p->drawn = p->count;
}

void progress_clear(struct progress *p)
{
    if (p->is_terminal)
        go_up(p);
    p->drawn = 0;
    (void)fflush(stderr);
}
