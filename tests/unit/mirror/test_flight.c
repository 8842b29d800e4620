/* Flights as sessions see them: a mirror, a real store, and an upstream that plays what the test says. */
#include "world.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define REPOSITORY "library/alpine"

static struct digest digest;
static char text[DIGEST_TEXT_MAX];
static char *data;
static size_t size;

static void make_blob(unsigned n, size_t len)
{
    free(data);
    size = len;
    data = scratch_bytes(n, len, &digest);
    (void)digest_format(&digest, text);
}

static void setup(void)
{
    world_setup();
    make_blob(1, 1000000);
}

static void cleanup(void)
{
    world_cleanup();
    free(data);
    data = NULL;
}

static void open_blob(struct client *c)
{
    client_open(c, MIRROR_BLOB, false, REPOSITORY, text);
    (void)client_step(c);
}

/* The HEAD by which a flight learns the size, if nobody has said it. */
static void give_size(void)
{
    fake_give_head(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), "application/octet-stream", text,
                   (int64_t)size);
}

static struct fake_job *expect_get(uint64_t offset)
{
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, false, text);
    ck_assert_str_eq(j->job.registry, "docker.io");
    ck_assert_str_eq(j->job.repository, REPOSITORY);
    ck_assert_uint_eq(j->job.offset, offset);
    return j;
}

static void begin(struct fake_job *j)
{
    struct upstream_head head = fake_blob_header(j, size);
    ck_ok(fake_head(j, &head));
}

/* The bytes [from, to), and that they are seen. */
static void send(struct fake_job *j, uint64_t from, uint64_t to)
{
    ck_ok(fake_body(j, data + from, to - from));
    fake_tick(j);
}

static void finish(struct fake_job *j, uint64_t from)
{
    send(j, from, size);
    fake_done(j, 0, j->job.offset ? 206 : 200);
}

static void give_blob(uint64_t offset)
{
    struct fake_job *j = expect_get(offset);
    begin(j);
    finish(j, offset);
}

/* It reads from the flight from now on, and will not ask again. */
static void board(struct client *c)
{
    ck_assert_int_eq(client_answer(c)->body, MIRROR_FLIGHT);
}

static bool is_stored(void)
{
    struct blobstore_info info;
    world_settle();
    return blobstore_stat(world.store, &digest, &info) == 0;
}

/* It is stored, right, and served without asking anybody. */
static void check_warm(void)
{
    struct client c;
    unsigned asked = fake_count(world.upstream);
    ck_assert(is_stored());
    open_blob(&c);
    client_expect(&c, data, size);
    client_expect_outcome(&c, MIRROR_HIT, 0);
    ck_assert_int_eq(c.answer.body, MIRROR_FILE);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), asked);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}

/* A manifest of the same repository claims so. */
static void claim_size(uint64_t claim)
{
    library_note_size(world.mirror->library, &digest, claim);
}

/* The GET that finds out that the claim was wrong. */
static void refuse_claim(void)
{
    struct fake_job *j = expect_get(0);
    struct upstream_head head = fake_blob_header(j, size);
    ck_assert_int_lt(fake_head(j, &head), 0);
    fake_done(j, 0, 200);
}

/* --- one flight --------------------------------------------------------------------------------------------- */

START_TEST(a_cold_blob_is_sized_by_a_head_and_fetched_by_one_get)
{
    struct client c;
    open_blob(&c);
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    ck_assert_str_eq(c.answer.digest, text);
    ck_assert_str_eq(c.answer.content_type, "application/octet-stream");
    client_expect_outcome(&c, MIRROR_MISS, 2);
    client_close(&c);
    check_warm();
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

START_TEST(a_size_that_a_manifest_has_named_saves_the_head)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    give_blob(0);
    client_expect(&c, data, size);
    client_expect_outcome(&c, MIRROR_MISS, 1);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(however_many_ask_it_is_one_fetch)
{
    struct client clients[32];
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        open_blob(&clients[i]);
    give_size();
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 300000);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        ck_assert_int_eq(client_answer(&clients[i])->body, MIRROR_FLIGHT);
    finish(j, 300000);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        client_expect(&clients[i], data, size);
        client_expect_outcome(&clients[i], i == 0 ? MIRROR_MISS : MIRROR_JOINED, i == 0 ? 2 : 0);
        client_close(&clients[i]);
    }
    check_warm();
    ck_assert_uint_eq(fake_count(world.upstream), 2);
}
END_TEST

