/* A store without room: what does not fit passes by it, whole and right or not to its end. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIZE (10 * MIB)

static char *data;
static struct digest digest;
static char text[DIGEST_TEXT_MAX];

/* --- a full disk ---------------------------------------------------------------------------------------------- */

static atomic_uint refusals; /* times that the file system has no room */

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    (void)fd;
    (void)mode;
    (void)offset;
    (void)len;
    if (refusals == 0)
        return 0;
    refusals--;
    errno = ENOSPC;
    return -1;
}

/* --- the time ------------------------------------------------------------------------------------------------- */

static atomic_long later_s;

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    long r = syscall(SYS_clock_gettime, clock, ret_time);
    if (clock == CLOCK_MONOTONIC)
        ret_time->tv_sec += later_s;
    return (int)r;
}

/* --- the upstream --------------------------------------------------------------------------------------------- */

static struct {
    atomic_uint jobs, resumed;
    uint64_t break_at; /* once: 0 not */
    uint64_t wrong_at; /* 0: nowhere */
    bool is_deaf;      /* to Range */
} hub;

static void play(struct fake_job *j, void *arg)
{
    (void)arg;
    if (!j->has_head) {
        struct upstream_head head = hub.is_deaf ? fake_header(200, SIZE) : fake_blob_header(j, SIZE);
        hub.jobs++;
        hub.resumed += j->job.offset > 0;
        j->at = hub.is_deaf ? 0 : j->job.offset;
        if (fake_play_head(j, &head) < 0 || j->job.head)
            fake_play_done(j, 0, 200);
        return;
    }
    char piece[16384];
    size_t len = SIZE - j->at < sizeof(piece) ? (size_t)(SIZE - j->at) : sizeof(piece);
    memcpy(piece, data + j->at, len);
    if (hub.wrong_at >= j->at && hub.wrong_at < j->at + len && hub.wrong_at)
        piece[hub.wrong_at - j->at] ^= 1;
    if (hub.break_at && hub.break_at <= j->at) {
        hub.break_at = 0;
        fake_play_done(j, -ECONNRESET, 200);
        return;
    }
    int r = fake_play_body(j, piece, len);
    j->at += len;
    if (r == 0 && j->job.callbacks->on_tick)
        j->job.callbacks->on_tick(j->job.arg);
    if (r < 0 || j->at == SIZE)
        fake_play_done(j, 0, 200);
}

static void setup(void)
{
    world_setup();
    data = scratch_bytes(1, SIZE, &digest);
    (void)digest_format(&digest, text);
    refusals = UINT32_MAX;
    fake_serve(world.upstream, play, NULL);
}

static void cleanup(void)
{
    fake_await_idle(world.upstream);
    world_settle();
    ck_assert_uint_eq(world.mirror->passages.count, 0);
    world_cleanup();
    free(data);
}

static void open_blob(struct client *c)
{
    client_open(c, MIRROR_BLOB, false, "a/b", text);
    const struct mirror_answer *a = client_answer(c);
    ck_assert_msg(a->status == 200, "%d: %s", a->status, a->error_message);
    ck_assert_uint_eq(a->size, SIZE);
}

