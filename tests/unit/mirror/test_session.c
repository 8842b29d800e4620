/* The door: what a request may be, how a session waits, and what happens to it at the end. */
#include "world.h"

#include <errno.h>
#include <string.h>

#define DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    enum mirror_object object;
    const char *ns, *name, *reference;
    int status;
    const char *code;
} requests[] = {
    {MIRROR_MANIFEST, "quay.io", "a/b", "latest", 404, "NAME_UNKNOWN"},
    {MIRROR_BLOB, "169.254.169.254", "a/b", DIGEST, 404, "NAME_UNKNOWN"},
    {MIRROR_MANIFEST, NULL, "A/b", "latest", 400, "NAME_INVALID"},
    {MIRROR_MANIFEST, NULL, "", "latest", 400, "NAME_INVALID"},
    {MIRROR_TAGS, NULL, "a//b", NULL, 400, "NAME_INVALID"},
    {MIRROR_MANIFEST, NULL, "a/b", "", 400, "MANIFEST_INVALID"},
    {MIRROR_MANIFEST, NULL, "a/b", NULL, 400, "MANIFEST_INVALID"},
    {MIRROR_MANIFEST, NULL, "a/b", ".latest", 400, "MANIFEST_INVALID"},
    {MIRROR_MANIFEST, NULL, "a/b", "sha256:short", 400, "DIGEST_INVALID"},
    {MIRROR_MANIFEST, NULL, "a/b", "blake3:aaaa", 400, "DIGEST_INVALID"},
    {MIRROR_BLOB, NULL, "a/b", "latest", 400, "DIGEST_INVALID"},
    {MIRROR_BLOB, NULL, "a/b", NULL, 400, "DIGEST_INVALID"},
    {MIRROR_REFERRERS, NULL, "a/b", "latest", 400, "DIGEST_INVALID"},
};

START_TEST(a_request_that_means_nothing_is_answered_at_once_and_asks_nobody)
{
    struct client c;
    const struct mirror_request request = {.object = requests[_i].object,
                                           .ns = requests[_i].ns,
                                           .name = requests[_i].name,
                                           .reference = requests[_i].reference,
                                           .page_size = -1};
    client_open_request(&c, &request);
    ck_assert(client_step(&c));
    client_expect_error(&c, requests[_i].status, requests[_i].code);
    ck_assert_int_eq(c.answer.retry_after_s, -1);
    ck_assert(client_step(&c)); /* an answer is for good */
    ck_assert_int_eq(c.answer.status, requests[_i].status);
    client_expect_outcome(&c, MIRROR_ERROR, 0);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

START_TEST(the_names_of_a_request_need_not_outlive_it)
{
    struct client c;
    struct mirror_account account;
    char name[] = "ghcr.io/a/b", last[] = "x", reference[] = "latest";
    const struct mirror_request request = {
        .object = MIRROR_MANIFEST, .name = name, .reference = reference, .last = last, .page_size = -1};
    client_open_request(&c, &request);
    memset(name, '!', sizeof(name) - 1);
    memset(reference, '!', sizeof(reference) - 1);
    ck_assert(!client_step(&c));
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_MANIFEST, true, "latest");
    ck_assert_str_eq(j->job.registry, "ghcr.io");
    ck_assert_str_eq(j->job.repository, "a/b");
    mirror_account(c.session, &account);
    ck_assert_str_eq(account.registry, "ghcr.io");
    ck_assert_str_eq(account.repository, "a/b");
    client_close(&c);
}
END_TEST

/* --- every way to wait --------------------------------------------------------------------------------------- */

static void open_question(struct client *c)
{
    client_open(c, MIRROR_MANIFEST, false, "a/b", "latest");
}

static void open_flight(struct client *c)
{
    client_open(c, MIRROR_BLOB, false, "a/b", DIGEST);
}

static void open_size(struct client *c)
{
    client_open(c, MIRROR_BLOB, true, "a/b", DIGEST);
}

static void open_list(struct client *c)
{
    client_open(c, MIRROR_TAGS, false, "a/b", NULL);
}

/* The upstream has asked for some patience a moment ago. */
static void open_hold(struct client *c)
{
    struct client first;
    open_list(&first);
    ck_assert(!client_step(&first));
    client_close(&first);
    fake_done_after(fake_take(world.upstream), -EAGAIN, 429, PATIENCE_MS / 2);
    world_settle();
    open_list(c);
}

static void (*const ways[])(struct client *c) = {open_question, open_flight, open_size, open_list, open_hold};

