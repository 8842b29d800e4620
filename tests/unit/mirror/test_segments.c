/* Blobs that are fetched in parts, by an upstream that plays what the test says. */
#include "world.h"

#include "base/clock.h"
#include "mirror/flight_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define REPOSITORY "library/alpine"
#define PIECE (64 * KIB) /* an eighth of the smallest blob that is fetched so */
#define SIZE (15 * PIECE + 1000)
#define PARTS 15 /* the last one takes what would be too small for another */
#define CONNECTIONS 4

static struct digest digest;
static char text[DIGEST_TEXT_MAX];
static char *data;
static char got[SIZE];

static void setup(void)
{
    world_setup();
    world.config.segments.count = CONNECTIONS;
    world.config.segments.min_size = 8 * PIECE;
    data = scratch_bytes(1, SIZE, &digest);
    (void)digest_format(&digest, text);
}

static void cleanup(void)
{
    world_cleanup();
    free(data);
}

static uint64_t end_of(unsigned part)
{
    return part == PARTS - 1 ? SIZE : (part + 1) * PIECE;
}

static void open_blob(struct client *c)
{
    library_note_size(world.mirror->library, &digest, SIZE);
    client_open(c, MIRROR_BLOB, false, REPOSITORY, text);
    (void)client_step(c);
}

static struct fake_job *expect(uint64_t from, uint64_t to)
{
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, false, text);
    ck_assert_uint_eq(j->job.offset, from);
    ck_assert_uint_eq(j->job.length, to == SIZE ? 0 : to - from);
    return j;
}

static struct fake_job *expect_part(unsigned part)
{
    return expect(part * PIECE, end_of(part));
}

static void begin(struct fake_job *j)
{
    struct upstream_head head = fake_blob_header(j, SIZE);
    ck_ok(fake_head(j, &head));
}

static void send(struct fake_job *j, uint64_t from, uint64_t to)
{
    ck_ok(fake_body(j, data + from, to - from));
    fake_tick(j);
}

static void finish(struct fake_job *j, uint64_t from)
{
    uint64_t end = j->job.length ? j->job.offset + j->job.length : SIZE;
    send(j, from, end);
    fake_done(j, 0, 206);
}

/* All that the job asks for. */
static void give(struct fake_job *j)
{
    begin(j);
    finish(j, j->job.offset);
}

/* A flight whose front has shown that its source gives parts: the jobs of the first pieces. */
static void take_off(struct client *c, struct fake_job *jobs[CONNECTIONS])
{
    open_blob(c);
    jobs[0] = expect_part(0);
    ck_assert(!jobs[0]->job.spare);
    ck_assert(!fake_is_asked(world.upstream)); /* not before it has */
    begin(jobs[0]);
    for (unsigned i = 1; i < CONNECTIONS; i++) {
        jobs[i] = expect_part(i);
        ck_assert(jobs[i]->job.spare);
    }
    ck_assert(!fake_is_asked(world.upstream));
}

/* Everything that is asked for from now on is given, and how. */
static struct {
    uint64_t bytes;
    unsigned at_once; /* at most */
} served;

static void serve(struct fake_job *j, void *arg)
{
    unsigned at_once = 1;
    (void)arg;
    for (struct fake_job *other = j->next; other; other = other->next)
        at_once++;
    served.at_once = at_once > served.at_once ? at_once : served.at_once;
    if (j->is_taken)
        return; /* the test has it */
    if (j->job.head) {
        struct upstream_head head = fake_header(200, SIZE);
        (void)fake_play_head(j, &head);
        fake_play_done(j, 0, 200);
        return;
    }
    struct upstream_head head = fake_blob_header(j, SIZE);
    if (!j->has_head) {
        j->at = j->job.offset;
        j->end = j->job.offset + (uint64_t)head.length;
        if (fake_play_head(j, &head) < 0)
            fake_play_done(j, 0, 206);
        return;
    }
    uint64_t len = j->end - j->at < 16384 ? j->end - j->at : 16384;
    int r = fake_play_body(j, data + j->at, len);
    served.bytes += len;
    j->at += len;
    if (r < 0 || j->at == j->end)
        fake_play_done(j, 0, 206);
}

