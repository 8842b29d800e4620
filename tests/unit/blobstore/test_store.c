#include "blobstore/store.h"
#include "helper.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

START_TEST(a_store_is_made_where_there_is_none_for_its_owner_alone)
{
    struct blobstore_report report;
    struct blobstore_options options = {.root = helper_path("deep/er")};
    struct blobstore *store;
    struct stat st;
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert(report.clean);
    ck_assert(!report.rebuilt);
    ck_assert_uint_eq(report.blobs, 0);
    ck_assert_uint_eq(report.bytes, 0);
    ck_ok(stat(options.root, &st));
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    blobstore_close(store);
    blobstore_close(NULL);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    struct blobstore_report report;
    struct blobstore *store;
    ck_assert_int_eq(blobstore_open(&(struct blobstore_options){.root = NULL}, &store, &report), -EINVAL);
    ck_assert_int_eq(blobstore_open(&(struct blobstore_options){.root = ""}, &store, &report), -EINVAL);
    ck_assert_int_eq(
        blobstore_open(&(struct blobstore_options){.root = helper_root(), .map_size = 4096}, &store, &report), -EINVAL);
    helper_write_file(helper_root(), "a file", 6);
    ck_assert_int_eq(blobstore_open(&(struct blobstore_options){.root = helper_root()}, &store, &report), -ENOTDIR);
}
END_TEST

START_TEST(a_store_has_one_process_at_a_time)
{
    struct blobstore_options options = {.root = helper_root()};
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL), *second;
    ck_assert_int_eq(blobstore_open(&options, &second, &report), -EBUSY); /* nor twice in one */
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(blobstore_open(&options, &second, &report) == -EBUSY ? 0 : 1);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    blobstore_close(store);
    blobstore_close(helper_open(NULL));
}
END_TEST

START_TEST(a_blob_outlives_the_process_with_its_times)
{
    struct blobstore *store = helper_open(NULL);
    int64_t before = clock_real_ms();
    struct digest digest = helper_store(store, 0);
    blobstore_close(store);
    struct blobstore_report report;
    struct blobstore_info info;
    uint8_t bytes[HELPER_CONTENT_MAX];
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.blobs, 1);
    ck_assert_uint_eq(report.bytes, helper_content(0, bytes));
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_uint_eq(info.size, helper_content(0, bytes));
    ck_assert_int_ge(info.stored_at, before);
    ck_assert_int_le(info.stored_at, clock_real_ms());
    ck_assert_int_eq(info.used_at, info.stored_at);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(the_empty_blob_can_be_stored)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest;
    struct blobstore_writer *w;
    struct blobstore_batch *b;
    struct blobstore_info info;
    uint64_t length;
    struct blobstore_content *content;
    ck_ok(digest_of(DIGEST_SHA256, "", 0, &digest));
    ck_ok(blobstore_writer_open(store, &digest, &w, &length));
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_commit(b));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_ok(blobstore_get(store, &digest, &info, &content));
    ck_assert_uint_eq(info.size, 0);
    blobstore_content_close(content);
    blobstore_close(store);
}
END_TEST

START_TEST(what_is_not_stored_is_not_found_and_outputs_stay_as_they_were)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    struct blobstore_info info = {.size = 77};
    struct blobstore_content *content = NULL;
    ck_assert_int_eq(blobstore_stat(store, &digest, &info), -ENOENT);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -ENOENT);
    ck_assert_int_eq(blobstore_remove(store, &digest), -ENOENT);
    ck_assert_uint_eq(info.size, 77);
    ck_assert_ptr_null(content);
    blobstore_close(store);
}
END_TEST