START_TEST(bytes_are_given_as_they_come_at_any_offset)
{
    struct client c, late;
    char got[300000];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 100);
    board(&c);
    ck_assert_int_eq(c.answer.body, MIRROR_FLIGHT);
    ck_assert_uint_eq(client_read_to(&c, 0, got, 100), 100);
    ck_assert_mem_eq(got, data, 100);
    ck_assert_int_eq(client_read(&c, 100, got, 1), 0); /* not there yet: suspended */
    send(j, 100, 300000);
    client_await(&c);
    ck_assert_uint_eq(client_read_to(&c, 250000, got, 50000), 50000);
    ck_assert_mem_eq(got, data + 250000, 50000);

    open_blob(&late);
    ck_assert_int_eq(client_answer(&late)->body, MIRROR_FLIGHT);
    ck_assert_uint_eq(client_read_to(&late, 7, got, 299993), 299993);
    ck_assert_mem_eq(got, data + 7, 299993);
    ck_assert_int_eq(client_read(&late, 600000, got, 1), 0);
    finish(j, 300000);
    ck_assert_uint_eq(client_read_to(&late, 600000, got, 300000), 300000);
    ck_assert_mem_eq(got, data + 600000, 300000);
    client_expect(&c, data, size);
    client_close(&c);
    client_close(&late);
    check_warm();
}
END_TEST

START_TEST(a_small_blob_is_answered_when_it_is_verified)
{
    struct client c;
    make_blob(2, 5000);
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 5000);
    client_await(&c); /* woken, but there is nothing for it */
    ck_assert(!client_step(&c));
    fake_done(j, 0, 200);
    client_expect(&c, data, size);
    ck_assert_int_eq(c.answer.body, MIRROR_FILE);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(an_empty_blob_is_a_blob)
{
    struct client c;
    make_blob(3, 0);
    open_blob(&c);
    give_size();
    give_blob(0);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_uint_eq(c.answer.size, 0);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_sha512_blob_is_verified_as_such)
{
    struct client c;
    ck_ok(digest_of(DIGEST_SHA512, data, size, &digest));
    (void)digest_format(&digest, text);
    open_blob(&c);
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_flight_outlives_its_clients)
{
    struct client c, left;
    open_blob(&left);
    client_close(&left); /* before the upstream has said a word */
    open_blob(&c);
    give_size();
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 500000);
    board(&c);
    client_close(&c);
    finish(j, 500000);
    check_warm();
}
END_TEST

/* --- breaks ------------------------------------------------------------------------------------------------- */

static const int breaks[] = {-ECONNRESET, -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -EREMOTEIO, -EPROTO, -EAGAIN};

START_TEST(what_breaks_off_is_resumed_where_it_ended_and_no_client_notices)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 300001);
    ck_ok(fake_body(j, data + 300001, 99)); /* gathered, not written yet: not lost all the same */
    fake_done(j, breaks[_i], 200);
    j = expect_get(300100);
    ck_assert_int_eq(j->job.delay_ms, 0); /* the first time at once */
    fake_done(j, breaks[_i], 0);
    j = expect_get(300100);
    ck_assert_int_gt(j->job.delay_ms, 0);
    begin(j);
    send(j, 300100, 600000);
    fake_done(j, breaks[_i], 206);
    j = expect_get(600000);
    ck_assert_int_eq(j->job.delay_ms, 0); /* there was progress */
    begin(j);
    finish(j, 600000);
    client_expect(&c, data, size);
    client_expect_outcome(&c, MIRROR_MISS, 4);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(pauses_grow_while_there_is_no_progress)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    int64_t longest = 0;
    for (unsigned i = 0; i < 8; i++) {
        struct fake_job *j = expect_get(0);
        ck_assert_int_ge(j->job.delay_ms, i == 0 ? 0 : longest / 2);
        ck_assert_int_le(j->job.delay_ms, 5 * CLOCK_SECOND);
        longest = j->job.delay_ms > longest ? j->job.delay_ms : longest;
        fake_done(j, -ECONNREFUSED, 0);
    }
    ck_assert_int_gt(longest, CLOCK_SECOND);
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

