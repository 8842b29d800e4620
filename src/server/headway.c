#include "server/headway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/lookout.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LOOK_EVERY CLOCK_SECOND

struct headway_watch {
    /* set at create */
    struct headway_terms terms;
    struct lookout lookout;

    pthread_mutex_t lock;
    struct headway *first; /* under lock */
};

enum headway_verdict headway_judge(struct headway *p, const struct headway_terms *terms, const struct headway_sample *s)
{
    const bool answering = s->phase % 2 == 1;
    const uint64_t bytes = answering ? s->acked : s->received;
    const int64_t elapsed_ms = s->now_ms - p->since_ms;
    /* Time counts from where nothing had come of a head, and where something is left to be taken. */
    bool starts = s->phase != p->seen_phase || (answering ? !s->owed || terms->min_rate == 0 : bytes == p->bytes);
    if (!starts && !answering)
        return terms->header_ms > 0 && elapsed_ms >= terms->header_ms ? HEADWAY_SLOW_HEADER : HEADWAY_GOOD;
    if (!starts && elapsed_ms < terms->over_ms)
        return HEADWAY_GOOD;
    if (!starts && (double)(bytes - p->bytes) * CLOCK_SECOND < (double)terms->min_rate * (double)elapsed_ms)
        return HEADWAY_SLOW_READER;
    p->seen_phase = s->phase;
    p->bytes = bytes;
    p->since_ms = s->now_ms;
    return HEADWAY_GOOD;
}

/* False: the system does not say it. */
static bool look(const struct headway *p, int64_t now_ms, struct headway_sample *ret_sample)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    int queued = 0;
    unsigned phase = p->phase; /* before the bytes: what comes in between is of a later one */
    if (getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || ioctl(p->fd, SIOCOUTQ, &queued) < 0 ||
        len < offsetof(struct tcp_info, tcpi_segs_out) || (phase % 2 == 1 && info.tcpi_bytes_received == 0))
        return false;
    *ret_sample = (struct headway_sample){
        .now_ms = now_ms,
        .phase = phase,
        .received = info.tcpi_bytes_received,
        .acked = info.tcpi_bytes_acked,
        .owed = queued > 0,
    };
    return true;
}

/* Its thread finds the connection ended, by an error, and does what is to be done then. */
static void cut(struct headway *p, enum headway_verdict why)
{
    const char *reason = why == HEADWAY_SLOW_HEADER ? "header" : "rate";
    (void)shutdown(p->fd, SHUT_RDWR);
    metrics_add(METRIC_CONNECTIONS_SLOW, 1, LABELS(reason));
    log_event(LOG_INFO, "slow_client", LOG_S("client", p->client), LOG_S("reason", reason));
}

/*
 * libmicrohttpd waits for the edge of an epoll when a send was short, and takes it that the socket was full. A send is
 * short too where a signal or a freezer has stopped the process in it, and then no edge comes: the answer stood still
 * until the idle timeout. To set this option to what it is wakes whoever waits for room, and changes nothing.
 */
static void nudge(const struct headway *p)
{
    (void)setsockopt(p->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){0}, sizeof(int));
}

static void look_at_all(struct headway_watch *w)
{
    (void)pthread_mutex_lock(&w->lock);
    const int64_t now_ms = clock_monotonic_ms();
    for (struct headway *p = w->first; p; p = p->next) {
        struct headway_sample s;
        if (!look(p, now_ms, &s))
            continue;
        if (s.phase % 2 == 1 && !s.owed)
            nudge(p);
        enum headway_verdict verdict = headway_judge(p, &w->terms, &s);
        if (verdict != HEADWAY_GOOD) {
            cut(p, verdict);
            p->since_ms = INT64_MAX / 2; /* once is enough */
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
    struct headway_watch *w = arg;
    struct pollfd fd = {.fd = w->lookout.stop, .events = POLLIN};
    while (poll(&fd, 1, (int)LOOK_EVERY) <= 0)
        look_at_all(w);
    return NULL;
}

int headway_watch_create(const struct headway_terms *terms, struct headway_watch **ret_watch)
{
    AUTO(auto_headway_watch_destroy) struct headway_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->terms = *terms;
    (void)pthread_mutex_init(&w->lock, NULL);
    int r = lookout_start(&w->lookout, run, w);
    if (r == 0)
        *ret_watch = TAKE_PTR(w);
    return r;
}

void headway_watch_destroy(struct headway_watch *w)
{
    if (!w)
        return;
    lookout_stop(&w->lookout);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

void headway_begin(struct headway_watch *w, struct headway *p, int fd, const char *client)
{
    p->fd = fd;
    p->client = client;
    p->since_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&w->lock);
    p->next = w->first;
    if (p->next)
        p->next->previous = p;
    w->first = p;
    (void)pthread_mutex_unlock(&w->lock);
}

void headway_end(struct headway_watch *w, struct headway *p)
{
    (void)pthread_mutex_lock(&w->lock);
    if (p->next)
        p->next->previous = p->previous;
    if (p->previous)
        p->previous->next = p->next;
    else
        w->first = p->next;
    (void)pthread_mutex_unlock(&w->lock);
}

void headway_answering(struct headway *p)
{
    p->phase |= 1;
}

void headway_answered(struct headway *p)
{
    p->phase = (p->phase | 1) + 1;
}
