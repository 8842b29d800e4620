#include "blobstore/frame.h"
#include "blobstore/packed.h"
#include "blobstore/seekable.h"
#include "blobstore/store.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char *noise_of(size_t len, unsigned seed)
{
    char *data = malloc(len + 1);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(rand_r(&seed) >> 8);
    return data;
}

static struct digest store_packed(struct blobstore *store, const void *data, size_t len)
{
    struct digest digest = helper_store_bytes(store, data, len);
    uint64_t saved;
    ck_ok(helper_pack(store, &digest, &saved));
    ck_assert_uint_gt(saved, 0);
    return digest;
}

static void flip(const char *path, off_t at)
{
    ck_ok(chmod(path, 0600));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    ck_ok(close(fd));
}

/* ------------------------------------------------------------------ round trips */

static const size_t sizes[] = {
    4097 * 4,          FRAME_CONTENT - 1,   FRAME_CONTENT,           FRAME_CONTENT + 1,
    3 * FRAME_CONTENT, BLOBSTORE_PACK_STEP, BLOBSTORE_PACK_STEP + 1, 3 * BLOBSTORE_PACK_STEP + 77};

START_TEST(what_is_packed_is_read_byte_for_byte_at_any_offset)
{
    struct blobstore *store = helper_open(NULL);
    size_t len = sizes[_i];
    AUTO_FREE char *data = helper_text(len, 1);
    struct blobstore_totals totals;
    struct blobstore_info info;
    struct digest digest = store_packed(store, data, len);
    ck_assert(!helper_exists(helper_blob_path(&digest)));
    ck_assert(helper_exists(helper_packed_path(&digest)));
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert(info.is_packed && !info.may_be_packed);
    ck_assert_uint_eq(info.size, len);
    ck_assert_uint_lt(info.file_size, len);
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.bytes, info.file_size);
    ck_assert_uint_eq(totals.content, len);

    const size_t pieces[] = {len, 4096, 100000, FRAME_CONTENT, 2 * FRAME_CONTENT + 5};
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
        helper_check_content(store, &digest, data, len, pieces[i]);
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    ck_ok(blobstore_get(store, &digest, &info, &content));
    unsigned seed = 5;
    for (unsigned i = 0; i < 200; i++) { /* forth and back */
        char bytes[700];
        size_t at = (size_t)rand_r(&seed) % len, want = 1 + (size_t)rand_r(&seed) % sizeof(bytes);
        ssize_t n = blobstore_content_read(content, at, bytes, want < len - at ? want : len - at);
        ck_assert_int_gt(n, 0);
        ck_assert_mem_eq(bytes, data + at, (size_t)n);
    }
    char byte;
    ck_assert_int_eq(blobstore_content_read(content, len, &byte, 1), -EBADMSG);
    blobstore_content_close(TAKE_PTR(content));
    ck_assert_uint_eq(atomic_load(&store->kept), 0);
    blobstore_close(store);

    struct blobstore_report report;
    store = helper_open(&report);
    ck_assert(report.clean);
    ck_assert_uint_eq(report.discarded + report.adopted + report.dropped, 0);
    ck_assert_uint_eq(report.bytes, info.file_size);
    helper_check_content(store, &digest, data, len, 4096);
    ck_ok(blobstore_remove(store, &digest));
    ck_assert(!helper_exists(helper_packed_path(&digest)));
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.bytes + totals.content, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(the_file_is_one_that_zstd_reads)
{
    struct blobstore *store = helper_open(NULL);
    size_t len = 5 * FRAME_CONTENT + 3;
    AUTO_FREE char *data = helper_text(len, 1);
    struct digest digest = store_packed(store, data, len);
    AUTO_FREE char *plain = malloc(len);
    struct stat st;
    ck_ok(stat(helper_packed_path(&digest), &st));
    AUTO_FREE char *file = malloc((size_t)st.st_size);
    AUTO_CLOSE int fd = open(helper_packed_path(&digest), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, file, (size_t)st.st_size), st.st_size);
    ck_ok(frame_decompress(file, (size_t)st.st_size, plain, len)); /* all frames, and the one that is skipped */
    ck_assert_mem_eq(plain, data, len);
    blobstore_close(store);
}
END_TEST

