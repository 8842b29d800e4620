#include "server/headway.h"

#include "suite.h"

#include "base/log.h"
#include "base/metrics.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static const struct headway_terms terms = {.header_ms = 10000, .min_rate = 1000, .over_ms = 60000};

static struct headway p;

static enum headway_verdict judge(int64_t now_ms, unsigned phase, uint64_t received, uint64_t acked, bool owed)
{
    const struct headway_sample s = {now_ms, phase, received, acked, owed};
    return headway_judge(&p, &terms, &s);
}

START_TEST(who_says_nothing_is_left_to_the_idle_timeout)
{
    for (int64_t t = 0; t < 1000000; t += 1000)
        ck_assert_int_eq(judge(t, 0, 0, 0, false), HEADWAY_GOOD);
}
END_TEST

START_TEST(a_head_that_comes_by_drops_is_too_slow)
{
    ck_assert_int_eq(judge(1000, 0, 0, 0, false), HEADWAY_GOOD);
    for (int64_t t = 2000; t < 11000; t += 1000)
        ck_assert_int_eq(judge(t, 0, (uint64_t)t, 0, false), HEADWAY_GOOD);
    ck_assert_int_eq(judge(11000, 0, 11000, 0, false), HEADWAY_SLOW_HEADER);
}
END_TEST

START_TEST(each_head_has_its_own_time_and_none_between_them)
{
    for (unsigned request = 0; request < 10; request++) {
        int64_t at = request * 100000;
        uint64_t got = request * 500;
        ck_assert_int_eq(judge(at, 2 * request, got, 0, false), HEADWAY_GOOD);
        ck_assert_int_eq(judge(at + 50000, 2 * request, got, 0, false), HEADWAY_GOOD);
        ck_assert_int_eq(judge(at + 59000, 2 * request, got + 1, 0, false), HEADWAY_GOOD);
        ck_assert_int_eq(judge(at + 60000, 2 * request + 1, got + 500, 0, false), HEADWAY_GOOD);
    }
}
END_TEST

START_TEST(who_takes_less_than_the_rate_is_too_slow_at_the_end_of_the_period)
{
    ck_assert_int_eq(judge(0, 1, 100, 0, true), HEADWAY_GOOD);
    for (int64_t t = 1000; t < 60000; t += 1000)
        ck_assert_int_eq(judge(t, 1, 100, (uint64_t)t - 1, true), HEADWAY_GOOD);
    ck_assert_int_eq(judge(60000, 1, 100, 59999, true), HEADWAY_SLOW_READER);
}
END_TEST

START_TEST(who_takes_as_much_as_the_rate_goes_on)
{
    for (int64_t t = 0; t < 1000000; t += 1000)
        ck_assert_int_eq(judge(t, 1, 100, (uint64_t)t, true), HEADWAY_GOOD);
}
END_TEST

START_TEST(one_period_does_not_make_up_for_the_next)
{
    ck_assert_int_eq(judge(0, 1, 100, 0, true), HEADWAY_GOOD);
    ck_assert_int_eq(judge(60000, 1, 100, 1000000000, true), HEADWAY_GOOD);
    ck_assert_int_eq(judge(120000, 1, 100, 1000000001, true), HEADWAY_SLOW_READER);
}
END_TEST

START_TEST(a_wait_for_the_upstream_is_not_the_clients)
{
    for (int64_t t = 0; t < 1000000; t += 1000)
        ck_assert_int_eq(judge(t, 1, 100, (uint64_t)t / 1000, /* owed= */ t % 50000 != 0), HEADWAY_GOOD);
}
END_TEST

START_TEST(without_a_rate_nobody_reads_too_slowly)
{
    const struct headway_terms none = {.header_ms = 10000, .over_ms = 60000};
    for (int64_t t = 0; t < 1000000; t += 1000) {
        const struct headway_sample s = {t, 1, 100, 0, true};
        ck_assert_int_eq(headway_judge(&p, &none, &s), HEADWAY_GOOD);
    }
}
END_TEST

/* ------------------------------------------------------------------ with sockets */

