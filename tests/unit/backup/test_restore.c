/* Into an empty store, all the way or in parts. */
#include "world.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *file, *later;

static void setup(void)
{
    helper_setup();
    file = world_file("a.tar.zst");
    later = world_file("b.tar.zst");
}

static struct world_backup make(unsigned from, unsigned to)
{
    struct blobstore *store = helper_open(NULL);
    world_fill(store, from, to);
    struct world_backup b = world_backup(store, file, NULL);
    blobstore_close(store);
    return b;
}

START_TEST(everything_is_there_again)
{
    struct backup_report report;
    (void)make(0, 150); /* more than one commit */
    struct blobstore *other = world_open_other();
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_assert_uint_eq(report.blobs, 150);
    ck_assert_uint_eq(report.records, 750);
    ck_assert_uint_eq(report.there + report.wrong + report.missing, 0);
    world_check(other, 0, 150);
    ck_assert_int_eq(backup_restore_has_begun(other), 0);
    blobstore_close(other);
}
END_TEST

START_TEST(blobs_keep_the_dates_that_they_had)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest digest = helper_digest(1);
    struct blobstore_batch *batch;
    struct blobstore_info info;
    struct backup_report report;
    int64_t now = clock_real_ms();
    world_fill(store, 0, 2);
    ck_ok(blobstore_batch_begin(store, &batch));
    blobstore_batch_date(batch, &digest, 1700000000000, 1700000001000);
    ck_ok(blobstore_batch_commit(batch));
    (void)world_backup(store, file, NULL);
    blobstore_close(store);
    struct blobstore *other = world_open_other();
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_ok(blobstore_stat(other, &digest, &info));
    ck_assert_int_eq(info.stored_at, 1700000000000);
    ck_assert_int_eq(info.used_at, 1700000001000);
    ck_assert_int_ge(info.verified_at, now);
    blobstore_close(other);
}
END_TEST

START_TEST(a_chain_is_what_its_last_file_lists)
{
    struct backup_report report;
    struct blobstore *store = helper_open(NULL);
    const struct digest gone = helper_digest(3);
    world_fill(store, 0, 10);
    struct world_backup base = world_backup(store, file, NULL);
    ck_ok(blobstore_remove(store, &gone));
    world_fill(store, 10, 12);
    world_put(store, BLOBSTORE_TAGS, "record 4", "moved");
    (void)world_backup(store, later, &base);
    blobstore_close(store);
    struct blobstore *other = world_open_other();
    ck_ok(world_restore(other, &report, FILES(file, later)));
    ck_assert_uint_eq(report.blobs, 11);
    ck_assert(!helper_has(other, 3));
    ck_assert(helper_has(other, 2) && helper_has(other, 11));
    ck_assert(world_has_record(other, BLOBSTORE_TAGS, "record 4", "moved"));
    blobstore_close(other);
}
END_TEST

START_TEST(an_incremental_backup_alone_is_told_what_is_missing)
{
    struct backup_report report;
    struct blobstore *store = helper_open(NULL);
    world_fill(store, 0, 3);
    struct world_backup base = world_backup(store, file, NULL);
    (void)world_backup(store, later, &base);
    blobstore_close(store);
    struct blobstore *other = world_open_other();
    ck_assert_int_eq(world_restore(other, &report, FILES(later)), -EBADMSG);
    ck_assert(world_problem("an incremental backup; its base, the backup"));
    ck_assert(world_problem(base.header.id));
    ck_assert_int_eq(backup_restore_has_begun(other), 0);
    blobstore_close(other);
}
END_TEST

START_TEST(a_store_with_something_in_it_is_left_alone)
{
    struct backup_report report;
    (void)make(0, 3);
    struct blobstore *other = world_open_other();
    world_fill(other, 7, 8);
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -ENOTEMPTY);
    world_check(other, 7, 8);
    ck_assert_int_eq(backup_restore_has_begun(other), 0);
    blobstore_close(other);
}
END_TEST

