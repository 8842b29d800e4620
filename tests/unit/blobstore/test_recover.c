#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ------------------------------------------------------------------ an unclean stop */

static void store_three(struct blobstore *store)
{
    for (unsigned n = 0; n < 3; n++)
        (void)helper_store(store, n);
}

START_TEST(after_a_crash_everything_that_was_committed_is_there)
{
    struct blobstore_report report;
    helper_crash_after(store_three);
    struct blobstore *store = helper_open(&report);
    ck_assert(!report.clean);
    ck_assert(!report.rebuilt);
    ck_assert_uint_eq(report.blobs, 3);
    ck_assert_uint_eq(report.adopted, 0);
    ck_assert_uint_eq(report.dropped, 0);
    ck_assert_uint_eq(report.discarded, 0);
    for (unsigned n = 0; n < 3; n++)
        ck_assert(helper_has(store, n));
    blobstore_close(store);
    blobstore_close(helper_open(&report));
    ck_assert(report.clean);
}
END_TEST

static void publish_without_commit(struct blobstore *store)
{
    struct blobstore_batch *b;
    (void)helper_store(store, 0);
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, helper_writer(store, 1)));
    ck_ok(blobstore_batch_publish(b, helper_writer(store, 2)));
}

START_TEST(files_that_got_no_record_are_adopted_if_their_bytes_are_right)
{
    struct blobstore_report report;
    helper_crash_after(publish_without_commit);
    struct digest wrong = helper_digest(2);
    helper_write_file(helper_blob_path(&wrong), "cut off", 7);
    struct blobstore *store = helper_open(&report);
    ck_assert(!report.clean);
    ck_assert_uint_eq(report.blobs, 2);
    ck_assert_uint_eq(report.adopted, 1);
    ck_assert_uint_eq(report.discarded, 1);
    uint8_t bytes[HELPER_CONTENT_MAX];
    ck_assert_uint_eq(report.bytes, helper_content(0, bytes) + helper_content(1, bytes));
    ck_assert(helper_has(store, 0));
    ck_assert(helper_has(store, 1));
    ck_assert(!helper_has(store, 2));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 1);
    blobstore_close(store);
}
END_TEST

START_TEST(records_whose_file_is_gone_are_dropped)
{
    struct blobstore_report report;
    struct blobstore_info info;
    helper_crash_after(store_three);
    struct digest gone = helper_digest(1);
    ck_ok(unlink(helper_blob_path(&gone)));
    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 2);
    ck_assert_uint_eq(report.dropped, 1);
    ck_assert_int_eq(blobstore_stat(store, &gone, &info), -ENOENT);
    ck_assert(helper_has(store, 0));
    ck_assert(helper_has(store, 2));
    blobstore_close(store);
}
END_TEST

START_TEST(a_file_that_took_the_place_of_another_is_read_before_it_is_believed)
{
    struct blobstore_report report;
    uint8_t bytes[HELPER_CONTENT_MAX];
    helper_crash_after(store_three);
    /* One is put back whole from elsewhere, one is not what its name says. */
    struct digest restored = helper_digest(0), wrong = helper_digest(1);
    size_t len = helper_content(0, bytes);
    helper_write_file(helper_path("new"), bytes, len);
    ck_ok(rename(helper_path("new"), helper_blob_path(&restored)));
    helper_write_file(helper_path("new"), "wrong", 5);
    ck_ok(rename(helper_path("new"), helper_blob_path(&wrong)));
    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 2);
    ck_assert_uint_eq(report.adopted, 1);
    ck_assert_uint_eq(report.dropped, 1);
    ck_assert_uint_eq(report.discarded, 1);
    ck_assert(helper_has(store, 0));
    ck_assert(!helper_has(store, 1));
    ck_assert(helper_has(store, 2));
    blobstore_close(store);
}
END_TEST

static void leave_partial_files(struct blobstore *store)
{
    (void)helper_store(store, 0);
    (void)helper_writer(store, 1);
    (void)helper_writer(store, 2);
    (void)helper_open_writer(store, 3, 0); /* empty */
}

