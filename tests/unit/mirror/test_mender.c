/* What a pinned image has lost is fetched although nobody asks for it. */
#include "mirror/mender.h"

#include "world.h"

#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIZE (100 * KIB)

/* An image of one layer, as a client of a/b has left it. */
struct image {
    char *layer;
    struct buf manifest;
    struct digest layer_digest, digest;
};

static void image_finish(struct image *i)
{
    free(i->layer);
    buf_finish(&i->manifest);
}

static struct image put_image(unsigned n, bool is_rotten)
{
    struct image i = {.manifest = BUF_INIT(64 * KIB)};
    char text[DIGEST_TEXT_MAX];
    i.layer = scratch_bytes(n, SIZE, &i.layer_digest);
    i.layer[0] ^= is_rotten;
    world_store(i.layer, SIZE, &i.layer_digest);
    i.layer[0] ^= is_rotten;
    ck_ok(buf_addf(&i.manifest,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST
                   "\",\"layers\":[{\"digest\":\"%s\",\"size\":%llu}]}",
                   digest_format(&i.layer_digest, text), SIZE));
    i.digest = world_add_document(&i.manifest);
    return i;
}

/* As whoever finds it does. */
static void lose(const struct digest *digest)
{
    struct blobstore_info info;
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    ck_ok(blobstore_get(world.store, digest, &info, &content));
    mirror_report_damage(world.mirror, digest, blobstore_content_fd(content), "test");
    library_forget(world.mirror->library, digest);
}

/* Of a mirror that is stopped. */
static void remove_file(const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX], path[PATH_MAX];
    const char *hex = strchr(digest_format(digest, text), ':') + 1;
    (void)snprintf(path, sizeof(path), "%s/store/blobs/sha256/%.2s/%s", scratch_path(), hex, hex);
    ck_ok(unlink(path));
}

static bool is_stored(const struct digest *digest)
{
    struct blobstore_info info;
    world_settle();
    return blobstore_stat(world.store, digest, &info) == 0;
}

static struct fake_job *expect(enum upstream_object object, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    struct fake_job *j = fake_expect(world.upstream, object, false, digest_format(digest, text));
    ck_assert_str_eq(j->job.registry, "docker.io");
    ck_assert_str_eq(j->job.repository, "a/b");
    return j;
}

START_TEST(a_layer_of_a_pinned_image_is_fetched_again)
{
    AUTO(image_finish) struct image i = put_image(1, false);
    world_pin(&i.digest, 0);
    lose(&i.layer_digest);
    fake_give(expect(UPSTREAM_BLOB, &i.layer_digest), "application/octet-stream", i.layer, SIZE);
    ck_assert(is_stored(&i.layer_digest));
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(a_manifest_of_a_pinned_image_is_fetched_again)
{
    AUTO(image_finish) struct image i = put_image(1, false);
    world_pin(&i.digest, 0);
    lose(&i.digest);
    struct fake_job *j = expect(UPSTREAM_MANIFEST, &i.digest);
    ck_assert_int_eq(j->job.class, UPSTREAM_SEEDING); /* live pulls keep their reserve */
    fake_give(j, MEDIA_TYPE_OCI_MANIFEST, i.manifest.data, i.manifest.len);
    ck_assert(is_stored(&i.digest));
}
END_TEST

START_TEST(what_the_scrub_finds_is_fetched_again)
{
    AUTO(image_finish) struct image i = put_image(1, true);
    world_pin(&i.digest, 0);
    world.config.store.scrub_interval_ms = CLOCK_MINUTE;
    world.config.store.scrub_rate = 1ULL << 40;
    world_advance(2 * CLOCK_MINUTE);
    ck_ok(mirror_reload(world.mirror, &world.config));
    fake_give(expect(UPSTREAM_BLOB, &i.layer_digest), "application/octet-stream", i.layer, SIZE);
    ck_assert(is_stored(&i.layer_digest));
}
END_TEST

START_TEST(what_is_lost_at_the_start_is_fetched_again)
{
    AUTO(image_finish) struct image i = put_image(1, false);
    world_pin(&i.digest, 0);
    world_stop();
    remove_file(&i.layer_digest);
    world_start();
    fake_give(expect(UPSTREAM_BLOB, &i.layer_digest), "application/octet-stream", i.layer, SIZE);
    ck_assert(is_stored(&i.layer_digest));
}
END_TEST

START_TEST(what_no_pinned_image_needs_is_left_to_who_asks_for_it)
{
    AUTO(image_finish) struct image i = put_image(1, false), pinned = put_image(2, false);
    world_pin(&pinned.digest, 0);
    lose(&i.layer_digest);
    lose(&pinned.layer_digest);
    fake_give(expect(UPSTREAM_BLOB, &pinned.layer_digest), "application/octet-stream", pinned.layer, SIZE);
    ck_assert(is_stored(&pinned.layer_digest));
    ck_assert_uint_eq(fake_count(world.upstream), 1); /* the other one was lost before */
    ck_assert(!is_stored(&i.layer_digest));
}
END_TEST

START_TEST(a_mirror_that_stops_while_it_mends_leaves_nothing_behind)
{
    AUTO(image_finish) struct image i = put_image(1, false);
    world_pin(&i.digest, 0);
    lose(&i.digest);
    struct fake_job *j = expect(UPSTREAM_MANIFEST, &i.digest);
    ck_assert(!j->has_head); /* nobody answers */
    world_stop();
    world_start();
    ck_assert(!is_stored(&i.digest));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mender");
    TCase *tests = tcase_create("mender");
    tcase_add_checked_fixture(tests, world_setup, world_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_layer_of_a_pinned_image_is_fetched_again);
    tcase_add_test(tests, a_manifest_of_a_pinned_image_is_fetched_again);
    tcase_add_test(tests, what_the_scrub_finds_is_fetched_again);
    tcase_add_test(tests, what_is_lost_at_the_start_is_fetched_again);
    tcase_add_test(tests, what_no_pinned_image_needs_is_left_to_who_asks_for_it);
    tcase_add_test(tests, a_mirror_that_stops_while_it_mends_leaves_nothing_behind);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