START_TEST(a_pin_makes_a_store_not_empty_and_what_a_server_notes_of_repositories_does_not)
{
    struct backup_report report;
    (void)make(0, 3);
    struct blobstore *other = world_open_other();
    world_put(other, BLOBSTORE_PINS, "a pin", "x");
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -ENOTEMPTY);
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(other, &batch));
    blobstore_batch_delete(batch, BLOBSTORE_PINS, "a pin", 5);
    ck_ok(blobstore_batch_commit(batch));
    world_put(other, BLOBSTORE_REPOSITORIES, "what a server noted", "x");
    ck_ok(world_restore(other, &report, FILES(file)));
    world_check(other, 0, 3); /* and it is gone: who may see what is as it was in the backup */
    blobstore_close(other);
}
END_TEST

/* The head and most of the blobs of it. */
static void cut(void)
{
    struct stat st;
    ck_ok(stat(file, &st));
    ck_ok(truncate(file, st.st_size * 9 / 10));
}

START_TEST(a_file_that_is_cut_is_no_end_and_the_whole_one_goes_on)
{
    struct backup_report report;
    (void)make(0, 150);
    AUTO_BUF struct buf whole = BUF_INIT(4 * MIB);
    ck_ok(buf_reserve(&whole, 4 * MIB - 1));
    FILE *f = fopen(file, "rb");
    ck_assert_ptr_nonnull(f);
    size_t len = fread(whole.data, 1, 4 * MIB - 1, f);
    ck_ok(fclose(f));
    cut();
    struct blobstore *other = world_open_other();
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -EBADMSG);
    ck_assert(world_problem("cut short"));
    ck_assert_int_eq(backup_restore_has_begun(other), 1);
    helper_write_file(file, whole.data, len);
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_assert_uint_eq(report.blobs, 150);
    ck_assert_uint_gt(report.there, 0);
    world_check(other, 0, 150);
    ck_assert_int_eq(backup_restore_has_begun(other), 0);
    blobstore_close(other);
}
END_TEST

START_TEST(another_backup_does_not_go_on_with_a_restore_that_has_begun)
{
    struct backup_report report;
    (void)make(0, 150);
    cut();
    struct blobstore *other = world_open_other();
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -EBADMSG);
    (void)make(0, 0);
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -EEXIST);
    ck_assert_int_eq(backup_restore_has_begun(other), 1);
    blobstore_close(other);
}
END_TEST

/* The child restores, and is killed behind so many blobs. */
static unsigned restored, kill_at;

static void maybe_die(void *arg, const struct backup_progress *progress)
{
    (void)arg;
    (void)progress;
    if (++restored == kill_at)
        (void)kill(getpid(), SIGKILL);
}

static void restore_and_die(unsigned at)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        AUTO_BUF struct buf problems = BUF_INIT(4 * KIB);
        struct backup_report report;
        const struct backup_chain chain = {.files = FILES(file), .count = 1, .progress = maybe_die};
        kill_at = at;
        int r = backup_restore(&chain, world_open_other(), &report, &problems);
        _exit(r == 0 ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

START_TEST(a_restore_that_was_killed_goes_on)
{
    struct backup_report report;
    (void)make(0, 150);
    restore_and_die(1);
    restore_and_die(70);
    restore_and_die(149);
    struct blobstore *other = world_open_other();
    ck_assert_int_eq(backup_restore_has_begun(other), 1);
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_assert_uint_eq(report.blobs, 150);
    ck_assert_uint_ge(report.there, 128); /* two commits, and what the start has adopted */
    world_check(other, 0, 150);
    blobstore_close(other);
}
END_TEST

START_TEST(what_was_written_of_a_blob_before_is_not_believed)
{
    struct backup_report report;
    (void)make(0, 3);
    struct blobstore *other = world_open_other();
    struct blobstore_writer *w = helper_open_writer(other, 1, 0);
    ck_ok(blobstore_writer_append(w, "wrong", 5));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_ok(world_restore(other, &report, FILES(file)));
    world_check(other, 0, 3);
    blobstore_close(other);
}
END_TEST

START_TEST(metadata_alone_is_restored_as_records)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    struct blobstore_totals totals;
    world_fill(store, 0, 5);
    (void)world_backup_metadata(store, file);
    blobstore_close(store);
    struct blobstore *other = world_open_other();
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_assert_uint_eq(report.records, 25);
    ck_ok(blobstore_totals(other, &totals));
    ck_assert_uint_eq(totals.blobs, 0);
    ck_assert(world_has_record(other, BLOBSTORE_TAGS, "record 4", "record 4"));
    blobstore_close(other);
}
END_TEST

