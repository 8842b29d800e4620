/* Files that are no good backups: each is told by the entry that is wrong, and nothing of it is believed. */
#include "world.h"

#include "base/limits.h"

#include <archive_entry.h>
#include <errno.h>
#include <string.h>

static struct backup_header header; /* of an empty backup */
static const struct backup_end nothing;
static const char *file;

static void setup(void)
{
    helper_setup();
    header = (struct backup_header){.id = "0123456789abcdef0123456789abcdef", .created_at = 1764000000123};
    file = world_file("x.tar");
}

static int verify(void)
{
    struct backup_report report;
    return world_verify(&report, FILES(file));
}

/* A backup with two contents listed; what follows is the caller's. */
static unsigned order[2];
static struct archive *begin_two(struct backup_end *end)
{
    return world_begin_two(file, &header, order, end);
}

START_TEST(a_backup_of_nothing_is_good)
{
    struct archive *a = world_tar(file);
    world_add_head(a, &header, NULL, NULL);
    world_add_end(a, &nothing);
    world_end(a);
    ck_ok(verify());
}
END_TEST

START_TEST(what_is_no_archive_is_told)
{
    helper_write_file(file, "hello", 5);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("x.tar: cut short, or damaged"));
    helper_write_file(file, "", 0);
    ck_assert_int_eq(verify(), -EBADMSG);
    file = world_file("not-there");
    ck_assert_int_eq(verify(), -ENOENT);
    ck_assert(world_problem("No such file"));
}
END_TEST

START_TEST(a_tar_of_something_else_is_told_by_its_entry)
{
    struct archive *a = world_tar(file);
    world_add(a, "etc/pass\x1bwd", "x", 1);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("x.tar: \"etc/pass\\u001bwd\": no entry of a backup"));
}
END_TEST

START_TEST(names_that_lead_out_of_a_store_are_told)
{
    static const char *const names[] = {"/blobs/sha256/x", "../blobs", "blobs/sha256/../../../etc/cron.d/x",
                                        "./end.json"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct archive *a = world_tar(file);
        world_add_head(a, &header, NULL, NULL);
        world_add(a, names[i], "x", 1);
        world_add_end(a, &nothing);
        world_end(a);
        ck_assert_int_eq(verify(), -EBADMSG);
        ck_assert(world_problem("no entry of a backup"));
    }
}
END_TEST

START_TEST(a_link_in_the_place_of_a_blob_is_refused)
{
    struct backup_end end;
    char name[BACKUP_NAME_MAX];
    for (int hard = 0; hard < 2; hard++) {
        struct archive *a = begin_two(&end);
        struct archive_entry *e = archive_entry_new();
        backup_name_format(&(struct backup_name){.kind = BACKUP_BLOB, .digest = helper_digest(order[0])}, name);
        archive_entry_set_pathname(e, name);
        archive_entry_set_perm(e, 0400);
        if (hard) {
            archive_entry_set_filetype(e, AE_IFREG);
            archive_entry_set_hardlink(e, "/etc/passwd");
        } else {
            archive_entry_set_filetype(e, AE_IFLNK);
            archive_entry_set_symlink(e, "/etc/passwd");
        }
        ck_assert_int_eq(archive_write_header(a, e), ARCHIVE_OK);
        archive_entry_free(e);
        world_end(a);
        ck_assert_int_eq(verify(), -EBADMSG);
        ck_assert(world_problem("not a plain file"));
    }
}
END_TEST

START_TEST(an_entry_that_is_not_where_it_belongs_is_told)
{
    struct archive *a = world_tar(file);
    world_add_header(a, &header);
    world_add(a, "records/tags", NULL, 0);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("records/tags: not where it belongs"));

    a = world_tar(file);
    world_add_head(a, &header, NULL, NULL);
    world_add(a, "records/tags", NULL, 0);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("records/tags: not where it belongs"));
}
END_TEST

START_TEST(a_file_that_ends_too_early_is_cut_short)
{
    struct backup_end end;
    struct archive *a = begin_two(&end);
    world_add_blob(a, order[0], true);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("cut short: it has no end"));

    a = world_tar(file);
    world_add_header(a, &header);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("blobs.list: the file is cut short before it"));
}
END_TEST

START_TEST(an_end_that_does_not_fit_is_told)
{
    struct backup_end end;
    struct archive *a = begin_two(&end);
    world_add_blob(a, order[0], true);
    world_add_end(a, &end);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("end.json: does not fit what is before it"));
}
END_TEST

START_TEST(nothing_comes_behind_the_end)
{
    struct archive *a = world_tar(file);
    world_add_head(a, &header, NULL, NULL);
    world_add_end(a, &nothing);
    world_add_end(a, &nothing);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("end.json: behind the end"));
}
END_TEST

START_TEST(a_blob_that_is_there_twice_or_out_of_order_is_told)
{
    struct backup_end end;
    for (int swapped = 0; swapped < 2; swapped++) {
        struct archive *a = begin_two(&end);
        world_add_blob(a, swapped ? order[1] : order[0], true);
        world_add_blob(a, order[0], true);
        world_add_end(a, &end);
        world_end(a);
        ck_assert_int_eq(verify(), -EBADMSG);
        ck_assert(world_problem("there twice, or not where it belongs"));
    }
}
END_TEST

START_TEST(a_blob_that_is_not_listed_or_of_another_size_is_told)
{
    struct backup_end end;
    char name[BACKUP_NAME_MAX];
    struct archive *a = begin_two(&end);
    world_add_blob(a, 7, true);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem(": not listed"));

    a = begin_two(&end);
    backup_name_format(&(struct backup_name){.kind = BACKUP_BLOB, .digest = helper_digest(order[0])}, name);
    world_add(a, name, "x", 1);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("not as large as it is listed"));
}
END_TEST

