/* Links to private repositories: from when on they count, what takes them away, and what a start makes of them. */
#include "mirror/privacy.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "mirror/keeper.h"
#include "scratch.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#define HUB "docker.io"
#define SECRET "acme/secret"
#define OTHER "acme/other"
#define PUBLIC "library/alpine"

static struct blobstore *store;
static struct keeper *keeper;
static struct privacy *privacy;
static struct digest digest;
static char *data;

static void start(void)
{
    store = scratch_store();
    ck_ok(keeper_start(store, NULL, NULL, &keeper));
    ck_ok(privacy_create(store, keeper, &privacy));
    privacy_expect_accounts(privacy, true);
}

static void stop(void)
{
    keeper_stop(keeper);
    privacy_destroy(privacy);
    blobstore_close(store);
}

static void reopen(void)
{
    stop();
    start();
}

static void setup(void)
{
    scratch_setup();
    start();
    data = scratch_bytes(1, 1000, &digest);
}

static void cleanup(void)
{
    stop();
    scratch_cleanup();
    free(data);
}

static bool allows(const char *repository)
{
    return privacy_allows(privacy, &digest, HUB, repository);
}

static void link_to(const char *repository)
{
    ck_ok(privacy_link(privacy, &digest, HUB, repository));
}

/* --- the keeper, held and released --------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t stirred;
    bool is_held, is_released;
    unsigned posted, done;
} turns = {.lock = PTHREAD_MUTEX_INITIALIZER, .stirred = PTHREAD_COND_INITIALIZER};

/* Something to keep that the test meets at the keeper. */
struct mark {
    struct keeping keeping;
    bool spoils; /* the commit */
    bool holds;  /* the keeper, until it is released */
};

static void mark_add(struct keeping *k, struct blobstore_batch *batch)
{
    const struct mark *m = (struct mark *)k;
    static const char too_long[BLOBSTORE_KEY_MAX + 1];
    if (m->spoils)
        blobstore_batch_put(batch, BLOBSTORE_JOBS, too_long, sizeof(too_long), "", 0);
    (void)pthread_mutex_lock(&turns.lock);
    if (m->holds) {
        turns.is_held = true;
        (void)pthread_cond_broadcast(&turns.stirred);
        while (!turns.is_released)
            (void)pthread_cond_wait(&turns.stirred, &turns.lock);
    }
    (void)pthread_mutex_unlock(&turns.lock);
}

static void mark_done(struct keeping *k, int result)
{
    struct mark *m = (struct mark *)k;
    ck_assert(result < 0 || !m->spoils);
    free(m);
    (void)pthread_mutex_lock(&turns.lock);
    turns.done++;
    (void)pthread_cond_broadcast(&turns.stirred);
    (void)pthread_mutex_unlock(&turns.lock);
}

static void post_mark(bool spoils, bool holds)
{
    struct mark *m = malloc(sizeof(*m));
    ck_assert_ptr_nonnull(m);
    *m = (struct mark){.keeping = {.add = mark_add, .done = mark_done}, .spoils = spoils, .holds = holds};
    (void)pthread_mutex_lock(&turns.lock);
    turns.posted++;
    (void)pthread_mutex_unlock(&turns.lock);
    keeper_post(keeper, &m->keeping);
}

/* Until everything that was posted is kept. */
static void settle(void)
{
    post_mark(/* spoils= */ false, /* holds= */ false);
    (void)pthread_mutex_lock(&turns.lock);
    while (turns.done < turns.posted)
        (void)pthread_cond_wait(&turns.stirred, &turns.lock);
    (void)pthread_mutex_unlock(&turns.lock);
}

/* The keeper is busy until release(): what is posted meanwhile waits for its turn together. */
static void hold(void)
{
    (void)pthread_mutex_lock(&turns.lock);
    turns.is_held = turns.is_released = false;
    (void)pthread_mutex_unlock(&turns.lock);
    post_mark(/* spoils= */ false, /* holds= */ true);
    (void)pthread_mutex_lock(&turns.lock);
    while (!turns.is_held)
        (void)pthread_cond_wait(&turns.stirred, &turns.lock);
    (void)pthread_mutex_unlock(&turns.lock);
}