START_TEST(readers_beyond_what_may_be_kept_read_all_the_same)
{
    struct blobstore *store = helper_open(NULL);
    size_t len = 3 * FRAME_CONTENT;
    AUTO_FREE char *data = helper_text(len, 1);
    struct digest digest = store_packed(store, data, len);
    atomic_store(&store->kept, PACKED_KEPT_MAX);
    helper_check_content(store, &digest, data, len, 50000);
    ck_assert_uint_eq(atomic_load(&store->kept), PACKED_KEPT_MAX);
    blobstore_close(store);
}
END_TEST

START_TEST(who_reads_the_plain_file_reads_on_and_a_second_publish_changes_nothing)
{
    struct blobstore *store = helper_open(NULL);
    size_t len = 300000;
    AUTO_FREE char *data = helper_text(len, 1), *bytes = malloc(len);
    struct digest digest = helper_store_bytes(store, data, len);
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    struct blobstore_info info;
    uint64_t saved;
    ck_ok(blobstore_get(store, &digest, &info, &content));
    ck_assert(info.may_be_packed);
    ck_ok(helper_pack(store, &digest, &saved));
    ck_ok(blobstore_content_read_all(content, bytes, len));
    ck_assert_mem_eq(bytes, data, len);
    ck_assert_int_eq(helper_pack(store, &digest, &saved), -EALREADY);
    (void)helper_store_bytes(store, data, len);
    ck_assert(!helper_exists(helper_blob_path(&digest)));
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert(info.is_packed);
    blobstore_content_close(TAKE_PTR(content));
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ what is worth it */

START_TEST(what_would_not_shrink_stays_and_is_not_tried_again)
{
    struct blobstore *store = helper_open(NULL);
    struct blobstore_info info;
    const size_t lens[] = {100000, 2 * BLOBSTORE_PACK_STEP};
    for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
        AUTO_FREE char *data = noise_of(lens[i], i + 1);
        data[0] = 'x'; /* no magic by chance */
        struct digest digest = helper_store_bytes(store, data, lens[i]);
        uint64_t saved = 1;
        ck_ok(blobstore_stat(store, &digest, &info));
        ck_assert(info.may_be_packed);
        ck_ok(helper_pack(store, &digest, &saved));
        ck_assert_uint_eq(saved, 0);
        ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
        ck_ok(blobstore_stat(store, &digest, &info));
        ck_assert(!info.may_be_packed && !info.is_packed);
        ck_assert_int_eq(helper_pack(store, &digest, &saved), -EALREADY);
        helper_check_content(store, &digest, data, lens[i], 4096);
    }
    blobstore_close(store);
}
END_TEST

START_TEST(small_and_compressed_content_is_known_at_publish_to_stay)
{
    struct blobstore *store = helper_open(NULL);
    static const char *const heads[] = {"\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "\xfd\x37zXZ", "BZh9"};
    struct blobstore_info info;
    struct digest digest;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        AUTO_FREE char *data = helper_text(100000, 1);
        memcpy(data, heads[i], strlen(heads[i]) + 1);
        digest = helper_store_bytes(store, data, 100000);
        ck_ok(blobstore_stat(store, &digest, &info));
        ck_assert(!info.may_be_packed);
    }
    AUTO_FREE char *data = helper_text(4097, 1);
    digest = helper_store_bytes(store, data, 4096); /* takes a block in any form */
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert(!info.may_be_packed);
    ck_assert_int_eq(blobstore_next_to_pack(store, &digest), -ENOENT);
    struct digest last = helper_store_bytes(store, data, 4097);
    ck_ok(blobstore_next_to_pack(store, &digest));
    ck_assert(digest_equal(&digest, &last));
    ck_assert_int_eq(blobstore_next_to_pack(store, &digest), -ENOENT);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ damage */

START_TEST(a_flipped_bit_anywhere_is_met_and_the_blob_can_be_condemned)
{
    struct blobstore *store = helper_open(NULL);
    size_t len = 3 * FRAME_CONTENT;
    AUTO_FREE char *data = helper_text(len, 1), *bytes = malloc(len);
    struct digest digest = store_packed(store, data, len);
    struct stat st;
    ck_ok(stat(helper_packed_path(&digest), &st));
    struct blobstore_info info;
    ck_ok(blobstore_stat(store, &digest, &info));
    const off_t places[] = {0, 100, st.st_size / 2, st.st_size - 1, st.st_size - 9, st.st_size - 14, st.st_size - 37};
    AUTO(auto_blobstore_content_close) struct blobstore_content *content = NULL;
    ck_ok(blobstore_get(store, &digest, &info, &content)); /* and the file goes bad while it is open */
    flip(helper_packed_path(&digest), places[_i]);
    ck_assert_int_eq(blobstore_content_read_all(content, bytes, len), -EBADMSG);
    ck_ok(blobstore_condemn(store, &digest, blobstore_content_fd(content)));
    ck_assert(!helper_exists(helper_packed_path(&digest)));
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 1);
    ck_assert_int_eq(blobstore_stat(store, &digest, &info), -ENOENT);
    (void)store_packed(store, data, len);
    helper_check_content(store, &digest, data, len, len);
    blobstore_content_close(TAKE_PTR(content));
    blobstore_close(store);
}
END_TEST

