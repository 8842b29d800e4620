/*
 * A disk that is really full: a file system of a few megabytes, filled to its last block. It is mounted where nobody
 * but the test sees it, and goes with its process, however that ends. To mount takes root; without, each test says that
 * it was skipped.
 */
#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool can_mount(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* In the place of the root, which must not be there yet. */
static void mount_small(const char *options)
{
    ck_assert(can_mount());
    ck_ok(mkdir(helper_root(), 0700));
    ck_ok(mount("tmpfs", helper_root(), "tmpfs", 0, options));
}

static void cleanup(void)
{
    ck_ok(umount(helper_root()));
    helper_cleanup();
}

/* To the last byte. */
static void fill_disk(const char *path)
{
    AUTO_FREE char *block = calloc(1, 64 << 10);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert(block && fd >= 0);
    for (size_t len = 64 << 10; len > 0; len /= 2)
        while (write(fd, block, len) > 0)
            ;
}

START_TEST(a_full_disk_is_no_room_and_the_store_goes_on_when_there_is_some)
{
    mount_small("size=2m");
    struct blobstore_options options = {.root = helper_root(), .map_size = 16 << 20};
    struct blobstore_report report;
    struct blobstore *store;
    ck_ok(blobstore_open(&options, &store, &report));
    (void)helper_store(store, 0);
    struct blobstore_batch *b;
    struct blobstore_writer *w = helper_writer(store, 4);
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    blobstore_batch_abort(b); /* there will be something to adopt */
    blobstore_writer_close(w, BLOBSTORE_DISCARD);

    AUTO_FREE char *block = calloc(1, 64 << 10);
    int r = 0;
    w = helper_open_writer(store, 2, 0);
    ck_assert_int_eq(blobstore_writer_reserve(w, 16 << 20), -ENOSPC);
    while (r == 0)
        r = blobstore_writer_append(w, block, 64 << 10);
    ck_assert_int_eq(r, -ENOSPC);
    ck_assert_uint_eq(blobstore_writer_length(w) % (64 << 10), 0);
    while (blobstore_writer_append(w, block, 1) == 0) /* to the last byte */
        ;

    int last = 0;
    for (unsigned i = 0; last == 0 && i < 100; i++) {
        ck_ok(blobstore_batch_begin(store, &b));
        blobstore_batch_put(b, BLOBSTORE_JOBS, &i, sizeof(i), block, BLOBSTORE_VALUE_MAX);
        last = blobstore_batch_commit(b);
    }
    ck_assert_int_eq(last, -ENOSPC);
    ck_assert(helper_has(store, 0));

    /* A start needs no room either. */
    uint64_t length = blobstore_writer_length(w);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    blobstore_close(store);
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert(helper_has(store, 0));
    ck_assert_uint_eq(report.partials, 1);

    w = helper_open_writer(store, 2, length);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    (void)helper_store(store, 1);
    ck_assert(helper_has(store, 1));
    blobstore_close(store);
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert(report.clean);
    ck_assert(helper_has(store, 0));
    ck_assert(helper_has(store, 1));
    ck_assert(helper_has(store, 4)); /* adopted when there was room, if not before */
    blobstore_close(store);
}
END_TEST

/* Each removal is of another page of the index, which a commit copies. */
#define SPREAD 4000
#define REMOVED 100

START_TEST(a_disk_without_a_free_block_can_be_cleared)
{
    mount_small("size=24m");
    struct blobstore *store = helper_open(NULL);
    struct blobstore_totals totals;
    struct blobstore_batch *b;
    for (unsigned i = 0; i < SPREAD; i++)
        (void)helper_store(store, i);
    fill_disk(helper_path("other"));
    ck_ok(blobstore_batch_begin(store, &b));
    for (unsigned i = 0; i < REMOVED; i++) {
        struct digest digest = helper_digest(i);
        blobstore_batch_remove(b, &digest);
    }
    ck_ok(blobstore_batch_commit(b));
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.blobs, SPREAD - REMOVED);
    for (unsigned i = 0; i < REMOVED; i++) {
        struct digest digest = helper_digest(i);
        ck_assert(!helper_has(store, i));
        ck_assert(!helper_exists(helper_blob_path(&digest)));
    }
    ck_assert(helper_has(store, REMOVED));
    blobstore_close(store);
}
END_TEST

