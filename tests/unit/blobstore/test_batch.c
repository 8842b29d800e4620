#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static struct blobstore_batch *begin(struct blobstore *store)
{
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    return b;
}

static void put(struct blobstore_batch *b, const char *key, const char *value)
{
    blobstore_batch_put(b, BLOBSTORE_TAGS, key, strlen(key), value, strlen(value));
}

/* The record, or "" where there is none. */
static const char *get(struct blobstore *store, const char *key)
{
    static char text[BLOBSTORE_VALUE_MAX + 1];
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    int r = blobstore_record_get(store, BLOBSTORE_TAGS, key, strlen(key), &value);
    if (r == -ENOENT)
        return "";
    ck_ok(r);
    (void)snprintf(text, sizeof(text), "%s", value.data);
    return text;
}

START_TEST(nothing_of_a_batch_is_seen_before_its_commit_and_all_of_it_afterwards)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0), *v = helper_writer(store, 1);
    struct blobstore_batch *b = begin(store);
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_publish(b, v));
    put(b, "tag", "one");
    ck_assert(!helper_has(store, 0));
    ck_assert(!helper_has(store, 1));
    ck_assert_str_eq(get(store, "tag"), "");
    ck_ok(blobstore_batch_commit(b));
    ck_assert(helper_has(store, 0));
    ck_assert(helper_has(store, 1));
    ck_assert_str_eq(get(store, "tag"), "one");
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    blobstore_writer_close(v, BLOBSTORE_DISCARD);
    ck_assert(helper_has(store, 0));
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_published_file_is_read_only_and_its_writer_can_still_be_read)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    struct digest digest = helper_digest(0);
    uint8_t bytes[HELPER_CONTENT_MAX], expected[HELPER_CONTENT_MAX];
    size_t len = helper_content(0, expected);
    struct stat st;
    struct blobstore_batch *b = begin(store);
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_commit(b));
    ck_ok(stat(helper_blob_path(&digest), &st));
    ck_assert_uint_eq(st.st_mode & 07777, 0444);
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0), (ssize_t)len);
    ck_assert_mem_eq(bytes, expected, len);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    blobstore_close(store);
}
END_TEST

START_TEST(what_is_stored_already_is_left_alone_and_ours_dropped)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    struct stat before, after;
    ck_ok(stat(helper_blob_path(&digest), &before));
    (void)helper_store(store, 0);
    ck_ok(stat(helper_blob_path(&digest), &after));
    ck_assert_uint_eq(after.st_ino, before.st_ino);
    ck_assert(helper_has(store, 0));
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_damaged_blob_that_is_published_again_is_replaced_by_the_good_one)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    helper_write_file(helper_blob_path(&digest), "rotten", 6);
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 1);
    blobstore_close(store);
}
END_TEST

START_TEST(a_file_without_a_record_in_the_way_does_not_pass_for_the_blob)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_store(store, 0);
    ck_ok(blobstore_remove(store, &digest));
    helper_write_file(helper_blob_path(&digest), "planted", 7);
    ck_assert(!helper_has(store, 0));
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(an_aborted_batch_changes_nothing_and_its_files_are_found_by_the_next_start)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    struct blobstore_batch *b = begin(store);
    ck_ok(blobstore_batch_publish(b, w));
    put(b, "tag", "one");
    blobstore_batch_abort(b);
    blobstore_batch_abort(NULL);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    ck_assert(!helper_has(store, 0));
    ck_assert_str_eq(get(store, "tag"), "");
    blobstore_close(store);

    struct blobstore_report report;
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.adopted, 1);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
    store = helper_open(&report);
    ck_assert_uint_eq(report.adopted, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_blob_of_an_aborted_batch_can_be_published_again)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    struct blobstore_batch *b = begin(store);
    ck_ok(blobstore_batch_publish(b, w));
    blobstore_batch_abort(b);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(one_store_has_one_batch_at_a_time)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store), *second;
    ck_assert_int_eq(blobstore_batch_begin(store, &second), -EBUSY);
    ck_ok(blobstore_batch_commit(b));
    b = begin(store);
    blobstore_batch_abort(b);
    blobstore_close(store);
}
END_TEST