START_TEST(what_an_upstream_asks_to_wait_is_waited)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    fake_done_after(expect_get(0), -EAGAIN, 429, 7 * CLOCK_SECOND);
    struct fake_job *j = expect_get(0);
    ck_assert_int_ge(j->job.delay_ms, 7 * CLOCK_SECOND);
    begin(j);
    finish(j, 0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

START_TEST(an_upstream_that_cannot_resume_is_read_again_from_the_start)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 400000);
    fake_done(j, -ECONNRESET, 200);
    j = expect_get(400000);
    struct upstream_head whole = fake_header(200, (int64_t)size);
    ck_ok(fake_head(j, &whole));
    send(j, 0, 399999); /* what is there already is not written again */
    send(j, 399999, 400001);
    send(j, 400001, size);
    fake_done(j, 0, 200);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(another_range_than_was_asked_for_is_not_taken)
{
    struct client c;
    char got[1];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    board(&c);
    send(j, 0, 400000);
    fake_done(j, -ECONNRESET, 200);
    j = expect_get(400000);
    struct upstream_head head = fake_blob_header(j, size);
    head.range_start = 399999;
    ck_assert_int_lt(fake_head(j, &head), 0);
    fake_done(j, 0, 206);
    ck_assert_uint_eq(client_read_to(&c, 400000, got, 1), 0);
    client_close(&c);
    world_settle();
    ck_assert(!is_stored());
    ck_assert_uint_eq(scratch_count("partial"), 1); /* what came before is good */
}
END_TEST

START_TEST(a_flight_without_progress_fails_and_its_readers_are_cut)
{
    struct client c, waiting;
    char *got = malloc(size);
    world.config.upstream.flight_timeout_ms = 0;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 700000);
    board(&c);
    ck_assert_uint_eq(client_read_to(&c, 0, got, 600000), 600000);
    ck_assert_int_eq(client_read(&c, 900000, got, 1), 0);
    open_blob(&waiting);
    fake_done(j, -ECONNRESET, 200);
    for (j = NULL; !j;) { /* once at once, if there was time for it; then it has taken too long */
        client_await(&c);
        ssize_t n = client_read(&c, 900000, got, 1);
        if (n < 0)
            break;
        ck_assert_int_eq(n, 0);
        if (fake_count(world.upstream) > 1) {
            fake_done(expect_get(700000), -ECONNRESET, 0);
            break;
        }
    }
    ck_assert_uint_eq(client_read_to(&c, 900000, got, 1), 0);
    /* what is there can still be read */
    ck_assert_uint_eq(client_read_to(&c, 600000, got, 100000), 100000);
    ck_assert_mem_eq(got, data + 600000, 100000);
    client_close(&c);
    client_close(&waiting);
    ck_assert(!is_stored());
    ck_assert_uint_eq(scratch_count("partial"), 1);
    free(got);
}
END_TEST

/* --- wrong bytes -------------------------------------------------------------------------------------------- */

START_TEST(the_last_bytes_wait_for_the_digest_and_wrong_ones_are_never_whole)
{
    struct client c;
    char *got = malloc(size);
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    data[500000] ^= 1;
    send(j, 0, size);
    board(&c);
    ck_assert_int_eq(client_read(&c, size - FLIGHT_HOLD_BACK, got, 1), 0); /* all of them are in the file */
    fake_done(j, 0, 200);
    ck_assert_uint_eq(client_read_to(&c, 0, got, size), size - FLIGHT_HOLD_BACK);
    client_close(&c);
    ck_assert(!is_stored());
    ck_assert_uint_eq(scratch_count("partial"), 0);

    data[500000] ^= 1; /* the next pull is right, after the back-off */
    open_blob(&c);
    client_go_on(&c);
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
    free(got);
}
END_TEST

