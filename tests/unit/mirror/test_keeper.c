#include "mirror/keeper.h"

#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* --- things to keep that write down their turn -------------------------------------------------------------- */

#define THINGS 100

struct thing {
    struct keeping keeping;
    struct ledger *ledger;
    struct thing *also;      /* posted when this one is done */
    pthread_barrier_t *meet; /* met in add(), twice */
    bool spoils;             /* its record does not fit */
    int result;              /* of done(); 1 before */
};

struct ledger {
    struct keeper *keeper;
    struct blobstore *store;
    struct thing things[THINGS];
    unsigned turns;
    int order[2 * THINGS]; /* n + 1: add() of thing n; -(n + 1): done() */
};

static int number(const struct thing *t)
{
    return (int)(t - t->ledger->things) + 1;
}

static void add(struct keeping *k, struct blobstore_batch *batch)
{
    struct thing *t = (struct thing *)k;
    uint8_t key[BLOBSTORE_KEY_MAX + 1] = {(uint8_t)number(t)};
    t->ledger->order[t->ledger->turns++] = number(t);
    if (t->meet) {
        (void)pthread_barrier_wait(t->meet);
        (void)pthread_barrier_wait(t->meet);
    }
    blobstore_batch_put(batch, BLOBSTORE_JOBS, key, t->spoils ? sizeof(key) : 1, "kept", 4);
}

static bool is_kept(struct ledger *l, int n)
{
    uint8_t key = (uint8_t)n;
    AUTO_BUF struct buf value = BUF_INIT(64);
    int r = blobstore_record_get(l->store, BLOBSTORE_JOBS, &key, 1, &value);
    ck_assert(r == 0 || r == -ENOENT);
    return r == 0;
}

static void done(struct keeping *k, int result)
{
    struct thing *t = (struct thing *)k;
    struct ledger *l = t->ledger;
    l->order[l->turns++] = -number(t);
    t->result = result;
    ck_assert(is_kept(l, number(t)) == (result == 0)); /* durable before it is said */
    if (t->also)
        keeper_post(l->keeper, &t->also->keeping);
}

static struct ledger *ledger_open(void)
{
    struct ledger *l = calloc(1, sizeof(*l));
    ck_assert_ptr_nonnull(l);
    for (unsigned i = 0; i < THINGS; i++)
        l->things[i] = (struct thing){.keeping = {.add = add, .done = done}, .ledger = l, .result = 1};
    l->store = scratch_store();
    ck_ok(keeper_start(l->store, NULL, NULL, &l->keeper));
    return l;
}

static void ledger_stop(struct ledger *l)
{
    keeper_stop(l->keeper);
    blobstore_close(l->store);
}

START_TEST(what_is_posted_is_durable_when_it_is_done)
{
    AUTO_FREE struct ledger *l = ledger_open();
    keeper_post(l->keeper, &l->things[0].keeping);
    ledger_stop(l);
    ck_ok(l->things[0].result);
    l->store = scratch_store();
    ck_assert(is_kept(l, 1));
    blobstore_close(l->store);
}
END_TEST

/* Thing 0 holds the keeper while all the others are posted. */
static void post_all(struct ledger *l)
{
    pthread_barrier_t meet;
    ck_ok(pthread_barrier_init(&meet, NULL, 2));
    l->things[0].meet = &meet;
    keeper_post(l->keeper, &l->things[0].keeping);
    (void)pthread_barrier_wait(&meet);
    for (unsigned i = 1; i < THINGS; i++)
        keeper_post(l->keeper, &l->things[i].keeping);
    (void)pthread_barrier_wait(&meet);
    ledger_stop(l);
    ck_ok(pthread_barrier_destroy(&meet));
    ck_assert_uint_eq(l->turns, 2 * THINGS);
}

struct commit {
    int first, last;
};

static void expect_commits(const struct ledger *l, const struct commit *commits, size_t count)
{
    int wanted[2 * THINGS], at = 0;
    for (size_t c = 0; c < count; c++) {
        for (int n = commits[c].first; n <= commits[c].last; n++)
            wanted[at++] = n;
        for (int n = commits[c].first; n <= commits[c].last; n++)
            wanted[at++] = -n;
    }
    for (int i = 0; i < 2 * THINGS; i++)
        ck_assert_msg(l->order[i] == wanted[i], "turn %d: %d", i, l->order[i]);
}