START_TEST(a_wrong_blob_is_left_out_and_the_rest_restored)
{
    struct backup_header header = {.id = "0123456789abcdef0123456789abcdef", .created_at = 1};
    struct backup_end end;
    struct backup_report report;
    unsigned order[2];
    struct archive *a = world_begin_two(file, &header, order, &end);
    for (size_t i = 0; i < 2; i++)
        world_add_blob(a, order[i], order[i] != 0);
    world_add_end(a, &end);
    world_end(a);
    struct blobstore *other = world_open_other();
    ck_ok(world_restore(other, &report, FILES(file)));
    ck_assert_uint_eq(report.wrong, 1);
    ck_assert_uint_eq(report.blobs, 1);
    ck_assert(world_problem("its bytes do not have this digest"));
    ck_assert(!helper_has(other, 0));
    ck_assert(helper_has(other, 2));
    blobstore_close(other);
}
END_TEST

START_TEST(a_disk_that_is_too_small_is_told_before_anything_is_written)
{
    AUTO_BUF struct buf list = BUF_INIT(64 * KIB);
    struct backup_header header = {.id = "0123456789abcdef0123456789abcdef", .created_at = 1};
    struct backup_report report;
    uint8_t bytes[BACKUP_ITEM_MAX];
    for (uint8_t i = 0; i < 200; i++) { /* of a TiB each, and none of them is there */
        struct backup_item item = {
            .digest = {.algorithm = DIGEST_SHA256, .raw = {i}}, .size = LIMIT_BLOB, .is_here = true};
        ck_ok(buf_add(&list, bytes, backup_item_encode(&item, bytes)));
        header.blobs++;
        header.bytes += item.size;
    }
    struct archive *a = world_tar(file);
    world_add_head(a, &header, &list, NULL);
    world_end(a);
    struct blobstore *other = world_open_other();
    ck_assert_int_eq(world_restore(other, &report, FILES(file)), -ENOSPC);
    ck_assert_int_eq(backup_restore_has_begun(other), 0);
    blobstore_close(other);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup/restore");
    TCase *t = tcase_create("restore");
    tcase_add_checked_fixture(t, setup, helper_cleanup);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, everything_is_there_again);
    tcase_add_test(t, blobs_keep_the_dates_that_they_had);
    tcase_add_test(t, a_chain_is_what_its_last_file_lists);
    tcase_add_test(t, an_incremental_backup_alone_is_told_what_is_missing);
    tcase_add_test(t, a_store_with_something_in_it_is_left_alone);
    tcase_add_test(t, a_pin_makes_a_store_not_empty_and_what_a_server_notes_of_repositories_does_not);
    tcase_add_test(t, a_file_that_is_cut_is_no_end_and_the_whole_one_goes_on);
    tcase_add_test(t, another_backup_does_not_go_on_with_a_restore_that_has_begun);
    tcase_add_test(t, a_restore_that_was_killed_goes_on);
    tcase_add_test(t, what_was_written_of_a_blob_before_is_not_believed);
    tcase_add_test(t, metadata_alone_is_restored_as_records);
    tcase_add_test(t, a_wrong_blob_is_left_out_and_the_rest_restored);
    tcase_add_test(t, a_disk_that_is_too_small_is_told_before_anything_is_written);
    suite_add_tcase(s, t);
    return helper_run(s);
}