START_TEST(a_blob_with_other_bytes_is_told_and_the_rest_is_read)
{
    struct backup_end end;
    struct backup_report report;
    char name[BACKUP_NAME_MAX];
    struct archive *a = begin_two(&end);
    world_add_blob(a, order[0], false);
    world_add_blob(a, order[1], true);
    world_add_end(a, &end);
    world_end(a);
    ck_ok(world_verify(&report, FILES(file)));
    ck_assert_uint_eq(report.wrong, 1);
    ck_assert_uint_eq(report.blobs, 1);
    ck_assert(world_problem(": its bytes do not have this digest"));
    backup_name_format(&(struct backup_name){.kind = BACKUP_BLOB, .digest = helper_digest(order[0])}, name);
    ck_assert(world_problem(name));
}
END_TEST

START_TEST(records_with_other_bytes_are_told)
{
    AUTO_BUF struct buf all = BUF_INIT(4 * KIB);
    struct archive *a = world_tar(file);
    world_add_head(a, &header, NULL, NULL);
    world_add_end(a, &nothing);
    world_end(a);
    /* The text of the first entry: another program's version is no error of the form. */
    FILE *f = fopen(file, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_ok(buf_reserve(&all, 4 * KIB - 1));
    size_t n = fread(all.data, 1, 4 * KIB - 1, f);
    char *program = memmem(all.data, n, "program\": \"", 11);
    ck_assert_ptr_nonnull(program);
    ck_ok(fseek(f, program + 11 - all.data, SEEK_SET));
    ck_assert_int_eq(fputc('9', f), '9');
    ck_ok(fclose(f));
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("head.sha256: the records or the list before it are damaged"));
}
END_TEST

START_TEST(a_list_that_is_not_in_order_or_not_as_long_as_was_said_is_told)
{
    AUTO_BUF struct buf list = BUF_INIT(4 * KIB);
    world_list(&header, &list, 0, true);
    world_list(&header, &list, 0, true);
    struct archive *a = world_tar(file);
    world_add_head(a, &header, &list, NULL);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("blobs.list: has something in it that is no record"));

    buf_reset(&list);
    header.blobs = header.bytes = 0;
    world_list(&header, &list, 0, true);
    header.blobs = 1000000;
    a = world_tar(file);
    world_add_head(a, &header, &list, NULL);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("blobs.list: not as long as the header says"));
}
END_TEST

START_TEST(a_whole_backup_refers_to_no_other)
{
    AUTO_BUF struct buf list = BUF_INIT(4 * KIB);
    world_list(&header, &list, 0, false);
    struct archive *a = world_tar(file);
    world_add_head(a, &header, &list, NULL);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
}
END_TEST

START_TEST(records_that_are_cut_are_told)
{
    AUTO_BUF struct buf records = BUF_INIT(4 * KIB);
    ck_ok(buf_add(&records, "\0\5\0\5half", 8));
    struct archive *a = world_tar(file);
    world_add_head(a, &header, NULL, &records);
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("records/repositories: ends in the middle of a record"));
}
END_TEST

START_TEST(a_small_entry_that_is_large_is_refused_unread)
{
    static const char large[BACKUP_SMALL_MAX + 1];
    struct archive *a = world_tar(file);
    world_add(a, "entrepot-backup.json", large, sizeof(large));
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("entrepot-backup.json: larger than it may be"));
}
END_TEST

START_TEST(a_version_that_is_not_known_is_told)
{
    static const char json[] = "{\"format\":\"entrepot-backup\",\"version\":2}";
    struct archive *a = world_tar(file);
    world_add(a, "entrepot-backup.json", json, strlen(json));
    world_end(a);
    ck_assert_int_eq(verify(), -EBADMSG);
    ck_assert(world_problem("a version that this program does not know"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup/unpacker");
    TCase *t = tcase_create("unpacker");
    tcase_add_checked_fixture(t, setup, helper_cleanup);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_backup_of_nothing_is_good);
    tcase_add_test(t, what_is_no_archive_is_told);
    tcase_add_test(t, a_tar_of_something_else_is_told_by_its_entry);
    tcase_add_test(t, names_that_lead_out_of_a_store_are_told);
    tcase_add_test(t, a_link_in_the_place_of_a_blob_is_refused);
    tcase_add_test(t, an_entry_that_is_not_where_it_belongs_is_told);
    tcase_add_test(t, a_file_that_ends_too_early_is_cut_short);
    tcase_add_test(t, an_end_that_does_not_fit_is_told);
    tcase_add_test(t, nothing_comes_behind_the_end);
    tcase_add_test(t, a_blob_that_is_there_twice_or_out_of_order_is_told);
    tcase_add_test(t, a_blob_that_is_not_listed_or_of_another_size_is_told);
    tcase_add_test(t, a_blob_with_other_bytes_is_told_and_the_rest_is_read);
    tcase_add_test(t, records_with_other_bytes_are_told);
    tcase_add_test(t, a_list_that_is_not_in_order_or_not_as_long_as_was_said_is_told);
    tcase_add_test(t, a_whole_backup_refers_to_no_other);
    tcase_add_test(t, records_that_are_cut_are_told);
    tcase_add_test(t, a_small_entry_that_is_large_is_refused_unread);
    tcase_add_test(t, a_version_that_is_not_known_is_told);
    suite_add_tcase(s, t);
    return helper_run(s);
}
