/* What is served when the upstream cannot be asked, or is not to be: stale within bounds, and only what is cached. */
#include "world.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define REPOSITORY "library/alpine"
#define TTL_MS (300 * CLOCK_SECOND)
#define STALE_FOR_MS (3600 * CLOCK_SECOND)

static struct text image, newer;

#define MANIFEST(more) "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"layers\":[]" more "}"

static void setup(void)
{
    world_setup();
    text_set(&image, MANIFEST());
    text_set(&newer, MANIFEST(",\"annotations\":{}"));
}

static bool ask(struct client *c, const char *reference)
{
    client_open(c, MIRROR_MANIFEST, false, REPOSITORY, reference);
    return client_step(c);
}

static struct fake_job *expect(bool head, const char *reference)
{
    return fake_expect(world.upstream, UPSTREAM_MANIFEST, head, reference);
}

static void give_head(const struct text *t)
{
    fake_give_head(expect(true, "latest"), MEDIA_TYPE_OCI_MANIFEST, t->name, (int64_t)t->len);
}

static void give(const struct text *t)
{
    fake_give(expect(false, t->name), MEDIA_TYPE_OCI_MANIFEST, t->bytes, t->len);
}

static void check(struct client *c, const struct text *t, enum mirror_outcome outcome)
{
    struct mirror_account account;
    client_expect(c, t->bytes, t->len);
    ck_assert((c->answer.warning != NULL) == (outcome == MIRROR_STALE));
    mirror_account(c->session, &account);
    ck_assert_int_eq(account.outcome, outcome);
    client_close(c);
}

static void warm(void)
{
    struct client c;
    (void)ask(&c, "latest");
    give_head(&image);
    client_go_on(&c);
    give(&image);
    check(&c, &image, MIRROR_MISS);
    world_settle();
}

static void refuse(int error, int status)
{
    fake_done(expect(true, "latest"), error, status);
}

/* --- the bound -------------------------------------------------------------------------------------------------- */

START_TEST(a_tag_is_served_stale_for_so_long_and_no_longer)
{
    struct client c;
    warm();
    world_advance(STALE_FOR_MS - 1);
    ck_assert(!ask(&c, "latest"));
    refuse(-EHOSTUNREACH, 0);
    check(&c, &image, MIRROR_STALE);
    world_advance(1);
    world.config.server.answer_timeout_ms = 1;
    (void)ask(&c, "latest");
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
    ck_assert(ask(&c, image.name)); /* by its digest it is there for ever */
    check(&c, &image, MIRROR_HIT);
}
END_TEST

START_TEST(stale_for_nothing_is_never_stale)
{
    struct client c;
    world.config.tags.stale_for_ms = 0;
    warm();
    world_advance(_i ? -1 : TTL_MS); /* nor when the clock was set back */
    world.config.server.answer_timeout_ms = 1;
    (void)ask(&c, "latest");
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
}
END_TEST

START_TEST(who_cannot_be_served_stale_is_held_like_one_who_asks_for_the_first_time)
{
    struct client c;
    if (_i)
        world.config.tags.stale_for_ms = 0;
    warm();
    world_advance(_i ? TTL_MS : STALE_FOR_MS);
    ck_assert(!ask(&c, "latest"));
    struct fake_job *j = expect(true, "latest");
    ck_assert_int_eq(j->job.class, UPSTREAM_LIVE);
    fake_done(j, -EHOSTUNREACH, 0);
    client_go_on(&c); /* until it asks again, and not to a 503 at once */
    give_head(&image);
    check(&c, &image, MIRROR_MISS);
}
END_TEST

START_TEST(a_clock_that_was_set_back_is_no_reason_not_to_serve)
{
    struct client c;
    warm();
    world_advance(-STALE_FOR_MS - 1);
    ck_assert(!ask(&c, "latest"));
    refuse(-EHOSTUNREACH, 0);
    check(&c, &image, MIRROR_STALE);
}
END_TEST

START_TEST(what_is_gone_is_served_stale_where_that_is_wanted)
{
    struct client c;
    world.config.tags.stale_on_absence = true;
    warm();
    world_advance(TTL_MS);
    ck_assert(!ask(&c, "latest"));
    refuse(-ENOENT, 404);
    check(&c, &image, MIRROR_STALE);
    ck_assert(!ask(&c, "nothing")); /* what never was is not there all the same */
    fake_done(expect(true, "nothing"), -ENOENT, 404);
    client_expect_error(&c, 404, "MANIFEST_UNKNOWN");
    client_close(&c);
}
END_TEST

/* --- while it is revalidated -------------------------------------------------------------------------------------- */