START_TEST(a_small_blob_with_wrong_bytes_is_an_error_and_no_byte)
{
    struct client c;
    make_blob(2, FLIGHT_WHOLE);
    claim_size(size);
    world.config.server.answer_timeout_ms = 0; /* does not wait for a second attempt */
    ck_ok(mirror_reload(world.mirror, &world.config));
    open_blob(&c);
    ck_assert_int_eq(c.answer.status, 503); /* nothing has come in no time */
    client_close(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    data[0] ^= 1;
    finish(j, 0);
    ck_assert(!is_stored());
    client_open(&c, MIRROR_BLOB, false, REPOSITORY, text);
    client_expect_error(&c, 502, "UNKNOWN");
    ck_assert_int_ge(c.answer.retry_after_s, 1);
    client_close(&c);
}
END_TEST

START_TEST(a_body_that_is_longer_than_declared_is_not_taken)
{
    struct client c;
    char got[1];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    board(&c);
    send(j, 0, size);
    ck_assert_int_lt(fake_body(j, "x", 1), 0);
    fake_done(j, 0, 200);
    ck_assert_uint_eq(client_read_to(&c, size - 1, got, 1), 0);
    client_close(&c);
    ck_assert(!is_stored());
}
END_TEST

START_TEST(a_body_that_is_shorter_without_an_error_is_not_taken)
{
    struct client c;
    char got[1];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    board(&c);
    send(j, 0, size - 1);
    fake_done(j, 0, 200);
    ck_assert_uint_eq(client_read_to(&c, size - 1, got, 1), 0);
    client_close(&c);
    ck_assert(!is_stored());
}
END_TEST

START_TEST(nonsense_between_two_good_parts_is_forgiven)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    board(&c);
    send(j, 0, 300000);
    fake_done(j, -ECONNRESET, 200);
    j = expect_get(300000);
    struct upstream_head page = fake_header(200, 1234); /* "please log in" */
    ck_assert_int_lt(fake_head(j, &page), 0);
    fake_done(j, 0, 200);
    j = expect_get(300000);
    fake_done(j, -EPROTO, 0);
    j = expect_get(300000);
    struct upstream_head other = fake_blob_header(j, size + 1);
    ck_assert_int_lt(fake_head(j, &other), 0);
    fake_done(j, 0, 206);
    give_blob(300000);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_blob_larger_than_any_may_be_is_refused)
{
    struct client c;
    world.config.server.answer_timeout_ms = 5000;
    open_blob(&c);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, text);
    struct upstream_head head = fake_header(200, (int64_t)LIMIT_BLOB + 1);
    (void)fake_head(j, &head);
    fake_done(j, 0, 200);
    j = expect_get(0);
    head = fake_header(200, (int64_t)LIMIT_BLOB + 1);
    ck_assert_int_eq(fake_head(j, &head), -EFBIG);
    fake_done(j, 0, 200);
    world_settle();
    client_close(&c);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}
END_TEST

/* --- what is not known, or said wrongly --------------------------------------------------------------------- */

static const int64_t lies[] = {1, 70000, 999999, 1000001, 5000000, 0};

