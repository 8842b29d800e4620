/* What goes and what stays; and that the bounds are kept while the mirror runs. */
#include "mirror/evictor.h"

#include "world.h"

#include "base/clock.h"
#include "mirror/digest_key.h"
#include "mirror/image.h"
#include "mirror/leftovers.h"
#include "mirror/pointers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR (60 * CLOCK_MINUTE)
#define LAYER (100 * KIB)

static struct evictor *evictor;

static void setup(void)
{
    world_setup();
    ck_ok(evictor_create(world.store, world.mirror->library, world.mirror->uses, &evictor));
}

static void cleanup(void)
{
    evictor_destroy(evictor);
    world_cleanup();
}

/* --- images ------------------------------------------------------------------------------------------------- */

static struct digest put_blob(unsigned n)
{
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(n, LAYER, &digest);
    world_store(bytes, LAYER, &digest);
    return digest;
}

static void add_descriptor(struct buf *text, const struct digest *digest, const char *separator)
{
    char name[DIGEST_TEXT_MAX];
    ck_ok(buf_addf(text, "%s{\"digest\":\"%s\",\"size\":%llu}", separator, digest_format(digest, name), LAYER));
}

static struct digest put_manifest(const struct digest *blobs, size_t count)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    ck_ok(buf_adds(&text, "{\"schemaVersion\":2,\"config\":"));
    add_descriptor(&text, &blobs[0], "");
    ck_ok(buf_adds(&text, ",\"layers\":["));
    for (size_t i = 1; i < count; i++)
        add_descriptor(&text, &blobs[i], i > 1 ? "," : "");
    ck_ok(buf_adds(&text, "]}"));
    return world_add_document(&text);
}

static struct digest put_index(const struct digest *manifests, size_t count)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    ck_ok(buf_adds(&text, "{\"schemaVersion\":2,\"manifests\":["));
    for (size_t i = 0; i < count; i++)
        add_descriptor(&text, &manifests[i], i > 0 ? "," : "");
    ck_ok(buf_adds(&text, "]}"));
    return world_add_document(&text);
}

static void put_tag(const char *tag, const struct digest *digest)
{
    struct pointer_key key;
    const struct pointer pointer = {.digest = *digest, .checked_at = clock_real_ms()};
    pointer_key_make(&key, "docker.io", "a/b", POINTER_TAG, tag);
    pointers_put(world.mirror->pointers, &key, &pointer);
    world_settle();
}

static bool has_record(enum blobstore_table table, const void *key, size_t len)
{
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    int r = blobstore_record_get(world.store, table, key, len, &value);
    ck_assert(r == 0 || r == -ENOENT);
    return r == 0;
}

static bool has_tag(const char *tag)
{
    struct pointer_key key;
    pointer_key_make(&key, "docker.io", "a/b", POINTER_TAG, tag);
    return has_record(BLOBSTORE_TAGS, key.bytes, key.len);
}

static bool is_stored(const struct digest *digest)
{
    struct blobstore_info info;
    int r = blobstore_stat(world.store, digest, &info);
    ck_assert(r == 0 || r == -ENOENT);
    return r == 0;
}

/* --- runs --------------------------------------------------------------------------------------------------- */

/* Until it rests. */
static void run(void)
{
    world_settle();
    evictor_configure(evictor, &world.config); /* it need not have rested */
    for (unsigned i = 0; evictor_step(evictor) == 0; i++)
        ck_assert_uint_lt(i, 10000);
}

/* So many bytes must go. */
static void run_for(uint64_t bytes)
{
    struct blobstore_totals totals;
    ck_ok(blobstore_totals(world.store, &totals));
    world.config.store.max_size.bytes = bytes < totals.bytes ? totals.bytes - bytes : 1;
    world.config.store.low_watermark = 100;
    run();
}

START_TEST(within_the_bounds_nothing_goes)
{
    struct blobstore_totals totals;
    const struct digest d = put_blob(1);
    ck_ok(blobstore_totals(world.store, &totals));
    world.config.store.max_size.bytes = totals.bytes;
    world.config.store.low_watermark = 50;
    evictor_configure(evictor, &world.config);
    run();
    ck_assert(is_stored(&d));
}
END_TEST