START_TEST(an_error_sticks_and_nothing_of_the_batch_is_kept)
{
    struct blobstore *store = helper_open(NULL);
    char long_key[BLOBSTORE_KEY_MAX + 1] = {'k'};
    AUTO_FREE char *long_value = calloc(1, BLOBSTORE_VALUE_MAX + 1);
    struct blobstore_writer *w = helper_writer(store, 0);

    struct blobstore_batch *b = begin(store);
    put(b, "before", "1");
    blobstore_batch_put(b, BLOBSTORE_TAGS, long_key, sizeof(long_key), "v", 1);
    put(b, "after", "1");
    ck_assert_int_eq(blobstore_batch_publish(b, w), -EFBIG);
    ck_assert_int_eq(blobstore_batch_commit(b), -EFBIG);
    ck_assert_str_eq(get(store, "before"), "");
    ck_assert_str_eq(get(store, "after"), "");

    b = begin(store);
    blobstore_batch_put(b, BLOBSTORE_TAGS, "k", 1, long_value, BLOBSTORE_VALUE_MAX + 1);
    ck_assert_int_eq(blobstore_batch_commit(b), -EFBIG);
    b = begin(store);
    blobstore_batch_put(b, BLOBSTORE_TAGS, "", 0, "v", 1);
    ck_assert_int_eq(blobstore_batch_commit(b), -EINVAL);

    /* The limits themselves are allowed. */
    b = begin(store);
    blobstore_batch_put(b, BLOBSTORE_TAGS, long_key, BLOBSTORE_KEY_MAX, long_value, BLOBSTORE_VALUE_MAX);
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_commit(b));
    AUTO_BUF struct buf value = BUF_INIT(BLOBSTORE_VALUE_MAX);
    ck_ok(blobstore_record_get(store, BLOBSTORE_TAGS, long_key, BLOBSTORE_KEY_MAX, &value));
    ck_assert_uint_eq(value.len, BLOBSTORE_VALUE_MAX);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(a_batch_has_a_size_that_it_does_not_exceed)
{
    struct blobstore *store = helper_open(NULL);
    AUTO_FREE char *value = calloc(1, BLOBSTORE_VALUE_MAX);
    struct blobstore_batch *b = begin(store);
    for (unsigned i = 0; i < 5000; i++)
        blobstore_batch_put(b, BLOBSTORE_JOBS, &i, sizeof(i), value, BLOBSTORE_VALUE_MAX);
    ck_assert_int_eq(blobstore_batch_commit(b), -EFBIG);
    blobstore_close(store);
}
END_TEST

START_TEST(a_full_index_is_no_room_and_what_was_there_stays)
{
    struct blobstore_options options = {.root = helper_root(), .map_size = 1 << 20};
    struct blobstore_report report;
    struct blobstore *store;
    AUTO_FREE char *value = calloc(1, BLOBSTORE_VALUE_MAX);
    ck_ok(blobstore_open(&options, &store, &report));
    struct blobstore_batch *b = begin(store);
    put(b, "tag", "one");
    ck_ok(blobstore_batch_commit(b));
    b = begin(store);
    for (unsigned i = 0; i < 1000; i++)
        blobstore_batch_put(b, BLOBSTORE_JOBS, &i, sizeof(i), value, BLOBSTORE_VALUE_MAX);
    ck_assert_int_eq(blobstore_batch_commit(b), -ENOSPC);
    ck_assert_str_eq(get(store, "tag"), "one");
    b = begin(store);
    put(b, "tag", "two");
    ck_ok(blobstore_batch_commit(b));
    ck_assert_str_eq(get(store, "tag"), "two");
    blobstore_close(store);
}
END_TEST

START_TEST(changes_of_a_batch_are_done_in_their_order)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    put(b, "a", "1");
    put(b, "b", "1");
    blobstore_batch_delete(b, BLOBSTORE_TAGS, "a", 1);
    put(b, "b", "2");
    blobstore_batch_delete(b, BLOBSTORE_TAGS, "never there", 11);
    blobstore_batch_delete(b, BLOBSTORE_TAGS, "c", 1);
    put(b, "c", "3");
    ck_ok(blobstore_batch_commit(b));
    ck_assert_str_eq(get(store, "a"), "");
    ck_assert_str_eq(get(store, "b"), "2");
    ck_assert_str_eq(get(store, "c"), "3");
    blobstore_close(store);
}
END_TEST