static void release(void)
{
    (void)pthread_mutex_lock(&turns.lock);
    turns.is_released = true;
    (void)pthread_cond_broadcast(&turns.stirred);
    (void)pthread_mutex_unlock(&turns.lock);
    settle();
}

static void store_blob(void)
{
    struct blobstore_writer *w;
    struct blobstore_batch *batch;
    uint64_t length;
    settle();
    ck_ok(blobstore_writer_open(store, &digest, &w, &length));
    ck_ok(blobstore_writer_append(w, data, 1000));
    ck_ok(blobstore_batch_begin(store, &batch));
    ck_ok(blobstore_batch_publish(batch, w));
    ck_ok(blobstore_batch_commit(batch));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
}

/* Records in the index: 'p' of links, 'o' of what was shown. */
static unsigned records(char kind)
{
    const char prefix[] = {'\0', kind};
    return scratch_records(store, BLOBSTORE_REPOSITORIES, prefix, sizeof(prefix));
}

/* --- links --------------------------------------------------------------------------------------------------- */

START_TEST(what_nobody_has_linked_is_everybodys)
{
    ck_assert(allows(PUBLIC));
    ck_assert(allows(SECRET));
    privacy_publish(privacy, &digest); /* it is already */
    settle();
    ck_assert_uint_eq(records('p') + records('o'), 0);
}
END_TEST

START_TEST(a_link_counts_before_it_is_durable_and_afterwards)
{
    struct digest another = digest;
    another.raw[31] ^= 1;
    hold();
    link_to(SECRET);
    ck_assert_uint_eq(records('p'), 0);
    for (unsigned turn = 0; turn < 3; turn++) {
        ck_assert(allows(SECRET));
        ck_assert(!allows(OTHER));
        ck_assert(!privacy_allows(privacy, &digest, "ghcr.io", SECRET));
        ck_assert(!privacy_allows(privacy, &digest, HUB, "acme/secre"));
        ck_assert(privacy_allows(privacy, &another, HUB, OTHER));
        if (turn == 0)
            release();
        else if (turn == 1)
            reopen();
        ck_assert_uint_eq(records('p'), 1);
    }
}
END_TEST

START_TEST(two_repositories_with_the_same_content_both_have_it_and_no_third)
{
    link_to(SECRET);
    settle();
    hold();
    link_to(OTHER); /* one is durable, the other is not */
    ck_assert(allows(SECRET) && allows(OTHER) && !allows(PUBLIC));
    release();
    ck_assert(allows(SECRET) && allows(OTHER) && !allows(PUBLIC));
    reopen();
    ck_assert(allows(SECRET) && allows(OTHER) && !allows(PUBLIC));
}
END_TEST

START_TEST(a_digest_and_a_longer_one_that_begins_like_it_are_two)
{
    struct digest longer;
    ck_ok(digest_of(DIGEST_SHA512, data, 1000, &longer));
    memcpy(longer.raw, digest.raw, digest_raw_size(DIGEST_SHA256));
    ck_ok(privacy_link(privacy, &longer, HUB, SECRET));
    settle();
    ck_assert(allows(PUBLIC));
    ck_assert(privacy_allows(privacy, &longer, HUB, SECRET));
    ck_assert(!privacy_allows(privacy, &longer, HUB, PUBLIC));
    privacy_publish(privacy, &digest);
    settle();
    ck_assert(!privacy_allows(privacy, &longer, HUB, PUBLIC));
}
END_TEST

START_TEST(the_longest_names_fit)
{
    char repository[LIMIT_NAME + 1] = {0};
    struct digest longest;
    ck_ok(digest_of(DIGEST_SHA512, data, 1000, &longest));
    memset(repository, 'a', LIMIT_NAME - strlen(HUB));
    ck_ok(privacy_link(privacy, &longest, HUB, repository));
    reopen();
    ck_assert_uint_eq(records('p'), 1);
    ck_assert(privacy_allows(privacy, &longest, HUB, repository));
    ck_assert(!privacy_allows(privacy, &longest, HUB, PUBLIC));
}
END_TEST