START_TEST(above_them_the_least_recently_used_go_until_the_low_watermark_is_reached)
{
    struct digest d[10];
    struct blobstore_totals totals;
    for (unsigned i = 0; i < 10; i++) {
        d[i] = put_blob(i);
        world_advance(HOUR);
    }
    blobstore_touch(world.store, &d[0]); /* the youngest now */
    world.config.store.max_size.bytes = 10 * LAYER - 1;
    world.config.store.low_watermark = 60;
    evictor_configure(evictor, &world.config);
    run();
    ck_ok(blobstore_totals(world.store, &totals));
    ck_assert_uint_eq(totals.bytes, 5 * LAYER);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_msg(is_stored(&d[i]) == (i == 0 || i > 5), "%u", i);
    run(); /* and it is content */
    ck_ok(blobstore_totals(world.store, &totals));
    ck_assert_uint_eq(totals.bytes, 5 * LAYER);
}
END_TEST

START_TEST(what_was_used_by_a_clock_that_was_ahead_goes_before_what_is_used_now)
{
    world_advance(1000 * HOUR);
    const struct digest a = put_blob(1), b = put_blob(2), c = put_blob(3);
    world_advance(-1000 * HOUR);
    const struct digest now = put_blob(4);
    blobstore_touch(world.store, &b);
    run_for(LAYER);
    ck_assert_uint_eq(is_stored(&a) + is_stored(&c), 1);
    run_for(LAYER);
    ck_assert(!is_stored(&a) && !is_stored(&c));
    ck_assert(is_stored(&b) && is_stored(&now));
    run_for(2 * LAYER);
    ck_assert(!is_stored(&b) && !is_stored(&now));
}
END_TEST

START_TEST(a_floor_of_free_space_is_kept_by_what_is_stored)
{
    const struct digest d = put_blob(1);
    world.config.store.min_free.percent = 100; /* which no file system has */
    evictor_configure(evictor, &world.config);
    run();
    ck_assert(!is_stored(&d));
    run(); /* nothing is left to go: it rests all the same */
}
END_TEST

START_TEST(while_it_is_held_the_store_may_be_larger_than_its_bound)
{
    const struct digest d = put_blob(1);
    evictor_hold(evictor, clock_monotonic_ms() + HOUR);
    run_for(1);
    ck_assert(is_stored(&d));
    evictor_hold(evictor, 0);
    run_for(1);
    ck_assert(!is_stored(&d));
}
END_TEST

START_TEST(a_run_that_is_under_way_ends_where_it_is_held)
{
    const struct digest d = put_blob(1);
    world_settle();
    world.config.store.max_size.bytes = 1;
    evictor_configure(evictor, &world.config);
    ck_assert_int_eq(evictor_step(evictor), 0); /* it has measured, and is about to look */
    evictor_hold(evictor, clock_monotonic_ms() + HOUR);
    run();
    ck_assert(is_stored(&d));
}
END_TEST

START_TEST(a_disk_that_is_full_does_not_wait)
{
    const struct digest d = put_blob(1);
    evictor_hold(evictor, clock_monotonic_ms() + HOUR);
    world.config.store.min_free.percent = 100;
    evictor_configure(evictor, &world.config);
    run();
    ck_assert(!is_stored(&d));
}
END_TEST

/* --- leftovers ---------------------------------------------------------------------------------------------- */

static const char *leftover_path(const struct digest *digest)
{
    static char path[PATH_MAX];
    char text[DIGEST_TEXT_MAX];
    *strchr(digest_format(digest, text), ':') = '-';
    (void)snprintf(path, sizeof(path), "%s/store/partial/%s", scratch_path(), text);
    return path;
}