static void let_serve(void)
{
    fake_serve(world.upstream, serve, NULL);
}

static void check_warm(struct client *c)
{
    struct blobstore_info info;
    client_expect(c, data, SIZE);
    client_close(c);
    world_settle();
    ck_ok(blobstore_stat(world.store, &digest, &info));
    ck_assert_uint_eq(info.size, SIZE);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}

static const char *partial_path(void)
{
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/store/partial/sha256-%s", scratch_path(), strchr(text, ':') + 1);
    return path;
}

/* --- as it should be ---------------------------------------------------------------------------------------------- */

START_TEST(a_large_blob_comes_over_several_connections_and_each_byte_once)
{
    struct client c;
    let_serve();
    open_blob(&c);
    check_warm(&c);
    ck_assert_uint_eq(served.bytes, SIZE);
    ck_assert_uint_eq(fake_count(world.upstream), PARTS);
    ck_assert_uint_ge(served.at_once, CONNECTIONS);
}
END_TEST

START_TEST(a_small_blob_and_one_of_which_little_is_missing_come_over_one)
{
    struct client c;
    world.config.segments.min_size = SIZE + 1;
    open_blob(&c);
    struct fake_job *j = expect(0, SIZE);
    begin(j);
    send(j, 0, SIZE - PIECE);
    client_close(&c);
    world_stop();
    world.config.segments.min_size = PIECE + 1;
    world_start();
    open_blob(&c);
    j = expect(SIZE - PIECE, SIZE);
    begin(j);
    ck_assert(!fake_is_asked(world.upstream));
    finish(j, SIZE - PIECE);
    check_warm(&c);
}
END_TEST

START_TEST(it_can_be_turned_off)
{
    struct client c;
    world.config.segments.count = 1;
    open_blob(&c);
    struct fake_job *j = expect(0, SIZE);
    give(j);
    check_warm(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(parts_that_come_in_reverse_are_given_in_order)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    for (unsigned i = CONNECTIONS - 1; i > 0; i--) {
        give(jobs[i]);
    }
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_int_eq(client_read(&c, PIECE, got, 1), 0); /* it is there, and its turn has not come */
    send(jobs[0], 0, 1000);
    ck_assert_uint_eq(client_read_to(&c, 0, got, 1000), 1000);
    ck_assert_mem_eq(got, data, 1000);
    ck_assert_int_eq(client_read(&c, 1000, got, 1), 0);
    finish(jobs[0], 1000);
    ck_assert_uint_eq(client_read_to(&c, 0, got, CONNECTIONS * PIECE), CONNECTIONS * PIECE);
    ck_assert_mem_eq(got, data, CONNECTIONS * PIECE);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(nothing_is_fetched_too_far_ahead_of_a_front_that_stands)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS], *j;
    take_off(&c, jobs);
    for (unsigned i = 1; i < 2 * CONNECTIONS; i++) {
        j = i < CONNECTIONS ? jobs[i] : expect_part(i);
        give(j);
    }
    ck_assert(!fake_is_asked(world.upstream));
    finish(jobs[0], 0); /* and it moves on */
    j = expect_part(2 * CONNECTIONS);
    ck_assert(!j->job.spare);
    give(j);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(the_next_part_is_the_front_when_its_turn_comes_whatever_its_job_is_doing)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    send(jobs[0], 0, PIECE);
    begin(jobs[1]);
    send(jobs[1], PIECE, PIECE + 500);
    fake_done(jobs[0], 0, 206);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_uint_eq(client_read_to(&c, PIECE, got, 500), 500);
    finish(jobs[1], PIECE + 500);
    give(jobs[2]); /* it had not even been answered */
    give(jobs[3]);
    let_serve();
    check_warm(&c);
}
END_TEST