START_TEST(a_list_has_every_blob_once_in_the_order_of_the_digests)
{
    enum { BLOBS = 40, PAGE = 7 };
    struct blobstore *store = helper_open(NULL);
    for (unsigned n = 0; n < BLOBS; n++)
        (void)helper_store(store, n);
    struct blobstore_info infos[PAGE], last;
    size_t total = 0, count;
    bool seen[BLOBS] = {false};
    do {
        ck_ok(blobstore_list(store, total ? &last.digest : NULL, infos, PAGE, &count));
        for (size_t i = 0; i < count; i++) {
            const struct blobstore_info *before = i ? &infos[i - 1] : total ? &last : NULL;
            if (before)
                ck_assert(before->digest.algorithm < infos[i].digest.algorithm ||
                          (before->digest.algorithm == infos[i].digest.algorithm &&
                           memcmp(before->digest.raw, infos[i].digest.raw, DIGEST_RAW_MAX) < 0));
            for (unsigned n = 0; n < BLOBS; n++) {
                struct digest digest = helper_digest(n);
                if (digest_equal(&digest, &infos[i].digest)) {
                    ck_assert(!seen[n]);
                    seen[n] = true;
                }
            }
        }
        total += count;
        if (count)
            last = infos[count - 1];
    } while (count == PAGE);
    ck_assert_uint_eq(total, BLOBS);
    for (unsigned n = 0; n < BLOBS; n++)
        ck_assert(seen[n]);
    /* One that is not there is a place in the order all the same. */
    ck_ok(blobstore_remove(store, &infos[0].digest));
    ck_ok(blobstore_list(store, &infos[0].digest, infos, 1, &count));
    ck_assert_uint_eq(count, 1);
    blobstore_close(store);
}
END_TEST

START_TEST(a_removed_blob_is_gone_but_can_be_read_by_who_has_it_open)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    uint8_t bytes[HELPER_CONTENT_MAX], expected[HELPER_CONTENT_MAX];
    size_t len = helper_content(0, expected);
    struct blobstore_info info;
    struct blobstore_content *content;
    ck_ok(blobstore_get(store, &digest, &info, &content));
    ck_ok(blobstore_remove(store, &digest));
    ck_assert(!helper_has(store, 0));
    ck_assert(!helper_exists(helper_blob_path(&digest)));
    ck_ok(blobstore_content_read_all(content, bytes, len));
    ck_assert_mem_eq(bytes, expected, len);
    blobstore_content_close(content);
    blobstore_close(store);

    struct blobstore_report report;
    store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 0);
    ck_assert_uint_eq(report.bytes, 0);
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ damage */

enum damage { TRUNCATED, LENGTHENED, FLIPPED, SWAPPED, DELETED, A_DIRECTORY, A_SYMLINK, A_FIFO, CHMODDED, DAMAGES };

static void damage(const char *path, enum damage kind)
{
    const int flags = O_RDWR | O_CLOEXEC;
    int fd;
    char c;
    switch (kind) {
    case TRUNCATED:
        ck_ok(chmod(path, 0600));
        ck_ok(truncate(path, 1));
        break;
    case LENGTHENED:
        ck_ok(chmod(path, 0600));
        fd = open(path, flags | O_APPEND);
        ck_assert_int_eq(write(fd, "x", 1), 1);
        (void)close(fd);
        break;
    case FLIPPED:
        ck_ok(chmod(path, 0600));
        fd = open(path, flags);
        ck_assert_int_eq(pread(fd, &c, 1, 2), 1);
        c ^= 1;
        ck_assert_int_eq(pwrite(fd, &c, 1, 2), 1);
        (void)close(fd);
        break;
    case SWAPPED:
        helper_write_file(helper_path("other"), "other", 5);
        ck_ok(rename(helper_path("other"), path));
        break;
    case DELETED:
        ck_ok(unlink(path));
        break;
    case A_DIRECTORY:
        ck_ok(unlink(path));
        ck_ok(mkdir(path, 0700));
        break;
    case A_SYMLINK:
        ck_ok(unlink(path));
        ck_ok(symlink("/etc/passwd", path));
        break;
    case A_FIFO:
        ck_ok(unlink(path));
        ck_ok(mkfifo(path, 0600));
        break;
    case CHMODDED:
        ck_ok(chmod(path, 0600));
        break;
    case DAMAGES:
        break;
    }
}