START_TEST(what_comes_while_it_waits_for_the_disk_is_one_commit_of_64_at_the_most)
{
    static const struct commit commits[] = {{1, 1}, {2, 65}, {66, 100}};
    AUTO_FREE struct ledger *l = ledger_open();
    post_all(l);
    expect_commits(l, commits, ARRAY_SIZE(commits));
}
END_TEST

START_TEST(what_comes_first_is_durable_before_what_was_posted_after_it_is_added)
{
    static const struct commit commits[] = {{1, 1}, {2, 13}, {14, 77}, {78, 100}};
    AUTO_FREE struct ledger *l = ledger_open();
    for (unsigned i = 10; i < 13; i++) /* a row of them is one commit */
        l->things[i].keeping.comes_first = true;
    l->things[THINGS - 1].keeping.comes_first = true;
    post_all(l);
    expect_commits(l, commits, ARRAY_SIZE(commits));
}
END_TEST

START_TEST(what_is_to_be_alone_has_a_commit_of_its_own)
{
    static const struct commit commits[] = {{1, 1}, {2, 9}, {10, 10}, {11, 11}, {12, 75}, {76, 100}};
    AUTO_FREE struct ledger *l = ledger_open();
    l->things[9].keeping.is_alone = true;
    l->things[10].keeping.is_alone = true;
    post_all(l);
    expect_commits(l, commits, ARRAY_SIZE(commits));
}
END_TEST

static int put_errand(void *arg, struct blobstore_batch *batch)
{
    int *result = arg;
    if (*result == 0)
        blobstore_batch_put(batch, BLOBSTORE_JOBS, "\1", 1, "kept", 4);
    return *result;
}

START_TEST(an_errand_is_durable_when_it_returns_or_tells_why_it_is_not)
{
    AUTO_FREE struct ledger *l = ledger_open();
    int result = -EBUSY;
    ck_assert_int_eq(keeper_run(l->keeper, put_errand, &result), -EBUSY);
    ck_assert(!is_kept(l, 1));
    result = 0;
    ck_ok(keeper_run(l->keeper, put_errand, &result));
    ck_assert(is_kept(l, 1));
    ledger_stop(l);
}
END_TEST

START_TEST(a_commit_that_fails_is_told_to_all_of_it_and_to_nobody_else)
{
    AUTO_FREE struct ledger *l = ledger_open();
    l->things[30].spoils = true;
    post_all(l);
    ck_ok(l->things[0].result);
    for (unsigned i = 1; i <= 64; i++)
        ck_assert_int_eq(l->things[i].result, -EFBIG);
    for (unsigned i = 65; i < THINGS; i++)
        ck_ok(l->things[i].result);
}
END_TEST

START_TEST(stopping_keeps_what_was_posted_and_what_that_posts)
{
    AUTO_FREE struct ledger *l = ledger_open();
    for (unsigned i = 0; i + 1 < 20; i++)
        l->things[i].also = &l->things[i + 1];
    keeper_post(l->keeper, &l->things[0].keeping);
    ledger_stop(l);
    for (unsigned i = 0; i < 20; i++)
        ck_ok(l->things[i].result);
    keeper_stop(NULL);
}
END_TEST

START_TEST(stopping_writes_down_when_blobs_were_used)
{
    AUTO_FREE struct ledger *l = ledger_open();
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(1, 100, &digest);
    struct blobstore_writer *w;
    struct blobstore_batch *batch;
    struct blobstore_info before, after;
    uint64_t length;
    ck_ok(blobstore_writer_open(l->store, &digest, &w, &length));
    ck_ok(blobstore_writer_append(w, bytes, 100));
    ck_ok(blobstore_batch_begin(l->store, &batch));
    ck_ok(blobstore_batch_publish(batch, w));
    ck_ok(blobstore_batch_commit(batch));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    ck_ok(blobstore_stat(l->store, &digest, &before));
    const struct timespec tick = {.tv_nsec = 2000000}; /* until the clock's next millisecond: not waited for anything */
    (void)nanosleep(&tick, NULL);
    blobstore_touch(l->store, &digest);
    keeper_stop(l->keeper);
    ck_ok(blobstore_stat(l->store, &digest, &after));
    ck_assert_int_gt(after.used_at, before.used_at);
    blobstore_close(l->store);
}
END_TEST

