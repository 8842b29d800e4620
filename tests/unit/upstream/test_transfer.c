/* What the public calls cannot reach: a name that resolves to a private address, a connection that another source left
 * behind. The loop is turned by the test itself. */
#include "upstream/transfer.h"

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
    exchange_reply(x, 200, "", "fine");
}

static struct httpd *start(void)
{
    struct httpd *h = httpd_start("127.0.0.1", answer, NULL);
    world_init(&world);
    (void)world_add(&world, h);
    ck_assert_int_eq(loop_init(&loop), 0);
    ck_assert_int_eq(source_create(&world.config, &world.registries[0], &world.errors, &source), 0);
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

/* As a public upstream's, although its address, by which the test can be reached at all, is the machine's own. */
static struct outcome run(bool guarded)
{
    struct transfer *t;
    struct outcome outcome = {0};
    ck_assert_int_eq(
        transfer_create(&loop, &(struct transfer_request){.source = source, .url = &source->url}, &owner, &outcome, &t),
        0);
    t->guarded = guarded;
    ck_assert_int_eq(loop_start(&loop, t), 0);
    for (loop_turn(&loop); !outcome.done; loop_turn(&loop))
        loop_wait(&loop);
    return outcome;
}

START_TEST(the_address_that_a_name_leads_to_is_refused_before_it_is_dialled)
{
    struct httpd *h = start();
    ck_assert_int_eq(run(true).error, -EPERM);
    ck_assert_uint_eq(httpd_connections(h), 0);
    stop(h);
}
END_TEST

START_TEST(a_connection_that_others_may_use_is_not_used)
{
    struct httpd *h = start();
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

int main(void)
{
    Suite *s = suite_create("transfer");
    TCase *t = tcase_create("transfer");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_address_that_a_name_leads_to_is_refused_before_it_is_dialled);
    tcase_add_test(t, a_connection_that_others_may_use_is_not_used);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