START_TEST(what_is_stored_and_public_stays_public)
{
    store_blob();
    link_to(SECRET); /* seen in a private repository as well */
    settle();
    ck_assert(allows(PUBLIC) && allows(SECRET));
    ck_assert_uint_eq(records('p'), 0);
}
END_TEST

/* --- publications -------------------------------------------------------------------------------------------- */

START_TEST(what_is_shown_to_everybody_loses_its_links)
{
    link_to(SECRET);
    link_to(OTHER);
    settle();
    privacy_publish(privacy, &digest);
    ck_assert(allows(PUBLIC)); /* before it is durable */
    settle();
    ck_assert(allows(PUBLIC));
    reopen();
    ck_assert(allows(PUBLIC));
    ck_assert_uint_eq(records('p'), 0);
}
END_TEST

START_TEST(a_publication_overtakes_the_links_that_are_under_way)
{
    hold();
    link_to(SECRET);
    privacy_publish(privacy, &digest);
    ck_assert(allows(PUBLIC));
    release();
    ck_assert(allows(PUBLIC));
    ck_assert_uint_eq(records('p'), 0);
}
END_TEST

/* A link ends its batch; links and publications in a row are still told apart. */
START_TEST(the_last_word_counts_however_many_come_in_one_batch)
{
    hold();
    for (unsigned i = 0; i < 10; i++) {
        link_to(SECRET);
        link_to(OTHER);
        privacy_publish(privacy, &digest);
    }
    if (_i)
        link_to(SECRET);
    ck_assert(allows(SECRET));
    ck_assert(allows(PUBLIC) == !_i);
    release();
    ck_assert(allows(SECRET));
    ck_assert(allows(PUBLIC) == !_i);
    ck_assert_uint_eq(records('p'), (unsigned)_i);
    reopen();
    ck_assert(allows(PUBLIC) == !_i);
}
END_TEST

START_TEST(many_links_go_with_one_publication)
{
    char repository[32];
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(repository, sizeof(repository), "acme/secret-%u", i);
        link_to(repository);
    }
    settle();
    ck_assert_uint_eq(records('p'), 500);
    ck_assert(allows("acme/secret-499") && !allows("acme/secret-500"));
    privacy_publish(privacy, &digest);
    settle();
    ck_assert_uint_eq(records('p'), 0);
    ck_assert(allows(PUBLIC));
}
END_TEST

/* --- a disk that fails ---------------------------------------------------------------------------------------- */

static void fail_to_link(void)
{
    hold();
    post_mark(/* spoils= */ true, /* holds= */ false);
    link_to(SECRET);
    release();
    ck_assert_uint_eq(records('p'), 0);
}

START_TEST(a_link_that_could_not_be_kept_is_in_force_and_kept_with_the_next_checkpoint)
{
    struct blobstore_batch *batch;
    fail_to_link();
    ck_assert(allows(SECRET) && !allows(PUBLIC));
    ck_ok(blobstore_batch_begin(store, &batch));
    privacy_checkpoint(privacy, batch);
    ck_ok(blobstore_batch_commit(batch));
    ck_assert(!allows(PUBLIC));
    reopen();
    ck_assert(allows(SECRET) && !allows(PUBLIC));
}
END_TEST

START_TEST(a_link_that_could_not_be_kept_does_not_outlive_a_publication)
{
    struct blobstore_batch *batch;
    fail_to_link();
    privacy_publish(privacy, &digest);
    ck_assert(allows(PUBLIC));
    settle();
    ck_assert(allows(PUBLIC));
    ck_ok(blobstore_batch_begin(store, &batch));
    privacy_checkpoint(privacy, batch);
    ck_ok(blobstore_batch_commit(batch));
    ck_assert_uint_eq(records('p'), 0);
}
END_TEST