/* A file that a flight has left, so long ago. */
static struct digest put_leftover(unsigned n, int64_t age_ms)
{
    struct blobstore_writer *w;
    struct digest digest;
    uint64_t length;
    AUTO_FREE char *bytes = scratch_bytes(n, LAYER, &digest);
    ck_ok(blobstore_writer_open(world.store, &digest, &w, &length));
    ck_ok(blobstore_writer_append(w, bytes, LAYER / 2));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    const int64_t at = clock_real_ms() - age_ms;
    const struct timespec times[] = {{.tv_sec = at / 1000}, {.tv_sec = at / 1000}};
    ck_ok(utimensat(AT_FDCWD, leftover_path(&digest), times, 0));
    return digest;
}

static bool is_left(const struct digest *digest)
{
    return access(leftover_path(digest), F_OK) == 0;
}

START_TEST(leftovers_go_before_what_is_stored_and_the_eldest_first)
{
    const struct digest d = put_blob(1);
    const struct digest young = put_leftover(2, HOUR), old = put_leftover(3, 3 * HOUR), mid = put_leftover(4, 2 * HOUR);
    world.config.store.max_size.bytes = LAYER + 3 * LAYER / 2 - 1; /* of which the files take no less */
    world.config.store.low_watermark = 80;
    run();
    ck_assert(!is_left(&old));
    ck_assert(!is_left(&mid) && is_left(&young));
    ck_assert(is_stored(&d));
    world.config.store.max_size.bytes = 1;
    run();
    ck_assert(!is_left(&young) && !is_stored(&d));
}
END_TEST

START_TEST(a_leftover_goes_that_nobody_has_gone_on_with_for_a_week)
{
    const struct digest d = put_blob(1), old = put_leftover(2, 7 * 24 * HOUR + CLOCK_MINUTE);
    const struct digest young = put_leftover(3, 7 * 24 * HOUR - CLOCK_MINUTE);
    run();
    ck_assert(!is_left(&old));
    ck_assert(is_left(&young) && is_stored(&d));
}
END_TEST

START_TEST(what_a_flight_has_takes_room_and_stays)
{
    struct blobstore_writer *w;
    uint64_t length;
    const struct digest d = put_blob(1), old = put_leftover(2, 30 * 24 * HOUR);
    ck_ok(blobstore_writer_open(world.store, &old, &w, &length));
    ck_assert_uint_eq(length, LAYER / 2);
    world.config.store.max_size.bytes = LAYER + LAYER / 2 - 1;
    run();
    ck_assert(is_left(&old));
    ck_assert(!is_stored(&d));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
}
END_TEST

START_TEST(any_number_of_leftovers_goes_before_what_is_stored)
{
    struct digest left[2 * LEFTOVERS_MAX + 1];
    const struct digest d = put_blob(1);
    for (unsigned i = 0; i < ARRAY_SIZE(left); i++)
        left[i] = put_leftover(2 + i, HOUR);
    world.config.store.max_size.bytes = LAYER;
    world.config.store.low_watermark = 100;
    run();
    for (unsigned i = 0; i < ARRAY_SIZE(left); i++)
        ck_assert_msg(!is_left(&left[i]), "%u", i);
    ck_assert(is_stored(&d));
}
END_TEST

START_TEST(room_that_there_is_or_never_will_be_costs_nothing)
{
    const struct digest d = put_blob(1);
    evictor_ask(evictor, 1); /* there is room */
    run();
    ck_assert(is_stored(&d));
    evictor_ask(evictor, UINT64_MAX); /* there never will be */
    run();
    ck_assert(is_stored(&d));
}
END_TEST

