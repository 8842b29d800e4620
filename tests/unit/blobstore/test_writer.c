#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *partial_path(const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    *strchr(digest_format(digest, text), ':') = '-';
    return helper_path("partial/%s", text);
}

START_TEST(a_writer_appends_and_its_bytes_can_be_read_meanwhile)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    char bytes[16];
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_append(w, "one ", 4));
    ck_ok(blobstore_writer_append(w, "", 0));
    ck_ok(blobstore_writer_append(w, "two", 3));
    ck_assert_uint_eq(blobstore_writer_length(w), 7);
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0), 7);
    ck_assert_mem_eq(bytes, "one two", 7);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    ck_assert(!helper_exists(partial_path(&digest)));
    blobstore_close(store);
}
END_TEST

START_TEST(a_kept_writer_goes_on_where_it_ended_in_another_process)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_append(w, "half", 4));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    blobstore_close(store);

    struct blobstore_report report;
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.partials, 1);
    ck_assert_uint_eq(report.partial_bytes, 4);
    w = helper_open_writer(store, 0, 4);
    ck_ok(blobstore_writer_append(w, " full", 5));
    char bytes[16];
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0), 9);
    ck_assert_mem_eq(bytes, "half full", 9);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(one_digest_has_one_writer_at_a_time)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0), other = helper_digest(2);
    struct blobstore_writer *w, *second, *beside;
    uint64_t length;
    ck_ok(blobstore_writer_open(store, &digest, &w, &length));
    ck_assert_int_eq(blobstore_writer_open(store, &digest, &second, &length), -EBUSY);
    ck_ok(blobstore_writer_open(store, &other, &beside, &length));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    ck_ok(blobstore_writer_open(store, &digest, &second, &length));
    blobstore_writer_close(second, BLOBSTORE_DISCARD);
    blobstore_writer_close(beside, BLOBSTORE_DISCARD);
    blobstore_writer_close(NULL, BLOBSTORE_KEEP);
    blobstore_close(store);
}
END_TEST

START_TEST(room_reserved_leaves_the_length_and_is_given_back)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    struct stat st;
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_reserve(w, 32 << 20));
    ck_assert_uint_eq(blobstore_writer_length(w), 0);
    ck_ok(fstat(blobstore_writer_fd(w), &st));
    ck_assert_int_eq(st.st_size, 0);
    bool reserves = st.st_blocks > 0; /* where the file system can */
    ck_ok(blobstore_writer_append(w, "abc", 3));
    ck_ok(blobstore_writer_reserve(w, 2)); /* is there already */
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_ok(stat(partial_path(&digest), &st));
    ck_assert_int_eq(st.st_size, 3);
    if (reserves)
        ck_assert_int_le(st.st_blocks, 64);
    blobstore_close(store);
}
END_TEST

START_TEST(more_room_than_there_can_be_is_an_error_and_not_a_crash)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    uint64_t length = blobstore_writer_length(w);
    ck_assert_int_eq(blobstore_writer_reserve(w, UINT64_MAX), -EFBIG);
    int r = blobstore_writer_reserve(w, 1ULL << 50);
    ck_assert_msg(r == -ENOSPC || r == -EFBIG || r == 0, "%d", r);
    ck_assert_uint_eq(blobstore_writer_length(w), length);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(a_tail_that_was_never_announced_is_cut_off_when_the_file_is_kept)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_writer(store, 0);
    uint64_t length = blobstore_writer_length(w);
    /* As an append that failed half way leaves it. */
    ck_assert_int_eq(pwrite(blobstore_writer_fd(w), "tail", 4, (off_t)length), 4);
    ck_assert_uint_eq(blobstore_writer_length(w), length);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    w = helper_open_writer(store, 0, length);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

/* A writer with "front" at the start of ten bytes of room, and bytes ahead of a gap. */
static struct blobstore_writer *ragged_writer(struct blobstore *store)
{
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_reserve(w, 10));
    ck_ok(blobstore_writer_write(w, 8, "ea", 2));
    ck_assert_uint_eq(blobstore_writer_length(w), 0);
    ck_ok(blobstore_writer_append(w, "front", 5));
    return w;
}

static uint64_t size_of_partial(void)
{
    struct stat st;
    struct digest digest = helper_digest(0);
    ck_ok(stat(partial_path(&digest), &st));
    return (uint64_t)st.st_size;
}

