/*
 * kill -9 at random instants. A child publishes, writes records and removes in a loop, and says over a pipe what has
 * been acknowledged to it; the parent kills it somewhere, opens the store itself, and looks. Killing is not the loss of
 * power: what the kernel has been told stays. That the order of the syncs is right is shown in test_faults.c.
 */
#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define ROUNDS 60
#define BLOBS_A_BATCH 3
#define KEPT 20 /* what is older is removed */

/* What the child says: all blobs below `stored` have been committed, all below `removed` are gone. */
struct said {
    unsigned stored, removed;
};

static unsigned number_in(struct blobstore *store, const char *key)
{
    AUTO_BUF struct buf value = BUF_INIT(64);
    int r = blobstore_record_get(store, BLOBSTORE_JOBS, key, strlen(key), &value);
    return r == 0 ? (unsigned)strtoul(value.data, NULL, 10) : 0;
}

static void put_number(struct blobstore_batch *b, const char *key, unsigned n)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u", n);
    blobstore_batch_put(b, BLOBSTORE_JOBS, key, strlen(key), text, (size_t)len);
}

static void publish_for_ever(int to_parent)
{
    struct blobstore *store = helper_open(NULL);
    struct said said = {.stored = number_in(store, "stored"), .removed = number_in(store, "removed")};
    for (;;) {
        struct blobstore_writer *writers[BLOBS_A_BATCH];
        struct blobstore_batch *b;
        ck_ok(blobstore_batch_begin(store, &b));
        for (unsigned i = 0; i < BLOBS_A_BATCH; i++) {
            uint8_t bytes[HELPER_CONTENT_MAX];
            size_t len = helper_content(said.stored + i, bytes);
            struct digest digest = helper_digest(said.stored + i);
            uint64_t length; /* where the last one was killed between append and publish */
            ck_ok(blobstore_writer_open(store, &digest, &writers[i], &length));
            ck_assert_uint_le(length, len);
            ck_ok(blobstore_writer_append(writers[i], bytes + length, len - length));
            ck_ok(blobstore_batch_publish(b, writers[i]));
        }
        put_number(b, "stored", said.stored + BLOBS_A_BATCH);
        put_number(b, "removed", said.removed);
        ck_ok(blobstore_batch_commit(b));
        for (unsigned i = 0; i < BLOBS_A_BATCH; i++)
            blobstore_writer_close(writers[i], BLOBSTORE_KEEP);
        said.stored += BLOBS_A_BATCH;
        while (said.stored - said.removed > KEPT) {
            struct digest digest = helper_digest(said.removed);
            int r = blobstore_remove(store, &digest);
            ck_assert(r == 0 || r == -ENOENT); /* removed before the last kill, which was not written down */
            said.removed++;
        }
        ck_assert_int_eq(write(to_parent, &said, sizeof(said)), sizeof(said));
    }
}

/* Kills the child after some acknowledgements and a moment, and returns the last one. */
static struct said kill_somewhere(unsigned acknowledgements, unsigned moment_us)
{
    int pipe_fds[2];
    struct said said = {0}, next;
    ck_ok(pipe(pipe_fds));
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)close(pipe_fds[0]);
        publish_for_ever(pipe_fds[1]);
    }
    (void)close(pipe_fds[1]);
    for (unsigned i = 0; i < acknowledgements; i++) {
        ck_assert_msg(read(pipe_fds[0], &next, sizeof(next)) == sizeof(next), "the child failed on its way");
        said = next;
    }
    (void)usleep(moment_us);
    ck_ok(kill(pid, SIGKILL));
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status), "the child failed on its way");
    while (read(pipe_fds[0], &next, sizeof(next)) == sizeof(next)) /* said before it was killed */
        said = next;
    (void)close(pipe_fds[0]);
    return said;
}