START_TEST(tables_are_apart_and_outlive_the_process)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    for (int table = BLOBSTORE_TAGS; table < BLOBSTORE_TABLES; table++) {
        char value = (char)('0' + table);
        blobstore_batch_put(b, (enum blobstore_table)table, "key", 3, &value, 1);
    }
    blobstore_batch_put(b, BLOBSTORE_PINS, "empty", 5, NULL, 0);
    ck_ok(blobstore_batch_commit(b));
    blobstore_close(store);
    store = helper_open(NULL);
    AUTO_BUF struct buf value = BUF_INIT(10);
    for (int table = BLOBSTORE_TAGS; table < BLOBSTORE_TABLES; table++) {
        ck_ok(blobstore_record_get(store, (enum blobstore_table)table, "key", 3, &value));
        ck_assert_uint_eq(value.len, 1);
        ck_assert_int_eq(value.data[0], '0' + table);
    }
    ck_ok(blobstore_record_get(store, BLOBSTORE_PINS, "empty", 5, &value));
    ck_assert_uint_eq(value.len, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_record_that_is_longer_than_the_buffer_leaves_the_buffer_alone)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    put(b, "key", "0123456789");
    ck_ok(blobstore_batch_commit(b));
    AUTO_BUF struct buf value = BUF_INIT(9);
    ck_ok(buf_adds(&value, "before"));
    ck_assert_int_eq(blobstore_record_get(store, BLOBSTORE_TAGS, "key", 3, &value), -EFBIG);
    ck_assert_int_eq(blobstore_record_get(store, BLOBSTORE_TAGS, "none", 4, &value), -ENOENT);
    ck_assert_str_eq(value.data, "before");
    blobstore_close(store);
}
END_TEST

struct seen {
    char text[256];
    unsigned stop_after;
};

static int note(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);
    (void)snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s=%.*s ", (int)key_len, (const char *)key,
                   (int)value_len, (const char *)value);
    return seen->stop_after && --seen->stop_after == 0 ? 42 : 0;
}

START_TEST(a_scan_has_the_records_of_its_prefix_in_order_until_it_is_told_to_stop)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    put(b, "b/2", "y");
    put(b, "a", "before");
    put(b, "b/1", "x");
    put(b, "b0", "after"); /* '0' follows '/' */
    put(b, "b/3", "z");
    ck_ok(blobstore_batch_commit(b));
    struct seen seen = {.text = ""};
    ck_ok(blobstore_record_scan(store, BLOBSTORE_TAGS, "b/", 2, note, &seen));
    ck_assert_str_eq(seen.text, "b/1=x b/2=y b/3=z ");
    seen = (struct seen){.stop_after = 2};
    ck_assert_int_eq(blobstore_record_scan(store, BLOBSTORE_TAGS, "b/", 2, note, &seen), 42);
    ck_assert_str_eq(seen.text, "b/1=x b/2=y ");
    seen = (struct seen){.text = ""};
    ck_ok(blobstore_record_scan(store, BLOBSTORE_TAGS, NULL, 0, note, &seen));
    ck_assert_str_eq(seen.text, "a=before b/1=x b/2=y b/3=z b0=after ");
    seen = (struct seen){.text = ""};
    ck_ok(blobstore_record_scan(store, BLOBSTORE_TAGS, "c", 1, note, &seen));
    ck_ok(blobstore_record_scan(store, BLOBSTORE_PINS, NULL, 0, note, &seen));
    ck_assert_str_eq(seen.text, "");
    blobstore_close(store);
}
END_TEST

static int step_from(struct blobstore *store, const char *after, size_t max, struct seen *seen)
{
    struct blobstore_cursor at = {.key_len = strlen(after)};
    memcpy(at.key, after, at.key_len);
    return blobstore_record_step(store, BLOBSTORE_TAGS, &at, max, note, seen);
}