START_TEST(who_leaves_while_waiting_is_not_woken_any_more)
{
    struct client c;
    ways[_i](&c);
    ck_assert(!client_step(&c));
    client_close(&c);
    if (ways[_i] != open_hold)
        fake_done(fake_take(world.upstream), -ENOENT, 404); /* would wake it */
    world_settle();
    mirror_cut(world.mirror); /* would wake everybody */
    ck_assert_ptr_null(c.wrong);
    ck_assert_uint_eq(c.suspends, 1);
    ck_assert_uint_eq(c.wakes, 0);
}
END_TEST

START_TEST(who_waits_is_woken_by_the_cut_and_answered)
{
    struct client c, late;
    ways[_i](&c);
    ck_assert(!client_step(&c));
    mirror_cut(world.mirror);
    client_await(&c);
    ck_assert(client_step(&c));
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
    client_open(&late, MIRROR_BLOB, false, "a/b", DIGEST);
    ck_assert(client_step(&late)); /* after it nobody is suspended */
    client_expect_error(&late, 503, "UNAVAILABLE");
    client_close(&late);
    ck_assert_uint_eq(late.suspends, 0);
}
END_TEST

START_TEST(who_waits_when_the_upstream_stops_is_answered)
{
    struct client c;
    ways[_i](&c);
    ck_assert(!client_step(&c));
    upstream_stop(world.upstream);
    if (ways[_i] == open_hold)
        mirror_cut(world.mirror); /* it waits for the time, not for the upstream */
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
    upstream_destroy(world.upstream);
    world.upstream = fake_start(); /* for the end */
}
END_TEST

START_TEST(who_waits_long_is_woken_now_and_then_and_waits_again)
{
    struct client c;
    ways[_i](&c);
    ck_assert(!client_step(&c));
    client_await(&c); /* nothing has happened */
    ck_assert(!client_step(&c));
    client_close(&c);
}
END_TEST

START_TEST(what_is_stored_is_served_after_the_cut)
{
    struct client c;
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    AUTO_FREE char *data = scratch_bytes(1, 5000, &digest);
    world_store(data, 5000, &digest);
    mirror_cut(world.mirror);
    client_open(&c, MIRROR_BLOB, false, "a/b", digest_format(&digest, text));
    ck_assert(client_step(&c));
    client_expect(&c, data, 5000);
    client_close(&c);
}
END_TEST

START_TEST(new_requests_see_a_new_configuration)
{
    static char name[] = "quay.io";
    static struct config_registry registries[] = {{.name = name}};
    struct config other = world.config;
    struct client c, old;
    other.registries = registries;
    other.registry_count = 1;
    other.default_registry = registries;
    open_question(&old);
    ck_assert(!client_step(&old));
    ck_ok(mirror_reload(world.mirror, &other));
    open_question(&c);
    ck_assert(!client_step(&c));
    ck_assert_str_eq(fake_take(world.upstream)->job.registry, "docker.io");
    ck_assert_str_eq(fake_take(world.upstream)->job.registry, "quay.io");
    client_close(&c);
    client_close(&old);
    ck_ok(mirror_reload(world.mirror, &world.config));
}
END_TEST

START_TEST(closing_nothing_is_nothing)
{
    struct client c;
    mirror_close(NULL);
    open_question(&c); /* and one that never took a step */
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session");
    TCase *tests = tcase_create("session");
    tcase_add_checked_fixture(tests, world_setup, world_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_request_that_means_nothing_is_answered_at_once_and_asks_nobody, 0,
                        ARRAY_SIZE(requests));
    tcase_add_test(tests, the_names_of_a_request_need_not_outlive_it);
    tcase_add_loop_test(tests, who_leaves_while_waiting_is_not_woken_any_more, 0, ARRAY_SIZE(ways));
    tcase_add_loop_test(tests, who_waits_is_woken_by_the_cut_and_answered, 0, ARRAY_SIZE(ways));
    tcase_add_loop_test(tests, who_waits_when_the_upstream_stops_is_answered, 0, ARRAY_SIZE(ways));
    tcase_add_loop_test(tests, who_waits_long_is_woken_now_and_then_and_waits_again, 0, ARRAY_SIZE(ways));
    tcase_add_test(tests, what_is_stored_is_served_after_the_cut);
    tcase_add_test(tests, new_requests_see_a_new_configuration);
    tcase_add_test(tests, closing_nothing_is_nothing);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