START_TEST(kill_9_at_any_instant_loses_nothing_that_was_acknowledged)
{
    unsigned seed = 3;
    struct said last = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct said said = kill_somewhere((unsigned)rand_r(&seed) % 5, (unsigned)rand_r(&seed) % 4000);
        if (said.stored)
            last = said;
        struct blobstore_report report;
        struct blobstore *store = helper_open(&report);
        ck_assert(!report.rebuilt);
        ck_assert_uint_eq(report.dropped, 0);
        ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
        unsigned stored = number_in(store, "stored"); /* committed, if not acknowledged */
        ck_assert_uint_ge(stored, last.stored);
        for (unsigned n = 0; n < last.removed; n++)
            ck_assert(!helper_has(store, n));
        for (unsigned n = stored > KEPT ? stored - KEPT : 0; n < stored; n++)
            ck_assert_msg(helper_has(store, n), "round %u: %u of %u is missing", round, n, stored);

        /* Whatever else there is, of a batch that was not committed or not removed yet, is whole. */
        uint64_t found = 0;
        for (unsigned n = last.removed; n < stored + BLOBS_A_BATCH; n++)
            found += helper_has(store, n);
        ck_assert_uint_eq(found, report.blobs);
        blobstore_close(store);
    }
    ck_assert_uint_gt(last.stored, ROUNDS);
}
END_TEST

/* ------------------------------------------------------------------ packing */

#define TEXTS 4
#define TEXT_LEN 150000u

/* Stores, packs and removes, for ever; says so after each round. */
static void pack_for_ever(int to_parent)
{
    struct blobstore *store = helper_open(NULL);
    for (unsigned n = 0;; n++) {
        AUTO_FREE char *data = helper_text(TEXT_LEN, n % TEXTS);
        uint64_t saved;
        struct digest digest = helper_store_bytes(store, data, TEXT_LEN);
        int r = helper_pack(store, &digest, &saved);
        ck_assert(r == 0 || r == -EALREADY);
        if (n % 3 == 2)
            ck_ok(blobstore_remove(store, &digest));
        ck_assert_int_eq(write(to_parent, &n, sizeof(n)), sizeof(n));
    }
}

START_TEST(kill_9_at_any_instant_of_a_packing_leaves_one_good_file)
{
    unsigned seed = 4, rounds = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int pipe_fds[2];
        unsigned n;
        ck_ok(pipe(pipe_fds));
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            pack_for_ever(pipe_fds[1]);
        (void)close(pipe_fds[1]);
        for (unsigned i = (unsigned)rand_r(&seed) % 5; i > 0; i--, rounds++)
            ck_assert_msg(read(pipe_fds[0], &n, sizeof(n)) == sizeof(n), "the child failed on its way");
        (void)usleep((unsigned)rand_r(&seed) % 12000);
        ck_ok(kill(pid, SIGKILL));
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSIGNALED(status), "the child failed on its way");
        (void)close(pipe_fds[0]);

        struct blobstore_report report;
        struct blobstore *store = helper_open(&report);
        ck_assert_uint_eq(report.dropped, 0);
        ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
        uint64_t found = 0;
        for (unsigned i = 0; i < TEXTS; i++) {
            AUTO_FREE char *data = helper_text(TEXT_LEN, i);
            struct digest digest;
            struct blobstore_info info;
            ck_ok(digest_of(DIGEST_SHA256, data, TEXT_LEN, &digest));
            bool plain = helper_exists(helper_blob_path(&digest)), packed = helper_exists(helper_packed_path(&digest));
            if (blobstore_stat(store, &digest, &info) < 0) {
                ck_assert(!plain && !packed);
                continue;
            }
            found++;
            ck_assert(plain == !info.is_packed && packed == info.is_packed);
            helper_check_content(store, &digest, data, TEXT_LEN, 40000);
        }
        ck_assert_uint_eq(found, report.blobs);
        blobstore_close(store);
    }
    ck_assert_uint_gt(rounds, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crash");
    TCase *tc = tcase_create("crash");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, kill_9_at_any_instant_loses_nothing_that_was_acknowledged);
    tcase_add_test(tc, kill_9_at_any_instant_of_a_packing_leaves_one_good_file);
    return helper_run(suite);
}