START_TEST(a_walk_goes_on_behind_the_last_key_of_the_step_before)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    put(b, "a", "1");
    put(b, "b", "2");
    put(b, "c", "3");
    ck_ok(blobstore_batch_commit(b));
    struct seen seen = {.text = ""};
    ck_ok(step_from(store, "", 10, &seen));
    ck_assert_str_eq(seen.text, "a=1 b=2 c=3 ");
    seen = (struct seen){.text = ""};
    ck_ok(step_from(store, "a", 10, &seen));
    ck_assert_str_eq(seen.text, "b=2 c=3 ");
    seen = (struct seen){.text = ""};
    ck_ok(step_from(store, "aa", 10, &seen)); /* deleted since */
    ck_assert_str_eq(seen.text, "b=2 c=3 ");
    seen = (struct seen){.text = ""};
    ck_ok(step_from(store, "c", 10, &seen));
    ck_assert_str_eq(seen.text, "");
    blobstore_close(store);
}
END_TEST

START_TEST(a_step_ends_after_so_many_records_or_before_one_that_is_not_taken)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_batch *b = begin(store);
    struct blobstore_cursor at = {.key_len = 0};
    put(b, "a", "1");
    put(b, "b", "2");
    put(b, "c", "3");
    ck_ok(blobstore_batch_commit(b));
    struct seen seen = {.text = ""};
    ck_assert_int_eq(blobstore_record_step(store, BLOBSTORE_TAGS, &at, 1, note, &seen), 1);
    ck_assert_str_eq(seen.text, "a=1 ");
    seen = (struct seen){.stop_after = 2};
    ck_assert_int_eq(blobstore_record_step(store, BLOBSTORE_TAGS, &at, 10, note, &seen), 1);
    ck_assert_str_eq(seen.text, "b=2 c=3 ");
    seen = (struct seen){.text = ""};
    ck_assert_int_eq(blobstore_record_step(store, BLOBSTORE_TAGS, &at, 1, note, &seen), 1);
    ck_assert_str_eq(seen.text, "c=3 ");
    ck_assert_int_eq(blobstore_record_step(store, BLOBSTORE_TAGS, &at, 1, note, &seen), 0);
    ck_assert_str_eq(seen.text, "c=3 ");
    blobstore_close(store);
}
END_TEST

START_TEST(what_a_batch_removes_is_there_until_its_commit_and_then_gone_with_its_file)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest gone = helper_store(store, 0), stays = helper_store(store, 1), never = helper_digest(2);
    struct blobstore_info info;
    struct blobstore_totals before, after;
    struct blobstore_content *content;
    uint8_t bytes[HELPER_CONTENT_MAX], expected[HELPER_CONTENT_MAX];
    size_t len = helper_content(0, expected);
    ck_ok(blobstore_totals(store, &before));
    ck_assert_uint_eq(before.blobs, 2);
    ck_ok(blobstore_get(store, &gone, &info, &content));
    struct blobstore_batch *b = begin(store);
    blobstore_batch_remove(b, &gone);
    blobstore_batch_remove(b, &never);
    ck_assert(helper_has(store, 0));
    ck_ok(blobstore_batch_commit(b));
    ck_assert(!helper_has(store, 0));
    ck_assert(!helper_exists(helper_blob_path(&gone)));
    ck_assert(helper_has(store, 1));
    ck_assert(helper_exists(helper_blob_path(&stays)));
    ck_ok(blobstore_totals(store, &after));
    ck_assert_uint_eq(after.blobs, 1);
    ck_assert_uint_eq(after.bytes, before.bytes - len);
    ck_ok(blobstore_content_read_all(content, bytes, len)); /* who has it open reads on */
    ck_assert_mem_eq(bytes, expected, len);
    blobstore_content_close(content);
    (void)helper_store(store, 0);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(a_batch_that_fails_or_is_aborted_removes_nothing)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest digest = helper_store(store, 0);
    struct blobstore_batch *b = begin(store);
    blobstore_batch_remove(b, &digest);
    blobstore_batch_abort(b);
    ck_assert(helper_has(store, 0));
    b = begin(store);
    blobstore_batch_remove(b, &digest);
    put(b, "", "no key");
    ck_assert_int_eq(blobstore_batch_commit(b), -EINVAL);
    ck_assert(helper_has(store, 0));
    blobstore_close(store);
}
END_TEST

