/* Manifests, tags and lists as sessions see them: questions, pointers and the library behind them. */
#include "world.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPOSITORY "library/alpine"
#define TTL_MS (300 * CLOCK_SECOND)

static struct text image, newer;

#define LAYER "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MANIFEST(config)                                                                                               \
    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"config\":{\"digest\":\"" config              \
    "\",\"size\":7},\"layers\":[{\"digest\":\"" LAYER "\",\"size\":70000}]}"

static void setup(void)
{
    world_setup();
    text_set(&image, MANIFEST("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    text_set(&newer, MANIFEST("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"));
}

static void cleanup(void)
{
    world_cleanup();
}

static bool ask(struct client *c, const char *reference)
{
    client_open(c, MIRROR_MANIFEST, false, REPOSITORY, reference);
    return client_step(c);
}

static struct fake_job *expect(bool head, const char *reference)
{
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_MANIFEST, head, reference);
    ck_assert_str_eq(j->job.registry, "docker.io");
    ck_assert_str_eq(j->job.repository, REPOSITORY);
    return j;
}

static void give_head(const char *tag, const struct text *t)
{
    fake_give_head(expect(true, tag), MEDIA_TYPE_OCI_MANIFEST, t->name, (int64_t)t->len);
}

static void give(const struct text *t)
{
    fake_give(expect(false, t->name), MEDIA_TYPE_OCI_MANIFEST, t->bytes, t->len);
}

static void check(struct client *c, const struct text *t, enum mirror_outcome outcome, unsigned requests)
{
    client_expect(c, t->bytes, t->len);
    ck_assert_int_eq(c->answer.body, MIRROR_MEMORY);
    ck_assert_str_eq(c->answer.digest, t->name);
    ck_assert_str_eq(c->answer.content_type, MEDIA_TYPE_OCI_MANIFEST);
    ck_assert((c->answer.warning != NULL) == (outcome == MIRROR_STALE));
    client_expect_outcome(c, outcome, requests);
    client_close(c);
}

/* `latest` is the image, and known to be so now. */
static void warm(void)
{
    struct client c;
    (void)ask(&c, "latest");
    give_head("latest", &image);
    client_go_on(&c);
    give(&image);
    check(&c, &image, MIRROR_MISS, 2);
    world_settle();
}

/* --- by tag and by digest ----------------------------------------------------------------------------------- */

START_TEST(a_cold_tag_costs_a_head_and_a_get_and_then_nothing)
{
    struct client c;
    warm();
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
    ck_assert(ask(&c, image.name));
    check(&c, &image, MIRROR_HIT, 0);
    client_open(&c, MIRROR_MANIFEST, true, REPOSITORY, "latest");
    ck_assert(client_step(&c));
    check(&c, &image, MIRROR_HIT, 0);
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

START_TEST(what_was_learned_survives_a_restart)
{
    struct client c;
    warm();
    world_stop();
    world_start();
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

START_TEST(many_who_ask_share_one_head_and_one_get)
{
    struct client clients[16];
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        ck_assert(!ask(&clients[i], "latest"));
    give_head("latest", &image);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        client_await(&clients[i]);
        (void)client_step(&clients[i]);
    }
    give(&image);
    unsigned requests = 0;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        struct mirror_account account;
        client_expect(&clients[i], image.bytes, image.len);
        mirror_account(clients[i].session, &account);
        requests += account.upstream_requests;
        client_close(&clients[i]);
    }
    ck_assert_uint_eq(requests, 2);
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

START_TEST(a_digest_is_asked_for_by_one_get)
{
    struct client c;
    ck_assert(!ask(&c, image.name));
    give(&image);
    check(&c, &image, MIRROR_MISS, 1);
    /* and names the sizes of what it refers to */
    struct digest layer;
    uint64_t size = 0;
    ck_ok(digest_parse(LAYER, strlen(LAYER), &layer));
    ck_ok(library_size_hint(world.mirror->library, &layer, &size));
    ck_assert_uint_eq(size, 70000);
}
END_TEST

START_TEST(a_manifest_by_a_sha512_digest_is_checked_by_it)
{
    struct client c;
    ck_ok(digest_of(DIGEST_SHA512, image.bytes, image.len, &image.digest));
    (void)digest_format(&image.digest, image.name);
    ck_assert(!ask(&c, image.name));
    give(&image);
    check(&c, &image, MIRROR_MISS, 1);
}
END_TEST

START_TEST(without_a_digest_header_the_digest_is_computed)
{
    struct client c;
    ck_assert(!ask(&c, "latest"));
    fake_give_head(expect(true, "latest"), MEDIA_TYPE_OCI_MANIFEST, "", (int64_t)image.len);
    fake_give(expect(false, "latest"), MEDIA_TYPE_OCI_MANIFEST, image.bytes, image.len);
    check(&c, &image, MIRROR_MISS, 2);
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
}
END_TEST

START_TEST(where_no_head_is_allowed_a_get_tells)
{
    struct client c;
    ck_assert(!ask(&c, "latest"));
    fake_done(expect(true, "latest"), -EREMOTEIO, 405);
    fake_give(expect(false, "latest"), MEDIA_TYPE_OCI_MANIFEST, image.bytes, image.len);
    check(&c, &image, MIRROR_MISS, 2);
}
END_TEST

START_TEST(a_generic_type_is_replaced_by_what_the_manifest_says)
{
    struct client c;
    ck_assert(!ask(&c, image.name));
    fake_give(expect(false, image.name), "application/octet-stream", image.bytes, image.len);
    check(&c, &image, MIRROR_MISS, 1);
}
END_TEST

START_TEST(a_head_of_a_cold_manifest_moves_no_body)
{
    struct client c;
    client_open(&c, MIRROR_MANIFEST, true, REPOSITORY, "latest");
    ck_assert(!client_step(&c));
    give_head("latest", &image);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_int_eq(c.answer.body, MIRROR_NO_BODY);
    ck_assert_uint_eq(c.answer.size, image.len);
    ck_assert_str_eq(c.answer.digest, image.name);
    ck_assert_str_eq(c.answer.content_type, MEDIA_TYPE_OCI_MANIFEST);
    client_close(&c);
    client_open(&c, MIRROR_MANIFEST, true, REPOSITORY, newer.name);
    ck_assert(!client_step(&c));
    fake_give_head(expect(true, newer.name), MEDIA_TYPE_OCI_MANIFEST, newer.name, (int64_t)newer.len);
    ck_assert_uint_eq(client_answer(&c)->size, newer.len);
    client_close(&c);
}
END_TEST

START_TEST(a_head_by_digest_answers_with_the_digest_that_was_asked_for)
{
    struct client c;
    client_open(&c, MIRROR_MANIFEST, true, REPOSITORY, image.name);
    ck_assert(!client_step(&c));
    fake_give_head(expect(true, image.name), MEDIA_TYPE_OCI_MANIFEST, newer.name, (int64_t)image.len);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_str_eq(c.answer.digest, image.name);
    client_close(&c);
}
END_TEST

/* --- past the TTL ------------------------------------------------------------------------------------------- */

START_TEST(past_its_ttl_a_tag_costs_one_head_and_no_get)
{
    struct client c;
    warm();
    world_advance(TTL_MS - CLOCK_SECOND);
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
    world_advance(CLOCK_SECOND + 1);
    ck_assert(!ask(&c, "latest"));
    give_head("latest", &image);
    check(&c, &image, MIRROR_MISS, 1);
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
}
END_TEST

START_TEST(a_tag_that_moved_is_followed_by_digest)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 1);
    ck_assert(!ask(&c, "latest"));
    give_head("latest", &newer);
    give(&newer);
    check(&c, &newer, MIRROR_MISS, 2);
    ck_assert(ask(&c, "latest"));
    check(&c, &newer, MIRROR_HIT, 0);
    ck_assert(ask(&c, image.name)); /* the old one is still there by its digest */
    check(&c, &image, MIRROR_HIT, 0);
}
END_TEST

