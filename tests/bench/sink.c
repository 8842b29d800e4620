/*
 * sink: an HTTP/1.1 load client for ./dev bench.
 *
 * One epoll loop a thread, keep-alive connections, one request outstanding on each. Bodies are taken
 * off the socket with MSG_TRUNC, so the kernel discards them and the client costs as little as it
 * can. Every answer must have status 200 or 206 and a Content-Length, and its body must be exactly
 * that long. The result is one line of JSON on stdout; exit 0 whatever the servers answered, 2 when
 * the run itself could not be made.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATHS_MAX 64
#define HEAD_MAX 8192
#define REQUEST_MAX 4096
#define DISCARD_MAX (4u << 20)
#define EVENTS_MAX 256
#define ERRORS_MAX 10000 /* a thread gives up after so many: the server is gone */

struct plan {
    int port;
    unsigned connections;
    unsigned threads;
    double seconds;     /* 0: no limit in time */
    double timeout;     /* hard limit of the whole run */
    uint64_t requests;  /* 0: no limit in number */
    bool once;          /* one GET on each connection, the connect belongs to the measurement */
    int64_t expect;     /* length each body must have, -1: whatever Content-Length says */
    const char *header; /* one more header line, without CRLF */
    const char *paths[PATHS_MAX];
    unsigned n_paths;
};

struct tally {
    uint64_t bytes;
    uint64_t requests;
    uint64_t connect_errors;
    uint64_t status_errors;
    uint64_t length_errors;
    uint64_t unfinished; /* requests without their last byte when the time was up (once mode) */
    uint64_t first_bytes;
    double first_byte_sum;
    double first_byte_min;
    double first_byte_max;
    double end; /* when the last body was complete, or the thread stopped */
};

enum conn_state { CONN_IDLE, CONN_CONNECTING, CONN_HEAD, CONN_BODY };

struct conn {
    int fd;
    enum conn_state state;
    unsigned path;
    bool close_after;
    bool first_byte_seen;
    double asked; /* when the request (once mode: the connect) began */
    uint64_t left;
    size_t have;
    char head[HEAD_MAX];
};

struct worker {
    pthread_t thread;
    const struct plan *plan;
    struct shared *shared;
    int epoll;
    struct conn *conns;
    unsigned n_conns;
    unsigned live; /* connections with a request outstanding */
    struct tally tally;
};

struct shared {
    pthread_barrier_t barrier;
    double start;            /* set by the main thread between two barriers */
    _Atomic uint64_t issued; /* for the limit in number */
    char requests[PATHS_MAX][REQUEST_MAX];
    size_t request_len[PATHS_MAX];
};

static double now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t tally_errors(const struct tally *t)
{
    return t->connect_errors + t->status_errors + t->length_errors;
}

static void conn_drop(struct worker *w, struct conn *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    if (c->state != CONN_IDLE)
        w->live--;
    c->state = CONN_IDLE;
}

static int conn_open(struct worker *w, struct conn *c, bool blocking)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)w->plan->port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    struct epoll_event ev = {.events = blocking ? EPOLLIN : EPOLLOUT, .data = {.ptr = c}};
    int one = 1;
    int err;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (c->fd < 0)
        return -errno;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        goto fail;
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        goto fail;
    return 0;

fail:
    err = errno;
    (void)close(c->fd);
    c->fd = -1;
    return -err;
}

/* Sends the connection's next request. 1: sent, 0: no more are wanted, or a negative errno. */
static int conn_ask(struct worker *w, struct conn *c)
{
    struct shared *sh = w->shared;
    ssize_t n;

    if (w->plan->requests > 0 && sh->issued++ >= w->plan->requests)
        return 0;
    if (!w->plan->once)
        c->asked = now();
    c->have = 0;
    c->first_byte_seen = false;
    c->close_after = false;
    n = send(c->fd, sh->requests[c->path], sh->request_len[c->path], MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n != (ssize_t)sh->request_len[c->path])
        return n < 0 ? -errno : -EIO;
    if (c->state == CONN_IDLE)
        w->live++;
    c->state = CONN_HEAD;
    return 1;
}