START_TEST(an_image_goes_as_a_whole_with_its_records_and_tag)
{
    struct digest blobs[] = {put_blob(1), put_blob(2), put_blob(3)};
    const struct digest child = put_manifest(blobs, 3), index = put_index(&child, 1);
    uint8_t key[64 + 2 * DIGEST_KEY_MAX];
    put_tag("1", &index);
    ck_assert(has_tag("1"));
    for (unsigned i = 0; i < 3; i++)
        blobstore_touch(world.store, &blobs[i]); /* they have no age of their own */
    world_advance(HOUR);
    const struct digest alone = put_blob(4);
    run_for(1);
    ck_assert(!is_stored(&index) && !is_stored(&child));
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!is_stored(&blobs[i]));
    ck_assert(is_stored(&alone));
    ck_assert(!has_tag("1"));
    size_t len = digest_key_encode(&index, key);
    ck_assert(!has_record(BLOBSTORE_MANIFESTS, key, len));
    len = digest_key_encode(&child, key);
    ck_assert(!has_record(BLOBSTORE_REFERENCES, key, len + digest_key_encode(&index, key + len)));
    len = digest_key_encode(&blobs[0], key);
    ck_assert(!has_record(BLOBSTORE_REFERENCES, key, len + digest_key_encode(&child, key + len)));
    memcpy(key, "docker.io\0a/b\0", 14);
    ck_assert(!has_record(BLOBSTORE_REPOSITORIES, key, 14 + digest_key_encode(&child, key + 14)));
    ck_assert(!library_has(world.mirror->library, &index)); /* nor is it in memory */
}
END_TEST

START_TEST(what_another_image_needs_stays)
{
    struct digest old[] = {put_blob(1), put_blob(2)};
    const struct digest first = put_manifest(old, 2);
    world_advance(HOUR);
    struct digest young[] = {put_blob(3), old[1]};
    const struct digest second = put_manifest(young, 2);
    uint8_t key[2 * DIGEST_KEY_MAX];
    run_for(1);
    ck_assert(!is_stored(&first) && !is_stored(&old[0]));
    ck_assert(is_stored(&second) && is_stored(&young[0]) && is_stored(&old[1]));
    size_t len = digest_key_encode(&old[1], key);
    ck_assert(has_record(BLOBSTORE_REFERENCES, key, len + digest_key_encode(&second, key + len)));
    run_for(1);
    ck_assert(!is_stored(&second) && !is_stored(&young[0]) && !is_stored(&old[1]));
}
END_TEST

START_TEST(what_many_images_need_goes_with_the_last_of_them)
{
    enum { IMAGES = 40 };
    const struct digest shared = put_blob(1000);
    for (unsigned i = 0; i < IMAGES; i++) {
        struct digest blobs[] = {put_blob(i), shared};
        (void)put_manifest(blobs, 2);
    }
    for (unsigned i = 0; i < IMAGES; i++) {
        ck_assert(is_stored(&shared));
        run_for(1);
    }
    ck_assert(!is_stored(&shared));
}
END_TEST

START_TEST(a_layer_of_several_platforms_of_one_image_goes_with_it)
{
    struct digest a[] = {put_blob(1), put_blob(2)}, b[] = {put_blob(3), a[1]};
    const struct digest children[] = {put_manifest(a, 2), put_manifest(b, 2)};
    const struct digest index = put_index(children, 2);
    run_for(1);
    ck_assert(!is_stored(&index) && !is_stored(&children[0]) && !is_stored(&children[1]));
    ck_assert(!is_stored(&a[0]) && !is_stored(&a[1]) && !is_stored(&b[0]));
}
END_TEST

START_TEST(a_platform_that_is_pulled_by_digest_outlives_its_index)
{
    struct digest a[] = {put_blob(1), put_blob(2)}, b[] = {put_blob(3), a[1]};
    const struct digest children[] = {put_manifest(a, 2), put_manifest(b, 2)};
    const struct digest index = put_index(children, 2);
    world_advance(2 * HOUR);
    blobstore_touch(world.store, &children[1]);
    run_for(1);
    ck_assert(!is_stored(&index) && !is_stored(&children[0]) && !is_stored(&a[0]));
    ck_assert(is_stored(&children[1]) && is_stored(&b[0]) && is_stored(&a[1]));
    world_advance(2 * HOUR);
    run_for(1); /* and is an image of its own */
    ck_assert(!is_stored(&children[1]) && !is_stored(&b[0]) && !is_stored(&a[1]));
}
END_TEST