START_TEST(a_manifest_that_lies_about_a_size_costs_a_head_and_nothing_else)
{
    struct client c;
    claim_size((uint64_t)lies[_i]);
    open_blob(&c);
    if (lies[_i] > 0) /* no bytes at all are no claim */
        refuse_claim();
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_manifest_that_lies_is_not_believed_where_the_upstream_does_not_say_a_length)
{
    struct client c;
    struct upstream_head head = fake_header(200, -1);
    claim_size((uint64_t)lies[_i]);
    open_blob(&c);
    struct fake_job *j;
    if (lies[_i] > 0) {
        j = expect_get(0);
        ck_assert_int_lt(fake_head(j, &head), 0);
        fake_done(j, 0, 200);
    }
    j = fake_expect(world.upstream, UPSTREAM_BLOB, true, text); /* nor here */
    (void)fake_head(j, &head);
    fake_done(j, 0, 200);
    j = expect_get(0);
    ck_ok(fake_head(j, &head));
    finish(j, 0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_lie_about_what_an_earlier_flight_left_is_found_out)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 400000);
    client_close(&c);
    world_stop();
    world_start();
    claim_size(400000); /* exactly what is there: it looks complete, and its digest is wrong */
    open_blob(&c);
    refuse_claim();
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(an_upstream_that_never_says_a_length_serves_too)
{
    struct client c;
    struct upstream_head head = fake_header(200, -1);
    open_blob(&c);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, text);
    (void)fake_head(j, &head);
    fake_done(j, 0, 200);
    j = expect_get(0);
    ck_ok(fake_head(j, &head));
    send(j, 0, size);
    client_await(&c);
    ck_assert(!client_step(&c)); /* how long is it? */
    fake_done(j, 0, 200);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

static const struct {
    int error, status;
    int64_t length;
} odd_heads[] = {
    {0, 200, 0}, /* a HEAD that has no body, and says so */
    {-EREMOTEIO, 405, -1},
    {-EREMOTEIO, 500, -1},
    {-EAGAIN, 429, -1},
};

START_TEST(an_upstream_that_answers_no_head_is_asked_by_get)
{
    struct client c;
    open_blob(&c);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, text);
    if (odd_heads[_i].error == 0) {
        struct upstream_head head = fake_header(200, odd_heads[_i].length);
        (void)fake_head(j, &head);
    }
    fake_done(j, odd_heads[_i].error, odd_heads[_i].status);
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_head_that_nobody_answers_is_asked_again)
{
    struct client c;
    open_blob(&c);
    fake_done(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), -ECONNREFUSED, 0);
    fake_done(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), -ETIMEDOUT, 0);
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

/* --- what is not there -------------------------------------------------------------------------------------- */

START_TEST(what_is_absent_is_absent_for_everybody_who_waits_and_remembered)
{
    struct client clients[3];
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        open_blob(&clients[i]);
    fake_done(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), -ENOENT, 404);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        client_expect_error(&clients[i], 404, "BLOB_UNKNOWN");
        client_close(&clients[i]);
    }
    open_blob(&clients[0]);
    client_expect_error(&clients[0], 404, "BLOB_UNKNOWN");
    client_close(&clients[0]);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
    ck_assert_uint_eq(scratch_count("partial"), 0);
}
END_TEST

START_TEST(what_another_repository_does_not_have_may_be_in_this_one)
{
    struct client here, there;
    open_blob(&here);
    client_open(&there, MIRROR_BLOB, false, "ghcr.io/owner/image", text);
    ck_assert(!client_step(&there));
    fake_done(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), -ENOENT, 404);
    client_expect_error(&here, 404, "BLOB_UNKNOWN");
    client_go_on(&there);
    struct fake_job *j = fake_expect(world.upstream, UPSTREAM_BLOB, true, text);
    ck_assert_str_eq(j->job.registry, "ghcr.io");
    ck_assert_str_eq(j->job.repository, "owner/image");
    fake_give_head(j, "", text, (int64_t)size);
    j = fake_expect(world.upstream, UPSTREAM_BLOB, false, text);
    ck_assert_str_eq(j->job.registry, "ghcr.io");
    begin(j);
    finish(j, 0);
    client_expect(&there, data, size);
    client_close(&here);
    client_close(&there);
    check_warm();
}
END_TEST