/* Puts a steady-mode connection back to work: the same socket, or a new one. */
static void conn_again(struct worker *w, struct conn *c)
{
    c->path = (c->path + 1) % w->plan->n_paths;
    if (c->close_after || c->fd < 0) {
        conn_drop(w, c);
        if (conn_open(w, c, true) < 0) {
            w->tally.connect_errors++;
            return;
        }
    }
    switch (conn_ask(w, c)) {
    case 1:
        return;
    case 0:
        conn_drop(w, c);
        return;
    default:
        w->tally.connect_errors++;
        conn_drop(w, c);
    }
}

static void first_byte(struct worker *w, struct conn *c)
{
    double t = now() - c->asked;

    c->first_byte_seen = true;
    if (w->tally.first_bytes == 0 || t < w->tally.first_byte_min)
        w->tally.first_byte_min = t;
    if (t > w->tally.first_byte_max)
        w->tally.first_byte_max = t;
    w->tally.first_byte_sum += t;
    w->tally.first_bytes++;
}

static void conn_done(struct worker *w, struct conn *c)
{
    w->tally.requests++;
    w->tally.end = now();
    if (!c->first_byte_seen)
        first_byte(w, c);
    if (w->plan->once)
        conn_drop(w, c);
    else
        conn_again(w, c);
}

static void conn_failed(struct worker *w, struct conn *c, uint64_t *counter)
{
    (*counter)++;
    conn_drop(w, c);
    if (!w->plan->once)
        conn_again(w, c);
}

/* Value of a header in a NUL-terminated head, or NULL. */
static const char *head_find(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = strstr(head, "\r\n"); p != NULL; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, len) == 0 && p[len] == ':')
            return p + len + 1 + strspn(p + len + 1, " \t");
    }
    return NULL;
}

/* A whole head is there: checks it and starts the body. `extra` bytes of body came with it. */
static void conn_head(struct worker *w, struct conn *c, char *end)
{
    const char *value;
    size_t extra;
    int status;

    extra = c->have - (size_t)(end - c->head);
    end[-2] = '\0'; /* keeps the CRLF of the last line */
    status = strncmp(c->head, "HTTP/1.", 7) == 0 ? (int)strtol(c->head + 9, NULL, 10) : 0;
    if (status != 200 && status != 206) {
        conn_failed(w, c, &w->tally.status_errors);
        return;
    }
    value = head_find(c->head, "connection");
    c->close_after = value != NULL && strncasecmp(value, "close", 5) == 0;
    value = head_find(c->head, "content-length");
    c->left = value != NULL ? strtoull(value, NULL, 10) : 0;
    if (value == NULL || extra > c->left || (w->plan->expect >= 0 && c->left != (uint64_t)w->plan->expect)) {
        conn_failed(w, c, &w->tally.length_errors);
        return;
    }
    c->state = CONN_BODY;
    c->left -= extra;
    w->tally.bytes += extra;
    if (extra > 0)
        first_byte(w, c);
    if (c->left == 0)
        conn_done(w, c);
}

static void conn_readable(struct worker *w, struct conn *c)
{
    ssize_t n;

    if (c->state == CONN_HEAD) {
        char *end;

        n = recv(c->fd, c->head + c->have, sizeof(c->head) - 1 - c->have, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            conn_failed(w, c, n < 0 ? &w->tally.connect_errors : &w->tally.length_errors);
            return;
        }
        c->have += (size_t)n;
        c->head[c->have] = '\0';
        end = memmem(c->head, c->have, "\r\n\r\n", 4);
        if (end != NULL)
            conn_head(w, c, end + 4);
        else if (c->have == sizeof(c->head) - 1)
            conn_failed(w, c, &w->tally.length_errors);
        return;
    }

    n = recv(c->fd, NULL, c->left < DISCARD_MAX ? c->left : DISCARD_MAX, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_failed(w, c, &w->tally.length_errors);
        return;
    }
    if (!c->first_byte_seen)
        first_byte(w, c);
    w->tally.bytes += (uint64_t)n;
    c->left -= (uint64_t)n;
    if (c->left == 0)
        conn_done(w, c);
}