START_TEST(a_file_that_is_not_the_one_that_was_published_is_damaged_once_and_then_not_stored)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    struct blobstore_info info = {.size = 77};
    struct blobstore_content *content = NULL;
    damage(helper_blob_path(&digest), (enum damage)_i);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -EBADMSG);
    ck_assert_uint_eq(info.size, 77);
    ck_assert_ptr_null(content);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -ENOENT);
    ck_assert_int_eq(blobstore_stat(store, &digest, &info), -ENOENT);
    ck_assert(!helper_exists(helper_blob_path(&digest)));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), _i == DELETED ? 0 : 1);
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(quarantine_is_bounded_and_the_oldest_goes_first)
{
    struct blobstore *store = helper_open(NULL);
    char first[NAME_MAX + 1] = "";
    for (unsigned n = 0; n < QUARANTINE_FILES + 6; n++) {
        struct digest digest = helper_store(store, n);
        damage(helper_blob_path(&digest), FLIPPED);
        ck_assert(!helper_has(store, n));
        if (n == 0) {
            DIR *d = opendir(helper_path("quarantine"));
            for (const struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] != '.')
                    (void)snprintf(first, sizeof(first), "%s", e->d_name);
            (void)closedir(d);
            ck_assert(helper_exists(helper_path("quarantine/%s", first)));
        }
    }
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), QUARANTINE_FILES);
    ck_assert(!helper_exists(helper_path("quarantine/%s", first)));

    /* In bytes as well: a hole of more than may be kept is not kept at all, nor what is older. */
    struct digest digest = helper_store(store, 1000);
    ck_ok(chmod(helper_blob_path(&digest), 0600));
    ck_ok(truncate(helper_blob_path(&digest), QUARANTINE_BYTES + 1));
    ck_assert(!helper_has(store, 1000));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 0);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ touches */

START_TEST(a_touch_is_known_at_once)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    struct blobstore_info info, infos[2];
    size_t count;
    int64_t now = clock_real_ms();
    blobstore_touch(store, &digest);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_int_ge(info.used_at, now);
    ck_ok(blobstore_list(store, NULL, infos, 2, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(infos[0].used_at, info.used_at);
    ck_ok(blobstore_flush_touches(store));
    blobstore_close(store);
}
END_TEST

/* Whether the index has an access time of its own for the blob, and which. */
static int64_t written_use(struct blobstore *store, const struct digest *digest)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    ck_ok(index_begin_read(store->index, &t));
    return catalog_used_at(&t, digest);
}

START_TEST(a_use_is_written_where_the_written_one_is_an_hour_off_and_not_before)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    int64_t now = clock_real_ms();
    struct blobstore_info info;

    touches_note(store->touches, &digest, now + TOUCH_COARSE / 2);
    ck_ok(blobstore_flush_touches(store));
    ck_assert_int_eq(written_use(store, &digest), 0);

    touches_note(store->touches, &digest, now + 2 * TOUCH_COARSE);
    ck_ok(blobstore_flush_touches(store));
    ck_assert_int_eq(written_use(store, &digest), now + 2 * TOUCH_COARSE);

    touches_note(store->touches, &digest, now + 2 * TOUCH_COARSE + 1);
    ck_ok(blobstore_flush_touches(store));
    ck_assert_int_eq(written_use(store, &digest), now + 2 * TOUCH_COARSE);

    blobstore_close(store);
    store = helper_open(NULL);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_int_eq(info.used_at, now + 2 * TOUCH_COARSE);
    blobstore_close(store);
}
END_TEST

START_TEST(closing_writes_the_touches)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    struct blobstore_info info;
    int64_t later = clock_real_ms() + 3 * TOUCH_COARSE;
    touches_note(store->touches, &digest, later);
    blobstore_close(store);
    store = helper_open(NULL);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_int_eq(info.used_at, later);
    blobstore_close(store);
}
END_TEST