/* --- breaks ------------------------------------------------------------------------------------------------------- */

START_TEST(a_part_that_breaks_off_is_resumed_by_itself)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    begin(jobs[2]);
    send(jobs[2], 2 * PIECE, 2 * PIECE + 20000);
    ck_ok(fake_body(jobs[2], data + 2 * PIECE + 20000, 99)); /* gathered, not written yet */
    fake_done(jobs[2], -ECONNRESET, 206);
    jobs[2] = expect(2 * PIECE + 20099, 3 * PIECE);
    give(jobs[2]);
    give(jobs[1]);
    give(jobs[3]);
    finish(jobs[0], 0);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(a_front_that_breaks_off_is_resumed_while_others_go_on)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    send(jobs[0], 0, 100);
    fake_done(jobs[0], -ECONNRESET, 206);
    jobs[0] = expect(100, PIECE);
    fake_done(jobs[0], -ECONNREFUSED, 0);
    jobs[0] = expect(100, PIECE);
    ck_assert_int_gt(jobs[0]->job.delay_ms, 0);
    begin(jobs[1]);
    send(jobs[1], PIECE, PIECE + 1000); /* no progress of the front's */
    fake_done(jobs[0], -ECONNREFUSED, 0);
    jobs[0] = expect(100, PIECE);
    ck_assert_int_gt(jobs[0]->job.delay_ms, 200);
    give(jobs[0]);
    finish(jobs[1], PIECE + 1000);
    give(jobs[2]);
    give(jobs[3]);
    let_serve();
    check_warm(&c);
}
END_TEST

/* Answers to a part ahead of the front that bring nothing. */
static const struct refusal {
    int error, status;
    int64_t start, length, total; /* with status 206: of the part, what is wrong with it */
} refusals[] = {
    {0, 200, 0, 0, 0},        /* the whole blob */
    {0, 206, -1, 0, 0},       /* another range */
    {0, 206, 0, -1, 0},       /* a shorter one */
    {0, 206, 0, 1, 0},        /* a longer one */
    {0, 206, 0, 0, 5},        /* of another blob */
    {-EAGAIN, 429, 0, 0, 0},  /* asked too much */
    {-EACCES, 403, 0, 0, 0},  /* told nothing */
    {-ENOENT, 404, 0, 0, 0},  /* the front will see */
    {-ERANGE, 416, 0, 0, 0},  /* likewise */
    {-ETIMEDOUT, 0, 0, 0, 0}, /* nobody answers */
};

static void refuse(struct fake_job *j, const struct refusal *r)
{
    struct upstream_head head = fake_blob_header(j, SIZE);
    if (r->status == 200)
        head = fake_header(200, SIZE);
    head.range_start += r->start;
    head.length += r->length;
    head.total += r->total;
    if (r->error == 0)
        ck_assert_int_lt(fake_head(j, &head), 0);
    fake_done(j, r->error, r->status);
}

START_TEST(a_part_that_is_refused_costs_its_connection_and_nothing_else)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    for (unsigned i = 1; i < CONNECTIONS; i++)
        refuse(jobs[i], &refusals[_i]);
    ck_assert(!fake_is_asked(world.upstream)); /* the front goes on alone */
    finish(jobs[0], 0);
    for (unsigned i = 1; i < CONNECTIONS; i++) {
        struct fake_job *j = expect_part(i);
        ck_assert(!j->job.spare);
        give(j);
    }
    struct fake_job *j = expect(CONNECTIONS * PIECE, SIZE); /* at once, since nobody helps */
    give(j);
    check_warm(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 2 * CONNECTIONS);
}
END_TEST