static void conn_event(struct worker *w, struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = c}};
    socklen_t len = sizeof(int);
    int err = 0;

    if (c->state == CONN_HEAD || c->state == CONN_BODY) {
        conn_readable(w, c);
        return;
    }
    if (c->state != CONN_CONNECTING) {
        conn_failed(w, c, &w->tally.connect_errors);
        return;
    }
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err != 0 ||
        epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0 || conn_ask(w, c) <= 0)
        conn_failed(w, c, &w->tally.connect_errors);
}

static void worker_begin(struct worker *w)
{
    for (unsigned i = 0; i < w->n_conns; i++) {
        struct conn *c = &w->conns[i];

        if (!w->plan->once) {
            if (c->fd >= 0 && conn_ask(w, c) < 0)
                conn_failed(w, c, &w->tally.connect_errors);
            continue;
        }
        c->asked = now();
        if (conn_open(w, c, false) < 0) {
            w->tally.connect_errors++;
            continue;
        }
        c->state = CONN_CONNECTING;
        w->live++;
    }
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    const struct plan *plan = w->plan;
    struct epoll_event events[EVENTS_MAX];
    double deadline;

    /* Steady mode measures serving, not accepting: every connection stands before the clock runs. */
    for (unsigned i = 0; !plan->once && i < w->n_conns; i++)
        if (conn_open(w, &w->conns[i], true) < 0)
            w->tally.connect_errors++;

    /* Between the two the main thread reads the clock for everybody. */
    (void)pthread_barrier_wait(&w->shared->barrier);
    (void)pthread_barrier_wait(&w->shared->barrier);
    deadline = w->shared->start + plan->timeout;
    if (plan->seconds > 0 && plan->seconds < plan->timeout)
        deadline = w->shared->start + plan->seconds;
    w->tally.end = w->shared->start;
    worker_begin(w);

    while (w->live > 0 && tally_errors(&w->tally) < ERRORS_MAX) {
        double left = deadline - now();
        int n;

        if (left <= 0)
            break;
        n = epoll_wait(w->epoll, events, EVENTS_MAX, (int)(left * 1000) + 1);
        if (n < 0 && errno != EINTR)
            break;
        for (int i = 0; i < n; i++)
            conn_event(w, events[i].data.ptr);
    }
    if (w->live > 0)
        w->tally.end = now();
    if (plan->once || plan->seconds <= 0)
        w->tally.unfinished = w->live;
    for (unsigned i = 0; i < w->n_conns; i++)
        conn_drop(w, &w->conns[i]);
    return NULL;
}

static int plan_parse(int argc, char **argv, struct plan *plan)
{
    int opt;

    while ((opt = getopt(argc, argv, "p:c:t:d:n:T:l:H:u:1")) != -1) {
        switch (opt) {
        case 'p':
            plan->port = (int)strtol(optarg, NULL, 10);
            break;
        case 'c':
            plan->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            plan->threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            plan->seconds = strtod(optarg, NULL);
            break;
        case 'n':
            plan->requests = strtoull(optarg, NULL, 10);
            break;
        case 'T':
            plan->timeout = strtod(optarg, NULL);
            break;
        case 'l':
            plan->expect = strtoll(optarg, NULL, 10);
            break;
        case 'H':
            plan->header = optarg;
            break;
        case 'u':
            if (plan->n_paths == PATHS_MAX)
                return -E2BIG;
            plan->paths[plan->n_paths++] = optarg;
            break;
        case '1':
            plan->once = true;
            break;
        default:
            return -EINVAL;
        }
    }
    if (plan->port <= 0 || plan->port > 65535 || plan->connections == 0 || plan->threads == 0 || plan->n_paths == 0 ||
        plan->timeout <= 0)
        return -EINVAL;
    if (!plan->once && plan->seconds <= 0 && plan->requests == 0)
        return -EINVAL;
    if (plan->threads > plan->connections)
        plan->threads = plan->connections;
    return 0;
}

static int shared_init(const struct plan *plan, struct shared *sh)
{
    for (unsigned i = 0; i < plan->n_paths; i++) {
        int n = snprintf(sh->requests[i], REQUEST_MAX,
                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: sink\r\n%s%s\r\n", plan->paths[i],
                         plan->port, plan->header != NULL ? plan->header : "", plan->header != NULL ? "\r\n" : "");

        if (n < 0 || n >= REQUEST_MAX)
            return -E2BIG;
        sh->request_len[i] = (size_t)n;
    }
    return -pthread_barrier_init(&sh->barrier, NULL, plan->threads + 1);
}

