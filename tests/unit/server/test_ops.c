#include "server/ops.h"

#include "base/log.h"
#include "base/metrics.h"
#include "client.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static char *listen_items[] = {(char[]){"127.0.0.1:0"}, NULL};
static struct config config = {.ops = {.listen = {.items = listen_items, .count = 1}}};
static struct ops *ops;
static uint16_t port;

static void setup(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    log_configure(LOG_ERROR, LOG_TEXT);
    ck_assert_int_eq(ops_start(&config, &ops, &error), 0);
    ck_assert_ptr_nonnull(ops);
    port = client_port();
}

static void teardown(void)
{
    ops_stop(ops);
}

static void check_status(const char *target, int status, const char *body)
{
    struct response r;
    char value[128];
    client_get(port, target, "", &r);
    ck_assert_int_eq(r.status, status);
    ck_assert_str_eq(r.body.data, body);
    ck_assert_str_eq(response_header(&r, "Connection", value, sizeof(value)), "close");
    ck_assert_str_eq(response_header(&r, "Cache-Control", value, sizeof(value)), "no-store");
    response_finish(&r);
}

START_TEST(the_probes_tell_in_which_phase_the_service_is)
{
    check_status("/livez", 200, "ok\n");
    check_status("/readyz", 503, "starting\n");
    check_status("/startupz", 503, "starting\n");
    ops_enter(ops, OPS_SERVING);
    check_status("/livez", 200, "ok\n");
    check_status("/readyz", 200, "ok\n");
    check_status("/readyz?verbose=1", 200, "ok\n");
    check_status("/startupz", 200, "ok\n");
    ops_enter(ops, OPS_STOPPING);
    check_status("/livez", 200, "ok\n");
    check_status("/readyz", 503, "stopping\n");
    check_status("/startupz", 200, "stopping\n");
}
END_TEST

START_TEST(metrics_are_a_page_for_prometheus)
{
    struct response r;
    char value[128];
    metrics_add(METRIC_STALE_SERVED, 3, LABELS("docker.io"));
    client_get(port, "/metrics", "Accept: application/openmetrics-text\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(response_header(&r, "Content-Type", value, sizeof(value)),
                     "text/plain; version=0.0.4; charset=utf-8");
    ck_assert_ptr_nonnull(strstr(r.body.data, "\nentrepot_stale_served_total{registry=\"docker.io\"} 3\n"));
    ck_assert_int_eq(r.body.data[r.body.len - 1], '\n');
    response_finish(&r);
}
END_TEST

START_TEST(a_head_has_no_body)
{
    struct response r;
    client_head(port, "/livez", "", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_uint_eq(r.body.len, 0);
    response_finish(&r);
}
END_TEST

START_TEST(what_there_is_not_is_404_and_nothing_can_be_written)
{
    struct response r;
    check_status("/", 404, "there are /metrics, /livez, /readyz and /startupz\n");
    check_status("/v2/", 404, "there are /metrics, /livez, /readyz and /startupz\n");
    int fd = client_connect(port);
    client_ask(fd, "POST", "/metrics", "Content-Length: 0\r\n");
    client_read(fd, false, SIZE_MAX, &r);
    char value[128];
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(response_header(&r, "Allow", value, sizeof(value)), "GET, HEAD");
    response_finish(&r);
    (void)close(fd);
}
END_TEST

START_TEST(an_upload_without_end_is_not_waited_for)
{
    struct response r;
    int fd = client_connect(port);
    client_ask(fd, "GET", "/livez", "Content-Length: 1000000000\r\n");
    client_read(fd, false, SIZE_MAX, &r);
    ck_assert_int_eq(r.status, 200);
    response_finish(&r);
    size_t rest = 0;
    ck_assert_int_eq(client_end(fd, &rest), END_FIN);
    (void)close(fd);
}
END_TEST

START_TEST(more_connections_than_it_takes_wait_for_their_turn)
{
    enum { MANY = 100 };
    int fds[MANY];
    struct response r;
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(port);
        client_ask(fds[i], "GET", "/livez", "");
    }
    for (int i = MANY - 1; i >= 0; i--) {
        client_read(fds[i], false, SIZE_MAX, &r);
        ck_assert_int_eq(r.status, 200);
        response_finish(&r);
        (void)close(fds[i]);
    }
}
END_TEST

START_TEST(without_an_address_there_is_none)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    struct config off = {.ops = {.listen = {0}}};
    struct ops *none = ops;
    ck_assert_int_eq(ops_start(&off, &none, &error), 0);
    ck_assert_ptr_null(none);
    ops_enter(none, OPS_SERVING);
    ops_stop(none);
}
END_TEST

START_TEST(an_address_that_is_taken_is_told)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    char taken[64];
    char *items[] = {taken, NULL};
    struct config other = {.ops = {.listen = {.items = items, .count = 1}}};
    struct ops *none = NULL;
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
    ck_assert_int_lt(ops_start(&other, &none, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.data, taken));
    ck_assert_ptr_null(none);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("ops");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_probes_tell_in_which_phase_the_service_is);
    tcase_add_test(t, metrics_are_a_page_for_prometheus);
    tcase_add_test(t, a_head_has_no_body);
    tcase_add_test(t, what_there_is_not_is_404_and_nothing_can_be_written);
    tcase_add_test(t, an_upload_without_end_is_not_waited_for);
    tcase_add_test(t, more_connections_than_it_takes_wait_for_their_turn);
    tcase_add_test(t, without_an_address_there_is_none);
    tcase_add_test(t, an_address_that_is_taken_is_told);
    Suite *s = suite_create("ops");
    suite_add_tcase(s, t);
    return suite_run(s);
}