START_TEST(a_packed_file_that_was_touched_is_damaged_when_it_is_opened)
{
    struct blobstore *store = helper_open(NULL);
    AUTO_FREE char *data = helper_text(50000, 1);
    struct digest digest = store_packed(store, data, 50000);
    struct blobstore_info info;
    struct blobstore_content *content;
    ck_ok(truncate(helper_packed_path(&digest), 100));
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -EBADMSG);
    ck_assert_int_eq(blobstore_get(store, &digest, &info, &content), -ENOENT);
    ck_assert_uint_eq(helper_count(helper_path("quarantine")), 1);
    digest = store_packed(store, data, 50000);
    ck_ok(unlink(helper_packed_path(&digest)));
    (void)store_packed(store, data, 50000); /* a publish finds it missing */
    helper_check_content(store, &digest, data, 50000, 50000);
    blobstore_close(store);
}
END_TEST

START_TEST(a_plain_file_with_wrong_bytes_is_not_packed)
{
    struct blobstore *store = helper_open(NULL);
    AUTO_FREE char *data = helper_text(300000, 1);
    struct digest digest = helper_store_bytes(store, data, 300000);
    AUTO(auto_blobstore_pack_close) struct blobstore_packing *p = NULL;
    ck_ok(blobstore_pack_begin(store, &digest, HELPER_PACK_LEVEL, &p));
    flip(helper_blob_path(&digest), 200000);
    int r;
    while ((r = blobstore_pack_step(p)) > 0)
        ;
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert(!helper_exists(helper_packed_path(&digest)));
    struct blobstore_info info;
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert(info.may_be_packed);
    ck_assert_int_eq(info.verified_at, 0); /* whoever comes next looks into it */
    blobstore_pack_close(TAKE_PTR(p));
    blobstore_close(store);
}
END_TEST

START_TEST(a_blob_that_is_removed_meanwhile_is_not_packed)
{
    struct blobstore *store = helper_open(NULL);
    AUTO_FREE char *data = helper_text(300000, 1);
    for (unsigned again = 0; again < 2; again++) {
        struct digest digest = helper_store_bytes(store, data, 300000);
        AUTO(auto_blobstore_pack_close) struct blobstore_packing *p = NULL;
        ck_ok(blobstore_pack_begin(store, &digest, HELPER_PACK_LEVEL, &p));
        ck_assert_int_eq(blobstore_pack_step(p), 1);
        ck_ok(blobstore_remove(store, &digest));
        if (again)
            (void)helper_store_bytes(store, data, 300000); /* another file */
        int r;
        while ((r = blobstore_pack_step(p)) > 0)
            ;
        ck_assert_int_eq(r, -ESTALE);
        ck_assert(!helper_exists(helper_packed_path(&digest)));
    }
    blobstore_close(store);
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
}
END_TEST

/* ------------------------------------------------------------------ what a crash leaves */

enum state {
    HALF_WRITTEN,   /* partial/….zst, the plain file as it was */
    NOT_RECORDED,   /* both files, and the record is that of the plain one */
    NOT_UNLINKED,   /* both files, and the record is that of the packed one */
    RECORD_LOST,    /* both files, and no record */
    PACKED_ALONE,   /* the packed file, and no record */
    INDEX_LOST,     /* the packed file, and no index */
    PLAIN_DAMAGED,  /* both files and no record; only the packed one is good */
    PACKED_DAMAGED, /* both files and no record; only the plain one is good */
    STATES
};