START_TEST(a_publication_that_could_not_be_kept_changes_nothing)
{
    link_to(SECRET);
    settle();
    hold();
    post_mark(/* spoils= */ true, /* holds= */ false);
    privacy_publish(privacy, &digest);
    release();
    ck_assert(!allows(PUBLIC));
    privacy_publish(privacy, &digest); /* shown once more */
    settle();
    ck_assert(allows(PUBLIC));
}
END_TEST

/* --- older than the records ------------------------------------------------------------------------------------ */

/* As if the index had been made anew from the files, `ms` after now. */
static void begin_anew(int64_t ms)
{
    uint8_t value[9] = {1};
    struct blobstore_batch *batch;
    uint64_t since = htobe64((uint64_t)(clock_real_ms() + ms));
    memcpy(value + 1, &since, sizeof(since));
    settle();
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_put(batch, BLOBSTORE_REPOSITORIES, "\0s", 2, value, sizeof(value));
    ck_ok(blobstore_batch_commit(batch));
    reopen();
}

static void forget_beginning(void)
{
    struct blobstore_batch *batch;
    settle();
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_delete(batch, BLOBSTORE_REPOSITORIES, "\0s", 2);
    ck_ok(blobstore_batch_commit(batch));
}

START_TEST(the_records_of_an_empty_store_begin_with_it)
{
    AUTO_BUF struct buf value = BUF_INIT(64);
    static const char from_the_first[9] = {1};
    settle();
    ck_ok(blobstore_record_get(store, BLOBSTORE_REPOSITORIES, "\0s", 2, &value));
    ck_assert_uint_eq(value.len, sizeof(from_the_first));
    ck_assert_mem_eq(value.data, from_the_first, sizeof(from_the_first));
    store_blob();
    reopen();
    ck_assert(allows(PUBLIC));
}
END_TEST

START_TEST(a_store_without_a_beginning_begins_now)
{
    AUTO_BUF struct buf value = BUF_INIT(64);
    int64_t now = clock_real_ms();
    uint64_t since;
    store_blob();
    forget_beginning();
    reopen();
    reopen(); /* and that is the last beginning */
    ck_ok(blobstore_record_get(store, BLOBSTORE_REPOSITORIES, "\0s", 2, &value));
    ck_assert_uint_eq(value.len, 9);
    memcpy(&since, value.data + 1, sizeof(since));
    ck_assert_int_ge((int64_t)be64toh(since), now);
    ck_assert_int_le((int64_t)be64toh(since), clock_real_ms());
}
END_TEST

START_TEST(what_is_older_than_the_records_is_nobodys_where_there_are_accounts)
{
    store_blob();
    begin_anew(CLOCK_MINUTE);
    ck_assert(!allows(PUBLIC) && !allows(SECRET));
    privacy_expect_accounts(privacy, false);
    ck_assert(allows(PUBLIC) && allows(SECRET));
    begin_anew(-CLOCK_MINUTE);
    ck_assert(allows(PUBLIC));
}
END_TEST

START_TEST(that_it_was_shown_to_everybody_is_remembered)
{
    store_blob();
    begin_anew(CLOCK_MINUTE);
    hold();
    privacy_publish(privacy, &digest);
    ck_assert(allows(PUBLIC));
    release();
    for (unsigned turn = 0; turn < 2; turn++) {
        ck_assert(allows(PUBLIC) && allows(SECRET));
        ck_assert_uint_eq(records('o'), 1);
        link_to(SECRET); /* changes nothing any more */
        reopen();
    }
    ck_assert_uint_eq(records('p'), 0);
}
END_TEST

START_TEST(that_it_was_shown_in_one_repository_is_remembered_for_that_one)
{
    store_blob();
    begin_anew(CLOCK_MINUTE);
    link_to(SECRET);
    for (unsigned turn = 0; turn < 2; turn++) {
        ck_assert(allows(SECRET) && !allows(OTHER) && !allows(PUBLIC));
        reopen();
    }
    privacy_publish(privacy, &digest); /* and then to everybody */
    settle();
    ck_assert_uint_eq(records('p'), 0);
    reopen();
    ck_assert(allows(PUBLIC));
}
END_TEST