START_TEST(a_touch_of_what_is_not_stored_leaves_nothing_in_the_index)
{
    struct blobstore *store = helper_open(NULL);
    struct digest removed = helper_store(store, 0), never = helper_digest(1);
    int64_t later = clock_real_ms() + 3 * TOUCH_COARSE;
    touches_note(store->touches, &removed, later);
    ck_ok(blobstore_flush_touches(store));
    ck_assert_int_eq(written_use(store, &removed), later);
    ck_ok(blobstore_remove(store, &removed));
    ck_assert_int_eq(written_use(store, &removed), 0);
    touches_note(store->touches, &removed, later + 3 * TOUCH_COARSE);
    touches_note(store->touches, &never, later);
    ck_ok(blobstore_flush_touches(store));
    ck_assert_int_eq(written_use(store, &removed), 0);
    ck_assert_int_eq(written_use(store, &never), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(touches_without_end_do_not_make_the_index_grow)
{
    /* 100,000 touches, of 500 blobs, in 50 flushes that all write: were pages not reused, each flush would cost some
     * 500 KiB. More of them would show nothing else, and take minutes under a sanitizer. */
    enum { BLOBS = 500, ROUNDS = 50, REPEATS = 4 };
    struct blobstore *store = helper_open(NULL);
    struct digest *digests = calloc(BLOBS, sizeof(*digests));
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    for (unsigned n = 0; n < BLOBS; n++) {
        struct blobstore_writer *w = helper_writer(store, n);
        ck_ok(blobstore_batch_publish(b, w));
        blobstore_writer_close(w, BLOBSTORE_DISCARD);
        digests[n] = helper_digest(n);
    }
    ck_ok(blobstore_batch_commit(b));
    int64_t now = clock_real_ms();
    struct stat early, late;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < BLOBS * REPEATS; i++)
            touches_note(store->touches, &digests[i % BLOBS], now + round * TOUCH_COARSE + i);
        ck_ok(blobstore_flush_touches(store));
        if (round == 5)
            ck_ok(stat(helper_path("index/data.mdb"), &early));
    }
    ck_ok(stat(helper_path("index/data.mdb"), &late));
    ck_assert_int_le(late.st_size, early.st_size + (256 << 10));
    free(digests);
    blobstore_close(store);
}
END_TEST

START_TEST(what_was_lost_to_damage_is_told_once_and_of_many_the_last)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest, other;
    ck_assert_int_eq(blobstore_next_lost(store, &digest), -ENOENT);
    for (unsigned i = 0; i < LOST_MAX + 1; i++) {
        struct blobstore_info info;
        AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
        const struct digest d = helper_store(store, 2 * i);
        ck_ok(blobstore_get(store, &d, &info, &content));
        ck_ok(blobstore_condemn(store, &d, blobstore_content_fd(content)));
    }
    other = helper_store(store, 1);
    ck_ok(blobstore_remove(store, &other)); /* which was meant */
    for (unsigned i = 1; i < LOST_MAX + 1; i++) {
        other = helper_digest(2 * i);
        ck_ok(blobstore_next_lost(store, &digest));
        ck_assert(digest_equal(&digest, &other));
    }
    ck_assert_int_eq(blobstore_next_lost(store, &digest), -ENOENT);
    blobstore_close(store);
}
END_TEST

START_TEST(a_condemned_blob_goes_to_quarantine_unless_another_file_has_its_place)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest digest = helper_store(store, 0);
    struct blobstore_info info;
    struct blobstore_content *content, *later;
    ck_ok(blobstore_get(store, &digest, &info, &content));
    const int fd = blobstore_content_fd(content);
    ck_ok(blobstore_condemn(store, &digest, fd));
    ck_assert(!helper_has(store, 0));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 1);
    ck_assert_int_eq(blobstore_condemn(store, &digest, fd), -ENOENT);
    (void)helper_store(store, 0);
    ck_assert_int_eq(blobstore_condemn(store, &digest, fd), -ENOENT); /* that is the old file */
    ck_assert(helper_has(store, 0));
    ck_ok(blobstore_get(store, &digest, &info, &later));
    ck_ok(blobstore_condemn(store, &digest, blobstore_content_fd(later)));
    ck_assert(!helper_has(store, 0));
    blobstore_content_close(content);
    blobstore_content_close(later);
    blobstore_close(store);
}
END_TEST