START_TEST(partial_files_survive_a_crash_and_what_is_none_of_them_goes)
{
    struct blobstore_report report;
    uint8_t bytes[HELPER_CONTENT_MAX];
    char stored[DIGEST_TEXT_MAX];
    helper_crash_after(leave_partial_files);
    helper_write_file(helper_path("partial/sha256-tmp"), "x", 1);
    helper_write_file(helper_path("partial/README"), "x", 1);
    ck_ok(mkdir(helper_path("partial/directory"), 0700));
    ck_ok(symlink("/etc/passwd", helper_path("partial/link")));
    struct digest digest = helper_digest(0); /* of what is stored already */
    *strchr(digest_format(&digest, stored), ':') = '-';
    helper_write_file(helper_path("partial/%s", stored), "x", 1);

    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.partials, 2);
    ck_assert_uint_eq(report.partial_bytes, helper_content(1, bytes) + helper_content(2, bytes));
    ck_assert_uint_eq(report.discarded, 6);
    ck_assert_uint_eq(helper_count(helper_path("partial")), 2);
    struct blobstore_writer *w = helper_open_writer(store, 1, helper_content(1, bytes));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(a_publish_that_was_cut_short_between_its_steps_can_be_gone_on_with)
{
    struct blobstore_report report;
    char name[DIGEST_TEXT_MAX];
    uint8_t bytes[HELPER_CONTENT_MAX];
    struct digest linked = helper_digest(0), sealed = helper_digest(1);
    helper_crash_after(leave_partial_files);
    /* Read-only, and not moved yet. */
    *strchr(digest_format(&sealed, name), ':') = '-';
    ck_ok(chmod(helper_path("partial/%s", name), 0444));
    /* Linked to its place, where the file system has no other way, and not unlinked yet; the record is missing. */
    ck_ok(unlink(helper_path("index/data.mdb")));
    *strchr(digest_format(&linked, name), ':') = '-';
    ck_ok(link(helper_blob_path(&linked), helper_path("partial/%s", name)));

    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 1);
    ck_assert(helper_has(store, 0));
    ck_assert(!helper_exists(helper_path("partial/%s", name)));
    struct stat st;
    struct blobstore_writer *w = helper_open_writer(store, 1, helper_content(1, bytes));
    ck_ok(fstat(blobstore_writer_fd(w), &st));
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(what_is_foreign_among_the_blobs_is_set_aside_and_not_deleted)
{
    struct blobstore_report report;
    helper_crash_after(store_three);
    struct digest digest = helper_digest(0);
    char hex[DIGEST_TEXT_MAX];
    (void)digest_format(&digest, hex);
    helper_write_file(helper_path("blobs/notes.txt"), "mine", 4);
    helper_write_file(helper_path("blobs/sha256/notes.txt"), "mine", 4);
    helper_write_file(helper_path("blobs/sha256/%.2s/notes.txt", hex + 7), "mine", 4);
    ck_ok(mkdir(helper_path("blobs/md5"), 0700));
    helper_write_file(helper_path("blobs/md5/x"), "mine", 4);
    /* A digest in a directory that is not its own would never be found. */
    struct digest elsewhere = helper_digest(2);
    elsewhere.raw[0] = (uint8_t)~digest.raw[0];
    char text[DIGEST_TEXT_MAX];
    (void)digest_format(&elsewhere, text);
    helper_write_file(helper_path("blobs/sha256/%.2s/%s", hex + 7, text + 7), "mine", 4);

    struct blobstore *store = helper_open(&report);
    ck_assert_uint_eq(report.discarded, 5);
    ck_assert_uint_eq(report.blobs, 3);
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 5);
    ck_assert_uint_eq(helper_count(helper_path("blobs")), 2);
    blobstore_close(store);
}
END_TEST

START_TEST(a_start_after_a_stop_in_order_looks_into_no_blob)
{
    struct blobstore_report report;
    struct blobstore_info info;
    struct blobstore_content *content;
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    blobstore_close(store);
    ck_ok(chmod(helper_blob_path(&digest), 0600));
    ck_ok(truncate(helper_blob_path(&digest), 1));
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.blobs, 1); /* it does not know better yet */
    ck_assert_uint_eq(report.dropped, 0);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -EBADMSG);
    blobstore_close(store);
}
END_TEST

