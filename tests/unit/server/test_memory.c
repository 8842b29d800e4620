/*
 * Memory that runs out in the server, at each allocation in turn: a request is answered rightly, or with a 5xx, or its
 * connection ends; never with wrong bytes. The next one is right. libmicrohttpd's own allocations cannot be made to
 * fail. And when a file is read again: the next look takes what it has.
 */
#include "base/log.h"
#include "base/metrics.h"
#include "client.h"
#include "fake_mirror.h"
#include "folder.h"
#include "server/auth.h"
#include "server/server.h"
#include "starve.h"
#include "suite.h"

#include <check.h>
#include <string.h>

#define DIGEST(c) "sha256:" c c c c c c c c c c c c c c c c
#define BLOB(d) "/v2/library/x/blobs/" d
#define SIZE 300000u

static char *listen_items[] = {(char[]){"127.0.0.1:0"}, NULL};
static struct config config;
static struct mirror *mirror;
static struct server *server;
static uint16_t port;

static const struct ask {
    const char *target, *headers;
    int status;
    unsigned first, len;
} asks[] = {
    {"/v2/", "", 200, 0, 0},
    {BLOB(DIGEST("aaaa")), "", 200, 0, SIZE},
    {BLOB(DIGEST("bbbb")), "", 200, 0, SIZE},
    {BLOB(DIGEST("bbbb")), "Range: bytes=1000-1999\r\n", 206, 1000, 1000},
    {BLOB(DIGEST("bbbb")), "Range: bytes=0-9,20-29\r\n", 206, 0, 0},
    {BLOB(DIGEST("cccc")), "", 200, 0, SIZE},
    {BLOB(DIGEST("dddd")), "", 503, 0, 0},
    {"/v2/x/nonsense", "", 404, 0, 0},
};

static void setup(void)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    log_configure(LOG_ERROR, LOG_TEXT);
    config = (struct config){.server = {.listen = {.items = listen_items, .count = 1},
                                        .threads = 2,
                                        .max_connections = 200,
                                        .idle_timeout_ms = 60000,
                                        .drain_timeout_ms = 60000,
                                        .max_ranges = 16}};
    mirror = fake_mirror_create();
    (void)fake_add(mirror, DIGEST("aaaa"), MIRROR_MEMORY, SIZE);
    (void)fake_add(mirror, DIGEST("bbbb"), MIRROR_FILE, SIZE);
    fake_advance(mirror, fake_add(mirror, DIGEST("cccc"), MIRROR_FLIGHT, SIZE), SIZE);
    (void)fake_add_error(mirror, DIGEST("dddd"), 503, "UNAVAILABLE");
    int r = server_start(&config, mirror, NULL, &server, &error);
    ck_assert_msg(r == 0, "%s", error.data);
    port = client_port();
}

static void teardown(void)
{
    server_stop(server);
    fake_mirror_destroy(mirror);
}

static bool is_right(const struct ask *ask, const struct response *r)
{
    if (r->status != ask->status || r->end != END_COMPLETE)
        return false;
    for (size_t i = 0; i < ask->len; i++)
        if (i >= r->body.len || ((const uint8_t *)r->body.data)[i] != fake_byte(ask->first + i))
            ck_abort_msg("%s: complete, and wrong", ask->target);
    return ask->len == 0 || r->body.len == ask->len;
}

/* On a connection of its own. */
static bool ask_for(const struct ask *ask)
{
    struct response r;
    client_get(port, ask->target, ask->headers, &r);
    bool right = is_right(ask, &r);
    ck_assert_msg(right || r.status >= 500 || r.end != END_COMPLETE, "%s: %d", ask->target, r.status);
    response_finish(&r);
    return right;
}

START_TEST(whichever_allocation_fails_no_answer_is_wrong)
{
    const struct ask *ask = &asks[_i / STARVE_EXTENTS];
    unsigned n = 0;
    for (bool fired = true; fired; n++) {
        ck_assert_uint_lt(n, 1000);
        starve_arm(n, (enum starve_extent)(_i % STARVE_EXTENTS));
        bool right = ask_for(ask);
        fake_await_open(mirror, 0);
        fired = starve_disarm();
        ck_assert_msg(fired || right, "%s: no allocation failed, and yet it is not answered", ask->target);
        ck_assert_msg(ask_for(ask), "%s: fails though there is memory again", ask->target);
    }
    ck_assert_uint_gt(n, 1);
}
END_TEST

#define HASH "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC"

START_TEST(a_file_that_was_not_taken_for_want_of_memory_is_taken_at_the_next_look)
{
    AUTO_BUF struct buf error = BUF_INIT(4096);
    AUTO(auto_auth_destroy) struct auth *auth = NULL;
    char users[256];
    folder_create();
    (void)snprintf(users, sizeof(users), "%s", folder_path("users"));
    folder_put("users", "jo:" HASH "\n");
    const struct config with_users = {.server.auth = {.htpasswd = users, .failures = 5}};
    ck_assert_int_eq(auth_create(&with_users, &auth, &error), 0);
    unsigned n = 0;
    for (bool fired = true; fired; n++) {
        ck_assert_uint_lt(n, 1000);
        folder_put("users", n % 2 == 0 ? "al:" HASH "\n" : "jo:" HASH "\n");
        starve_arm(n, (enum starve_extent)_i);
        starve_enter(true);
        auth_reload(auth);
        starve_enter(false);
        fired = starve_disarm();
        auth_reload(auth);
        ck_assert_int_eq(metrics_value(METRIC_AUTH_RELOAD_SUCCESS, NO_LABELS), 1);
    }
    ck_assert_uint_gt(n, 1);
    folder_remove();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_loop_test(tests, whichever_allocation_fails_no_answer_is_wrong, 0,
                        (int)ARRAY_SIZE(asks) * STARVE_EXTENTS);
    suite_add_tcase(suite, tests);
    TCase *files = tcase_create("files");
    tcase_add_loop_test(files, a_file_that_was_not_taken_for_want_of_memory_is_taken_at_the_next_look, 0,
                        STARVE_EXTENTS);
    suite_add_tcase(suite, files);
    return suite_run(suite);
}
