/*
 * Many clients at once on blobs that keep breaking off, for the sanitizers: threads that serve a connection each step,
 * read, wait, and leave when chance says so, while flights resume, restart from the start, end with wrong bytes and
 * begin anew. What a client gets to the last byte must be right. Bounded by counts; the number of a
 * test is its seed.
 */
#include "world.h"

#include "mirror/flight_state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define READERS 12
#define ROUNDS 50
#define BLOBS 6

static struct blob {
    char *data;
    size_t size;
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
} blobs[BLOBS];

static const size_t sizes[BLOBS] = {0, 10, FLIGHT_WHOLE, FLIGHT_WHOLE + 1, 300000, 1500000};

static struct {
    unsigned cut_after; /* rounds of all readers; 0: never */
    unsigned seed;      /* of the upstream's thread */
    atomic_uint rounds, whole, cut, left;
} torture;

static void setup(void)
{
    world_setup();
    world.config.segments.count = 4;
    world.config.segments.min_size = 256 * KIB; /* the two largest are fetched in parts */
    for (unsigned i = 0; i < BLOBS; i++) {
        struct blob *b = &blobs[i];
        b->size = sizes[i];
        b->data = scratch_bytes(i, b->size, &b->digest);
        (void)digest_format(&b->digest, b->text);
    }
}

static void cleanup(void)
{
    world_cleanup();
    for (unsigned i = 0; i < BLOBS; i++)
        free(blobs[i].data);
}

/* --- the upstream ------------------------------------------------------------------------------------------- */

static unsigned chance(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

static const struct blob *blob_of(const struct fake_job *j)
{
    for (unsigned i = 0; i < BLOBS; i++)
        if (strcmp(blobs[i].text, j->job.reference) == 0)
            return &blobs[i];
    return NULL;
}

static void play_head(struct fake_job *j, const struct blob *b)
{
    static const int mishaps[] = {-ECONNRESET, -ECONNREFUSED, -EREMOTEIO, -ETIMEDOUT};
    if (chance(&torture.seed, 4) == 0) {
        fake_play_done(j, mishaps[chance(&torture.seed, ARRAY_SIZE(mishaps))], 0);
        return;
    }
    struct upstream_head head = fake_header(200, chance(&torture.seed, 5) == 0 ? -1 : (int64_t)b->size);
    (void)fake_play_head(j, &head);
    fake_play_done(j, 0, 200);
}

static void play_begin(struct fake_job *j, const struct blob *b)
{
    unsigned *seed = &torture.seed;
    struct upstream_head head = fake_blob_header(j, b->size);
    j->at = j->job.offset;
    j->end = j->job.length ? j->job.offset + j->job.length : b->size;
    if (j->job.offset && chance(seed, 4) == 0) { /* cannot resume */
        head = fake_header(200, (int64_t)b->size);
        j->at = 0;
        j->end = b->size;
    }
    if (chance(seed, 8) == 0)
        head.length = head.total = -1;
    if (chance(seed, 20) == 0)
        fake_play_done(j, -ECONNREFUSED, 0);
    else if (j->job.spare && chance(seed, 8) == 0)
        fake_play_done(j, -EBUSY, 0);
    else if (fake_play_head(j, &head) < 0)
        fake_play_done(j, 0, 200);
}

/* Some of the bytes, and what else chance brings. */
static void play(struct fake_job *j, void *arg)
{
    const struct blob *b = blob_of(j);
    unsigned *seed = &torture.seed;
    char piece[16384];
    (void)arg;
    if (j->job.head) {
        play_head(j, b);
        return;
    }
    if (!j->has_head) {
        play_begin(j, b);
        return;
    }
    size_t len = j->end - j->at < sizeof(piece) ? j->end - j->at : sizeof(piece);
    len = len ? chance(seed, (unsigned)len) + 1 : 0;
    memcpy(piece, b->data + j->at, len);
    if (len && chance(seed, 400) == 0)
        piece[chance(seed, (unsigned)len)] ^= 1; /* found at the end */
    int r = fake_play_body(j, piece, len);
    j->at += len;
    if (r == 0 && chance(seed, 3) == 0)
        j->job.callbacks->on_tick(j->job.arg);
    if (r < 0 || j->at == j->end)
        fake_play_done(j, 0, 200);
    else if (chance(seed, 25) == 0)
        fake_play_done(j, chance(seed, 2) ? -ECONNRESET : -ETIMEDOUT, 200);
}

/* --- the clients -------------------------------------------------------------------------------------------- */

/*
 * Reads from `from` to the end, with pieces of any size; whether it came to the end. Bytes of a flight may be wrong as
 * long as its digest is not known; then there is no end to come to.
 */
static bool read_on(struct client *c, const struct blob *b, uint64_t from, unsigned *seed)
{
    char piece[70000];
    bool is_right = true;
    while (from < b->size) {
        ssize_t n = client_read(c, from, piece, chance(seed, sizeof(piece)) + 1);
        if (n < 0)
            return false;
        if (n == 0) {
            if (chance(seed, 40) == 0)
                return false; /* leaves while it is suspended */
            client_await(c);
        }
        is_right = is_right && memcmp(piece, b->data + from, (size_t)n) == 0;
        from += (uint64_t)n;
    }
    ck_assert_msg(is_right, "%s was completed with wrong bytes", b->text);
    return true;
}

static void read_one(const struct blob *b, unsigned *seed)
{
    struct client c;
    bool leaves = false, head = chance(seed, 10) == 0;
    client_open(&c, MIRROR_BLOB, head, chance(seed, 2) ? "library/alpine" : "ghcr.io/owner/image", b->text);
    while (!leaves && !client_step(&c)) {
        leaves = chance(seed, 6) == 0;
        if (!leaves)
            client_await(&c);
    }
    if (leaves) {
        torture.left++;
    } else if (c.answer.status != 200) {
        ck_assert(c.answer.status == 502 || c.answer.status == 503);
    } else {
        ck_assert_uint_eq(c.answer.size, b->size);
        uint64_t from = b->size && chance(seed, 2) ? chance(seed, (unsigned)b->size) : 0;
        bool is_whole = !head && read_on(&c, b, from, seed);
        torture.whole += is_whole;
        torture.cut += !is_whole && !head;
    }
    client_close(&c);
}

static void *reader(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct blob *b = &blobs[chance(&seed, BLOBS)];
        read_one(b, &seed);
        if (chance(&seed, 2) == 0)
            (void)!blobstore_remove(world.store, &b->digest); /* so that it is fetched again */
        if (++torture.rounds == torture.cut_after)
            mirror_cut(world.mirror);
    }
    return NULL;
}

