/*
 * Many clients that read, stall, leave and reset at random; producers that advance, fail and wake at random; a stop in
 * the midst of it. Whatever was answered must be right, nothing may be left. Made for ThreadSanitizer. Bounded by
 * counts; the random numbers are the same in every run, the order of events is not.
 */
#include "server/server.h"

#include "base/log.h"
#include "client.h"
#include "fake_mirror.h"
#include "suite.h"

#include <arpa/inet.h>
#include <assert.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CLIENTS 24
#define REQUESTS 200 /* of each client */
#define FLIGHTS 8
#define FLIGHT_SIZE (1u << 20)
#define STORED_SIZE (300u << 10)

static char *listen_items[] = {(char[]){"127.0.0.1:0"}, NULL};

struct torture {
    struct mirror *mirror;
    struct fake_object *flights[FLIGHTS], *held;
    uint16_t port;
    bool stopping; /* connections may be refused and cut */
    _Atomic bool done;
    _Atomic unsigned complete, cut, left;
};

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int try_connect(const struct torture *t)
{
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(t->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
        assert(t->stopping);
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool send_request(int fd, uint32_t choice, uint64_t *ret_first)
{
    char text[1024];
    static const char *const headers[] = {"", "Range: bytes=100000-\r\n", "Range: bytes=1-2,5-9,200000-200009\r\n",
                                          "If-None-Match: *\r\n", "Range: bytes=0-99\r\n"};
    uint32_t header = choice >> 8 & 7;
    *ret_first = header == 1 ? 100000 : header == 2 || header == 3 ? UINT64_MAX : 0;
    if (header > 4)
        header = 0;
    unsigned what = choice & 15;
    const char *kind = what < FLIGHTS ? "flight"
                       : what < 10    ? "file"
                       : what < 12    ? "memory"
                       : what < 14    ? "held"
                                      : "none";
    int n = snprintf(text, sizeof(text), "%s /v2/x/manifests/%s%u HTTP/1.1\r\nHost: t\r\n%s\r\n",
                     choice & 0x10000 ? "GET" : "HEAD", kind, what < FLIGHTS ? what : 0, headers[header]);
    return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

/* Reads one answer, at most `most` bytes of its body. */
static void read_answer(struct torture *t, int fd, bool head, uint64_t first, size_t most, uint32_t *seed)
{
    char text[4096];
    size_t got = 0;
    while (got < 4 || memcmp(text + got - 4, "\r\n\r\n", 4) != 0) {
        assert(got < sizeof(text) - 1);
        ssize_t n = recv(fd, text + got, 1, 0);
        assert(n >= 0 || errno == ECONNRESET);
        if (n <= 0) {
            assert(t->stopping);
            t->cut++;
            return;
        }
        got++;
    }
    text[got] = '\0';
    int status = atoi(text + strlen("HTTP/1.1 "));
    const char *length = strstr(text, "Content-Length: ");
    size_t left = length && !head && status != 304 ? strtoul(length + strlen("Content-Length: "), NULL, 10) : 0;
    bool content = (status == 200 || status == 206) && first != UINT64_MAX;
    if (status == 200)
        first = 0;
    while (left > 0 && most > 0) {
        uint8_t piece[32768];
        size_t want = 1 + next_random(seed) % sizeof(piece);
        if (want > left)
            want = left;
        ssize_t n = recv(fd, piece, want, 0);
        if (n <= 0) {
            t->cut++;
            return;
        }
        for (ssize_t i = 0; content && i < n; i++)
            assert(piece[i] == fake_byte(first + (uint64_t)i));
        first += (uint64_t)n;
        left -= (size_t)n;
        most -= (size_t)n < most ? (size_t)n : most;
    }
    if (left == 0)
        t->complete++;
    else
        t->left++;
}

struct job {
    struct torture *t;
    uint32_t seed;
};

static void *client_thread(void *arg)
{
    struct job *job = arg;
    struct torture *t = job->t;
    int fd = -1;
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint32_t choice = next_random(&job->seed), fate = next_random(&job->seed) % 10;
        uint64_t first;
        if (fd < 0 && (fd = try_connect(t)) < 0)
            break;
        if (!send_request(fd, choice, &first)) {
            (void)close(fd);
            fd = -1;
            continue;
        }
        unsigned cut = t->cut, left = t->left;
        if (fate > 1)
            read_answer(t, fd, !(choice & 0x10000), first, fate > 5 ? SIZE_MAX : choice % FLIGHT_SIZE, &job->seed);
        if (fate > 5 && fate < 9 && t->cut == cut && t->left == left)
            continue; /* the connection is kept, unless anybody was cut */
        if (fate % 2)
            client_reset(fd);
        else
            (void)close(fd);
        fd = -1;
    }
    if (fd >= 0)
        (void)close(fd);
    return NULL;
}

/* Advances every flight, and starts it again when it has ended. */
static void *producer_thread(void *arg)
{
    struct job *job = arg;
    struct torture *t = job->t;
    while (!t->done) {
        uint32_t choice = next_random(&job->seed);
        struct fake_object *o = t->flights[choice % FLIGHTS];
        switch (choice >> 8 & 15) {
        case 0:
            fake_fail(t->mirror, o);
            break;
        case 1:
            fake_restart(t->mirror, o);
            break;
        case 2:
            fake_tick(t->mirror);
            break;
        case 3:
            fake_hold(t->mirror, t->held);
            break;
        case 4:
            fake_release(t->mirror, t->held);
            break;
        case 5:
            fake_advance(t->mirror, o, FLIGHT_SIZE);
            break;
        default:
            fake_grow(t->mirror, o, choice >> 12 & 0x3ffff);
        }
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

static void run(bool stop_early)
{
    log_configure(LOG_ERROR, LOG_TEXT);
    struct config config = {
        .server = {.listen = {.items = listen_items, .count = 1},
                   .threads = 4,
                   .max_connections = CLIENTS / 2,
                   .idle_timeout_ms = 60000,
                   .drain_timeout_ms = stop_early ? 1 : 60000,
                   .max_ranges = 1024},
    };
    struct torture t = {.mirror = fake_mirror_create()};
    struct server *server;
    AUTO_BUF struct buf error = BUF_INIT(4096);
    for (unsigned i = 0; i < FLIGHTS; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "flight%u", i);
        t.flights[i] = fake_add(t.mirror, key, MIRROR_FLIGHT, FLIGHT_SIZE);
    }
    (void)fake_add(t.mirror, "file0", MIRROR_FILE, STORED_SIZE);
    (void)fake_add(t.mirror, "memory0", MIRROR_MEMORY, STORED_SIZE);
    t.held = fake_add(t.mirror, "held0", MIRROR_MEMORY, STORED_SIZE);
    ck_assert_int_eq(server_start(&config, t.mirror, NULL, &server, &error), 0);
    t.port = client_port();
    t.stopping = stop_early;

    pthread_t clients[CLIENTS], producers[2];
    struct job jobs[CLIENTS + 2];
    for (unsigned i = 0; i < CLIENTS + 2; i++)
        jobs[i] = (struct job){.t = &t, .seed = 2463534242u + 7919 * i};
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&producers[i], NULL, producer_thread, &jobs[CLIENTS + i]), 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&clients[i], NULL, client_thread, &jobs[i]), 0);
    if (stop_early) {
        while (t.complete + t.cut + t.left < CLIENTS * REQUESTS / 10)
            (void)poll(NULL, 0, 1);
        server_stop(server);
        ck_assert_uint_eq(fake_open(t.mirror), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)pthread_join(clients[i], NULL);
    if (!stop_early)
        server_stop(server);
    t.done = true;
    for (unsigned i = 0; i < 2; i++)
        (void)pthread_join(producers[i], NULL);
    ck_assert_uint_gt(t.complete, 0);
    ck_assert_uint_gt(t.cut + t.left, 0);
    fake_mirror_destroy(t.mirror);
}

START_TEST(clients_come_and_go_and_everything_ends)
{
    run(false);
}
END_TEST

START_TEST(a_stop_in_the_midst_leaves_nothing)
{
    run(true);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("torture");
    TCase *c = tcase_create("torture");
    tcase_set_timeout(c, 250);
    suite_add_tcase(s, c);
    tcase_add_test(c, clients_come_and_go_and_everything_ends);
    tcase_add_loop_test(c, a_stop_in_the_midst_leaves_nothing, 0, 5);
    return suite_run(s);
}