static int worker_init(struct worker *w, const struct plan *plan, struct shared *sh, unsigned index)
{
    w->plan = plan;
    w->shared = sh;
    w->n_conns = plan->connections / plan->threads + (index < plan->connections % plan->threads);
    w->conns = calloc(w->n_conns, sizeof(*w->conns));
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->conns == NULL || w->epoll < 0)
        return -ENOMEM;
    for (unsigned i = 0; i < w->n_conns; i++) {
        w->conns[i].fd = -1;
        w->conns[i].path = (index + i) % plan->n_paths;
    }
    return 0;
}

static void tally_add(struct tally *sum, const struct tally *t)
{
    sum->bytes += t->bytes;
    sum->requests += t->requests;
    sum->connect_errors += t->connect_errors;
    sum->status_errors += t->status_errors;
    sum->length_errors += t->length_errors;
    sum->unfinished += t->unfinished;
    if (t->first_bytes > 0 && (sum->first_bytes == 0 || t->first_byte_min < sum->first_byte_min))
        sum->first_byte_min = t->first_byte_min;
    if (t->first_byte_max > sum->first_byte_max)
        sum->first_byte_max = t->first_byte_max;
    sum->first_byte_sum += t->first_byte_sum;
    sum->first_bytes += t->first_bytes;
    if (t->end > sum->end)
        sum->end = t->end;
}

static void print_result(const struct plan *plan, const struct tally *sum, double start)
{
    double mean = sum->first_bytes > 0 ? sum->first_byte_sum / (double)sum->first_bytes : 0;
    struct rusage use;

    (void)getrusage(RUSAGE_SELF, &use);
    printf("{\"connections\":%u,\"wall\":%.6f,\"bytes\":%llu,\"requests\":%llu,"
           "\"connect_errors\":%llu,\"status_errors\":%llu,\"length_errors\":%llu,"
           "\"unfinished\":%llu,\"first_bytes\":%llu,\"first_byte_min\":%.6f,"
           "\"first_byte_avg\":%.6f,\"first_byte_max\":%.6f,\"cpu\":%.6f}\n",
           plan->connections, sum->end - start, (unsigned long long)sum->bytes, (unsigned long long)sum->requests,
           (unsigned long long)sum->connect_errors, (unsigned long long)sum->status_errors,
           (unsigned long long)sum->length_errors, (unsigned long long)sum->unfinished,
           (unsigned long long)sum->first_bytes, sum->first_byte_min, mean, sum->first_byte_max,
           (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

int main(int argc, char **argv)
{
    static struct plan plan = {.connections = 1, .threads = 1, .timeout = 120, .expect = -1};
    static struct shared shared;
    struct worker *workers;
    struct tally sum = {0};

    if (plan_parse(argc, argv, &plan) < 0 || shared_init(&plan, &shared) < 0) {
        fprintf(stderr, "usage: sink -p PORT -u PATH [-u PATH]... [-c CONNECTIONS] [-t THREADS]\n"
                        "            (-d SECONDS | -n REQUESTS | -1) [-T TIMEOUT] [-l LENGTH] [-H HEADER]\n"
                        "  -1  one GET on each connection, all at once, the connect included\n"
                        "  -l  length every body must have      -T  hard limit of the run, in seconds\n");
        return 2;
    }
    workers = calloc(plan.threads, sizeof(*workers));
    if (workers == NULL)
        return 2;
    for (unsigned i = 0; i < plan.threads; i++)
        if (worker_init(&workers[i], &plan, &shared, i) < 0 ||
            pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) != 0) {
            fprintf(stderr, "sink: cannot start a thread: %s\n", strerror(errno));
            return 2;
        }
    (void)pthread_barrier_wait(&shared.barrier);
    shared.start = now();
    sum.end = shared.start;
    (void)pthread_barrier_wait(&shared.barrier);
    for (unsigned i = 0; i < plan.threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        tally_add(&sum, &workers[i].tally);
        (void)close(workers[i].epoll);
        free(workers[i].conns);
    }
    free(workers);
    print_result(&plan, &sum, shared.start);
    return 0;
}
