/* Blobs that begin to flow before the client asks for them: which, how many, and that nothing is fetched twice. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPOSITORY "library/alpine"
#define BLOBS 3
#define SIZE 5000

static struct {
    char *bytes;
    struct digest digest;
    char name[DIGEST_TEXT_MAX];
} blobs[BLOBS];

static struct {
    char bytes[2048];
    size_t len;
    char name[DIGEST_TEXT_MAX];
} manifest;

#define FOREIGN "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define DESCRIPTOR "{\"digest\":\"%s\",\"size\":%d}"

static void set_manifest(const char *format)
{
    struct digest digest;
    /* NOLINTNEXTLINE: the format is one of the test's own */
    manifest.len = (size_t)snprintf(manifest.bytes, sizeof(manifest.bytes), format, blobs[0].name, SIZE, blobs[1].name,
                                    SIZE, blobs[2].name, SIZE);
    ck_ok(digest_of(DIGEST_SHA256, manifest.bytes, manifest.len, &digest));
    (void)digest_format(&digest, manifest.name);
}

/* A config, two layers, and two that are not to be fetched: one that lives elsewhere, one of no bytes. */
static const char an_image[] =
    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"config\":" DESCRIPTOR
    ",\"layers\":[" DESCRIPTOR "," DESCRIPTOR ",{\"digest\":\"" FOREIGN
    "\",\"size\":9,\"urls\":[\"https://example.com/layer\"]},"
    "{\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":0}]}";
static const char an_index[] = "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX
                               "\",\"manifests\":[" DESCRIPTOR "," DESCRIPTOR "," DESCRIPTOR "]}";

static void setup(void)
{
    world_setup();
    world.config.prefetch.enabled = true;
    world.config.prefetch.max_flights = 16;
    for (unsigned i = 0; i < BLOBS; i++) {
        blobs[i].bytes = scratch_bytes(i, SIZE, &blobs[i].digest);
        (void)digest_format(&blobs[i].digest, blobs[i].name);
    }
    set_manifest(an_image);
}

static void cleanup(void)
{
    world_cleanup();
    for (unsigned i = 0; i < BLOBS; i++)
        free(blobs[i].bytes);
}

static void give_manifest(const char *type)
{
    fake_give(fake_expect(world.upstream, UPSTREAM_MANIFEST, false, manifest.name), type, manifest.bytes, manifest.len);
}

static void pull(const char *type)
{
    struct client c;
    client_open(&c, MIRROR_MANIFEST, false, REPOSITORY, manifest.name);
    ck_assert(!client_step(&c));
    give_manifest(type);
    client_expect(&c, manifest.bytes, manifest.len);
    client_close(&c);
    world_settle();
}

static struct fake_job *expect_blob(unsigned i)
{
    return fake_expect(world.upstream, UPSTREAM_BLOB, false, blobs[i].name);
}

static void give_blob(unsigned i)
{
    fake_give(expect_blob(i), "application/octet-stream", blobs[i].bytes, SIZE);
}

static void check_blob(unsigned i, enum mirror_outcome outcome)
{
    struct client c;
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, blobs[i].name);
    (void)client_step(&c);
    client_expect(&c, blobs[i].bytes, SIZE);
    client_expect_outcome(&c, outcome, 0);
    client_close(&c);
}

