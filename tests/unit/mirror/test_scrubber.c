#include "mirror/scrubber.h"

#include "world.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <string.h>

#define DAY (24 * 60 * CLOCK_MINUTE)
#define SIZE (100 * KIB)

static struct scrubber *scrubber;

static void start(void)
{
    ck_ok(scrubber_create(world.store, world.mirror->library, &scrubber));
    scrubber_configure(scrubber, &world.config);
}

static void setup(void)
{
    world_setup();
    start();
    world.config.store.scrub_interval_ms = 7 * DAY; /* of the test's scrubber alone: the mirror has read it */
    world.config.store.scrub_rate = 1ULL << 40;
    scrubber_configure(scrubber, &world.config);
}

static void cleanup(void)
{
    scrubber_destroy(scrubber);
    world_cleanup();
}

static struct digest put_blob(unsigned n, size_t size)
{
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(n, size, &digest);
    world_store(bytes, size, &digest);
    return digest;
}

/* Nothing but its digest shows that it is wrong. */
static struct digest put_rotten(unsigned n)
{
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(n, SIZE, &digest);
    bytes[SIZE / 2] ^= 1;
    world_store(bytes, SIZE, &digest);
    return digest;
}

/* A round: until it rests. */
static void run(void)
{
    world_settle();
    scrubber_configure(scrubber, &world.config); /* it need not have rested */
    for (unsigned i = 0; scrubber_step(scrubber) < CLOCK_SECOND; i++)
        ck_assert_uint_lt(i, 10000);
}

static bool is_stored(const struct digest *digest)
{
    struct blobstore_info info;
    int r = blobstore_stat(world.store, digest, &info);
    ck_assert(r == 0 || r == -ENOENT);
    return r == 0;
}

static int64_t verified_at(const struct digest *digest)
{
    struct blobstore_info info;
    ck_ok(blobstore_stat(world.store, digest, &info));
    return info.verified_at;
}

static int64_t scrubbed(void)
{
    return metrics_value(METRIC_SCRUBBED_BYTES, NO_LABELS);
}

START_TEST(what_is_due_is_read_and_what_is_not_is_left)
{
    const struct digest a = put_blob(1, SIZE), b = put_blob(2, 3 * MIB + 1), empty = put_blob(3, 0);
    world_advance(3 * DAY);
    const struct digest young = put_blob(4, SIZE);
    int64_t then = clock_real_ms();
    run();
    ck_assert_int_eq(scrubbed(), 0);
    world_advance(4 * DAY);
    run();
    ck_assert_int_eq(scrubbed(), SIZE + 3 * MIB + 1);
    ck_assert_int_eq(verified_at(&a), clock_real_ms());
    ck_assert_int_eq(verified_at(&b), clock_real_ms());
    ck_assert_int_eq(verified_at(&empty), clock_real_ms());
    ck_assert_int_eq(verified_at(&young), then);
    run();
    ck_assert_int_eq(scrubbed(), SIZE + 3 * MIB + 1);
}
END_TEST

START_TEST(what_is_damaged_is_set_aside_and_the_rest_goes_on)
{
    struct digest d[20];
    for (unsigned i = 0; i < 20; i++)
        d[i] = i == 7 ? put_rotten(i) : put_blob(i, SIZE);
    scratch_damage(&d[13]);
    world_advance(7 * DAY);
    run();
    for (unsigned i = 0; i < 20; i++)
        ck_assert_msg(is_stored(&d[i]) == (i != 7 && i != 13), "%u", i);
    ck_assert_uint_eq(scratch_count("quarantine"), 2);
    ck_assert_int_eq(metrics_value(METRIC_DAMAGED, LABELS("scrub")), 2);
}
END_TEST

START_TEST(it_goes_on_after_a_restart_where_it_had_come_to)
{
    enum { BLOBS = 100 };
    AUTO_BUF struct buf record = BUF_INIT(KIB);
    for (unsigned i = 0; i < BLOBS; i++)
        (void)put_blob(i, 10);
    world_advance(7 * DAY);
    while (scrubbed() < 640) /* so many are written down together */
        (void)scrubber_step(scrubber);
    scrubber_destroy(scrubber);
    ck_ok(blobstore_record_get(world.store, BLOBSTORE_JOBS, "scrub", 5, &record));
    ck_assert_uint_eq(record.len, 1 + 1 + 32);
    start();
    run();
    ck_assert_int_eq(scrubbed(), BLOBS * 10);
    ck_ok(blobstore_record_get(world.store, BLOBSTORE_JOBS, "scrub", 5, &record));
    ck_assert_uint_eq(record.len, 1); /* the next round begins at the start */
}
END_TEST

START_TEST(what_cannot_be_written_down_is_read_again)
{
    enum { BLOBS = 80 }; /* more than are written down together */
    struct digest d[BLOBS];
    struct blobstore_batch *busy;
    for (unsigned i = 0; i < BLOBS; i++)
        d[i] = put_blob(i, 1 + i);
    world_advance(7 * DAY);
    world_settle();
    ck_ok(blobstore_batch_begin(world.store, &busy)); /* there is one at a time */
    for (unsigned i = 0; i < 4 * BLOBS; i++) {
        scrubber_configure(scrubber, &world.config); /* it does not rest for what has failed */
        ck_assert_int_ge(scrubber_step(scrubber), 0);
    }
    blobstore_batch_abort(busy);
    run();
    run();
    for (unsigned i = 0; i < BLOBS; i++)
        ck_assert_int_eq(verified_at(&d[i]), clock_real_ms());
}
END_TEST