START_TEST(what_was_put_there_or_taken_away_by_hand_is_found_after_a_stop_in_order_too)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    uint8_t bytes[HELPER_CONTENT_MAX];
    for (unsigned n = 0; n < 8; n++)
        (void)helper_store(store, n);
    blobstore_close(store);
    struct digest gone = helper_digest(3), fresh = helper_digest(10), wrong = helper_digest(12),
                  replaced = helper_digest(5);
    ck_ok(unlink(helper_blob_path(&gone)));
    const char *paths[] = {helper_blob_path(&fresh), helper_blob_path(&wrong)};
    for (int i = 0; i < 2; i++) {
        char *directory = strdup(paths[i]);
        *strrchr(directory, '/') = '\0';
        ck_assert(mkdir(directory, 0700) == 0 || errno == EEXIST);
        free(directory);
    }
    helper_write_file(paths[0], bytes, helper_content(10, bytes));
    helper_write_file(paths[1], "wrong", 5);
    helper_write_file(helper_path("new"), bytes, helper_content(5, bytes));
    ck_ok(rename(helper_path("new"), helper_blob_path(&replaced)));
    uint64_t total = helper_content(10, bytes);
    for (unsigned n = 0; n < 8; n++)
        total += n == 3 ? 0 : helper_content(n, bytes);

    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.dropped, 1);
    ck_assert_uint_eq(report.adopted, 2);
    ck_assert_uint_eq(report.discarded, 1);
    ck_assert_uint_eq(report.blobs, 8);
    ck_assert_uint_eq(report.bytes, total);
    ck_assert(helper_has(store, 10));
    ck_assert(helper_has(store, 5));
    ck_assert(!helper_has(store, 3));
    ck_assert(!helper_has(store, 12));
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert_uint_eq(report.dropped + report.adopted + report.discarded, 0);
    ck_assert_uint_eq(report.bytes, total);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ a copy of the whole store */

START_TEST(a_store_that_was_copied_as_a_whole_is_read_and_goes_on)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    store_three(store);
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    blobstore_batch_put(b, BLOBSTORE_TAGS, "tag", 3, "value", 5);
    ck_ok(blobstore_batch_commit(b));
    struct blobstore_info before, after;
    struct digest digest = helper_digest(0), rotten = helper_digest(2);
    ck_ok(blobstore_stat(store, &digest, &before));
    blobstore_close(store);

    helper_copy_root();
    helper_write_file(helper_blob_path(&rotten), "not what was copied", 19);

    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert(!report.rebuilt);
    ck_assert_uint_eq(report.adopted, 2);
    ck_assert_uint_eq(report.dropped, 1);
    ck_assert_uint_eq(report.blobs, 2);
    ck_assert(helper_has(store, 0));
    ck_assert(helper_has(store, 1));
    ck_assert(!helper_has(store, 2));
    ck_ok(blobstore_stat(store, &digest, &after));
    ck_assert_int_eq(after.stored_at, before.stored_at);
    AUTO_BUF struct buf value = BUF_INIT(10);
    ck_ok(blobstore_record_get(store, BLOBSTORE_TAGS, "tag", 3, &value));
    ck_assert_str_eq(value.data, "value");
    blobstore_close(store);

    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.adopted, 0);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ the index is of no use */

enum index_fault {
    INDEX_GONE,
    INDEX_EMPTY,
    INDEX_SHORT,
    INDEX_RUBBISH,
    INDEX_OTHER_MAGIC,
    INDEX_OTHER_FORMAT,
    INDEX_HALF,
    INDEX_ZEROED,
    INDEX_A_FILE,
    INDEX_MARKED,
    INDEX_FAULTS,
};

static void overwrite(const char *path, off_t at, int byte, size_t len)
{
    char block[4096];
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    memset(block, byte, sizeof(block));
    for (; len > 0; len -= len < sizeof(block) ? len : sizeof(block), at += sizeof(block))
        ck_assert_int_gt(pwrite(fd, block, len < sizeof(block) ? len : sizeof(block), at), 0);
    (void)close(fd);
}

static void spoil_index(enum index_fault fault)
{
    const char *data = helper_path("index/data.mdb");
    struct stat st;
    ck_ok(stat(data, &st));
    switch (fault) {
    case INDEX_GONE:
        ck_ok(unlink(data));
        break;
    case INDEX_EMPTY:
        ck_ok(truncate(data, 0));
        break;
    case INDEX_SHORT:
        ck_ok(truncate(data, 100));
        break;
    case INDEX_RUBBISH:
        overwrite(data, 0, 'x', (size_t)st.st_size);
        break;
    case INDEX_OTHER_MAGIC: /* in both meta pages, after their headers of 16 bytes */
        overwrite(data, 16, 7, 4);
        overwrite(data, 4096 + 16, 7, 4);
        break;
    case INDEX_OTHER_FORMAT: /* as LMDB 1.0 looks to 0.9, and the other way round */
        overwrite(data, 20, 2, 1);
        overwrite(data, 4096 + 20, 2, 1);
        break;
    case INDEX_HALF:
        ck_ok(truncate(data, st.st_size / 2 & ~4095));
        break;
    case INDEX_ZEROED: /* the meta pages are good, nothing else is */
        overwrite(data, 8192, 0, (size_t)st.st_size - 8192);
        break;
    case INDEX_A_FILE:
        ck_ok(unlink(data));
        (void)unlink(helper_path("index/lock.mdb"));
        ck_ok(rmdir(helper_path("index")));
        helper_write_file(helper_path("index"), "x", 1);
        break;
    case INDEX_MARKED:
        helper_write_file(helper_path("index/damaged"), "", 0);
        break;
    case INDEX_FAULTS:
        break;
    }
}