START_TEST(bytes_ahead_of_a_gap_count_when_it_is_closed)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = ragged_writer(store);
    char bytes[16];
    ck_ok(blobstore_writer_write(w, 5, "ahs", 3));
    ck_assert_uint_eq(blobstore_writer_length(w), 5);
    ck_ok(blobstore_writer_extend(w, 10));
    ck_assert_uint_eq(blobstore_writer_length(w), 10);
    ck_assert_int_eq(pread(blobstore_writer_fd(w), bytes, 10, 0), 10);
    ck_assert_mem_eq(bytes, "frontahsea", 10);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_assert_uint_eq(size_of_partial(), 10);
    blobstore_close(store);
}
END_TEST

START_TEST(bytes_ahead_of_a_gap_are_not_kept)
{
    struct blobstore *store = helper_open(NULL);
    blobstore_writer_close(ragged_writer(store), BLOBSTORE_KEEP);
    ck_assert_uint_eq(size_of_partial(), 5);
    blobstore_close(store);
}
END_TEST

START_TEST(a_writer_that_was_killed_with_bytes_ahead_left_what_is_before_the_gap)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = ragged_writer(store);
    struct digest digest = helper_digest(0);
    char bytes[64];
    /* The file as it is now, in the place of the one that an orderly close leaves. */
    ssize_t size = pread(blobstore_writer_fd(w), bytes, sizeof(bytes), 0);
    ck_assert_int_gt(size, 10);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    AUTO_CLOSE int fd = open(partial_path(&digest), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, bytes, (size_t)size), size);
    w = helper_open_writer(store, 0, 5);
    ck_assert_uint_eq(size_of_partial(), 5); /* once it is cut nothing of it can come back */
    blobstore_writer_close(w, BLOBSTORE_KEEP);

    ck_ok(pwrite(fd, bytes, (size_t)size - 1, 0) == size - 1 ? 0 : -EIO); /* half a mark is none */
    w = helper_open_writer(store, 0, (uint64_t)size - 1);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(a_writer_starts_again_where_its_bytes_were_wrong)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = ragged_writer(store);
    ck_ok(blobstore_writer_restart(w));
    ck_assert_uint_eq(blobstore_writer_length(w), 0);
    ck_assert_uint_eq(size_of_partial(), 0);
    ck_ok(blobstore_writer_append(w, "right", 5));
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_assert_uint_eq(size_of_partial(), 5);
    blobstore_close(store);
}
END_TEST

START_TEST(a_kept_file_without_bytes_is_not_kept)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_assert(!helper_exists(partial_path(&digest)));
    blobstore_close(store);
}
END_TEST

START_TEST(many_megabytes_come_through_whole)
{
    struct blobstore *store = helper_open(NULL);
    const size_t block = 1 << 20, blocks = 20; /* more than is handed to write-back at once */
    AUTO_FREE char *data = malloc(block);
    struct digest_state *state;
    struct digest digest;
    ck_ok(digest_begin(DIGEST_SHA256, &state));
    for (size_t i = 0; i < blocks; i++) {
        memset(data, (int)('a' + i), block);
        ck_ok(digest_update(state, data, block));
    }
    ck_ok(digest_end(state, &digest));
    digest_destroy(state);

    struct blobstore_writer *w;
    uint64_t length;
    ck_ok(blobstore_writer_open(store, &digest, &w, &length));
    ck_ok(blobstore_writer_reserve(w, blocks * block));
    for (size_t i = 0; i < blocks; i++) {
        memset(data, (int)('a' + i), block);
        ck_ok(blobstore_writer_append(w, data, block));
    }
    struct blobstore_batch *b;
    ck_ok(blobstore_batch_begin(store, &b));
    ck_ok(blobstore_batch_publish(b, w));
    ck_ok(blobstore_batch_commit(b));
    blobstore_writer_close(w, BLOBSTORE_DISCARD);

    struct blobstore_info info;
    struct blobstore_content *content;
    ck_ok(blobstore_get(store, &digest, &info, &content));
    ck_assert_uint_eq(info.size, blocks * block);
    for (size_t i = 0; i < blocks; i++) {
        ck_assert_int_eq(blobstore_content_read(content, i * block, data, block), (ssize_t)block);
        ck_assert_int_eq(data[0], (int)('a' + i));
        ck_assert_int_eq(data[block - 1], (int)('a' + i));
    }
    blobstore_content_close(content);
    blobstore_close(store);
}
END_TEST

struct seen {
    unsigned count, open;
    struct blobstore_partial last; /* that is not open; else the last */
};

static int see_partial(void *arg, const struct blobstore_partial *p)
{
    struct seen *seen = arg;
    seen->count++;
    seen->open += p->is_open;
    if (!p->is_open || seen->count == seen->open)
        seen->last = *p;
    return 0;
}