START_TEST(a_failure_that_may_pass_is_held_and_then_asked_again)
{
    struct client c;
    world.config.upstream.flight_timeout_ms = 0; /* the flight itself does not try again for long */
    claim_size(size);
    open_blob(&c);
    client_close(&c);
    fake_done_after(expect_get(0), -EAGAIN, 429, 1);
    world_settle();
    open_blob(&c);
    client_go_on(&c);
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

START_TEST(a_failure_that_does_not_pass_is_told_at_once)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    fake_done(expect_get(0), -EPERM, 0);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

START_TEST(who_cannot_wait_for_a_back_off_is_told_at_once_when_to_come_back)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    client_close(&c);
    fake_done_after(expect_get(0), -EPERM, 0, 60 * CLOCK_SECOND);
    world_settle();
    open_blob(&c);
    client_expect_error(&c, 502, "UNKNOWN");
    ck_assert_int_ge(c.answer.retry_after_s, 50);
    client_close(&c);
    ck_assert_uint_eq(fake_count(world.upstream), 1);
}
END_TEST

/* Between a look at what has failed and the joining, the last flight may fail, and nobody is left to be joined. */
START_TEST(what_has_failed_since_the_caller_looked_is_not_asked_for_again)
{
    const struct flight_target blob = {.registry = "docker.io", .repository = REPOSITORY, .digest = &digest};
    const struct question_target manifest = {
        .kind = QUESTION_MANIFEST, .registry = "docker.io", .repository = REPOSITORY, .reference = text};
    struct failure failure = {.error = -EAGAIN};
    struct flight *flight;
    struct question *question;
    char key[RECENT_KEY_MAX];
    bool mine;
    flight_key(&blob, key);
    recent_note(world.mirror->recent, key, &failure, 60 * CLOCK_SECOND);
    question_key(&manifest, key);
    recent_note(world.mirror->recent, key, &failure, 60 * CLOCK_SECOND);
    ck_assert_int_eq(flight_join(world.mirror->flights, &blob, &mine, &flight), -EALREADY);
    ck_assert_int_eq(question_join(world.mirror->questions, &manifest, &mine, &question), -EALREADY);
    ck_assert_uint_eq(fake_count(world.upstream), 0);
}
END_TEST

START_TEST(nobody_waits_longer_than_the_answer_timeout)
{
    struct client c;
    world.config.server.answer_timeout_ms = 30;
    open_blob(&c);
    client_expect_error(&c, 503, "UNAVAILABLE");
    client_close(&c);
    give_size(); /* the flight goes on */
    give_blob(0);
    check_warm();
}
END_TEST

/* --- restarts ----------------------------------------------------------------------------------------------- */

START_TEST(a_stop_in_the_middle_continues_where_it_was)
{
    struct client c;
    char got[1];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 600000);
    board(&c);
    ck_assert_int_eq(client_read(&c, 700000, got, 1), 0);
    mirror_cut(world.mirror);
    client_await(&c);
    ck_assert_int_eq(client_read(&c, 700000, got, 1), -ECANCELED);
    client_close(&c);
    world_stop();
    world_start();

    open_blob(&c);
    give_size();
    give_blob(600000);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_partial_file_that_lacks_nothing_needs_no_upstream)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, size);
    client_close(&c);
    world_stop(); /* the answer has not ended */
    world_start();
    claim_size(size);
    open_blob(&c);
    client_expect(&c, data, size);
    client_expect_outcome(&c, MIRROR_MISS, 0);
    client_close(&c);
    check_warm();
}
END_TEST

START_TEST(a_partial_file_with_wrong_bytes_is_begun_anew_and_completes_no_client_that_has_read_of_it)
{
    struct client c, later;
    char got[1];
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    data[100] ^= 1;
    send(j, 0, 600000);
    data[100] ^= 1;
    client_close(&c);
    world_stop();
    world_start();
    claim_size(size);
    open_blob(&c);
    j = expect_get(600000);
    begin(j);
    board(&c);
    ck_assert_uint_eq(client_read_to(&c, 0, got, 1), 1);
    open_blob(&later);
    board(&later);
    finish(j, 600000);
    j = expect_get(0);
    ck_assert_uint_eq(client_read_to(&c, 1, got, 1), 0);
    client_close(&c);
    begin(j);
    finish(j, 0);
    client_expect(&later, data, size); /* who has had nothing does not notice */
    client_close(&later);
    check_warm();
}
END_TEST

