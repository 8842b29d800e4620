/* What the public calls cannot reach: a name that resolves to a private address, a connection that another source left
 * behind. The loop is turned by the test itself. */
#include "upstream/transfer.h"

#include "base/clock.h"
#include "base/limits.h"
#include "suite.h"
#include "upstream/loop.h"
#include "world.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static struct world world;
static struct loop loop;
static struct source *source;

struct outcome {
    int error, status;
    bool done;
};

static int header(void *arg, struct transfer *t)
{
    (void)arg;
    (void)t;
    return 0;
}

static int body(void *arg, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    return 0;
}

static void done(void *arg, struct transfer *t)
{
    *(struct outcome *)arg = (struct outcome){t->error, t->header.status, true};
}

static const struct transfer_owner owner = {header, body, done};

static void answer(struct exchange *x)
{
    if (x->arg) {
        exchange_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        exchange_hang(x);
    } else {
        exchange_reply(x, 200, "", "fine");
    }
}

static struct httpd *start(void *hang)
{
    struct httpd *h = httpd_start("127.0.0.1", answer, hang);
    world_init(&world);
    (void)world_add(&world, h);
    ck_assert_int_eq(loop_init(&loop), 0);
    ck_assert_int_eq(world_source(&world, &world.registries[0], &world.sources[0][0], &source), 0);
    return h;
}

static void stop(struct httpd *h)
{
    loop_stop(&loop);
    loop_finish(&loop);
    source_unref(source);
    world_finish(&world);
    httpd_stop(h);
}

static struct transfer *begin(struct outcome *outcome)
{
    struct transfer *t;
    struct transfer_request request = {.source = source, .url = &source->url};
    *outcome = (struct outcome){0};
    ck_assert_int_eq(transfer_create(&loop, &request, &owner, outcome, &t), 0);
    ck_assert_int_eq(loop_start(&loop, t), 0);
    return t;
}

/* As a public upstream's, although its address, by which the test can be reached at all, is the machine's own. */
static struct outcome run(bool guarded)
{
    struct outcome outcome;
    begin(&outcome)->guarded = guarded;
    for (loop_turn(&loop); !outcome.done; loop_turn(&loop))
        loop_wait(&loop);
    return outcome;
}

START_TEST(the_address_that_a_name_leads_to_is_refused_before_it_is_dialled)
{
    struct httpd *h = start(NULL);
    ck_assert_int_eq(run(true).error, -EPERM);
    ck_assert_uint_eq(httpd_connections(h), 0);
    stop(h);
}
END_TEST

START_TEST(a_connection_that_others_may_use_is_not_used)
{
    struct httpd *h = start(NULL);
    struct outcome outcome = run(false);
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_int_eq(outcome.status, 200);
    ck_assert_int_eq(run(false).error, 0);
    ck_assert_uint_eq(httpd_connections(h), 1); /* it is kept */
    ck_assert_int_eq(run(true).error, -EPERM);
    ck_assert_uint_eq(httpd_count(h, "GET /"), 2);
    stop(h);
}
END_TEST

START_TEST(the_wait_for_a_connection_and_a_small_body_have_an_end)
{
    struct httpd *h = start(&loop);
    struct outcome first, second;
    source->max_connections = 1;
    struct transfer *t = begin(&first), *queued = begin(&second);
    ck_assert_int_eq(t->phase, TRANSFER_CONNECTING);
    ck_assert_int_eq(queued->phase, TRANSFER_QUEUED);
    ck_assert_int_le(queued->timer.due - clock_monotonic_ms(), LIMIT_QUEUE_MS);
    timer_set(&loop.timers, &queued->timer, 0); /* as if it were over */
    loop_turn(&loop);
    ck_assert_int_eq(second.error, -ETIMEDOUT);
    ck_assert(!first.done);

    for (; t->phase != TRANSFER_ANSWERED; loop_turn(&loop))
        loop_wait(&loop);
    ck_assert_int_le(t->body_end - clock_monotonic_ms(), LIMIT_SMALL_BODY_MS);
    t->body_end = 0;
    timer_set(&loop.timers, &t->timer, 0);
    loop_turn(&loop);
    ck_assert_int_eq(first.error, -ETIMEDOUT);
    ck_assert_uint_eq(httpd_count(h, "GET /"), 1);
    stop(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("transfer");
    TCase *t = tcase_create("transfer");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_address_that_a_name_leads_to_is_refused_before_it_is_dialled);
    tcase_add_test(t, a_connection_that_others_may_use_is_not_used);
    tcase_add_test(t, the_wait_for_a_connection_and_a_small_body_have_an_end);
    return suite_run(s);
}