static void note_checkpoint(void *arg, struct blobstore_batch *batch)
{
    (void)arg;
    blobstore_batch_put(batch, BLOBSTORE_JOBS, "last", 4, "word", 4);
}

START_TEST(stopping_takes_a_last_checkpoint)
{
    struct blobstore *store = scratch_store();
    struct keeper *keeper;
    AUTO_BUF struct buf value = BUF_INIT(64);
    ck_ok(keeper_start(store, note_checkpoint, NULL, &keeper));
    keeper_stop(keeper);
    ck_ok(blobstore_record_get(store, BLOBSTORE_JOBS, "last", 4, &value));
    ck_assert_str_eq(value.data, "word");
    blobstore_close(store);
}
END_TEST

/* Spare time: its steps are counted. */
struct spare {
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    unsigned steps; /* under lock */
    int64_t pause;  /* until the next; set at create */
};

#define SPARE(ms)                                                                                                      \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, ms                                                     \
    }

static int64_t spend(void *arg)
{
    struct spare *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    s->steps++;
    (void)pthread_cond_broadcast(&s->stirred);
    (void)pthread_mutex_unlock(&s->lock);
    return s->pause;
}

static void await_steps(struct spare *s, unsigned steps)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->steps < steps)
        (void)pthread_cond_wait(&s->stirred, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}

START_TEST(spare_time_is_spent_in_steps_when_they_are_due_or_hurried)
{
    struct blobstore *store = scratch_store();
    struct keeper *keeper;
    struct spare spare = SPARE(3600000);
    ck_ok(keeper_start(store, NULL, NULL, &keeper));
    keeper_hurry(keeper); /* for nobody */
    keeper_employ(keeper, spend, &spare);
    await_steps(&spare, 1);
    keeper_hurry(keeper);
    await_steps(&spare, 2);
    keeper_stop(keeper);
    ck_assert_uint_eq(spare.steps, 2);
    blobstore_close(store);
}
END_TEST

START_TEST(work_without_end_holds_up_neither_a_commit_nor_the_stop)
{
    AUTO_FREE struct ledger *l = ledger_open();
    struct spare spare = SPARE(0);
    pthread_barrier_t meet;
    ck_ok(pthread_barrier_init(&meet, NULL, 2));
    l->things[0].meet = &meet;
    keeper_employ(l->keeper, spend, &spare);
    await_steps(&spare, 10);
    keeper_post(l->keeper, &l->things[0].keeping);
    (void)pthread_barrier_wait(&meet);
    (void)pthread_barrier_wait(&meet);
    await_steps(&spare, 20);
    ledger_stop(l);
    ck_ok(l->things[0].result);
    ck_ok(pthread_barrier_destroy(&meet));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keeper");
    TCase *tests = tcase_create("keeper");
    tcase_add_checked_fixture(tests, scratch_setup, scratch_cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_is_posted_is_durable_when_it_is_done);
    tcase_add_test(tests, what_comes_while_it_waits_for_the_disk_is_one_commit_of_64_at_the_most);
    tcase_add_test(tests, what_comes_first_is_durable_before_what_was_posted_after_it_is_added);
    tcase_add_test(tests, what_is_to_be_alone_has_a_commit_of_its_own);
    tcase_add_test(tests, an_errand_is_durable_when_it_returns_or_tells_why_it_is_not);
    tcase_add_test(tests, a_commit_that_fails_is_told_to_all_of_it_and_to_nobody_else);
    tcase_add_test(tests, stopping_keeps_what_was_posted_and_what_that_posts);
    tcase_add_test(tests, stopping_writes_down_when_blobs_were_used);
    tcase_add_test(tests, stopping_takes_a_last_checkpoint);
    tcase_add_test(tests, spare_time_is_spent_in_steps_when_they_are_due_or_hurried);
    tcase_add_test(tests, work_without_end_holds_up_neither_a_commit_nor_the_stop);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