START_TEST(a_hit_of_a_tag_is_a_use_of_its_image)
{
    struct client c;
    struct digest a[] = {put_blob(1)}, b[] = {put_blob(2)};
    const struct digest first = put_manifest(a, 1);
    world_advance(CLOCK_SECOND);
    const struct digest second = put_manifest(b, 1);
    put_tag("1", &first);
    world_advance(2 * CLOCK_MINUTE);
    client_open(&c, MIRROR_MANIFEST, false, "a/b", "1");
    ck_assert_int_eq(client_answer(&c)->status, 200);
    client_close(&c);
    run_for(1);
    ck_assert(is_stored(&first) && is_stored(&a[0]));
    ck_assert(!is_stored(&second) && !is_stored(&b[0]));
}
END_TEST

START_TEST(what_a_client_reads_stays_and_the_rest_of_its_image_goes)
{
    struct client c;
    char text[DIGEST_TEXT_MAX];
    struct digest blobs[] = {put_blob(1), put_blob(2)};
    const struct digest manifest = put_manifest(blobs, 2);
    client_open(&c, MIRROR_BLOB, false, "a/b", digest_format(&blobs[1], text));
    ck_assert_int_eq(client_answer(&c)->status, 200);
    run_for(1);
    ck_assert(!is_stored(&manifest) && !is_stored(&blobs[0]) && is_stored(&blobs[1]));
    run_for(1);
    ck_assert(is_stored(&blobs[1]));
    client_close(&c);
    run_for(1);
    ck_assert(!is_stored(&blobs[1]));
}
END_TEST

START_TEST(room_that_a_removed_blob_still_takes_is_counted)
{
    struct use reader = {0};
    const struct digest d = put_blob(1), other = put_blob(2);
    uses_enter(world.mirror->uses, &reader, &d);
    ck_ok(blobstore_remove(world.store, &d));
    uses_note_removed(world.mirror->uses, &d, LAYER);
    world.config.store.max_size.bytes = 2 * LAYER - 1;
    world.config.store.low_watermark = 100;
    evictor_configure(evictor, &world.config);
    run();
    ck_assert(!is_stored(&other));
    uses_leave(world.mirror->uses, &reader);
    const struct digest third = put_blob(3);
    run();
    ck_assert(is_stored(&third));
}
END_TEST

START_TEST(what_is_pinned_stays_whole_until_its_pin_expires)
{
    struct digest blobs[] = {put_blob(1), put_blob(2)};
    const struct digest child = put_manifest(blobs, 2), index = put_index(&child, 1);
    world_pin(&index, clock_real_ms() + HOUR);
    run_for(UINT64_MAX);
    ck_assert(is_stored(&index) && is_stored(&child) && is_stored(&blobs[0]) && is_stored(&blobs[1]));
    world_advance(HOUR);
    run_for(UINT64_MAX);
    ck_assert(!is_stored(&index) && !is_stored(&child) && !is_stored(&blobs[0]) && !is_stored(&blobs[1]));
}
END_TEST

START_TEST(a_pinned_platform_outlives_its_index)
{
    struct digest a[] = {put_blob(1)}, b[] = {put_blob(2)};
    const struct digest children[] = {put_manifest(a, 1), put_manifest(b, 1)};
    const struct digest index = put_index(children, 2);
    world_pin(&children[0], 0);
    run_for(UINT64_MAX);
    ck_assert(!is_stored(&index) && !is_stored(&children[1]) && !is_stored(&b[0]));
    ck_assert(is_stored(&children[0]) && is_stored(&a[0]));
}
END_TEST

