/* A registry of several sources: what one gave wrongly, or could not give, is asked for at another. */
#include "world.h"

#include "base/clock.h"
#include "mirror/flight_state.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define REPOSITORY "library/alpine"
#define SIZE 5000
#define MANIFEST "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"layers\":[]}"
#define WRONG "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"layers\":[],\"x\":1}"

static char manifest_name[DIGEST_TEXT_MAX], blob_name[DIGEST_TEXT_MAX];
static struct digest blob_digest;
static char *blob;

static void set_sources(size_t count)
{
    world.config.registries[0].source_count = count;
}

static void setup(void)
{
    struct digest digest;
    world_setup();
    set_sources(2);
    ck_ok(digest_of(DIGEST_SHA256, MANIFEST, strlen(MANIFEST), &digest));
    (void)digest_format(&digest, manifest_name);
    blob = scratch_bytes(1, SIZE, &blob_digest);
    (void)digest_format(&blob_digest, blob_name);
}

static void cleanup(void)
{
    world_cleanup();
    set_sources(1);
    free(blob);
}

static struct fake_job *expect(enum upstream_object object, bool head, const char *reference, uint32_t avoid,
                               unsigned source)
{
    struct fake_job *j = fake_expect(world.upstream, object, head, reference);
    ck_assert_uint_eq(j->job.avoid, avoid);
    j->source = source; /* that is to answer */
    return j;
}

/* --- manifests --------------------------------------------------------------------------------------------------- */

static void ask(struct client *c, const char *reference)
{
    client_open(c, MIRROR_MANIFEST, false, REPOSITORY, reference);
    ck_assert(!client_step(c));
}

static struct fake_job *expect_manifest(uint32_t avoid, unsigned source)
{
    return expect(UPSTREAM_MANIFEST, false, manifest_name, avoid, source);
}

static void give(struct fake_job *j, const char *type, const char *body)
{
    fake_give(j, type, body, strlen(body));
}

static const struct {
    const char *type, *body;
} wrong[] = {
    {MEDIA_TYPE_OCI_MANIFEST, WRONG}, {"text/html", "<html>please log in</html>"}, {"text/plain", MANIFEST "x"}};

START_TEST(a_wrong_manifest_is_asked_for_at_another_source)
{
    struct client c;
    ask(&c, manifest_name);
    give(expect_manifest(0, 0), wrong[_i].type, wrong[_i].body);
    give(expect_manifest(1, 1), MEDIA_TYPE_OCI_MANIFEST, MANIFEST);
    client_expect(&c, MANIFEST, strlen(MANIFEST));
    client_expect_outcome(&c, MIRROR_MISS, 2);
    client_close(&c);
}
END_TEST

START_TEST(of_a_registry_with_one_source_it_is_wrong)
{
    struct client c;
    set_sources(1);
    ask(&c, manifest_name);
    give(expect_manifest(0, 0), wrong[_i].type, wrong[_i].body);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(where_every_source_is_wrong_it_is_wrong)
{
    struct client c;
    ask(&c, manifest_name);
    give(expect_manifest(0, 0), wrong[_i].type, wrong[_i].body);
    give(expect_manifest(1, 1), wrong[_i].type, wrong[_i].body);
    fake_done_unasked(expect_manifest(3, UINT_MAX));
    client_expect_error(&c, 502, "UNKNOWN"); /* and not: try again */
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 3);
}
END_TEST

START_TEST(what_another_source_says_then_counts)
{
    struct client c;
    ask(&c, manifest_name);
    give(expect_manifest(0, 0), MEDIA_TYPE_OCI_MANIFEST, WRONG);
    fake_done(expect_manifest(1, 1), -ENOENT, 404);
    client_expect_error(&c, 404, "MANIFEST_UNKNOWN");
    client_close(&c);
}
END_TEST

START_TEST(a_tag_whose_head_is_a_page_is_asked_for_at_another_source)
{
    struct client c;
    ask(&c, "latest");
    fake_give_head(expect(UPSTREAM_MANIFEST, true, "latest", 0, 0), "text/html", "", 100);
    fake_give_head(expect(UPSTREAM_MANIFEST, true, "latest", 1, 1), MEDIA_TYPE_OCI_MANIFEST, manifest_name,
                   (int64_t)strlen(MANIFEST));
    client_go_on(&c);
    give(expect_manifest(0, 0), MEDIA_TYPE_OCI_MANIFEST, MANIFEST);
    client_expect(&c, MANIFEST, strlen(MANIFEST));
    client_close(&c);
}
END_TEST

/* --- blobs ---------------------------------------------------------------------------------------------------------
 */

static void ask_blob(struct client *c)
{
    client_open(c, MIRROR_BLOB, false, REPOSITORY, blob_name);
    ck_assert(!client_step(c));
}

static void give_size(uint32_t avoid)
{
    fake_give_head(expect(UPSTREAM_BLOB, true, blob_name, avoid, 0), "application/octet-stream", blob_name, SIZE);
}

static struct fake_job *expect_blob(uint32_t avoid, unsigned source)
{
    return expect(UPSTREAM_BLOB, false, blob_name, avoid, source);
}

static void give_blob(struct fake_job *j, bool right)
{
    blob[100] ^= right ? 0 : 1;
    fake_give(j, "application/octet-stream", blob, SIZE);
    blob[100] ^= right ? 0 : 1;
}

static void check(struct client *c)
{
    client_expect(c, blob, SIZE);
    client_close(c);
}

