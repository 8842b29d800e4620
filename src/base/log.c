#include "base/log.h"

#include "base/buf.h"
#include "base/limits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static struct {
    /* set by log_configure() */
    _Atomic int level;
    _Atomic int format;

    pthread_mutex_t lock;
    pthread_cond_t stirred;
    /* under lock */
    struct buf gathered;
    bool running, stopping;
    pthread_t thread;
} log_state = {
    .level = LOG_INFO,
    .format = LOG_TEXT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .stirred = PTHREAD_COND_INITIALIZER,
    .gathered = {.max = LOG_GATHER},
};

static const char *const level_names[] = {
    [LOG_NOTICE] = "notice", [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

void log_configure(enum log_level level, enum log_format format)
{
    log_state.level = level;
    log_state.format = format;
}

bool log_wanted(enum log_level level)
{
    return (int)level <= log_state.level;
}

/* A log that cannot be written is no reason to stop serving. */
static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void flush_locked(void)
{
    if (log_state.gathered.len > 0)
        write_all(log_state.gathered.data, log_state.gathered.len);
    buf_reset(&log_state.gathered);
}

/* A value stands bare where nobody could mistake it, quoted as in JSON otherwise. */
static bool is_bare(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f || *s == '"' || *s == '=' || *s == '\\')
            return false;
    return true;
}

static int add_field(struct buf *line, const char *key, const struct log_field *f, bool json)
{
    int r = json ? buf_addf(line, ",\"%s\":", key) : buf_addf(line, " %s=", key);
    if (r < 0)
        return r;
    switch (f->type) {
    case LOG_FIELD_STRING:
        return !json && is_bare(f->string) ? buf_adds(line, f->string) : buf_add_json(line, f->string);
    case LOG_FIELD_INT:
        return buf_addf(line, "%lld", (long long)f->integer);
    case LOG_FIELD_UINT:
        return buf_addf(line, "%llu", (unsigned long long)f->number);
    }
    return 0;
}

static int format_line(struct buf *line, enum log_level level, const char *event, const struct log_field *fields,
                       unsigned count)
{
    bool json = log_state.format == LOG_JSON;
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    char stamp[64];
    size_t n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ", now.tv_nsec / 1000000);

    int r = buf_addf(line, json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"" : "time=%s level=%s event=%s",
                     stamp, level_names[level], event);
    for (unsigned i = 0; r == 0 && i < count; i++)
        if (fields[i].type != LOG_FIELD_STRING || fields[i].string)
            r = add_field(line, fields[i].key, &fields[i], json);
    if (r == 0)
        r = buf_adds(line, json ? "}\n" : "\n");
    return r;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, unsigned count)
{
    if (!log_wanted(level))
        return;
    AUTO_BUF struct buf line = BUF_INIT(LOG_LINE_MAX);
    if (format_line(&line, level, event, fields, count) < 0) {
        /* Too long, or no memory: the event is told without its fields. */
        buf_finish(&line);
        const struct log_field cut = LOG_S("fields", "left out");
        if (format_line(&line, level, event, &cut, 1) < 0)
            return;
    }
    (void)pthread_mutex_lock(&log_state.lock);
    if (buf_add(&log_state.gathered, line.data, line.len) < 0) {
        flush_locked();
        if (buf_add(&log_state.gathered, line.data, line.len) < 0)
            write_all(line.data, line.len);
    }
    if (level <= LOG_WARN || !log_state.running)
        flush_locked();
    (void)pthread_mutex_unlock(&log_state.lock);
}

static void *log_thread(void *arg)
{
    (void)pthread_mutex_lock(&log_state.lock);
    while (!log_state.stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100 * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        (void)pthread_cond_timedwait(&log_state.stirred, &log_state.lock, &until);
        flush_locked();
    }
    (void)pthread_mutex_unlock(&log_state.lock);
    return arg;
}

int log_start(void)
{
    (void)pthread_mutex_lock(&log_state.lock);
    log_state.stopping = false;
    int r = pthread_create(&log_state.thread, NULL, log_thread, NULL);
    log_state.running = r == 0;
    (void)pthread_mutex_unlock(&log_state.lock);
    return -r;
}

void log_stop(void)
{
    (void)pthread_mutex_lock(&log_state.lock);
    bool was_running = log_state.running;
    log_state.running = false;
    log_state.stopping = true;
    (void)pthread_cond_signal(&log_state.stirred);
    (void)pthread_mutex_unlock(&log_state.lock);
    if (was_running)
        (void)pthread_join(log_state.thread, NULL);
    (void)pthread_mutex_lock(&log_state.lock);
    flush_locked();
    buf_finish(&log_state.gathered);
    (void)pthread_mutex_unlock(&log_state.lock);
}