static const struct {
    int error, status;
} gone[] = {{-EAGAIN, 429},     {-EACCES, 401}, {-ETIMEDOUT, 0}, {-EHOSTUNREACH, 0},
            {-ECONNREFUSED, 0}, {-EPROTO, 0},   {-EPERM, 0}};

START_TEST(a_stale_tag_is_served_when_nobody_answers)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 100 * CLOCK_SECOND);
    ck_assert(!ask(&c, "latest"));
    fake_done(expect(true, "latest"), gone[_i].error, gone[_i].status);
    (void)client_answer(&c);
    ck_assert_ptr_nonnull(c.answer.warning);
    ck_assert_ptr_nonnull(strstr(c.answer.warning, "last checked 400 s ago: as the test has it"));
    check(&c, &image, MIRROR_STALE, 1);
    ck_assert(ask(&c, "latest")); /* at once: that it failed is remembered */
    check(&c, &image, MIRROR_STALE, 0);
    ck_assert_uint_eq(fake_count(world.upstream), 3);
}
END_TEST

START_TEST(a_broken_answer_is_asked_for_again_before_what_is_stale_is_served)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 1);
    ck_assert(!ask(&c, "latest"));
    fake_done(expect(true, "latest"), -EREMOTEIO, 500);
    fake_done(expect(true, "latest"), -ECONNRESET, 0);
    give_head("latest", &image);
    check(&c, &image, MIRROR_MISS, 3);
}
END_TEST