static bool is_stored(void)
{
    struct blobstore_info info;
    world_settle();
    return blobstore_stat(world.store, &digest, &info) == 0;
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

START_TEST(what_does_not_fit_passes_by_to_its_client)
{
    struct client c;
    open_blob(&c);
    client_expect(&c, data, SIZE);
    client_expect_outcome(&c, MIRROR_MISS, hub.jobs);
    client_close(&c);
    ck_assert(!is_stored());
    ck_assert_uint_eq(scratch_count("partial"), 0);
    unsigned jobs = hub.jobs;
    open_blob(&c); /* it is known: the store is not tried again so soon */
    client_expect(&c, data, SIZE);
    client_close(&c);
    ck_assert_uint_lt(hub.jobs - jobs, jobs + 1);
}
END_TEST

START_TEST(what_fits_after_a_moment_is_stored)
{
    struct client c;
    refusals = 1;
    open_blob(&c);
    client_expect(&c, data, SIZE);
    client_close(&c);
    fake_await_idle(world.upstream);
    ck_assert(is_stored());
}
END_TEST

START_TEST(a_slow_client_gets_everything_in_several_fetches)
{
    struct client c;
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    open_blob(&c);
    for (size_t at = 0; at < SIZE; at += MIB) {
        fake_await_idle(world.upstream); /* the ring is full */
        ck_assert_uint_eq(client_read_to(&c, at, got + at, MIB), MIB);
    }
    ck_assert_mem_eq(got, data, SIZE);
    ck_assert_uint_gt(hub.resumed, 0);
    client_close(&c);
}
END_TEST

START_TEST(an_upstream_without_ranges_is_gone_through_again)
{
    struct client c;
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    hub.is_deaf = true;
    open_blob(&c);
    fake_await_idle(world.upstream);
    ck_assert_uint_eq(client_read_to(&c, 0, got, SIZE), SIZE);
    ck_assert_mem_eq(got, data, SIZE);
    client_close(&c);
}
END_TEST

START_TEST(a_part_is_served_from_what_goes_by)
{
    static const struct {
        uint64_t at, len;
    } parts[] = {{5 * MIB + 7, 1000}, {SIZE - 10, 10}, {MIB, SIZE - MIB}, {FLIGHT_HOLD_BACK, 1}};
    struct client c;
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    open_blob(&c);
    ck_assert_uint_eq(client_read_to(&c, parts[_i].at, got, parts[_i].len), parts[_i].len);
    ck_assert_mem_eq(got, data + parts[_i].at, parts[_i].len);
    client_close(&c);
}
END_TEST

START_TEST(an_upstream_that_breaks_off_is_asked_for_the_rest)
{
    struct client c;
    hub.break_at = 3 * MIB;
    open_blob(&c);
    client_expect(&c, data, SIZE);
    ck_assert_uint_gt(hub.resumed, 0);
    client_close(&c);
}
END_TEST

START_TEST(the_time_that_a_client_takes_is_not_the_upstreams)
{
    struct client c;
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    open_blob(&c);
    fake_await_idle(world.upstream); /* the ring is full */
    later_s = 60L * 60;
    hub.break_at = PASSAGE_RING;
    ck_assert_uint_eq(client_read_to(&c, 0, got, SIZE), SIZE);
    ck_assert_mem_eq(got, data, SIZE);
    ck_assert_uint_eq(hub.break_at, 0);
    client_close(&c);
    later_s = 0; /* Check measures the test by the same clock */
}
END_TEST

START_TEST(wrong_bytes_do_not_come_to_their_end)
{
    struct client c;
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    hub.wrong_at = 12345;
    open_blob(&c);
    ck_assert_uint_le(client_read_to(&c, 0, got, SIZE), SIZE - FLIGHT_HOLD_BACK);
    client_close(&c);
}
END_TEST

START_TEST(a_client_that_leaves_ends_the_fetch)
{
    struct client c;
    char piece[1000];
    open_blob(&c);
    ck_assert_uint_eq(client_read_to(&c, 0, piece, sizeof(piece)), sizeof(piece));
    client_close(&c);
    fake_await_idle(world.upstream);
    ck_assert_uint_eq(world.mirror->passages.count, 0);
}
END_TEST

START_TEST(no_more_pass_by_than_there_is_memory_for)
{
    struct client c[PASSAGES_MAX], late;
    for (unsigned i = 0; i < PASSAGES_MAX; i++)
        open_blob(&c[i]);
    client_open(&late, MIRROR_BLOB, false, "a/b", text);
    client_expect_error(&late, 503, "UNAVAILABLE");
    client_close(&late);
    for (unsigned i = 0; i < PASSAGES_MAX; i++)
        client_close(&c[i]);
    fake_await_idle(world.upstream);
    open_blob(&late);
    client_expect(&late, data, SIZE);
    client_close(&late);
}
END_TEST

START_TEST(the_cut_ends_it)
{
    struct client c;
    char piece[1000];
    open_blob(&c);
    ck_assert_uint_eq(client_read_to(&c, 0, piece, sizeof(piece)), sizeof(piece));
    mirror_cut(world.mirror);
    upstream_stop(world.upstream);
    AUTO_FREE char *got = malloc(SIZE);
    ck_assert_ptr_nonnull(got);
    ck_assert_uint_lt(client_read_to(&c, sizeof(piece), got, SIZE - sizeof(piece)), SIZE - sizeof(piece));
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("passage");
    TCase *tests = tcase_create("passage");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_does_not_fit_passes_by_to_its_client);
    tcase_add_test(tests, what_fits_after_a_moment_is_stored);
    tcase_add_test(tests, a_slow_client_gets_everything_in_several_fetches);
    tcase_add_test(tests, an_upstream_without_ranges_is_gone_through_again);
    tcase_add_loop_test(tests, a_part_is_served_from_what_goes_by, 0, 4);
    tcase_add_test(tests, an_upstream_that_breaks_off_is_asked_for_the_rest);
    tcase_add_test(tests, the_time_that_a_client_takes_is_not_the_upstreams);
    tcase_add_test(tests, wrong_bytes_do_not_come_to_their_end);
    tcase_add_test(tests, a_client_that_leaves_ends_the_fetch);
    tcase_add_test(tests, no_more_pass_by_than_there_is_memory_for);
    tcase_add_test(tests, the_cut_ends_it);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
