/* Nothing grows without end under churn: not the index's file, not the number of reader slots. */
#include "blobstore/store.h"
#include "helper.h"

#include <pthread.h>
#include <sys/stat.h>

static struct blobstore *store;

static void setup(void)
{
    helper_setup();
    store = helper_open(NULL);
}

static void teardown(void)
{
    blobstore_close(store);
    helper_cleanup();
}

static uint64_t index_size(void)
{
    struct stat st;
    ck_ok(stat(helper_path("index/data.mdb"), &st));
    return (uint64_t)st.st_size;
}

#define BLOBS 500
#define TOUCHES 1000000

START_TEST(a_million_touches_take_no_more_room_than_the_first_few)
{
    struct digest digests[BLOBS];
    uint64_t early = 0;
    for (unsigned i = 0; i < BLOBS; i++)
        digests[i] = helper_store(store, i);
    for (unsigned n = 0; n < TOUCHES; n += BLOBS) {
        for (unsigned i = 0; i < BLOBS; i++)
            blobstore_touch(store, &digests[i]);
        if (n % (20 * BLOBS) == 0)
            ck_ok(blobstore_flush_touches(store));
        if (n == 20 * BLOBS)
            early = index_size();
    }
    ck_ok(blobstore_flush_touches(store));
    ck_assert_uint_le(index_size(), early + 256 * 1024);
}
END_TEST

#define ROUNDS 120
#define A_ROUND 6

/* What comes, goes again some rounds later, with a record for each. */
static void churn(unsigned round)
{
    struct blobstore_batch *b;
    struct blobstore_writer *writers[A_ROUND];
    ck_ok(blobstore_batch_begin(store, &b));
    for (unsigned i = 0; i < A_ROUND; i++) {
        unsigned n = round * A_ROUND + i;
        writers[i] = helper_writer(store, n);
        ck_ok(blobstore_batch_publish(b, writers[i]));
        blobstore_batch_put(b, BLOBSTORE_REFERENCES, &n, sizeof(n), "some facts of the caller's own", 30);
        if (round >= 5) {
            unsigned old = n - 5 * A_ROUND;
            struct digest digest = helper_digest(old);
            blobstore_batch_remove(b, &digest);
            blobstore_batch_delete(b, BLOBSTORE_REFERENCES, &old, sizeof(old));
        }
    }
    ck_ok(blobstore_batch_commit(b));
    for (unsigned i = 0; i < A_ROUND; i++)
        blobstore_writer_close(writers[i], BLOBSTORE_DISCARD);
}

START_TEST(blobs_and_records_that_come_and_go_do_not_make_the_index_grow)
{
    uint64_t early = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        churn(round);
        if (round == ROUNDS / 10)
            early = index_size();
    }
    ck_assert_uint_le(index_size(), early + 256 * 1024);
    struct blobstore_totals totals;
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.blobs, 5 * A_ROUND);
}
END_TEST

static void *read_once(void *arg)
{
    struct blobstore_info info;
    struct digest digest = helper_digest(0);
    (void)arg;
    return blobstore_stat(store, &digest, &info) == 0 ? NULL : (void *)store;
}

/* Threads that read and end, more of them than there are slots. */
START_TEST(readers_that_have_gone_leave_their_slots)
{
    (void)helper_store(store, 0);
    for (unsigned i = 0; i < 2000; i++) {
        pthread_t thread;
        void *wrong;
        ck_ok(pthread_create(&thread, NULL, read_once, NULL));
        ck_ok(pthread_join(thread, &wrong));
        ck_assert_msg(!wrong, "reader %u was turned away", i);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("growth");
    TCase *tests = tcase_create("growth");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_million_touches_take_no_more_room_than_the_first_few);
    tcase_add_test(tests, blobs_and_records_that_come_and_go_do_not_make_the_index_grow);
    tcase_add_test(tests, readers_that_have_gone_leave_their_slots);
    suite_add_tcase(suite, tests);
    return helper_run(suite);
}