START_TEST(who_has_something_stale_does_not_wait_for_an_upstream_that_hangs)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 1);
    ck_assert(!ask(&c, "latest"));
    struct fake_job *j = expect(true, "latest"); /* and says nothing */
    check(&c, &image, MIRROR_STALE, 0);
    fake_done(j, -ETIMEDOUT, 0);
}
END_TEST

START_TEST(a_tag_that_is_gone_is_gone)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 1);
    ck_assert(!ask(&c, "latest"));
    fake_done(expect(true, "latest"), -ENOENT, 404);
    client_expect_error(&c, 404, "MANIFEST_UNKNOWN");
    client_close(&c);
    ck_assert(ask(&c, image.name));
    check(&c, &image, MIRROR_HIT, 0);
}
END_TEST

static const struct {
    int error, status;
} refusals[] = {{-EAGAIN, 429}, {-EACCES, 403}, {-ETIMEDOUT, 0}, {-ENOENT, 404}};

START_TEST(a_tag_that_moves_to_what_cannot_be_had_keeps_serving_what_is_there)
{
    struct client c;
    warm();
    world_advance(TTL_MS + 1);
    ck_assert(!ask(&c, "latest"));
    give_head("latest", &newer);
    fake_done(expect(false, newer.name), refusals[_i].error, refusals[_i].status);
    check(&c, &image, MIRROR_STALE, 2);
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_STALE, 0);
}
END_TEST

START_TEST(a_clock_that_is_set_back_makes_a_tag_old)
{
    struct client c;
    warm();
    world_advance(-CLOCK_MINUTE);
    ck_assert(!ask(&c, "latest"));
    give_head("latest", &image);
    check(&c, &image, MIRROR_MISS, 1);
}
END_TEST

/* --- failures ----------------------------------------------------------------------------------------------- */