/* All readers have gone: nothing may be left of them, nor of the flights once they have landed. */
static void check_nothing_is_left(void)
{
    for (unsigned i = 0; i < 2; i++) { /* a worker may have had a flight begin anew, which it does once */
        fake_await_idle(world.upstream);
        world_settle();
    }
    ck_assert_ptr_null(world.mirror->flights->flights);
    ck_assert_ptr_eq(world.mirror->gates.first, &world.mirror->holding);
    ck_assert_ptr_null(world.mirror->holding.next);
    ck_assert_ptr_null(world.mirror->holding.waiting);
}

static void run(unsigned seed, unsigned cut_after)
{
    pthread_t threads[READERS];
    unsigned seeds[READERS];
    torture.seed = seed;
    torture.cut_after = cut_after;
    fake_serve(world.upstream, play, NULL);
    for (unsigned i = 0; i < READERS; i++) {
        seeds[i] = 1000 * (seed + 1) + i;
        ck_ok(pthread_create(&threads[i], NULL, reader, &seeds[i]));
    }
    for (unsigned i = 0; i < READERS; i++)
        ck_ok(pthread_join(threads[i], NULL));
    check_nothing_is_left();
}

START_TEST(whatever_breaks_and_whoever_leaves_what_is_whole_is_right)
{
    run((unsigned)_i, 0);
    ck_assert_uint_gt(torture.whole, READERS * ROUNDS / 4);
}
END_TEST

START_TEST(a_cut_in_the_middle_of_everything_leaves_nothing_behind)
{
    run(100 + (unsigned)_i, READERS * ROUNDS / 3);
    fake_serve(world.upstream, NULL, NULL); /* what is asked from now on stays open: only the cut can answer it */
    const struct blob *b = &blobs[BLOBS - 1];
    int r = blobstore_remove(world.store, &b->digest);
    ck_assert(r == 0 || r == -ENOENT);
    struct client c;
    client_open(&c, MIRROR_BLOB, false, "library/alpine", b->text);
    ck_assert(client_step(&c)); /* at once: nothing waits any more */
    ck_assert_int_eq(c.answer.status, 503);
    client_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("torture");
    TCase *tests = tcase_create("torture");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, whatever_breaks_and_whoever_leaves_what_is_whole_is_right, 0, 3);
    tcase_add_loop_test(tests, a_cut_in_the_middle_of_everything_leaves_nothing_behind, 0, 2);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
