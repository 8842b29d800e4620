/* Making backups, and what is in them. */
#include "world.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char *file, *later;

static void setup(void)
{
    helper_setup();
    file = world_file("a.tar.zst");
    later = world_file("b.tar.zst");
}

START_TEST(a_backup_has_everything_and_is_good)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    world_fill(store, 0, 20);
    struct world_backup b = world_backup(store, file, NULL);
    ck_assert_uint_eq(b.header.blobs, 20);
    ck_assert_uint_eq(b.end.blobs, 20);
    ck_assert_uint_eq(b.end.bytes, b.header.bytes);
    ck_assert_uint_eq(b.end.missing + b.end.damaged, 0);
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.blobs, 20);
    ck_assert_uint_eq(report.bytes, b.header.bytes);
    ck_assert_uint_eq(report.records, 100);
    ck_assert_uint_eq(report.wrong + report.missing + report.elsewhere, 0);
    ck_assert_str_eq(report.header.id, b.header.id);
    blobstore_close(store);
}
END_TEST

START_TEST(an_empty_store_makes_a_good_backup)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    (void)world_backup(store, file, NULL);
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.blobs, 0);
    blobstore_close(store);
}
END_TEST

/* As a blob that was stored long before the base was made. */
static void make_old(struct blobstore *store, unsigned from, unsigned to)
{
    struct blobstore_batch *batch;
    ck_ok(blobstore_batch_begin(store, &batch));
    for (unsigned n = from; n < to; n++) {
        const struct digest digest = helper_digest(n);
        blobstore_batch_date(batch, &digest, clock_real_ms() - 48 * 60 * CLOCK_MINUTE, clock_real_ms());
    }
    ck_ok(blobstore_batch_commit(batch));
}

START_TEST(an_incremental_backup_has_what_came_since)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    world_fill(store, 0, 20);
    make_old(store, 0, 20);
    struct world_backup base = world_backup(store, file, NULL);
    world_fill(store, 20, 25);
    struct world_backup b = world_backup(store, later, &base);
    AUTO_BUF struct buf problems = BUF_INIT(4 * KIB);
    ck_assert_uint_eq(b.header.blobs, 25);
    ck_assert_uint_eq(b.end.blobs, 5);
    ck_assert_str_eq(b.header.base, base.header.id);
    ck_ok(backup_fits(later, file, &problems));
    ck_ok(world_verify(&report, FILES(later)));
    ck_assert_uint_eq(report.elsewhere, 20);
    ck_assert_uint_eq(report.missing, 0);
    ck_ok(world_verify(&report, FILES(file, later)));
    ck_assert_uint_eq(report.blobs, 25);
    ck_assert_uint_eq(report.elsewhere + report.missing + report.wrong, 0);
    blobstore_close(store);
}
END_TEST

START_TEST(what_was_stored_shortly_before_the_base_is_in_both)
{
    struct blobstore *store = helper_open(NULL);
    world_fill(store, 0, 3);
    struct world_backup base = world_backup(store, file, NULL);
    struct world_backup b = world_backup(store, later, &base);
    ck_assert_uint_eq(b.end.blobs, 3);
    blobstore_close(store);
}
END_TEST

START_TEST(an_incremental_backup_that_trusted_a_wrong_clock_does_not_fit_its_base)
{
    AUTO_BUF struct buf problems = BUF_INIT(4 * KIB);
    struct blobstore *store = helper_open(NULL);
    world_fill(store, 0, 3);
    struct world_backup base = world_backup(store, file, NULL);
    world_fill(store, 3, 4);
    make_old(store, 3, 4);
    (void)world_backup(store, later, &base);
    ck_assert_int_eq(backup_fits(later, file, &problems), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(problems.data, "b.tar.zst: leaves out contents that its base has not"));
    blobstore_close(store);
}
END_TEST

START_TEST(files_that_do_not_belong_together_are_told)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    const char *third = world_file("c.tar.zst");
    world_fill(store, 0, 3);
    struct world_backup base = world_backup(store, file, NULL);
    (void)world_backup(store, later, &base);
    (void)world_backup(store, third, NULL);
    ck_assert_int_eq(world_verify(&report, FILES(third, later)), -EBADMSG);
    ck_assert(world_problem("b.tar.zst: its base is the backup"));
    ck_assert_int_eq(world_verify(&report, FILES(file, third)), -EBADMSG);
    ck_assert(world_problem("c.tar.zst: a whole backup, which comes first or stands alone"));
    ck_assert_int_eq(world_verify(&report, FILES(later, file)), -EBADMSG);
    blobstore_close(store);
}
END_TEST

START_TEST(a_backup_of_metadata_has_records_and_no_contents)
{
    struct blobstore *store = helper_open(NULL);
    struct backup_report report;
    world_fill(store, 0, 20);
    struct world_backup b = world_backup_metadata(store, file);
    ck_assert(b.header.is_metadata);
    ck_assert_uint_eq(b.header.blobs + b.end.blobs, 0);
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.records, 100);
    (void)world_backup(store, later, &b);
    ck_assert_int_eq(world_verify(&report, FILES(file, later)), -EBADMSG);
    ck_assert(world_problem("a backup of metadata stands alone"));
    blobstore_close(store);
}
END_TEST

struct meddling {
    FILE *file;
    struct blobstore *store;
    void (*meddle)(struct blobstore *store);
    uint64_t written;
    int damaged;
};

static void note_damaged(void *arg, const struct digest *digest, int fd)
{
    struct meddling *m = arg;
    if (fd >= 0)
        ck_ok(blobstore_condemn(m->store, digest, fd));
    m->damaged++;
}