START_TEST(what_is_absent_is_remembered_for_a_moment)
{
    struct client c;
    ck_assert(!ask(&c, "nothing"));
    fake_done(expect(true, "nothing"), -ENOENT, 404);
    client_expect_error(&c, 404, "MANIFEST_UNKNOWN");
    client_close(&c);
    ck_assert(ask(&c, "nothing"));
    client_expect_error(&c, 404, "MANIFEST_UNKNOWN");
    client_expect_outcome(&c, MIRROR_ERROR, 0);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(what_may_pass_is_held_and_asked_again)
{
    struct client c;
    ck_assert(!ask(&c, "latest"));
    fake_done_after(expect(true, "latest"), -EAGAIN, 429, 10);
    client_go_on(&c);
    give_head("latest", &image);
    client_go_on(&c);
    give(&image);
    check(&c, &image, MIRROR_MISS, 3);
}
END_TEST

START_TEST(nobody_waits_longer_than_the_answer_timeout)
{
    struct client c;
    world.config.server.answer_timeout_ms = 30;
    ck_assert(!ask(&c, "latest"));
    struct fake_job *j = expect(true, "latest");
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
    fake_give_head(j, MEDIA_TYPE_OCI_MANIFEST, image.name, (int64_t)image.len);
    world_settle(); /* the next one knows already what it stands for */
    world.config.server.answer_timeout_ms = PATIENCE_MS;
    ck_assert(!ask(&c, "latest"));
    give(&image);
    check(&c, &image, MIRROR_MISS, 1);
}
END_TEST

static const struct {
    const char *what, *type, *body;
    int status;
    const char *code;
} wrong_manifests[] = {
    {"other bytes", MEDIA_TYPE_OCI_MANIFEST, "{\"schemaVersion\":2,\"layers\":[]}", 502, "UNKNOWN"},
    {"nothing", MEDIA_TYPE_OCI_MANIFEST, "", 502, "UNKNOWN"},
    {"a page", "text/html", "<html>please log in</html>", 502, "UNKNOWN"},
    {"schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", "{\"schemaVersion\":1}", 404,
     "MANIFEST_UNKNOWN"},
};

START_TEST(wrong_bytes_are_neither_served_nor_kept)
{
    struct client c;
    ck_assert(!ask(&c, image.name));
    fake_give(expect(false, image.name), wrong_manifests[_i].type, wrong_manifests[_i].body,
              strlen(wrong_manifests[_i].body));
    client_expect_error(&c, wrong_manifests[_i].status, wrong_manifests[_i].code);
    client_close(&c);
    world_settle();
    ck_assert(!library_has(world.mirror->library, &image.digest));
    ck_assert_uint_eq(scratch_count("partial"), 0);
}
END_TEST

START_TEST(a_body_over_the_limit_is_not_read)
{
    struct client c;
    ck_assert(!ask(&c, image.name));
    struct fake_job *j = expect(false, image.name);
    struct upstream_head head = fake_header(200, (int64_t)LIMIT_MANIFEST + 1);
    ck_assert_int_eq(fake_head(j, &head), -EFBIG);
    fake_done(j, 0, 200);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);

    AUTO_FREE char *many = calloc(1, LIMIT_MANIFEST + 1);
    ck_assert(!ask(&c, newer.name));
    j = expect(false, newer.name);
    head = fake_header(200, -1); /* it does not say */
    ck_ok(fake_head(j, &head));
    ck_assert_int_eq(fake_body(j, many, LIMIT_MANIFEST + 1), -EFBIG);
    fake_done(j, 0, 200);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
}
END_TEST

START_TEST(a_manifest_that_is_damaged_on_disk_is_asked_for_again)
{
    struct client c;
    warm();
    world_stop(); /* nothing is in memory any more */
    scratch_damage(&image.digest);
    world_start();
    ck_assert(!ask(&c, "latest"));
    give(&image);
    check(&c, &image, MIRROR_MISS, 1);
    world_settle();
    world_stop();
    world_start();
    ck_assert(ask(&c, "latest"));
    check(&c, &image, MIRROR_HIT, 0);
}
END_TEST

/* --- lists --------------------------------------------------------------------------------------------------- */

static void ask_tags(struct client *c, int64_t n, const char *last)
{
    const struct mirror_request request = {.object = MIRROR_TAGS, .name = REPOSITORY, .page_size = n, .last = last};
    client_open_request(c, &request);
    (void)client_step(c);
}