static struct seen look_at_partials(struct blobstore *store)
{
    struct seen seen = {0};
    ck_ok(blobstore_each_partial(store, see_partial, &seen));
    return seen;
}

START_TEST(unfinished_writes_are_seen_with_those_that_a_writer_has)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    ck_assert_uint_eq(look_at_partials(store).count, 0);
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_append(w, "half", 4));
    struct seen seen = look_at_partials(store);
    ck_assert(seen.count == 1 && seen.open == 1);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    struct blobstore_writer *open = helper_open_writer(store, 2, 0);
    seen = look_at_partials(store);
    ck_assert(seen.count == 2 && seen.open == 1);
    ck_assert(digest_equal(&seen.last.digest, &digest));
    ck_assert_uint_ge(seen.last.size, 4);
    ck_assert_int_gt(seen.last.written_at, 1600000000000);
    blobstore_writer_close(open, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(an_unfinished_write_takes_the_room_that_was_reserved_for_it)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_reserve(w, 1 << 20));
    ck_assert_uint_ge(look_at_partials(store).last.size, 1 << 20);
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(an_unfinished_write_is_discarded_where_no_writer_has_it)
{
    struct blobstore *store = helper_open(NULL);
    struct digest digest = helper_digest(0);
    ck_assert_int_eq(blobstore_discard_partial(store, &digest), -ENOENT);
    struct blobstore_writer *w = helper_open_writer(store, 0, 0);
    ck_ok(blobstore_writer_append(w, "half", 4));
    ck_assert_int_eq(blobstore_discard_partial(store, &digest), -EBUSY);
    blobstore_writer_close(w, BLOBSTORE_KEEP);
    ck_ok(blobstore_discard_partial(store, &digest));
    ck_assert(!helper_exists(partial_path(&digest)));
    w = helper_open_writer(store, 0, 0); /* and it may begin anew */
    blobstore_writer_close(w, BLOBSTORE_DISCARD);
    blobstore_close(store);
}
END_TEST

START_TEST(quarantine_is_counted_and_emptied_but_for_what_is_not_ours)
{
    struct blobstore *store = helper_open(NULL);
    uint64_t files, bytes;
    helper_write_file(helper_path("quarantine/0001750000000-sha256-x"), "damaged", 7);
    helper_write_file(helper_path("quarantine/foreign-0001750000000-x"), "foreign", 7);
    ck_ok(blobstore_quarantine(store, false, &files, &bytes));
    ck_assert(files == 1 && bytes == 7);
    ck_ok(blobstore_quarantine(store, true, &files, &bytes));
    ck_assert(files == 1 && bytes == 7);
    ck_ok(blobstore_quarantine(store, true, &files, &bytes));
    ck_assert(files == 0 && bytes == 0);
    ck_assert(helper_exists(helper_path("quarantine/foreign-0001750000000-x")));
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("writer");
    TCase *tc = tcase_create("writer");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_writer_appends_and_its_bytes_can_be_read_meanwhile);
    tcase_add_test(tc, a_kept_writer_goes_on_where_it_ended_in_another_process);
    tcase_add_test(tc, one_digest_has_one_writer_at_a_time);
    tcase_add_test(tc, room_reserved_leaves_the_length_and_is_given_back);
    tcase_add_test(tc, more_room_than_there_can_be_is_an_error_and_not_a_crash);
    tcase_add_test(tc, a_tail_that_was_never_announced_is_cut_off_when_the_file_is_kept);
    tcase_add_test(tc, bytes_ahead_of_a_gap_count_when_it_is_closed);
    tcase_add_test(tc, bytes_ahead_of_a_gap_are_not_kept);
    tcase_add_test(tc, a_writer_that_was_killed_with_bytes_ahead_left_what_is_before_the_gap);
    tcase_add_test(tc, a_writer_starts_again_where_its_bytes_were_wrong);
    tcase_add_test(tc, a_kept_file_without_bytes_is_not_kept);
    tcase_add_test(tc, unfinished_writes_are_seen_with_those_that_a_writer_has);
    tcase_add_test(tc, an_unfinished_write_takes_the_room_that_was_reserved_for_it);
    tcase_add_test(tc, an_unfinished_write_is_discarded_where_no_writer_has_it);
    tcase_add_test(tc, quarantine_is_counted_and_emptied_but_for_what_is_not_ours);
    tcase_add_test(tc, many_megabytes_come_through_whole);
    return helper_run(suite);
}