START_TEST(when_a_blob_was_verified_is_kept_and_never_goes_back)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest digest = helper_store(store, 0), never = helper_digest(1);
    struct blobstore_info info, after;
    struct blobstore_totals before_totals, after_totals;
    struct blobstore_batch *b;
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_int_eq(info.verified_at, info.stored_at);
    ck_ok(blobstore_totals(store, &before_totals));
    ck_ok(blobstore_batch_begin(store, &b));
    blobstore_batch_verified(b, &digest, info.stored_at + 1000);
    blobstore_batch_verified(b, &digest, info.stored_at + 500);
    blobstore_batch_verified(b, &never, info.stored_at + 500);
    ck_ok(blobstore_batch_commit(b));
    ck_assert_int_eq(blobstore_stat(store, &never, &after), -ENOENT);
    blobstore_close(store);
    store = helper_open(NULL);
    ck_ok(blobstore_stat(store, &digest, &after));
    ck_assert_int_eq(after.verified_at, info.stored_at + 1000);
    ck_assert_int_eq(after.stored_at, info.stored_at);
    ck_ok(blobstore_totals(store, &after_totals));
    ck_assert_uint_eq(after_totals.bytes, before_totals.bytes);
    ck_assert_uint_eq(after_totals.blobs, before_totals.blobs);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

static void store_one(struct blobstore *store)
{
    (void)helper_store(store, 0);
}

START_TEST(what_an_unclean_stop_may_have_touched_is_doubted)
{
    const struct digest digest = helper_digest(0);
    struct blobstore_info info;
    struct blobstore *store = helper_open(NULL);
    ck_assert_int_eq(blobstore_doubted_before(store), 0); /* a new one */
    blobstore_close(store);
    helper_crash_after(store_one);
    store = helper_open(NULL);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert_int_ge(blobstore_doubted_before(store), info.verified_at);
    blobstore_close(store);
    store = helper_open(NULL);
    ck_assert_int_eq(blobstore_doubted_before(store), 0);
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tc = tcase_create("store");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_store_is_made_where_there_is_none_for_its_owner_alone);
    tcase_add_test(tc, bad_options_are_refused);
    tcase_add_test(tc, a_store_has_one_process_at_a_time);
    tcase_add_test(tc, a_blob_outlives_the_process_with_its_times);
    tcase_add_test(tc, the_empty_blob_can_be_stored);
    tcase_add_test(tc, what_is_not_stored_is_not_found_and_outputs_stay_as_they_were);
    tcase_add_test(tc, a_list_has_every_blob_once_in_the_order_of_the_digests);
    tcase_add_test(tc, a_removed_blob_is_gone_but_can_be_read_by_who_has_it_open);
    tcase_add_loop_test(tc, a_file_that_is_not_the_one_that_was_published_is_damaged_once_and_then_not_stored, 0,
                        DAMAGES);
    tcase_add_test(tc, quarantine_is_bounded_and_the_oldest_goes_first);
    tcase_add_test(tc, what_was_lost_to_damage_is_told_once_and_of_many_the_last);
    tcase_add_test(tc, a_condemned_blob_goes_to_quarantine_unless_another_file_has_its_place);
    tcase_add_test(tc, when_a_blob_was_verified_is_kept_and_never_goes_back);
    tcase_add_test(tc, what_an_unclean_stop_may_have_touched_is_doubted);
    tcase_add_test(tc, a_touch_is_known_at_once);
    tcase_add_test(tc, a_use_is_written_where_the_written_one_is_an_hour_off_and_not_before);
    tcase_add_test(tc, closing_writes_the_touches);
    tcase_add_test(tc, a_touch_of_what_is_not_stored_leaves_nothing_in_the_index);
    tcase_add_test(tc, touches_without_end_do_not_make_the_index_grow);
    return helper_run(suite);
}