START_TEST(more_images_than_are_remembered_at_once_go_all_the_same)
{
    struct blobstore_totals totals;
    struct blobstore_batch *batch;
    world_settle();
    ck_ok(blobstore_batch_begin(world.store, &batch));
    for (unsigned i = 0; i < 1200; i++) {
        struct digest digest;
        AUTO_FREE char *bytes = scratch_bytes(i, 16, &digest);
        struct blobstore_writer *w;
        uint64_t length;
        ck_ok(blobstore_writer_open(world.store, &digest, &w, &length));
        ck_ok(blobstore_writer_append(w, bytes, 16));
        ck_ok(blobstore_batch_publish(batch, w));
        blobstore_writer_close(w, BLOBSTORE_DISCARD);
    }
    ck_ok(blobstore_batch_commit(batch));
    run_for(1150 * 16);
    ck_ok(blobstore_totals(world.store, &totals));
    ck_assert_uint_eq(totals.blobs, 50);
}
END_TEST

START_TEST(a_manifest_that_cannot_be_read_goes_alone)
{
    struct digest blobs[] = {put_blob(1)};
    const struct digest manifest = put_manifest(blobs, 1);
    scratch_damage(&manifest);
    run_for(1);
    ck_assert(!is_stored(&manifest));
    run_for(1); /* nobody names it any more */
    ck_assert(!is_stored(&blobs[0]));
}
END_TEST

START_TEST(a_running_mirror_keeps_its_bounds_by_itself)
{
    struct blobstore_totals totals;
    for (unsigned i = 0; i < 6; i++)
        (void)put_blob(i);
    world.config.store.max_size.bytes = 3 * LAYER;
    world.config.store.low_watermark = 100;
    ck_ok(mirror_reload(world.mirror, &world.config));
    for (int64_t until = clock_monotonic_ms() + PATIENCE_MS;;) {
        ck_ok(blobstore_totals(world.store, &totals));
        if (totals.bytes <= 3 * LAYER)
            break;
        ck_assert_int_lt(clock_monotonic_ms(), until);
        world_settle();
    }
    ck_assert_uint_eq(totals.bytes, 3 * LAYER);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("evictor");
    TCase *tests = tcase_create("evictor");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, within_the_bounds_nothing_goes);
    tcase_add_test(tests, above_them_the_least_recently_used_go_until_the_low_watermark_is_reached);
    tcase_add_test(tests, what_was_used_by_a_clock_that_was_ahead_goes_before_what_is_used_now);
    tcase_add_test(tests, a_floor_of_free_space_is_kept_by_what_is_stored);
    tcase_add_test(tests, while_it_is_held_the_store_may_be_larger_than_its_bound);
    tcase_add_test(tests, a_run_that_is_under_way_ends_where_it_is_held);
    tcase_add_test(tests, a_disk_that_is_full_does_not_wait);
    tcase_add_test(tests, room_that_there_is_or_never_will_be_costs_nothing);
    tcase_add_test(tests, leftovers_go_before_what_is_stored_and_the_eldest_first);
    tcase_add_test(tests, a_leftover_goes_that_nobody_has_gone_on_with_for_a_week);
    tcase_add_test(tests, what_a_flight_has_takes_room_and_stays);
    tcase_add_test(tests, any_number_of_leftovers_goes_before_what_is_stored);
    tcase_add_test(tests, an_image_goes_as_a_whole_with_its_records_and_tag);
    tcase_add_test(tests, what_another_image_needs_stays);
    tcase_add_test(tests, what_many_images_need_goes_with_the_last_of_them);
    tcase_add_test(tests, a_layer_of_several_platforms_of_one_image_goes_with_it);
    tcase_add_test(tests, a_platform_that_is_pulled_by_digest_outlives_its_index);
    tcase_add_test(tests, a_hit_of_a_tag_is_a_use_of_its_image);
    tcase_add_test(tests, what_a_client_reads_stays_and_the_rest_of_its_image_goes);
    tcase_add_test(tests, room_that_a_removed_blob_still_takes_is_counted);
    tcase_add_test(tests, what_is_pinned_stays_whole_until_its_pin_expires);
    tcase_add_test(tests, a_pinned_platform_outlives_its_index);
    tcase_add_test(tests, more_images_than_are_remembered_at_once_go_all_the_same);
    tcase_add_test(tests, a_manifest_that_cannot_be_read_goes_alone);
    tcase_add_test(tests, a_running_mirror_keeps_its_bounds_by_itself);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