/* --- threads --------------------------------------------------------------------------------------------------- */

#define DIGESTS 8
#define TURNS 200

static struct digest digests[DIGESTS];

static void *link_and_ask(void *arg)
{
    const char *repository = arg;
    for (unsigned i = 0; i < TURNS; i++) {
        struct digest *d = &digests[i % DIGESTS];
        ck_ok(privacy_link(privacy, d, HUB, repository));
        /* Where nobody publishes; elsewhere its link may be gone, and that of another repository be there. */
        ck_assert(privacy_allows(privacy, d, HUB, repository) || i % DIGESTS < DIGESTS / 2);
    }
    return NULL;
}

static void *publish(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < TURNS; i++)
        privacy_publish(privacy, &digests[i % (DIGESTS / 2)]); /* half of them */
    return NULL;
}

START_TEST(what_memory_says_in_the_end_the_index_says_too)
{
    static char names[][16] = {"acme/a", "acme/b", "acme/c"};
    pthread_t threads[ARRAY_SIZE(names) + 1];
    bool was[DIGESTS];
    for (unsigned i = 0; i < DIGESTS; i++)
        free(scratch_bytes(100 + i, 10, &digests[i]));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        ck_ok(pthread_create(&threads[i], NULL, link_and_ask, names[i]));
    ck_ok(pthread_create(&threads[ARRAY_SIZE(names)], NULL, publish, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_ok(pthread_join(threads[i], NULL));
    for (unsigned i = 0; i < DIGESTS; i++)
        was[i] = privacy_allows(privacy, &digests[i], HUB, PUBLIC);
    settle();
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < DIGESTS; i++) {
            ck_assert(privacy_allows(privacy, &digests[i], HUB, PUBLIC) == was[i]);
            ck_assert(i < DIGESTS / 2 || !was[i]);
            ck_assert(privacy_allows(privacy, &digests[i], HUB, names[0]) || i < DIGESTS / 2);
        }
        reopen();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("privacy");
    TCase *tests = tcase_create("privacy");
    tcase_add_checked_fixture(tests, setup, cleanup);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_nobody_has_linked_is_everybodys);
    tcase_add_test(tests, a_link_counts_before_it_is_durable_and_afterwards);
    tcase_add_test(tests, two_repositories_with_the_same_content_both_have_it_and_no_third);
    tcase_add_test(tests, a_digest_and_a_longer_one_that_begins_like_it_are_two);
    tcase_add_test(tests, the_longest_names_fit);
    tcase_add_test(tests, what_is_stored_and_public_stays_public);
    tcase_add_test(tests, what_is_shown_to_everybody_loses_its_links);
    tcase_add_test(tests, a_publication_overtakes_the_links_that_are_under_way);
    tcase_add_loop_test(tests, the_last_word_counts_however_many_come_in_one_batch, 0, 2);
    tcase_add_test(tests, many_links_go_with_one_publication);
    tcase_add_test(tests, a_link_that_could_not_be_kept_is_in_force_and_kept_with_the_next_checkpoint);
    tcase_add_test(tests, a_link_that_could_not_be_kept_does_not_outlive_a_publication);
    tcase_add_test(tests, a_publication_that_could_not_be_kept_changes_nothing);
    tcase_add_test(tests, the_records_of_an_empty_store_begin_with_it);
    tcase_add_test(tests, a_store_without_a_beginning_begins_now);
    tcase_add_test(tests, what_is_older_than_the_records_is_nobodys_where_there_are_accounts);
    tcase_add_test(tests, that_it_was_shown_to_everybody_is_remembered);
    tcase_add_test(tests, that_it_was_shown_in_one_repository_is_remembered_for_that_one);
    tcase_add_test(tests, what_memory_says_in_the_end_the_index_says_too);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