START_TEST(an_upstream_that_has_less_than_what_is_here_is_refused)
{
    struct client c;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 600000);
    client_close(&c);
    world_stop();
    world_start();
    claim_size(size);
    open_blob(&c);
    fake_done(expect_get(600000), -ERANGE, 416);
    client_expect_error(&c, 502, "UNKNOWN");
    client_close(&c);
    open_blob(&c);
    client_go_on(&c);
    give_blob(0); /* from the start, after the back-off */
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

/* --- the store ---------------------------------------------------------------------------------------------- */

START_TEST(a_disk_that_takes_no_more_fails_the_flight_and_leaves_nothing)
{
    struct client c;
    char *got = malloc(size);
    struct rlimit was, now;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    send(j, 0, 300000);
    board(&c);
    /* no file may grow beyond this: EFBIG, as a full disk is ENOSPC */
    ck_ok(getrlimit(RLIMIT_FSIZE, &was));
    now = was;
    now.rlim_cur = 400000;
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_ok(setrlimit(RLIMIT_FSIZE, &now));
    ck_assert_int_lt(fake_body(j, data + 300000, size - 300000), 0);
    ck_ok(setrlimit(RLIMIT_FSIZE, &was));
    fake_done(j, 0, 200);
    ck_assert_uint_lt(client_read_to(&c, 0, got, size), size);
    client_close(&c);
    ck_assert(!is_stored());
    free(got);
}
END_TEST