/* With the first bytes that come the snapshot has been taken, and no blob been read. */
static int meddle(void *arg, const void *data, size_t len)
{
    struct meddling *m = arg;
    if (m->written == 0)
        m->meddle(m->store);
    m->written += len;
    return fwrite(data, 1, len, m->file) == len ? 0 : -EIO;
}

static void backup_with(struct meddling *m, struct backup_end *ret_end)
{
    struct backup_header header;
    m->file = fopen(file, "wb");
    const struct backup_options options = {.store = m->store, .damaged = note_damaged, .sink = meddle, .arg = m};
    ck_ok(backup_write(&options, &header, ret_end));
    ck_ok(fclose(m->file));
}

/* So much that no bytes leave the compressor before all of the head has gone into it would be a weaker test. */
#define LARGE (8 * MIB)

static struct digest store_large(struct blobstore *store)
{
    AUTO_FREE uint8_t *data = malloc(LARGE);
    uint64_t x = 88172645463325252ULL;
    for (size_t i = 0; i < LARGE; i += sizeof(x)) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(data + i, &x, sizeof(x));
    }
    return helper_store_bytes(store, data, LARGE);
}

/* Those of sha512 come after the large one, which is of sha256. */
static void remove_one_and_add_one(struct blobstore *store)
{
    const struct digest digest = helper_digest(1);
    ck_ok(blobstore_remove(store, &digest));
    world_fill(store, 100, 101);
    world_fill(store, 101, 102);
}

START_TEST(what_goes_meanwhile_is_missing_and_what_comes_is_not_in_it)
{
    struct meddling m = {.store = helper_open(NULL), .meddle = remove_one_and_add_one};
    struct backup_end end;
    struct backup_report report;
    world_fill(m.store, 0, 10);
    (void)store_large(m.store);
    backup_with(&m, &end);
    ck_assert_uint_eq(end.missing, 1);
    ck_assert_uint_eq(end.blobs, 10);
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.missing, 1);
    ck_assert_uint_eq(report.wrong, 0);
    ck_assert_uint_eq(report.blobs, 10);
    ck_assert_uint_eq(report.records, 50);
    blobstore_close(m.store);
}
END_TEST

static void touch(struct blobstore *store)
{
    const struct digest digest = helper_digest(1);
    (void)store;
    ck_ok(chmod(helper_blob_path(&digest), 0600));
}

START_TEST(a_file_that_was_touched_is_missing)
{
    struct meddling m = {.store = helper_open(NULL), .meddle = touch};
    struct backup_end end;
    world_fill(m.store, 0, 10);
    (void)store_large(m.store);
    backup_with(&m, &end);
    ck_assert_uint_eq(end.missing, 1); /* its times tell */
    ck_assert_int_eq(m.damaged, 1);
    blobstore_close(m.store);
}
END_TEST

static void meddle_not(struct blobstore *store)
{
    (void)store;
}

/* The writer does not look at bytes: as if they had rotted since. */
static void store_rotten(struct blobstore *store, unsigned n)
{
    const struct digest digest = helper_digest(n);
    uint8_t content[HELPER_CONTENT_MAX];
    size_t len = helper_content(n, content);
    content[0] ^= 1;
    helper_store_as(store, &digest, content, len);
}

START_TEST(a_blob_that_has_rotted_is_found_and_told)
{
    struct meddling m = {.store = helper_open(NULL), .meddle = meddle_not};
    struct backup_end end;
    struct backup_report report;
    world_fill(m.store, 0, 10);
    store_rotten(m.store, 77);
    backup_with(&m, &end);
    ck_assert_int_eq(m.damaged, 1);
    ck_assert_uint_eq(end.damaged, 1);
    ck_assert(!helper_has(m.store, 77));
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.wrong, 1);
    ck_assert_uint_eq(report.blobs, 10);
    blobstore_close(m.store);
}
END_TEST

static int refuse(void *arg, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    return -EPIPE;
}

START_TEST(a_sink_that_fails_ends_the_backup_with_its_error)
{
    struct blobstore *store = helper_open(NULL);
    struct world_backup b;
    world_fill(store, 0, 3);
    const struct backup_options options = {.store = store, .sink = refuse};
    ck_assert_int_eq(backup_write(&options, &b.header, &b.end), -EPIPE);
    blobstore_close(store);
}
END_TEST

START_TEST(a_backup_leaves_nothing_beside_the_store)
{
    struct blobstore *store = helper_open(NULL);
    world_fill(store, 0, 3);
    (void)world_backup(store, file, NULL);
    ck_assert_uint_eq(helper_count(world_file("")), 2); /* the store, the file */
    blobstore_close(store);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup/backup");
    TCase *t = tcase_create("backup");
    tcase_add_checked_fixture(t, setup, helper_cleanup);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_backup_has_everything_and_is_good);
    tcase_add_test(t, an_empty_store_makes_a_good_backup);
    tcase_add_test(t, an_incremental_backup_has_what_came_since);
    tcase_add_test(t, what_was_stored_shortly_before_the_base_is_in_both);
    tcase_add_test(t, an_incremental_backup_that_trusted_a_wrong_clock_does_not_fit_its_base);
    tcase_add_test(t, files_that_do_not_belong_together_are_told);
    tcase_add_test(t, a_backup_of_metadata_has_records_and_no_contents);
    tcase_add_test(t, what_goes_meanwhile_is_missing_and_what_comes_is_not_in_it);
    tcase_add_test(t, a_file_that_was_touched_is_missing);
    tcase_add_test(t, a_blob_that_has_rotted_is_found_and_told);
    tcase_add_test(t, a_sink_that_fails_ends_the_backup_with_its_error);
    tcase_add_test(t, a_backup_leaves_nothing_beside_the_store);
    suite_add_tcase(s, t);
    return helper_run(s);
}