static void give_page(enum upstream_object object, const char *query, const char *type, const char *body,
                      const char *link)
{
    struct fake_job *j = fake_expect(world.upstream, object, false, NULL);
    ck_assert_str_eq(j->job.query ? j->job.query : "none", query ? query : "none");
    struct upstream_head head = fake_header(200, (int64_t)strlen(body));
    head.content_type = type;
    head.link = link;
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, body, strlen(body)));
    fake_done(j, 0, 200);
}

static void expect_body(struct client *c, const char *body)
{
    client_expect(c, body, strlen(body));
}

START_TEST(a_list_of_several_pages_is_gathered_and_given_in_the_pages_of_the_client)
{
    struct client c;
    ask_tags(&c, 2, NULL);
    give_page(UPSTREAM_TAGS, NULL, MEDIA_TYPE_JSON, "{\"tags\":[\"c\",\"a\"]}",
              "</v2/library/alpine/tags/list?last=c&n=2>; rel=\"next\"");
    give_page(UPSTREAM_TAGS, "last=c&n=2", MEDIA_TYPE_JSON, "{\"tags\":[\"d\",\"b\"]}",
              "</v2/library/alpine/tags/list?last=d&n=2>; rel=\"next\"");
    give_page(UPSTREAM_TAGS, "last=d&n=2", MEDIA_TYPE_JSON, "{\"tags\":[\"e\"]}", "");
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"a\",\"b\"]}");
    ck_assert_str_eq(c.answer.link, "n=2&last=b");
    ck_assert_ptr_null(c.answer.digest);
    client_expect_outcome(&c, MIRROR_MISS, 3);
    client_close(&c);
    ask_tags(&c, 2, "d");
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"e\"]}");
    ck_assert_ptr_null(c.answer.link);
    client_expect_outcome(&c, MIRROR_HIT, 0);
    client_close(&c);
    world_settle();
    world_stop();
    world_start();
    ask_tags(&c, -1, NULL);
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}");
    client_close(&c);
}
END_TEST

START_TEST(a_page_that_breaks_off_is_asked_for_again)
{
    struct client c;
    ask_tags(&c, -1, NULL);
    give_page(UPSTREAM_TAGS, NULL, MEDIA_TYPE_JSON, "{\"tags\":[\"a\"]}", "<?last=a>; rel=\"next\"");
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_TAGS, false, NULL);
    struct upstream_head head = fake_header(200, 100);
    head.link = "<?last=nonsense>; rel=\"next\"";
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, "{\"tags\":[\"x\"", 12));
    fake_done(j, -ECONNRESET, 200);
    give_page(UPSTREAM_TAGS, "last=a", MEDIA_TYPE_JSON, "{\"tags\":[\"b\"]}", "");
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"a\",\"b\"]}");
    client_close(&c);
}
END_TEST

START_TEST(a_list_is_served_stale_when_nobody_answers)
{
    struct client c;
    ask_tags(&c, -1, NULL);
    give_page(UPSTREAM_TAGS, NULL, MEDIA_TYPE_JSON, "{\"tags\":[\"a\"]}", "");
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"a\"]}");
    client_close(&c);
    world_advance(TTL_MS + 1);
    ask_tags(&c, -1, NULL);
    fake_done(fake_expect(world.upstream, UPSTREAM_TAGS, false, NULL), -ETIMEDOUT, 0);
    expect_body(&c, "{\"name\":\"library/alpine\",\"tags\":[\"a\"]}");
    ck_assert_ptr_nonnull(c.answer.warning);
    client_expect_outcome(&c, MIRROR_STALE, 1);
    client_close(&c);
}
END_TEST

START_TEST(what_is_no_list_is_an_error)
{
    struct client c;
    ask_tags(&c, -1, NULL);
    give_page(UPSTREAM_TAGS, NULL, "text/html", "<html>", "");
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
}
END_TEST

static void ask_referrers(struct client *c, const char *type)
{
    const struct mirror_request request = {.object = MIRROR_REFERRERS,
                                           .name = REPOSITORY,
                                           .reference = image.name,
                                           .artifact_type = type,
                                           .page_size = -1};
    client_open_request(c, &request);
    (void)client_step(c);
}