/* Enough that the index has more than a few pages. */
static void store_many(struct blobstore *store)
{
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    for (unsigned n = 0; n < 100; n++) {
        struct blobstore_writer *w = helper_writer(store, n);
        ck_ok(blobstore_batch_publish(b, w));
        blobstore_writer_close(w, BLOBSTORE_DISCARD);
    }
    ck_ok(blobstore_batch_commit(b));
}

START_TEST(an_index_that_is_of_no_use_is_set_aside_and_rebuilt_from_the_files)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    store_many(store);
    blobstore_close(store);
    struct digest wrong = helper_digest(1);
    helper_write_file(helper_blob_path(&wrong), "wrong", 5);
    spoil_index((enum index_fault)_i);
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert(report.rebuilt);
    ck_assert_str_ne(report.rebuilt_why, "");
    ck_assert_uint_eq(report.blobs, 99);
    ck_assert_uint_eq(report.adopted, 99);
    ck_assert_uint_eq(report.discarded, 1);
    for (unsigned n = 0; n < 100; n++)
        ck_assert(helper_has(store, n) == (n != 1));
    (void)helper_store(store, 1);
    blobstore_close(store);

    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert(!report.rebuilt);
    ck_assert_uint_eq(report.blobs, 100);
    blobstore_close(store);
}
END_TEST

static unsigned count_set_aside(void)
{
    DIR *d = opendir(helper_root());
    unsigned count = 0;
    for (const struct dirent *e; (e = readdir(d));)
        count += strncmp(e->d_name, "index.bad-", 10) == 0;
    (void)closedir(d);
    return count;
}

START_TEST(one_spoiled_index_is_kept_and_no_more)
{
    blobstore_close(helper_open(NULL));
    for (int i = 0; i < 3; i++) {
        spoil_index(INDEX_RUBBISH);
        blobstore_close(helper_open(NULL));
        ck_assert_uint_eq(count_set_aside(), 1);
    }
}
END_TEST

START_TEST(an_index_with_the_key_of_no_blob_is_rebuilt)
{
    static const uint8_t key[] = {DIGEST_SHA256, 0x5a, 0x5a};
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    store_three(store);
    struct index_txn t;
    ck_ok(index_begin_write(store->index, &t));
    index_put(&t, INDEX_BLOBS, key, sizeof(key), key, sizeof(key));
    ck_ok(index_commit(&t));
    blobstore_close(store);
    ck_ok(unlink(helper_path("clean")));
    store = helper_open(&report);
    ck_assert(report.rebuilt);
    ck_assert_uint_eq(report.blobs, 3);
    blobstore_close(store);
}
END_TEST

START_TEST(an_index_of_another_schema_is_rebuilt)
{
    struct blobstore_report report;
    uint8_t schema[SCHEMA_RECORD_SIZE];
    struct blobstore *store = helper_open(NULL);
    store_three(store);
    struct index_txn t;
    ck_ok(index_begin_write(store->index, &t));
    schema_record_encode(RECORD_SCHEMA + 1, schema);
    index_put(&t, INDEX_META, "schema", 6, schema, sizeof(schema));
    ck_ok(index_commit(&t));
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert(report.rebuilt);
    ck_assert_ptr_nonnull(strstr(report.rebuilt_why, "schema 2"));
    ck_assert_uint_eq(report.blobs, 3);
    blobstore_close(store);
}
END_TEST

/* As half of a rebuild leaves it: some files have records, and the sum is of no worth. */
static void lose_half_the_records(struct blobstore *store)
{
    struct index_txn t;
    store_many(store);
    ck_ok(index_begin_write(store->index, &t));
    for (unsigned n = 0; n < 50; n++) {
        struct digest digest = helper_digest(n);
        catalog_delete(&t, &digest);
    }
    catalog_set_sum(&t, &(struct totals_record){.bytes = 12345});
    ck_ok(index_commit(&t));
}