static void forget_record(struct blobstore *store, const struct digest *digest)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    ck_ok(index_begin_write(store->index, &t));
    catalog_delete(&t, digest);
    ck_ok(index_commit(&t));
}

static void link_back(const char *from, const char *to)
{
    ck_ok(rename(from, to));
}

START_TEST(whatever_a_crash_leaves_of_a_packing_the_next_start_has_one_good_file)
{
    enum state state = (enum state)_i;
    struct blobstore_report report;
    struct blobstore_totals totals;
    struct blobstore_info info;
    struct blobstore *store = helper_open(NULL);
    size_t len = 3 * FRAME_CONTENT + 9;
    AUTO_FREE char *data = helper_text(len, 1);
    struct digest digest = helper_store_bytes(store, data, len);
    char aside[4096], packed_aside[4096];
    (void)snprintf(aside, sizeof(aside), "%s", helper_path("aside"));
    (void)snprintf(packed_aside, sizeof(packed_aside), "%s", helper_path("packed-aside"));
    uint64_t saved;
    bool is_packed = state == NOT_UNLINKED || state == PACKED_ALONE || state == INDEX_LOST || state == PLAIN_DAMAGED;

    if (state == HALF_WRITTEN) {
        char name[200];
        (void)snprintf(name, sizeof(name), "partial/sha256-%s.zst", strrchr(helper_blob_path(&digest), '/') + 1);
        helper_write_file(helper_path("%s", name), data, 1000);
    } else if (state == NOT_RECORDED) {
        /* Another store makes the packed file; its record is that of the plain one here. */
        helper_write_file(packed_aside, data, 10);
        link_back(packed_aside, helper_packed_path(&digest));
    } else {
        helper_write_file(aside, data, len); /* another inode than the plain file, as good as it */
        ck_ok(helper_pack(store, &digest, &saved));
        if (state != PACKED_ALONE && state != INDEX_LOST)
            link_back(aside, helper_blob_path(&digest));
        if (state == PLAIN_DAMAGED)
            flip(helper_blob_path(&digest), 5);
        if (state == PACKED_DAMAGED)
            flip(helper_packed_path(&digest), 100);
        if (state != NOT_UNLINKED && state != INDEX_LOST)
            forget_record(store, &digest);
    }
    atomic_store(&store->untidy, true);
    blobstore_close(store);
    if (state == INDEX_LOST) {
        ck_ok(unlink(helper_path("index/data.mdb")));
        ck_ok(unlink(helper_path("index/lock.mdb")));
    }

    store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 1);
    helper_check_content(store, &digest, data, len, 4096);
    ck_assert_int_eq(helper_exists(helper_packed_path(&digest)), is_packed);
    ck_assert_int_eq(helper_exists(helper_blob_path(&digest)), !is_packed);
    ck_assert_uint_eq(helper_count(helper_path("partial")), 0);
    ck_ok(blobstore_stat(store, &digest, &info));
    ck_assert(info.is_packed == is_packed);
    ck_ok(blobstore_totals(store, &totals));
    ck_assert_uint_eq(totals.bytes, info.file_size);
    ck_assert_uint_eq(totals.content, len);
    ck_assert_uint_eq(report.bytes, info.file_size);
    if (!is_packed)
        ck_ok(helper_pack(store, &digest, &saved));
    helper_check_content(store, &digest, data, len, len);
    blobstore_close(store);

    store = helper_open(&report); /* and then there is nothing left to be done */
    ck_assert_uint_eq(report.discarded + report.adopted + report.dropped, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(a_store_that_was_copied_knows_its_packed_files)
{
    struct blobstore_report report;
    struct blobstore *store = helper_open(NULL);
    AUTO_FREE char *data = helper_text(300000, 1);
    struct digest digest = store_packed(store, data, 300000);
    blobstore_close(store);
    helper_copy_root();
    store = helper_open(&report);
    ck_assert_uint_eq(report.blobs, 1);
    ck_assert_uint_eq(report.adopted, 1);
    helper_check_content(store, &digest, data, 300000, 4096);
    blobstore_close(store);
}
END_TEST

/* ------------------------------------------------------------------ tables that are wrong */

static int open_bytes(const uint8_t *bytes, size_t len)
{
    atomic_size_t kept = 0;
    struct packed *p = NULL;
    helper_write_file(helper_path("table"), bytes, len);
    AUTO_CLOSE int fd = open(helper_path("table"), O_RDONLY | O_CLOEXEC);
    int r = packed_open(fd, &kept, &p);
    packed_close(p);
    return r;
}

START_TEST(a_table_that_does_not_fit_its_file_is_refused)
{
    /* two frames of 30 and 20 bytes, with 4096 and 100 bytes in them */
    uint8_t file[50 + SEEK_HEADER_SIZE + 2 * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE] = {0};
    uint8_t *header = file + 50, *entries = header + SEEK_HEADER_SIZE, *footer = entries + 2 * SEEK_ENTRY_SIZE;
    ck_ok(mkdir(helper_root(), 0700));
    seek_header_encode(2, header);
    seek_entry_encode(&(struct seek_entry){30, 4096}, entries);
    seek_entry_encode(&(struct seek_entry){20, 100}, entries + SEEK_ENTRY_SIZE);
    seek_footer_encode(2, footer);
    ck_assert_int_eq(open_bytes(file, sizeof(file)), 0);
    for (size_t n = 0; n < sizeof(file); n++)
        ck_assert_int_eq(open_bytes(file, n), -EBADMSG); /* cut short */
    ck_assert_int_eq(open_bytes(file + 1, sizeof(file) - 1), -EBADMSG);
    for (size_t i = 50; i < sizeof(file); i++) {
        bool is_content_of_the_last = i >= 50 + SEEK_HEADER_SIZE + 12 && i < 50 + SEEK_HEADER_SIZE + 14;
        bool is_content_of_the_first = i >= 50 + SEEK_HEADER_SIZE + 4 && i < 50 + SEEK_HEADER_SIZE + 7;
        if (is_content_of_the_last || is_content_of_the_first)
            continue; /* only the frames tell */
        file[i] ^= 0x20;
        ck_assert_int_eq(open_bytes(file, sizeof(file)), -EBADMSG);
        file[i] ^= 0x20;
    }
    seek_entry_encode(&(struct seek_entry){30, 0}, entries);
    ck_assert_int_eq(open_bytes(file, sizeof(file)), -EBADMSG);
    seek_entry_encode(&(struct seek_entry){30, 99}, entries); /* the last is larger than the first */
    ck_assert_int_eq(open_bytes(file, sizeof(file)), -EBADMSG);
    seek_entry_encode(&(struct seek_entry){30, FRAME_CONTENT_MAX + 1}, entries);
    ck_assert_int_eq(open_bytes(file, sizeof(file)), -EBADMSG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pack");
    TCase *tc = tcase_create("pack");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, helper_setup, helper_cleanup);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, what_is_packed_is_read_byte_for_byte_at_any_offset, 0, ARRAY_SIZE(sizes));
    tcase_add_test(tc, the_file_is_one_that_zstd_reads);
    tcase_add_test(tc, readers_beyond_what_may_be_kept_read_all_the_same);
    tcase_add_test(tc, who_reads_the_plain_file_reads_on_and_a_second_publish_changes_nothing);
    tcase_add_test(tc, what_would_not_shrink_stays_and_is_not_tried_again);
    tcase_add_test(tc, small_and_compressed_content_is_known_at_publish_to_stay);
    tcase_add_loop_test(tc, a_flipped_bit_anywhere_is_met_and_the_blob_can_be_condemned, 0, 7);
    tcase_add_test(tc, a_packed_file_that_was_touched_is_damaged_when_it_is_opened);
    tcase_add_test(tc, a_plain_file_with_wrong_bytes_is_not_packed);
    tcase_add_test(tc, a_blob_that_is_removed_meanwhile_is_not_packed);
    tcase_add_loop_test(tc, whatever_a_crash_leaves_of_a_packing_the_next_start_has_one_good_file, 0, STATES);
    tcase_add_test(tc, a_store_that_was_copied_knows_its_packed_files);
    tcase_add_test(tc, a_table_that_does_not_fit_its_file_is_refused);
    return helper_run(suite);
}