START_TEST(with_stale_while_revalidate_nobody_waits_and_one_asks)
{
    struct client c;
    world.config.tags.stale_while_revalidate = true;
    warm();
    world_advance(TTL_MS);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(ask(&c, "latest"));
        check(&c, &image, MIRROR_STALE);
    }
    ck_assert_uint_eq(fake_count(world.upstream), 3);
    struct fake_job *j = expect(true, "latest");
    ck_assert_int_eq(j->job.class, UPSTREAM_REVALIDATION);
    fake_give_head(j, MEDIA_TYPE_OCI_MANIFEST, newer.name, (int64_t)newer.len);
    give(&newer); /* had before the old one is given up */
    world_settle();
    ck_assert(ask(&c, "latest"));
    check(&c, &newer, MIRROR_HIT);
    ck_assert_uint_eq(fake_count(world.upstream), 4);
}
END_TEST

START_TEST(a_revalidation_that_fails_is_not_repeated_at_once)
{
    struct client c;
    world.config.tags.stale_while_revalidate = true;
    warm();
    world_advance(TTL_MS);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(ask(&c, "latest"));
        check(&c, &image, MIRROR_STALE);
        if (i == 0) {
            refuse(-ETIMEDOUT, 0);
            world_settle();
        }
    }
    ck_assert_uint_eq(fake_count(world.upstream), 3);
}
END_TEST

START_TEST(past_the_bound_everybody_waits_again)
{
    struct client c;
    world.config.tags.stale_while_revalidate = true;
    warm();
    world_advance(STALE_FOR_MS);
    ck_assert(!ask(&c, "latest"));
    give_head(&image);
    check(&c, &image, MIRROR_MISS);
}
END_TEST

START_TEST(what_was_never_had_is_waited_for)
{
    struct client c;
    world.config.tags.stale_while_revalidate = true;
    ck_assert(!ask(&c, "latest"));
    give_head(&image);
    client_go_on(&c);
    give(&image);
    check(&c, &image, MIRROR_MISS);
}
END_TEST

static void ask_tags(struct client *c, bool only_if_cached)
{
    const struct mirror_request request = {
        .object = MIRROR_TAGS, .name = REPOSITORY, .page_size = -1, .only_if_cached = only_if_cached};
    client_open_request(c, &request);
    (void)client_step(c);
}

static void give_tags(const char *tags)
{
    fake_give(fake_expect(world.upstream, UPSTREAM_TAGS, false, NULL), MEDIA_TYPE_JSON, tags, strlen(tags));
}

#define TAGS(tags) "{\"name\":\"" REPOSITORY "\",\"tags\":[" tags "]}"

static void check_tags(struct client *c, const char *tags)
{
    client_expect(c, tags, strlen(tags));
    client_close(c);
}

START_TEST(a_list_is_revalidated_behind_as_well)
{
    struct client c;
    world.config.tags.stale_while_revalidate = true;
    ask_tags(&c, false);
    give_tags("{\"tags\":[\"a\"]}");
    check_tags(&c, TAGS("\"a\""));
    world_advance(TTL_MS);
    ask_tags(&c, false);
    ck_assert_ptr_nonnull(client_answer(&c)->warning);
    check_tags(&c, TAGS("\"a\""));
    give_tags("{\"tags\":[\"b\"]}");
    world_settle();
    ask_tags(&c, false);
    ck_assert_ptr_null(client_answer(&c)->warning);
    check_tags(&c, TAGS("\"b\""));
}
END_TEST

/* --- nothing to serve ----------------------------------------------------------------------------------------------
 */

static const struct {
    enum config_miss_status miss;
    int error, upstream_status;
    int status;
    const char *code;
} misses[] = {
    {CONFIG_MISS_503, -ETIMEDOUT, 0, 503, "UNAVAILABLE"},
    {CONFIG_MISS_404, -ETIMEDOUT, 0, 404, "MANIFEST_UNKNOWN"},
    {CONFIG_MISS_429, -ETIMEDOUT, 0, 429, "TOOMANYREQUESTS"},
    {CONFIG_MISS_503, -EAGAIN, 429, 503, "TOOMANYREQUESTS"},
    {CONFIG_MISS_404, -EAGAIN, 429, 404, "MANIFEST_UNKNOWN"},
    {CONFIG_MISS_429, -EAGAIN, 429, 429, "TOOMANYREQUESTS"},
    {CONFIG_MISS_404, -EPROTO, 0, 502, "UNKNOWN"}, /* it was had, and is wrong */
    {CONFIG_MISS_503, -ENOENT, 404, 404, "MANIFEST_UNKNOWN"},
    {CONFIG_MISS_429, -ENOENT, 404, 404, "MANIFEST_UNKNOWN"},
};