static void count_files(void *arg, uint64_t files, uint64_t bytes)
{
    uint64_t *seen = arg;
    ck_assert_uint_eq(files, *seen + 1);
    ck_assert_uint_gt(bytes, 0);
    *seen = files;
}

START_TEST(an_index_is_made_anew_when_that_is_asked_for)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    uint64_t seen = 0;
    const struct blobstore_options options = {
        .root = helper_root(), .rebuild = true, .progress = count_files, .progress_arg = &seen};
    store_many(store);
    ck_assert_int_eq(blobstore_open(&options, &store, &report), -EBUSY);
    blobstore_close(store);
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert(report.rebuilt);
    ck_assert_str_eq(report.rebuilt_why, "asked for");
    ck_assert_uint_eq(report.blobs, 100);
    ck_assert_uint_eq(seen, 100);
    blobstore_close(store);
    spoil_index(INDEX_GONE);
    seen = 0;
    ck_ok(blobstore_open(&options, &store, &report));
    ck_assert_uint_eq(report.blobs, 100);
    blobstore_close(store);
}
END_TEST

START_TEST(a_rebuild_that_is_cut_short_is_gone_on_with_by_the_next_start)
{
    struct blobstore_report report;
    helper_crash_after(lose_half_the_records);
    struct blobstore *store = helper_open(&report);
    ck_assert(!report.clean);
    ck_assert_uint_eq(report.adopted, 50);
    ck_assert_uint_eq(report.blobs, 100);
    uint64_t bytes = 0;
    uint8_t content[HELPER_CONTENT_MAX];
    for (unsigned n = 0; n < 100; n++)
        bytes += helper_content(n, content);
    ck_assert_uint_eq(report.bytes, bytes);
    blobstore_close(store);
}
END_TEST

START_TEST(a_record_that_cannot_be_read_is_made_anew_from_its_file)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    store_three(store);
    struct index_txn t;
    uint8_t key[BLOB_KEY_MAX];
    struct digest digest = helper_digest(1);
    size_t len = blob_key_encode(&digest, key);
    ck_ok(index_begin_write(store->index, &t));
    index_put(&t, INDEX_BLOBS, key, len, "rubbish", 7);
    ck_ok(index_commit(&t));
    atomic_store(&store->untidy, true);
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert_uint_eq(report.adopted, 1);
    ck_assert_uint_eq(report.blobs, 3);
    ck_assert(helper_has(store, 1));
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recover");
    TCase *tc = tcase_create("recover");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, after_a_crash_everything_that_was_committed_is_there);
    tcase_add_test(tc, files_that_got_no_record_are_adopted_if_their_bytes_are_right);
    tcase_add_test(tc, records_whose_file_is_gone_are_dropped);
    tcase_add_test(tc, a_file_that_took_the_place_of_another_is_read_before_it_is_believed);
    tcase_add_test(tc, partial_files_survive_a_crash_and_what_is_none_of_them_goes);
    tcase_add_test(tc, a_publish_that_was_cut_short_between_its_steps_can_be_gone_on_with);
    tcase_add_test(tc, what_is_foreign_among_the_blobs_is_set_aside_and_not_deleted);
    tcase_add_test(tc, a_start_after_a_stop_in_order_looks_into_no_blob);
    tcase_add_test(tc, what_was_put_there_or_taken_away_by_hand_is_found_after_a_stop_in_order_too);
    tcase_add_test(tc, a_store_that_was_copied_as_a_whole_is_read_and_goes_on);
    tcase_add_loop_test(tc, an_index_that_is_of_no_use_is_set_aside_and_rebuilt_from_the_files, 0, INDEX_FAULTS);
    tcase_add_test(tc, one_spoiled_index_is_kept_and_no_more);
    tcase_add_test(tc, an_index_with_the_key_of_no_blob_is_rebuilt);
    tcase_add_test(tc, an_index_of_another_schema_is_rebuilt);
    tcase_add_test(tc, an_index_is_made_anew_when_that_is_asked_for);
    tcase_add_test(tc, a_rebuild_that_is_cut_short_is_gone_on_with_by_the_next_start);
    tcase_add_test(tc, a_record_that_cannot_be_read_is_made_anew_from_its_file);
    return helper_run(suite);
}