START_TEST(a_blob_that_is_being_closed_is_waited_for)
{
    struct client c;
    struct blobstore_writer *w;
    uint64_t length;
    claim_size(size);
    ck_ok(blobstore_writer_open(world.store, &digest, &w, &length)); /* somebody else has it */
    open_blob(&c);
    client_await(&c);
    ck_assert(!client_step(&c));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    client_go_on(&c);
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

START_TEST(a_damaged_file_is_fetched_again)
{
    struct client c;
    world_store(data, size, &digest);
    scratch_damage(&digest);
    open_blob(&c);
    give_size();
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
}
END_TEST

/* --- HEAD --------------------------------------------------------------------------------------------------- */

START_TEST(a_head_of_a_cold_blob_moves_no_body_and_is_remembered)
{
    struct client c;
    client_open(&c, MIRROR_BLOB, true, REPOSITORY, text);
    ck_assert(!client_step(&c));
    give_size();
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_uint_eq(c.answer.size, size);
    ck_assert_str_eq(c.answer.digest, text);
    client_expect_outcome(&c, MIRROR_MISS, 1);
    client_close(&c);
    open_blob(&c); /* the size is known now */
    give_blob(0);
    client_expect(&c, data, size);
    client_close(&c);
    check_warm();
    client_open(&c, MIRROR_BLOB, true, REPOSITORY, text);
    ck_assert_int_eq(client_answer(&c)->status, 200);
    ck_assert_uint_eq(c.answer.size, size);
    client_expect_outcome(&c, MIRROR_HIT, 0);
    client_close(&c);
}
END_TEST

START_TEST(a_head_joins_a_flight)
{
    struct client c, head;
    claim_size(size);
    open_blob(&c);
    struct fake_job *j = expect_get(0);
    begin(j);
    client_open(&head, MIRROR_BLOB, true, REPOSITORY, text);
    ck_assert(client_step(&head));
    ck_assert_uint_eq(head.answer.size, size);
    client_expect_outcome(&head, MIRROR_JOINED, 0);
    client_close(&head);
    finish(j, 0);
    client_expect(&c, data, size);
    client_close(&c);
}
END_TEST

START_TEST(a_head_of_what_is_absent_is_404)
{
    struct client c;
    client_open(&c, MIRROR_BLOB, true, REPOSITORY, text);
    ck_assert(!client_step(&c));
    fake_done(fake_expect(world.upstream, UPSTREAM_BLOB, true, text), -ENOENT, 404);
    client_expect_error(&c, 404, "BLOB_UNKNOWN");
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flight");
    const struct {
        const char *name;
        const TTest *tests[16];
    } groups[] = {
        {"one",
         {a_cold_blob_is_sized_by_a_head_and_fetched_by_one_get, a_size_that_a_manifest_has_named_saves_the_head,
          however_many_ask_it_is_one_fetch, bytes_are_given_as_they_come_at_any_offset,
          a_small_blob_is_answered_when_it_is_verified, an_empty_blob_is_a_blob, a_sha512_blob_is_verified_as_such,
          a_flight_outlives_its_clients}},
        {"breaks",
         {pauses_grow_while_there_is_no_progress, what_an_upstream_asks_to_wait_is_waited,
          an_upstream_that_cannot_resume_is_read_again_from_the_start, another_range_than_was_asked_for_is_not_taken,
          a_flight_without_progress_fails_and_its_readers_are_cut}},
        {"wrong",
         {the_last_bytes_wait_for_the_digest_and_wrong_ones_are_never_whole,
          a_small_blob_with_wrong_bytes_is_an_error_and_no_byte, a_body_that_is_longer_than_declared_is_not_taken,
          a_body_that_is_shorter_without_an_error_is_not_taken, nonsense_between_two_good_parts_is_forgiven,
          a_blob_larger_than_any_may_be_is_refused}},
        {"unknown",
         {a_lie_about_what_an_earlier_flight_left_is_found_out, an_upstream_that_never_says_a_length_serves_too,
          a_head_that_nobody_answers_is_asked_again}},
        {"absent",
         {what_is_absent_is_absent_for_everybody_who_waits_and_remembered,
          what_another_repository_does_not_have_may_be_in_this_one,
          a_failure_that_may_pass_is_held_and_then_asked_again, a_failure_that_does_not_pass_is_told_at_once,
          who_cannot_wait_for_a_back_off_is_told_at_once_when_to_come_back,
          what_has_failed_since_the_caller_looked_is_not_asked_for_again, nobody_waits_longer_than_the_answer_timeout}},
        {"restart",
         {a_stop_in_the_middle_continues_where_it_was, a_partial_file_that_lacks_nothing_needs_no_upstream,
          a_partial_file_with_wrong_bytes_is_begun_anew_and_completes_no_client_that_has_read_of_it,
          an_upstream_that_has_less_than_what_is_here_is_refused}},
        {"store",
         {a_disk_that_takes_no_more_fails_the_flight_and_leaves_nothing, a_blob_that_is_being_closed_is_waited_for,
          a_damaged_file_is_fetched_again}},
        {"head",
         {a_head_of_a_cold_blob_moves_no_body_and_is_remembered, a_head_joins_a_flight,
          a_head_of_what_is_absent_is_404}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        TCase *tests = tcase_create(groups[i].name);
        tcase_add_checked_fixture(tests, setup, cleanup);
        tcase_set_timeout(tests, 60);
        for (size_t k = 0; groups[i].tests[k]; k++)
            tcase_add_test(tests, groups[i].tests[k]);
        if (i == 1)
            tcase_add_loop_test(tests, what_breaks_off_is_resumed_where_it_ended_and_no_client_notices, 0,
                                ARRAY_SIZE(breaks));
        if (i == 3) {
            tcase_add_loop_test(tests, a_manifest_that_lies_about_a_size_costs_a_head_and_nothing_else, 0,
                                ARRAY_SIZE(lies));
            tcase_add_loop_test(tests, a_manifest_that_lies_is_not_believed_where_the_upstream_does_not_say_a_length, 0,
                                ARRAY_SIZE(lies));
            tcase_add_loop_test(tests, an_upstream_that_answers_no_head_is_asked_by_get, 0, ARRAY_SIZE(odd_heads));
        }
        suite_add_tcase(suite, tests);
    }
    return suite_run(suite);
}