#define INDEX(manifests)                                                                                               \
    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":[" manifests "]}"
#define SIGNATURE "{\"digest\":\"sha256:1\",\"artifactType\":\"application/signature\"}"
#define BILL "{\"digest\":\"sha256:2\",\"artifactType\":\"application/bill\"}"

START_TEST(referrers_are_gathered_and_filtered)
{
    struct client c;
    ask_referrers(&c, NULL);
    give_page(UPSTREAM_REFERRERS, NULL, MEDIA_TYPE_OCI_INDEX, INDEX(SIGNATURE), "<?page=2>; rel=\"next\"");
    give_page(UPSTREAM_REFERRERS, "page=2", MEDIA_TYPE_OCI_INDEX, INDEX(BILL), "");
    expect_body(&c, INDEX(SIGNATURE "," BILL));
    ck_assert_str_eq(c.answer.content_type, MEDIA_TYPE_OCI_INDEX);
    ck_assert_ptr_null(c.answer.filters);
    client_close(&c);
    ask_referrers(&c, "application/bill");
    expect_body(&c, INDEX(BILL));
    ck_assert_str_eq(c.answer.filters, "artifactType");
    client_expect_outcome(&c, MIRROR_HIT, 0);
    client_close(&c);
}
END_TEST

static const struct {
    int error, status;
    const char *type, *body;
} no_referrers_api[] = {
    {-ENOENT, 404, NULL, NULL},      {-EREMOTEIO, 405, NULL, NULL},
    {-EAGAIN, 429, NULL, NULL}, /* ghcr.io, by way of a redirect */
    {0, 200, "text/html", "<html>"}, {0, 200, MEDIA_TYPE_OCI_INDEX, "[]"},
};

/* What the upstream says that has no referrers API. */
static void refuse_referrers(int i)
{
    if (no_referrers_api[i].error == 0) {
        give_page(UPSTREAM_REFERRERS, NULL, no_referrers_api[i].type, no_referrers_api[i].body, "");
        return;
    }
    fake_done(fake_expect(world.upstream, UPSTREAM_REFERRERS, false, image.name), no_referrers_api[i].error,
              no_referrers_api[i].status);
}

START_TEST(where_there_is_no_referrers_api_the_fallback_tag_is_asked)
{
    struct client c;
    struct text index;
    char tag[DIGEST_TEXT_MAX];
    text_set(&index, INDEX(SIGNATURE));
    (void)stpcpy(tag, image.name);
    tag[6] = '-'; /* sha256-<hex> */
    ask_referrers(&c, NULL);
    refuse_referrers(_i);
    fake_give_head(expect(true, tag), MEDIA_TYPE_OCI_INDEX, index.name, (int64_t)index.len);
    fake_give(expect(false, index.name), MEDIA_TYPE_OCI_INDEX, index.bytes, index.len);
    expect_body(&c, INDEX(SIGNATURE));
    client_close(&c);
    ask_referrers(&c, "application/bill");
    expect_body(&c, INDEX());
    client_close(&c);
}
END_TEST

START_TEST(without_a_fallback_tag_nobody_refers_to_it)
{
    struct client c;
    ask_referrers(&c, NULL);
    refuse_referrers(_i);
    fake_done(expect(true, NULL), -ENOENT, 404);
    expect_body(&c, INDEX());
    client_close(&c);
}
END_TEST

START_TEST(an_upstream_that_is_broken_does_not_say_that_nobody_refers_to_it)
{
    struct client c;
    world.config.server.answer_timeout_ms = 2000;
    ask_referrers(&c, NULL);
    for (unsigned i = 0; i < 3; i++)
        fake_done(fake_expect(world.upstream, UPSTREAM_REFERRERS, false, image.name), -EREMOTEIO, 503);
    client_close(&c);
    world_settle();
    ck_assert_uint_eq(fake_count(world.upstream), 3);
    world.config.server.answer_timeout_ms = 0;
    ask_referrers(&c, NULL);
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
}
END_TEST