START_TEST(where_no_connection_can_be_spared_one_is_looked_for_with_each_piece_of_the_front)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS], *front, *ahead;
    take_off(&c, jobs);
    for (unsigned i = 1; i < CONNECTIONS; i++)
        fake_done(jobs[i], -EBUSY, 0);
    ck_assert(!fake_is_asked(world.upstream));
    front = jobs[0];
    for (unsigned i = 0; i < 3; i++) {
        finish(front, i * PIECE);
        front = expect_part(i + 1);
        ck_assert(!front->job.spare);
        ahead = expect_part(i + 2);
        ck_assert(ahead->job.spare);
        ck_assert(!fake_is_asked(world.upstream));
        begin(front);
        if (i < 2)
            fake_done(ahead, -EBUSY, 0);
        ck_assert(!fake_is_asked(world.upstream));
    }
    finish(front, 3 * PIECE);
    give(ahead);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(a_part_for_which_none_could_be_spared_is_asked_for_again_once_it_is_the_front)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS], *next, *again;
    take_off(&c, jobs);
    finish(jobs[0], 0);
    next = expect_part(CONNECTIONS);
    fake_done(jobs[1], -EBUSY, 0);
    again = expect_part(1);
    ck_assert(!again->job.spare);
    begin(again);
    finish(again, PIECE);
    for (unsigned i = 2; i < CONNECTIONS; i++)
        give(jobs[i]);
    give(next);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(one_that_is_refused_leaves_the_others_at_work)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS], *j;
    take_off(&c, jobs);
    refuse(jobs[2], &refusals[0]);
    ck_assert(!fake_is_asked(world.upstream));
    give(jobs[1]);
    j = expect_part(2); /* who has done his part takes what was left */
    give(j);
    give(jobs[3]);
    finish(jobs[0], 0);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(a_source_that_gives_no_parts_is_asked_once)
{
    struct client c;
    open_blob(&c);
    struct fake_job *j = expect_part(0);
    struct upstream_head head = fake_header(200, SIZE);
    ck_ok(fake_head(j, &head));
    send(j, 0, SIZE);
    fake_done(j, 0, 200);
    check_warm(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(a_sibling_gives_one_part_and_then_the_rest)
{
    struct client c;
    open_blob(&c);
    for (unsigned i = 0; i < 2; i++) {
        struct fake_job *j = i == 0 ? expect_part(0) : expect(PIECE, SIZE);
        struct upstream_head head = fake_blob_header(j, SIZE);
        head.sibling = true;
        ck_ok(fake_head(j, &head));
        ck_assert(!fake_is_asked(world.upstream));
        finish(j, j->job.offset);
    }
    check_warm(&c);
}
END_TEST

START_TEST(an_answer_that_is_the_whole_blob_takes_over_from_all_others)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    begin(jobs[1]);
    send(jobs[1], PIECE, PIECE + 1000);
    give(jobs[2]);
    jobs[2] = expect_part(CONNECTIONS);
    send(jobs[0], 0, 100);
    fake_done(jobs[0], -ECONNRESET, 206);
    jobs[0] = expect(100, PIECE);
    struct upstream_head head = fake_header(200, SIZE);
    ck_ok(fake_head(jobs[0], &head));
    ck_assert_int_lt(fake_body(jobs[1], data, 1), 0); /* nobody wants it any more */
    fake_done(jobs[1], 0, 206);
    head = fake_blob_header(jobs[2], SIZE);
    ck_assert_int_lt(fake_head(jobs[2], &head), 0);
    fake_done(jobs[2], 0, 206);
    send(jobs[0], 0, SIZE);
    fake_done(jobs[0], 0, 200);
    check_warm(&c);
    fake_tick(jobs[3]);
    fake_done(jobs[3], -ECONNRESET, 0); /* after all is over */
}
END_TEST

START_TEST(a_lie_of_the_manifest_about_the_size_is_found_out_before_others_are_asked)
{
    struct client c;
    library_note_size(world.mirror->library, &digest, 2 * SIZE);
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, text);
    (void)client_step(&c);
    struct fake_job *j = fake_take(world.upstream);
    struct upstream_head head = fake_blob_header(j, SIZE);
    ck_assert_int_lt(fake_head(j, &head), 0);
    fake_done(j, 0, 206);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(a_failure_of_the_front_is_the_flights_and_the_others_end_by_themselves)
{
    struct client c;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    begin(jobs[1]);
    send(jobs[1], PIECE, PIECE + 1000);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    send(jobs[0], 0, 500);
    fake_done(jobs[0], -EACCES, 403);
    ck_assert_uint_eq(client_read_to(&c, 0, got, SIZE), 500);
    client_close(&c);
    world_settle();
    struct stat st;
    ck_ok(stat(partial_path(), &st));
    ck_assert_int_eq(st.st_size, 500); /* and nothing of what was ahead */
    ck_assert_int_lt(fake_body(jobs[1], data, 1), 0);
    fake_done(jobs[1], 0, 206);
    struct upstream_head head = fake_blob_header(jobs[2], SIZE);
    ck_assert_int_lt(fake_head(jobs[2], &head), 0);
    fake_done(jobs[2], 0, 206);
    /* one of them is left for the stop */
}
END_TEST

/* --- wrong bytes -------------------------------------------------------------------------------------------------- */

START_TEST(wrong_bytes_in_one_part_are_fetched_anew_from_another_source)
{
    struct client c, later;
    struct fake_job *jobs[CONNECTIONS];
    world.config.registries[0].source_count = 2;
    take_off(&c, jobs);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    begin(jobs[2]);
    data[2 * PIECE + 7] ^= 1;
    finish(jobs[2], 2 * PIECE);
    data[2 * PIECE + 7] ^= 1;
    give(jobs[1]);
    give(jobs[3]);
    finish(jobs[0], 0);
    ck_assert_uint_eq(client_read_to(&c, 0, got, PIECE), PIECE);
    open_blob(&later);
    for (unsigned i = CONNECTIONS; i < PARTS; i++) {
        struct fake_job *j = expect_part(i);
        give(j);
    }
    struct fake_job *j = expect_part(0); /* from the start */
    ck_assert_uint_eq(j->job.avoid, 1);
    j->source = 1;
    ck_assert_uint_eq(client_read_to(&c, PIECE, got, 1), 0); /* who has had some of the wrong ones has no more */
    client_close(&c);
    give(j);
    let_serve();
    check_warm(&later);
    world.config.registries[0].source_count = 1;
}
END_TEST

/* --- stops and restarts ------------------------------------------------------------------------------------------- */

/* With two bytes at the front, and a part ahead of it. */
static void leave_ragged(struct client *c)
{
    struct fake_job *jobs[CONNECTIONS];
    take_off(c, jobs);
    send(jobs[0], 0, 2);
    give(jobs[2]);
}

START_TEST(a_stop_in_the_middle_keeps_what_is_whole_from_the_start)
{
    struct client c;
    struct stat st;
    leave_ragged(&c);
    client_close(&c);
    world_stop();
    ck_ok(stat(partial_path(), &st));
    ck_assert_int_eq(st.st_size, 2);
    world_start();
    let_serve();
    open_blob(&c);
    check_warm(&c);
    ck_assert_uint_eq(served.bytes, SIZE - 2);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    AUTO_FREE char *bytes = malloc(2 * SIZE);
    AUTO_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert(in >= 0 && out >= 0);
    ssize_t n = read(in, bytes, 2 * SIZE);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(write(out, bytes, (size_t)n), n);
}

START_TEST(what_a_killed_process_leaves_with_holes_is_gone_on_with_before_the_first_of_them)
{
    struct client c;
    char copy[PATH_MAX];
    leave_ragged(&c);
    (void)snprintf(copy, sizeof(copy), "%s/copy", scratch_path());
    copy_file(partial_path(), copy); /* as it is at this instant */
    client_close(&c);
    world_stop();
    copy_file(copy, partial_path());
    world_start();
    let_serve();
    open_blob(&c);
    check_warm(&c);
    ck_assert_uint_eq(served.bytes, SIZE - 2);
}
END_TEST

START_TEST(holes_that_nobody_has_marked_are_found_by_the_digest_and_cost_a_fetch)
{
    struct client c;
    AUTO_FREE char *zeros = calloc(1, SIZE / 2);
    AUTO_CLOSE int fd = open(partial_path(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, zeros, SIZE / 2), SIZE / 2); /* power was lost, and the file system forgot */
    open_blob(&c);
    struct fake_job *j = expect(SIZE / 2, SIZE);
    give(j);
    j = expect_part(0);
    give(j);
    let_serve();
    check_warm(&c);
}
END_TEST

START_TEST(a_part_ahead_that_cannot_be_written_does_not_end_the_flight)
{
    struct client c;
    struct rlimit was, now;
    struct fake_job *jobs[CONNECTIONS];
    take_off(&c, jobs);
    begin(jobs[2]);
    ck_ok(getrlimit(RLIMIT_FSIZE, &was));
    now = was;
    now.rlim_cur = PIECE;
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_ok(setrlimit(RLIMIT_FSIZE, &now));
    ck_ok(fake_body(jobs[2], data + 2 * PIECE, 1000));
    fake_tick(jobs[2]);
    ck_ok(setrlimit(RLIMIT_FSIZE, &was));
    ck_assert_int_lt(fake_body(jobs[2], data, 1), 0);
    fake_done(jobs[2], 0, 206);
    finish(jobs[0], 0);
    give(jobs[1]);
    give(jobs[3]);
    let_serve();
    check_warm(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segments");
    TCase *tests = tcase_create("segments");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_large_blob_comes_over_several_connections_and_each_byte_once);
    tcase_add_test(tests, a_small_blob_and_one_of_which_little_is_missing_come_over_one);
    tcase_add_test(tests, it_can_be_turned_off);
    tcase_add_test(tests, parts_that_come_in_reverse_are_given_in_order);
    tcase_add_test(tests, nothing_is_fetched_too_far_ahead_of_a_front_that_stands);
    tcase_add_test(tests, the_next_part_is_the_front_when_its_turn_comes_whatever_its_job_is_doing);
    tcase_add_test(tests, a_part_that_breaks_off_is_resumed_by_itself);
    tcase_add_test(tests, a_front_that_breaks_off_is_resumed_while_others_go_on);
    tcase_add_loop_test(tests, a_part_that_is_refused_costs_its_connection_and_nothing_else, 0, ARRAY_SIZE(refusals));
    tcase_add_test(tests, where_no_connection_can_be_spared_one_is_looked_for_with_each_piece_of_the_front);
    tcase_add_test(tests, a_part_for_which_none_could_be_spared_is_asked_for_again_once_it_is_the_front);
    tcase_add_test(tests, one_that_is_refused_leaves_the_others_at_work);
    tcase_add_test(tests, a_source_that_gives_no_parts_is_asked_once);
    tcase_add_test(tests, a_sibling_gives_one_part_and_then_the_rest);
    tcase_add_test(tests, an_answer_that_is_the_whole_blob_takes_over_from_all_others);
    tcase_add_test(tests, a_lie_of_the_manifest_about_the_size_is_found_out_before_others_are_asked);
    tcase_add_test(tests, a_failure_of_the_front_is_the_flights_and_the_others_end_by_themselves);
    tcase_add_test(tests, wrong_bytes_in_one_part_are_fetched_anew_from_another_source);
    tcase_add_test(tests, a_stop_in_the_middle_keeps_what_is_whole_from_the_start);
    tcase_add_test(tests, what_a_killed_process_leaves_with_holes_is_gone_on_with_before_the_first_of_them);
    tcase_add_test(tests, holes_that_nobody_has_marked_are_found_by_the_digest_and_cost_a_fetch);
    tcase_add_test(tests, a_part_ahead_that_cannot_be_written_does_not_end_the_flight);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