START_TEST(records_can_be_deleted_on_a_disk_without_a_free_block)
{
    mount_small("size=24m");
    struct blobstore *store = helper_open(NULL);
    static const char value[300];
    struct blobstore_batch *b;
    AUTO_BUF struct buf found = BUF_INIT(BLOBSTORE_VALUE_MAX);
    for (unsigned i = 0; i < SPREAD; i++) {
        const struct digest digest = helper_digest(i);
        ck_ok(blobstore_batch_begin(store, &b));
        blobstore_batch_put(b, BLOBSTORE_TAGS, digest.raw, 32, value, sizeof(value));
        ck_ok(blobstore_batch_commit(b));
    }
    fill_disk(helper_path("other"));
    ck_ok(blobstore_batch_begin(store, &b));
    for (unsigned i = 0; i < REMOVED; i++) {
        const struct digest digest = helper_digest(i);
        blobstore_batch_delete(b, BLOBSTORE_TAGS, digest.raw, 32);
    }
    ck_ok(blobstore_batch_commit(b));
    for (unsigned i = 0; i <= REMOVED; i++) {
        const struct digest digest = helper_digest(i);
        int r = blobstore_record_get(store, BLOBSTORE_TAGS, digest.raw, 32, &found);
        ck_assert_int_eq(r, i < REMOVED ? -ENOENT : 0);
    }
    blobstore_close(store);
}
END_TEST

/* More than there is room for in the first page of LMDB's lock file. */
#define READERS 300

START_TEST(a_full_disk_kills_nobody_who_begins_to_read)
{
    mount_small("size=2m");
    struct blobstore *store = helper_open(NULL);
    static struct index_txn txns[READERS];
    (void)helper_store(store, 0);
    fill_disk(helper_path("other"));
    for (unsigned i = 0; i < READERS; i++)
        ck_ok(index_begin_read(store->index, &txns[i]));
    for (unsigned i = 0; i < READERS; i++)
        index_end(&txns[i]);
    blobstore_close(store);
}
END_TEST

START_TEST(a_start_that_finds_no_room_for_an_index_says_so)
{
    mount_small("size=2m");
    struct blobstore_options options = {.root = helper_root()};
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    (void)helper_store(store, 0);
    blobstore_close(store);
    ck_ok(unlink(helper_path("index/data.mdb")));
    ck_ok(unlink(helper_path("index/lock.mdb")));
    fill_disk(helper_path("other"));
    ck_assert_int_eq(blobstore_open(&options, &store, &report), -ENOSPC);
    ck_ok(unlink(helper_path("other")));
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert(report.rebuilt);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

static int skip_all(const TTest *const *tests, size_t count)
{
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++)
        printf("ok %zu - %s # SKIP needs root, who may mount\n", i + 1, tests[i]->name);
    return 0;
}

/* Found out by a process that tries it: the namespace of this one stays. */
static bool may_mount(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(!can_mount());
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
    const TTest *const tests[] = {
        a_full_disk_is_no_room_and_the_store_goes_on_when_there_is_some,
        a_disk_without_a_free_block_can_be_cleared,
        records_can_be_deleted_on_a_disk_without_a_free_block,
        a_full_disk_kills_nobody_who_begins_to_read,
        a_start_that_finds_no_room_for_an_index_says_so,
    };
    if (!may_mount())
        return skip_all(tests, ARRAY_SIZE(tests));
    Suite *suite = suite_create("full_disk");
    TCase *tc = tcase_create("full_disk");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, cleanup);
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    return helper_run(suite);
}
