/*
 * Memory that runs out, at each allocation in turn, libcurl's and those of the start among them. A manifest is fetched
 * from behind a token and a blob from behind a redirect, over and over, with the first allocation failing, the second,
 * and so on. Whatever failed: a job that was taken ends exactly once, in an orderly error or with the right bytes, and
 * when there is memory again the next one is right.
 */
#include "base/clock.h"
#include "starve.h"
#include "suite.h"
#include "world.h"

#include <check.h>
#include <curl/curl.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ck_ok(expr) ck_assert_int_eq((expr), 0)

#define MANIFEST "{\"schemaVersion\":2}"
#define BLOB "the bytes of the blob"
#define DEADLINE_S 60

static struct httpd *httpd;
static struct world world;

/* A registry, its token server and its CDN. */
static void answer(struct exchange *x)
{
    char fields[256];
    if (exchange_has(x, "/token")) {
        exchange_reply(x, 200, "", "{\"token\":\"good\",\"expires_in\":300}");
    } else if (exchange_has(x, "/signed")) {
        exchange_reply(x, 200, "", BLOB);
    } else if (!exchange_field(x, "Authorization")) {
        (void)snprintf(fields, sizeof(fields),
                       "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\","
                       "scope=\"repository:library/a:pull\"\r\n",
                       httpd_port(httpd));
        exchange_reply(x, 401, fields, "{}");
    } else if (exchange_has(x, "/blobs/")) {
        (void)snprintf(fields, sizeof(fields), "Location: http://127.0.0.1:%u/signed\r\n", httpd_port(httpd));
        exchange_reply(x, 307, fields, "");
    } else {
        exchange_reply(x, 200, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 99;w=21600\r\n", MANIFEST);
    }
}

/* ------------------------------------------------------------------ a job, whose callbacks need no memory */

struct errand {
    sem_t done;
    char body[64];
    size_t len;
    int error;
    unsigned dones;
};

static int on_head(void *arg, const struct upstream_head *head)
{
    struct errand *e = arg;
    e->len = 0;
    return head->status == 200 ? 0 : -EREMOTEIO;
}

static int on_body(void *arg, const void *data, size_t len)
{
    struct errand *e = arg;
    if (len > sizeof(e->body) - e->len)
        return -EFBIG;
    memcpy(e->body + e->len, data, len);
    e->len += len;
    return 0;
}

static void on_done(void *arg, const struct upstream_result *result)
{
    struct errand *e = arg;
    e->error = result->error;
    e->dones++;
    (void)sem_post(&e->done);
}

static const struct upstream_callbacks callbacks = {.on_head = on_head, .on_body = on_body, .on_done = on_done};

/* Whether the bytes came. */
static bool fetch(enum upstream_object object, const char *want)
{
    struct errand e = {0};
    struct timespec until;
    const struct upstream_job job = {.registry = "one.test",
                                     .repository = "library/a",
                                     .object = object,
                                     .reference = "sha256:aa",
                                     .callbacks = &callbacks,
                                     .arg = &e};
    ck_ok(sem_init(&e.done, 0, 0));
    starve_enter(true);
    int r = upstream_submit(world.upstream, &job);
    starve_enter(false);
    ck_assert_msg(r == 0 || r == -ENOMEM, "%d", r);
    if (r < 0)
        return false;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    ck_assert_msg(sem_timedwait(&e.done, &until) == 0, "the job does not end");
    ck_assert_uint_eq(e.dones, 1);
    if (e.error < 0)
        return false;
    ck_assert_uint_eq(e.len, strlen(want));
    ck_assert_mem_eq(e.body, want, e.len);
    return true;
}

static unsigned fetch_all(void)
{
    unsigned complete = fetch(UPSTREAM_MANIFEST, MANIFEST);
    return complete + fetch(UPSTREAM_BLOB, BLOB);
}

/* ------------------------------------------------------------------ the tests */

static void free_for_curl(void *p)
{
    free(p);
}

/* libcurl is not linked anew, and is told instead. */
static void setup(void)
{
    ck_ok(curl_global_init_mem(CURL_GLOBAL_DEFAULT, starve_malloc, free_for_curl, starve_realloc, starve_strdup,
                               starve_calloc));
    httpd = httpd_start("127.0.0.1", answer, NULL);
    world_init(&world);
    (void)world_add(&world, httpd);
}

static void teardown(void)
{
    world_finish(&world);
    httpd_stop(httpd);
    curl_global_cleanup();
}

START_TEST(whichever_allocation_fails_each_job_ends_once_and_the_next_is_right)
{
    unsigned n = 0;
    for (bool fired = true; fired; n++) {
        ck_assert_uint_lt(n, 5000);
        world_start(&world);
        starve_arm(n, (enum starve_extent)_i);
        unsigned complete = fetch_all();
        fired = starve_disarm();
        if (!fired)
            ck_assert_uint_eq(complete, 2);
        ck_ok(upstream_reload(world.upstream, &world.config, &world.errors)); /* no breaker of a failure stays open */
        ck_assert_uint_eq(fetch_all(), 2);
        upstream_stop(world.upstream);
        upstream_destroy(TAKE_PTR(world.upstream));
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

START_TEST(a_start_without_memory_fails_as_a_whole)
{
    unsigned n = 0;
    for (int r = -1; r < 0; n++) {
        starve_arm(n, STARVE_ONE);
        starve_enter(true);
        r = upstream_start(&world.config, &world.errors, &world.upstream);
        starve_enter(false);
        bool fired = starve_disarm();
        if (r < 0)
            ck_assert_msg(fired && (r == -ENOMEM || r == -EAGAIN), "%d", r);
    }
    ck_assert_uint_gt(n, 5);
    ck_assert_uint_eq(fetch_all(), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, whichever_allocation_fails_each_job_ends_once_and_the_next_is_right, 0, STARVE_EXTENTS);
    tcase_add_test(tests, a_start_without_memory_fails_as_a_whole);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