START_TEST(what_cannot_be_had_is_answered_as_the_administrator_says)
{
    struct client c;
    world.config.server.miss_status = misses[_i].miss;
    ck_assert(!ask(&c, "latest"));
    fake_done_after(expect(true, "latest"), misses[_i].error, misses[_i].upstream_status, 60 * CLOCK_SECOND);
    client_expect_error(&c, misses[_i].status, misses[_i].code);
    if (misses[_i].error == -EAGAIN)
        ck_assert_int_ge(c.answer.retry_after_s, 1);
    client_close(&c);
}
END_TEST

START_TEST(a_crowd_that_asks_for_what_cannot_be_had_is_one_request)
{
    struct client c;
    ck_assert(!ask(&c, "latest"));
    fake_done_after(expect(true, "latest"), -EAGAIN, 429, 60 * CLOCK_SECOND);
    client_expect_error(&c, 503, "TOOMANYREQUESTS");
    client_close(&c);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(ask(&c, "latest"));
        client_expect_error(&c, 503, "TOOMANYREQUESTS");
        client_close(&c);
    }
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

/* --- only if cached -------------------------------------------------------------------------------------------------
 */

static bool ask_cached(struct client *c, enum mirror_object object, bool head, const char *reference)
{
    const struct mirror_request request = {.object = object,
                                           .head = head,
                                           .name = REPOSITORY,
                                           .reference = reference,
                                           .page_size = -1,
                                           .only_if_cached = true};
    client_open_request(c, &request);
    return client_step(c);
}

static const struct {
    enum mirror_object object;
    bool head, by_tag;
} requests[] = {
    {MIRROR_MANIFEST, false, true},  {MIRROR_MANIFEST, true, true}, {MIRROR_MANIFEST, false, false},
    {MIRROR_MANIFEST, true, false},  {MIRROR_BLOB, false, false},   {MIRROR_BLOB, true, false},
    {MIRROR_TAGS, false, true},      {MIRROR_TAGS, true, true},     {MIRROR_REFERRERS, false, false},
    {MIRROR_REFERRERS, true, false},
};

static const char *reference_of(int i)
{
    return requests[i].object == MIRROR_TAGS ? NULL : requests[i].by_tag ? "latest" : image.name;
}