START_TEST(connections_that_do_not_get_on_are_ended_and_others_are_not)
{
    const struct headway_terms quick = {.header_ms = 1000, .min_rate = 1000, .over_ms = 1000};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct headway at[3] = {{.fd = 0}};
    struct headway_watch *w;
    int client[3];
    char byte;
    log_configure(LOG_ERROR, LOG_TEXT);
    AUTO_CLOSE int listening = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listening, 3), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    ck_assert_int_eq(headway_watch_create(&quick, &w), 0);
    for (int i = 0; i < 3; i++) {
        client[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(client[i], (struct sockaddr *)&address, len), 0);
        headway_begin(w, &at[i], accept(listening, NULL, NULL), "somebody");
    }
    /* 0 begins a head, 1 leaves what it is sent, 2 waits. */
    ck_assert_int_eq(send(client[0], "G", 1, 0), 1);
    ck_assert_int_eq(send(client[1], "G", 1, 0), 1);
    headway_answering(&at[1]);
    AUTO_FREE char *much = calloc(1, 1 << 20);
    while (send(at[1].fd, much, 1 << 20, MSG_DONTWAIT) > 0)
        ;
    ck_assert_int_eq(read(at[0].fd, &byte, 1), 1);
    ck_assert_int_eq(read(at[0].fd, &byte, 1), 0); /* until it is shut */
    ck_assert_int_eq(read(at[1].fd, &byte, 1), 1);
    ck_assert_int_eq(read(at[1].fd, &byte, 1), 0);
    ck_assert_int_eq(recv(at[2].fd, &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    for (int i = 0; i < 3; i++) {
        headway_end(w, &at[(i + 1) % 3]);
        (void)close(at[(i + 1) % 3].fd);
        (void)close(client[i]);
    }
    headway_watch_destroy(w);
    ck_assert_int_eq(metrics_value(METRIC_CONNECTIONS_SLOW, LABELS("header")), 1);
    ck_assert_int_eq(metrics_value(METRIC_CONNECTIONS_SLOW, LABELS("rate")), 1);
}
END_TEST

/* A connection over the loopback; what is accepted. */
static int connected(int *ret_client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    AUTO_CLOSE int listening = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listening, 1), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    *ret_client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(*ret_client, (struct sockaddr *)&address, len), 0);
    return accept(listening, NULL, NULL);
}

START_TEST(an_answer_that_waits_for_an_edge_which_has_gone_by_gets_another)
{
    struct headway at = {.fd = 0};
    struct headway_watch *w;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
    AUTO_CLOSE int client = -1;
    AUTO_CLOSE int fd = connected(&client);
    AUTO_CLOSE int epoll = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 1);
    ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 0); /* a short send would wait for another now */
    ck_assert_int_eq(headway_watch_create(&terms, &w), 0);
    headway_begin(w, &at, fd, "somebody");
    ck_assert_int_eq(send(client, "GET", 3, 0), 3);
    headway_answering(&at);
    ck_assert_int_eq(epoll_wait(epoll, &event, 1, 30000), 1);
    headway_end(w, &at);
    headway_watch_destroy(w);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("headway");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, who_says_nothing_is_left_to_the_idle_timeout);
    tcase_add_test(t, a_head_that_comes_by_drops_is_too_slow);
    tcase_add_test(t, each_head_has_its_own_time_and_none_between_them);
    tcase_add_test(t, who_takes_less_than_the_rate_is_too_slow_at_the_end_of_the_period);
    tcase_add_test(t, who_takes_as_much_as_the_rate_goes_on);
    tcase_add_test(t, one_period_does_not_make_up_for_the_next);
    tcase_add_test(t, a_wait_for_the_upstream_is_not_the_clients);
    tcase_add_test(t, without_a_rate_nobody_reads_too_slowly);
    tcase_add_test(t, connections_that_do_not_get_on_are_ended_and_others_are_not);
    tcase_add_test(t, an_answer_that_waits_for_an_edge_which_has_gone_by_gets_another);
    Suite *s = suite_create("headway");
    suite_add_tcase(s, t);
    return suite_run(s);
}