START_TEST(the_blobs_of_an_image_flow_before_they_are_asked_for)
{
    pull(MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(fake_count(world.upstream), 1 + BLOBS);
    for (unsigned i = 0; i < BLOBS; i++)
        give_blob(i);
    world_settle();
    for (unsigned i = 0; i < BLOBS; i++)
        check_blob(i, MIRROR_HIT);
    ck_assert_uint_eq(fake_count(world.upstream), 1 + BLOBS);
}
END_TEST

START_TEST(they_are_joined_by_who_asks_for_them)
{
    struct client clients[BLOBS];
    pull(MEDIA_TYPE_OCI_MANIFEST);
    for (unsigned i = 0; i < BLOBS; i++) {
        client_open(&clients[i], MIRROR_BLOB, false, REPOSITORY, blobs[i].name);
        ck_assert(!client_step(&clients[i]));
    }
    for (unsigned i = 0; i < BLOBS; i++)
        give_blob(i);
    for (unsigned i = 0; i < BLOBS; i++) {
        client_expect(&clients[i], blobs[i].bytes, SIZE);
        client_expect_outcome(&clients[i], MIRROR_JOINED, 0);
        client_close(&clients[i]);
    }
    ck_assert_uint_eq(fake_count(world.upstream), 1 + BLOBS);
}
END_TEST

START_TEST(a_pull_by_tag_does_the_same)
{
    struct client c;
    client_open(&c, MIRROR_MANIFEST, false, REPOSITORY, "latest");
    ck_assert(!client_step(&c));
    fake_give_head(fake_expect(world.upstream, UPSTREAM_MANIFEST, true, "latest"), MEDIA_TYPE_OCI_MANIFEST,
                   manifest.name, (int64_t)manifest.len);
    client_go_on(&c);
    give_manifest(MEDIA_TYPE_OCI_MANIFEST);
    client_expect(&c, manifest.bytes, manifest.len);
    client_close(&c);
    world_settle();
    ck_assert_uint_eq(fake_count(world.upstream), 2 + BLOBS);
}
END_TEST

START_TEST(a_head_fetches_nothing)
{
    struct client c;
    client_open(&c, MIRROR_MANIFEST, true, REPOSITORY, manifest.name);
    ck_assert(!client_step(&c));
    if (_i) { /* nor where the manifest had to be fetched for it */
        fake_done(fake_expect(world.upstream, UPSTREAM_MANIFEST, true, manifest.name), -EREMOTEIO, 405);
        give_manifest(MEDIA_TYPE_OCI_MANIFEST);
    } else {
        fake_give_head(fake_expect(world.upstream, UPSTREAM_MANIFEST, true, manifest.name), MEDIA_TYPE_OCI_MANIFEST,
                       manifest.name, (int64_t)manifest.len);
    }
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    world_settle();
    ck_assert_uint_eq(fake_count(world.upstream), _i ? 2 : 1);
}
END_TEST

START_TEST(an_index_fetches_nothing)
{
    set_manifest(an_index);
    pull(MEDIA_TYPE_OCI_INDEX);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(nothing_is_fetched_where_it_is_not_wanted)
{
    world.config.prefetch.enabled = false;
    pull(MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(no_more_flow_than_may_and_an_end_makes_room)
{
    world.config.prefetch.max_flights = 2;
    pull(MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(fake_count(world.upstream), 1 + 2);
    give_blob(0);
    fake_done(expect_blob(1), -ENOENT, 404); /* either end */
    world_settle();
    ck_assert_uint_eq(fake_count(world.upstream), 1 + 2);
    set_manifest("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"layers\":[" DESCRIPTOR
                 "," DESCRIPTOR "," DESCRIPTOR "]}");
    pull(MEDIA_TYPE_OCI_MANIFEST); /* the same blobs: one is stored, one failed a moment ago */
    give_blob(2);
    ck_assert_uint_eq(fake_count(world.upstream), 1 + 2 + 1 + 1);
    world_settle();
    check_blob(0, MIRROR_HIT);
    check_blob(2, MIRROR_HIT);
}
END_TEST

START_TEST(what_is_under_way_is_left_alone_and_takes_no_place)
{
    struct client c;
    world.config.prefetch.max_flights = 2;
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, blobs[0].name);
    ck_assert(!client_step(&c));
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, blobs[0].name);
    pull(MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(fake_count(world.upstream), 2 + 2);
    give_blob(1);
    give_blob(2);
    fake_give_head(j, "application/octet-stream", blobs[0].name, SIZE);
    give_blob(0);
    client_expect(&c, blobs[0].bytes, SIZE);
    client_expect_outcome(&c, MIRROR_MISS, 2);
    client_close(&c);
}
END_TEST

START_TEST(what_flows_without_anybody_is_cut_by_a_stop_and_resumed_by_who_asks)
{
    struct client c;
    pull(MEDIA_TYPE_OCI_MANIFEST);
    struct fake_job *j = expect_blob(0);
    struct upstream_head head = fake_blob_header(j, SIZE);
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, blobs[0].bytes, 2000));
    fake_tick(j);
    world_stop();
    world_start();
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, blobs[0].name);
    ck_assert(!client_step(&c));
    j = expect_blob(0);
    ck_assert_uint_eq(j->job.offset, 2000);
    head = fake_blob_header(j, SIZE);
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, blobs[0].bytes + 2000, SIZE - 2000));
    fake_done(j, 0, 206);
    client_expect(&c, blobs[0].bytes, SIZE);
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prefetch");
    TCase *tests = tcase_create("prefetch");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, the_blobs_of_an_image_flow_before_they_are_asked_for);
    tcase_add_test(tests, they_are_joined_by_who_asks_for_them);
    tcase_add_test(tests, a_pull_by_tag_does_the_same);
    tcase_add_loop_test(tests, a_head_fetches_nothing, 0, 2);
    tcase_add_test(tests, an_index_fetches_nothing);
    tcase_add_test(tests, nothing_is_fetched_where_it_is_not_wanted);
    tcase_add_test(tests, no_more_flow_than_may_and_an_end_makes_room);
    tcase_add_test(tests, what_is_under_way_is_left_alone_and_takes_no_place);
    tcase_add_test(tests, what_flows_without_anybody_is_cut_by_a_stop_and_resumed_by_who_asks);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