START_TEST(a_fallback_with_wrong_bytes_is_an_error)
{
    struct client c;
    ask_referrers(&c, NULL);
    refuse_referrers(0);
    fake_give_head(expect(true, NULL), MEDIA_TYPE_OCI_INDEX, newer.name, 10);
    fake_give(expect(false, newer.name), MEDIA_TYPE_OCI_INDEX, "{\"manifests\":[]}", 16);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("manifests");
    TCase *tests = tcase_create("names");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_cold_tag_costs_a_head_and_a_get_and_then_nothing);
    tcase_add_test(tests, what_was_learned_survives_a_restart);
    tcase_add_test(tests, many_who_ask_share_one_head_and_one_get);
    tcase_add_test(tests, a_digest_is_asked_for_by_one_get);
    tcase_add_test(tests, a_manifest_by_a_sha512_digest_is_checked_by_it);
    tcase_add_test(tests, without_a_digest_header_the_digest_is_computed);
    tcase_add_test(tests, where_no_head_is_allowed_a_get_tells);
    tcase_add_test(tests, a_generic_type_is_replaced_by_what_the_manifest_says);
    tcase_add_test(tests, a_head_of_a_cold_manifest_moves_no_body);
    tcase_add_test(tests, a_head_by_digest_answers_with_the_digest_that_was_asked_for);
    suite_add_tcase(suite, tests);
    tests = tcase_create("past the TTL");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, past_its_ttl_a_tag_costs_one_head_and_no_get);
    tcase_add_test(tests, a_tag_that_moved_is_followed_by_digest);
    tcase_add_loop_test(tests, a_stale_tag_is_served_when_nobody_answers, 0, ARRAY_SIZE(gone));
    tcase_add_test(tests, a_broken_answer_is_asked_for_again_before_what_is_stale_is_served);
    tcase_add_test(tests, who_has_something_stale_does_not_wait_for_an_upstream_that_hangs);
    tcase_add_test(tests, a_tag_that_is_gone_is_gone);
    tcase_add_loop_test(tests, a_tag_that_moves_to_what_cannot_be_had_keeps_serving_what_is_there, 0,
                        ARRAY_SIZE(refusals));
    tcase_add_test(tests, a_clock_that_is_set_back_makes_a_tag_old);
    suite_add_tcase(suite, tests);
    tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_is_absent_is_remembered_for_a_moment);
    tcase_add_test(tests, what_may_pass_is_held_and_asked_again);
    tcase_add_test(tests, nobody_waits_longer_than_the_answer_timeout);
    tcase_add_loop_test(tests, wrong_bytes_are_neither_served_nor_kept, 0, ARRAY_SIZE(wrong_manifests));
    tcase_add_test(tests, a_body_over_the_limit_is_not_read);
    tcase_add_test(tests, a_manifest_that_is_damaged_on_disk_is_asked_for_again);
    suite_add_tcase(suite, tests);
    tests = tcase_create("lists");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_list_of_several_pages_is_gathered_and_given_in_the_pages_of_the_client);
    tcase_add_test(tests, a_page_that_breaks_off_is_asked_for_again);
    tcase_add_test(tests, a_list_is_served_stale_when_nobody_answers);
    tcase_add_test(tests, what_is_no_list_is_an_error);
    tcase_add_test(tests, referrers_are_gathered_and_filtered);
    tcase_add_loop_test(tests, where_there_is_no_referrers_api_the_fallback_tag_is_asked, 0,
                        ARRAY_SIZE(no_referrers_api));
    tcase_add_loop_test(tests, without_a_fallback_tag_nobody_refers_to_it, 0, ARRAY_SIZE(no_referrers_api));
    tcase_add_test(tests, an_upstream_that_is_broken_does_not_say_that_nobody_refers_to_it);
    tcase_add_test(tests, a_fallback_with_wrong_bytes_is_an_error);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