START_TEST(it_rests_for_what_it_has_read)
{
    (void)put_blob(1, 2 * MIB);
    world_advance(7 * DAY);
    world.config.store.scrub_rate = 512 * KIB;
    scrubber_configure(scrubber, &world.config);
    int64_t pause = 0;
    while (scrubbed() == 0)
        pause = scrubber_step(scrubber);
    ck_assert_int_eq(scrubbed(), MIB);
    ck_assert_int_eq(pause, 2000);
    ck_assert_int_gt(scrubber_step(scrubber), 0); /* it is not time yet */
    ck_assert_int_eq(scrubbed(), MIB);
}
END_TEST

START_TEST(an_interval_of_0_is_never)
{
    (void)put_blob(1, SIZE);
    world_advance(100 * DAY);
    world.config.store.scrub_interval_ms = 0;
    run();
    ck_assert_int_eq(scrubbed(), 0);
}
END_TEST

START_TEST(what_goes_while_it_is_read_is_no_damage)
{
    const struct digest d = put_blob(1, 3 * MIB);
    world_advance(7 * DAY);
    scrubber_configure(scrubber, &world.config);
    while (scrubbed() == 0)
        (void)scrubber_step(scrubber);
    scratch_damage(&d); /* the file that it reads */
    ck_ok(blobstore_remove(world.store, &d));
    (void)put_blob(1, 3 * MIB); /* and another in its place */
    run();
    ck_assert(is_stored(&d));
    ck_assert_uint_eq(scratch_count("quarantine"), 0);
}
END_TEST

/* --- on the way to a client ----------------------------------------------------------------------------------- */

static void expect(const struct digest *digest, const char *bytes, size_t size, enum mirror_body body)
{
    struct client c;
    char text[DIGEST_TEXT_MAX];
    client_open(&c, MIRROR_BLOB, false, "a/b", digest_format(digest, text));
    client_expect(&c, bytes, size);
    ck_assert_int_eq(c.answer.body, body);
    client_close(&c);
    world_settle();
}

static const size_t sizes[] = {1, FLIGHT_WHOLE, FLIGHT_WHOLE + 1, 300 * KIB + 7};

START_TEST(what_was_not_looked_at_for_long_is_checked_once_on_its_way)
{
    size_t size = sizes[_i];
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(1, size, &digest);
    world_store(bytes, size, &digest);
    expect(&digest, bytes, size, MIRROR_FILE);
    world_advance(DAY);
    expect(&digest, bytes, size, MIRROR_FLIGHT);
    ck_assert_int_eq(verified_at(&digest), clock_real_ms());
    expect(&digest, bytes, size, MIRROR_FILE);
}
END_TEST

START_TEST(wrong_bytes_do_not_get_to_their_end_and_are_not_stored_any_more)
{
    struct client c;
    size_t size = sizes[_i];
    char text[DIGEST_TEXT_MAX];
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(1, size, &digest), *got = malloc(size);
    ck_assert_ptr_nonnull(got);
    bytes[0] ^= 1; /* rot that nothing but the digest shows */
    world_store(bytes, size, &digest);
    world_advance(DAY);
    client_open(&c, MIRROR_BLOB, false, "a/b", digest_format(&digest, text));
    if (size <= FLIGHT_WHOLE) { /* nobody has had any of it: it is a miss */
        client_go_on(&c);
        ck_assert(!is_stored(&digest));
    } else {
        ck_assert_int_eq(client_answer(&c)->status, 200);
        ck_assert_uint_eq(client_read_to(&c, 0, got, size), size - FLIGHT_HOLD_BACK);
    }
    client_close(&c);
    world_settle();
    ck_assert(!is_stored(&digest));
    ck_assert_uint_eq(scratch_count("quarantine"), 1);
    ck_assert_int_eq(metrics_value(METRIC_DAMAGED, LABELS("request")), 1);
}
END_TEST

START_TEST(a_part_is_served_without_a_check)
{
    struct client c;
    char text[DIGEST_TEXT_MAX], got[1000];
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(1, 300 * KIB, &digest);
    world_store(bytes, 300 * KIB, &digest);
    int64_t then = clock_real_ms();
    world_advance(DAY);
    client_open(&c, MIRROR_BLOB, false, "a/b", digest_format(&digest, text));
    ck_assert_int_eq(client_answer(&c)->status, 200);
    for (uint64_t at = 299 * KIB; at > 200 * KIB; at -= 7 * KIB) {
        ck_assert_uint_eq(client_read_to(&c, at, got, sizeof(got)), sizeof(got));
        ck_assert_mem_eq(got, bytes + at, sizeof(got));
    }
    client_close(&c);
    world_settle();
    ck_assert_int_eq(verified_at(&digest), then);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scrubber");
    TCase *tests = tcase_create("scrubber");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_is_due_is_read_and_what_is_not_is_left);
    tcase_add_test(tests, what_is_damaged_is_set_aside_and_the_rest_goes_on);
    tcase_add_test(tests, it_goes_on_after_a_restart_where_it_had_come_to);
    tcase_add_test(tests, what_cannot_be_written_down_is_read_again);
    tcase_add_test(tests, it_rests_for_what_it_has_read);
    tcase_add_test(tests, an_interval_of_0_is_never);
    tcase_add_test(tests, what_goes_while_it_is_read_is_no_damage);
    tcase_add_loop_test(tests, what_was_not_looked_at_for_long_is_checked_once_on_its_way, 0, ARRAY_SIZE(sizes));
    tcase_add_loop_test(tests, wrong_bytes_do_not_get_to_their_end_and_are_not_stored_any_more, 0, ARRAY_SIZE(sizes));
    tcase_add_test(tests, a_part_is_served_without_a_check);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