START_TEST(what_is_not_cached_is_504_and_nobody_is_asked)
{
    struct client c;
    ck_assert(ask_cached(&c, requests[_i].object, requests[_i].head, reference_of(_i)));
    client_expect_error(&c, 504, "UNAVAILABLE");
    ck_assert_int_eq(c.answer.retry_after_s, -1);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

START_TEST(what_is_cached_is_served)
{
    struct client c;
    warm();
    ask_tags(&c, false);
    give_tags("{\"tags\":[\"a\"]}");
    check_tags(&c, TAGS("\"a\""));
    client_open(&c, MIRROR_REFERRERS, false, REPOSITORY, image.name);
    ck_assert(!client_step(&c));
    fake_give(fake_expect(world.upstream, UPSTREAM_REFERRERS, false, NULL), MEDIA_TYPE_OCI_INDEX, "{\"manifests\":[]}",
              16);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    world_settle();
    unsigned asked = fake_count(world.upstream);
    ck_assert(ask_cached(&c, requests[_i].object, requests[_i].head, reference_of(_i))); /* a blob: the manifest's */
    ck_assert_int_eq(c.answer.status, 200);
    ck_assert_ptr_null(c.answer.warning);
    client_expect_outcome(&c, MIRROR_HIT, 0);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}
END_TEST

START_TEST(a_question_that_is_being_asked_is_joined)
{
    struct client c, late;
    ck_assert(!ask(&c, image.name));
    ck_assert(!ask_cached(&late, MIRROR_MANIFEST, false, image.name));
    give(&image);
    check(&c, &image, MIRROR_MISS);
    client_expect_outcome(&late, MIRROR_JOINED, 0);
    check(&late, &image, MIRROR_JOINED);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(a_question_that_fails_is_not_asked_again_for_it)
{
    struct client c, late;
    ck_assert(!ask(&c, image.name));
    ck_assert(!ask_cached(&late, MIRROR_MANIFEST, false, image.name));
    client_close(&c);
    fake_done(expect(false, image.name), -ETIMEDOUT, 0);
    ck_assert_int_ge(client_answer(&late)->status, 503);
    client_close(&late);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

/* The blob is the image's bytes: small, so that it is answered when it is whole. */
START_TEST(a_flight_that_is_under_way_is_joined)
{
    struct client c, late, head;
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, image.name);
    ck_assert(!client_step(&c));
    fake_give_head(fake_expect(world.upstream, UPSTREAM_BLOB, true, image.name), "application/octet-stream", image.name,
                   (int64_t)image.len);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, false, image.name);
    ck_assert(!ask_cached(&late, MIRROR_BLOB, false, image.name));
    struct upstream_head header = fake_blob_header(j, image.len);
    ck_ok(fake_head(j, &header));
    ck_assert(ask_cached(&head, MIRROR_BLOB, true, image.name));
    ck_assert_uint_eq(head.answer.size, image.len);
    client_close(&head);
    ck_ok(fake_body(j, image.bytes, image.len));
    fake_done(j, 0, 200);
    client_expect(&c, image.bytes, image.len);
    client_close(&c);
    client_expect(&late, image.bytes, image.len);
    client_expect_outcome(&late, MIRROR_JOINED, 0);
    client_close(&late);
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

START_TEST(a_flight_that_fails_is_not_started_again_for_it)
{
    struct client c, late;
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, image.name);
    ck_assert(!client_step(&c));
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, image.name);
    ck_assert(!ask_cached(&late, MIRROR_BLOB, false, image.name));
    client_close(&c);
    fake_done(j, -EPERM, 0);
    ck_assert_int_ge(client_answer(&late)->status, 500);
    client_close(&late);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(a_stale_tag_is_served_as_such_to_who_wants_only_what_is_cached)
{
    struct client c;
    warm();
    world_advance(TTL_MS);
    unsigned asked = fake_count(world.upstream);
    ck_assert(ask_cached(&c, MIRROR_MANIFEST, false, "latest"));
    check(&c, &image, MIRROR_STALE);
    world_advance(STALE_FOR_MS);
    ck_assert(ask_cached(&c, MIRROR_MANIFEST, false, "latest"));
    client_expect_error(&c, 504, "UNAVAILABLE");
    client_close(&c);
    world.config.tags.stale_while_revalidate = true; /* nor behind his back */
    world_advance(-STALE_FOR_MS);
    ck_assert(ask_cached(&c, MIRROR_MANIFEST, false, "latest"));
    check(&c, &image, MIRROR_STALE);
    ck_assert_uint_eq(fake_count(world.upstream), asked);
}
END_TEST

START_TEST(who_joins_a_revalidation_gets_the_news)
{
    struct client c, late;
    warm();
    world_advance(TTL_MS);
    ck_assert(!ask(&c, "latest"));
    ck_assert(!ask_cached(&late, MIRROR_MANIFEST, false, "latest"));
    give_head(&newer);
    give(&newer);
    check(&c, &newer, MIRROR_MISS);
    check(&late, &newer, MIRROR_JOINED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stale");
    TCase *tests = tcase_create("stale");
    tcase_add_checked_fixture(tests, setup, world_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_tag_is_served_stale_for_so_long_and_no_longer);
    tcase_add_loop_test(tests, stale_for_nothing_is_never_stale, 0, 2);
    tcase_add_loop_test(tests, who_cannot_be_served_stale_is_held_like_one_who_asks_for_the_first_time, 0, 2);
    tcase_add_test(tests, a_clock_that_was_set_back_is_no_reason_not_to_serve);
    tcase_add_test(tests, what_is_gone_is_served_stale_where_that_is_wanted);
    tcase_add_test(tests, with_stale_while_revalidate_nobody_waits_and_one_asks);
    tcase_add_test(tests, a_revalidation_that_fails_is_not_repeated_at_once);
    tcase_add_test(tests, past_the_bound_everybody_waits_again);
    tcase_add_test(tests, what_was_never_had_is_waited_for);
    tcase_add_test(tests, a_list_is_revalidated_behind_as_well);
    tcase_add_loop_test(tests, what_cannot_be_had_is_answered_as_the_administrator_says, 0, ARRAY_SIZE(misses));
    tcase_add_test(tests, a_crowd_that_asks_for_what_cannot_be_had_is_one_request);
    suite_add_tcase(suite, tests);
    tests = tcase_create("only if cached");
    tcase_add_checked_fixture(tests, setup, world_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, what_is_not_cached_is_504_and_nobody_is_asked, 0, ARRAY_SIZE(requests));
    tcase_add_loop_test(tests, what_is_cached_is_served, 0, ARRAY_SIZE(requests));
    tcase_add_test(tests, a_question_that_is_being_asked_is_joined);
    tcase_add_test(tests, a_question_that_fails_is_not_asked_again_for_it);
    tcase_add_test(tests, a_flight_that_is_under_way_is_joined);
    tcase_add_test(tests, a_flight_that_fails_is_not_started_again_for_it);
    tcase_add_test(tests, a_stale_tag_is_served_as_such_to_who_wants_only_what_is_cached);
    tcase_add_test(tests, who_joins_a_revalidation_gets_the_news);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