START_TEST(wrong_bytes_of_one_source_are_asked_for_at_another)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    give_blob(expect_blob(0, 0), /* right= */ false);
    give_size(1);
    give_blob(expect_blob(1, 1), /* right= */ true);
    check(&c);
}
END_TEST

START_TEST(another_length_is_wrong_as_well)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    struct fake_job *j = expect_blob(0, 0);
    struct upstream_head head = fake_header(200, SIZE + 1);
    ck_assert_int_lt(fake_head(j, &head), 0);
    fake_done(j, 0, 200);
    client_go_on(&c);
    give_size(1);
    give_blob(expect_blob(1, 1), /* right= */ true);
    check(&c);
}
END_TEST

START_TEST(where_every_source_is_wrong_the_blob_is_wrong)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    give_blob(expect_blob(0, 0), /* right= */ false);
    give_size(1);
    give_blob(expect_blob(1, 1), /* right= */ false);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 4);
}
END_TEST

/* A first flight that ended with wrong bytes of source 0, and nothing of others. */
static void be_deceived(void)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    client_close(&c);
    give_blob(expect_blob(0, 0), /* right= */ false);
    if (world.config.registries[0].source_count > 1)
        fake_done(expect(UPSTREAM_BLOB, true, blob_name, 1, 1), -EPERM, 0);
    world_settle();
    recent_forget_all(world.mirror->recent); /* the time to wait is over */
}

START_TEST(who_gave_wrong_bytes_is_avoided_by_the_next_flight_too_for_a_while)
{
    struct client c;
    be_deceived();
    if (_i)
        for (size_t i = 0; i < SHUNNED; i++) {
            struct flights *fs = world.mirror->flights;
            (void)pthread_mutex_lock(&fs->lock);
            fs->shunned[i].until = 0; /* ten minutes later */
            (void)pthread_mutex_unlock(&fs->lock);
        }
    ask_blob(&c);
    give_size(_i ? 0 : 1);
    give_blob(expect_blob(_i ? 0 : 1, 1), /* right= */ true);
    check(&c);
}
END_TEST

START_TEST(the_only_source_is_not_avoided)
{
    struct client c;
    set_sources(1);
    be_deceived();
    ask_blob(&c);
    give_size(0);
    give_blob(expect_blob(0, 0), /* right= */ true);
    check(&c);
}
END_TEST

static void break_off(uint32_t avoid, unsigned source)
{
    fake_done(expect_blob(avoid, source), -ECONNRESET, 0);
}

START_TEST(a_source_that_breaks_off_twice_is_passed_over_and_then_may_again)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    break_off(0, 0); /* once is nothing */
    break_off(0, 0);
    break_off(1, 1);
    give_blob(expect_blob(0, 0), /* right= */ true);
    check(&c);
}
END_TEST

START_TEST(the_only_source_is_asked_again_however_often_it_breaks_off)
{
    struct client c;
    set_sources(1);
    ask_blob(&c);
    give_size(0);
    for (unsigned i = 0; i < 4; i++)
        break_off(0, 0);
    give_blob(expect_blob(0, 0), /* right= */ true);
    check(&c);
}
END_TEST

START_TEST(another_goes_on_where_one_broke_off)
{
    struct client c;
    ask_blob(&c);
    give_size(0);
    struct fake_job *j = expect_blob(0, 0);
    struct upstream_head head = fake_blob_header(j, SIZE);
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, blob, 2000));
    fake_done(j, -ECONNRESET, 200);
    break_off(0, 0);
    j = expect_blob(1, 1);
    ck_assert_uint_eq(j->job.offset, 2000);
    head = fake_blob_header(j, SIZE);
    ck_ok(fake_head(j, &head));
    ck_ok(fake_body(j, blob + 2000, SIZE - 2000));
    fake_done(j, 0, 206);
    check(&c);
}
END_TEST

START_TEST(a_liar_is_not_asked_while_another_is_left_and_then_rather_than_nobody)
{
    struct client c;
    be_deceived();
    ask_blob(&c);
    give_size(1);
    break_off(1, 1);
    break_off(1, 1);
    fake_done_unasked(expect_blob(3, UINT_MAX));
    give_blob(expect_blob(0, 0), /* right= */ true);
    check(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sources");
    TCase *tests = tcase_create("sources");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_wrong_manifest_is_asked_for_at_another_source, 0, ARRAY_SIZE(wrong));
    tcase_add_loop_test(tests, of_a_registry_with_one_source_it_is_wrong, 0, ARRAY_SIZE(wrong));
    tcase_add_loop_test(tests, where_every_source_is_wrong_it_is_wrong, 0, ARRAY_SIZE(wrong));
    tcase_add_test(tests, what_another_source_says_then_counts);
    tcase_add_test(tests, a_tag_whose_head_is_a_page_is_asked_for_at_another_source);
    tcase_add_test(tests, wrong_bytes_of_one_source_are_asked_for_at_another);
    tcase_add_test(tests, another_length_is_wrong_as_well);
    tcase_add_test(tests, where_every_source_is_wrong_the_blob_is_wrong);
    tcase_add_loop_test(tests, who_gave_wrong_bytes_is_avoided_by_the_next_flight_too_for_a_while, 0, 2);
    tcase_add_test(tests, the_only_source_is_not_avoided);
    tcase_add_test(tests, a_source_that_breaks_off_twice_is_passed_over_and_then_may_again);
    tcase_add_test(tests, the_only_source_is_asked_again_however_often_it_breaks_off);
    tcase_add_test(tests, another_goes_on_where_one_broke_off);
    tcase_add_test(tests, a_liar_is_not_asked_while_another_is_left_and_then_rather_than_nobody);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