START_TEST(a_blob_can_be_given_the_dates_of_the_store_that_it_comes_from)
{
    struct blobstore *store = helper_open(NULL);
    const struct digest stored = helper_store(store, 1), fresh = helper_digest(2), absent = helper_digest(3);
    struct blobstore_writer *w = helper_writer(store, 2);
    struct blobstore_batch *b;
    struct blobstore_info info;
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    blobstore_batch_date(b, &stored, 1000, 2000);
    blobstore_batch_date(b, &fresh, 3000, 4000);
    blobstore_batch_date(b, &absent, 5000, 6000);
    ck_ok(blobstore_batch_commit(b));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    ck_ok(blobstore_stat(store, &stored, &info));
    ck_assert(info.stored_at == 1000 && info.used_at == 2000);
    ck_ok(blobstore_stat(store, &fresh, &info));
    ck_assert(info.stored_at == 3000 && info.used_at == 4000 && info.verified_at > 4000);
    ck_assert_int_eq(blobstore_stat(store, &absent, &info), -ENOENT);
    blobstore_close(store);
}
END_TEST

START_TEST(a_temporary_file_has_no_name)
{
    struct blobstore *store = helper_open(NULL);
    AUTO_CLOSE int fd = -1;
    char back[5];
    ck_ok(blobstore_temporary(store, &fd));
    ck_assert_int_eq(pwrite(fd, "hello", 5, 0), 5);
    ck_assert_int_eq(pread(fd, back, 5, 0), 5);
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    blobstore_close(store);
}
END_TEST

START_TEST(the_room_is_that_of_the_file_system)
{
    struct blobstore *store = helper_open(NULL);
    struct statvfs fs;
    uint64_t size, available;
    ck_ok(statvfs(helper_root(), &fs));
    ck_ok(blobstore_room(store, &size, &available));
    ck_assert_uint_eq(size, (uint64_t)fs.f_blocks * fs.f_frsize);
    ck_assert_uint_le(available, size);
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch");
    TCase *tc = tcase_create("batch");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nothing_of_a_batch_is_seen_before_its_commit_and_all_of_it_afterwards);
    tcase_add_test(tc, a_published_file_is_read_only_and_its_writer_can_still_be_read);
    tcase_add_test(tc, what_is_stored_already_is_left_alone_and_ours_dropped);
    tcase_add_test(tc, a_damaged_blob_that_is_published_again_is_replaced_by_the_good_one);
    tcase_add_test(tc, a_file_without_a_record_in_the_way_does_not_pass_for_the_blob);
    tcase_add_test(tc, an_aborted_batch_changes_nothing_and_its_files_are_found_by_the_next_start);
    tcase_add_test(tc, a_blob_of_an_aborted_batch_can_be_published_again);
    tcase_add_test(tc, one_store_has_one_batch_at_a_time);
    tcase_add_test(tc, an_error_sticks_and_nothing_of_the_batch_is_kept);
    tcase_add_test(tc, a_batch_has_a_size_that_it_does_not_exceed);
    tcase_add_test(tc, a_full_index_is_no_room_and_what_was_there_stays);
    tcase_add_test(tc, changes_of_a_batch_are_done_in_their_order);
    tcase_add_test(tc, tables_are_apart_and_outlive_the_process);
    tcase_add_test(tc, a_record_that_is_longer_than_the_buffer_leaves_the_buffer_alone);
    tcase_add_test(tc, a_scan_has_the_records_of_its_prefix_in_order_until_it_is_told_to_stop);
    tcase_add_test(tc, a_walk_goes_on_behind_the_last_key_of_the_step_before);
    tcase_add_test(tc, a_step_ends_after_so_many_records_or_before_one_that_is_not_taken);
    tcase_add_test(tc, what_a_batch_removes_is_there_until_its_commit_and_then_gone_with_its_file);
    tcase_add_test(tc, a_batch_that_fails_or_is_aborted_removes_nothing);
    tcase_add_test(tc, a_blob_can_be_given_the_dates_of_the_store_that_it_comes_from);
    tcase_add_test(tc, a_temporary_file_has_no_name);
    tcase_add_test(tc, the_room_is_that_of_the_file_system);
    return helper_run(suite);
}
