#include "cli/own_files.h"

#include "suite.h"
#include "tree.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define OURS HOSTS_MARK "; of a test\n"

static char root[64];
static int dir;

static void set_up(void)
{
    (void)snprintf(root, sizeof(root), "/tmp/entrepot-own-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    dir = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(dir, 0);
}

static void put(const char *path, const char *text)
{
    AUTO_CLOSE int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void make(const char *path)
{
    ck_assert_int_eq(mkdirat(dir, path, 0755), 0);
}

static bool is_there(const char *path)
{
    return faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void holds(const char *path, const char *text)
{
    char is[4096] = "";
    AUTO_CLOSE int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    ck_assert_int_ge(read(fd, is, sizeof(is) - 1), 0);
    ck_assert_str_eq(is, text);
}

/* Nothing is left of the way it was written. */
static void is_tidy(const char *path)
{
    ck_assert_msg(!is_there(path), "%s is left over", path);
}

static void tear_down(void)
{
    tree_remove(root);
    (void)close(dir);
}

START_TEST(a_file_is_written_with_its_directories_for_all_to_read)
{
    mode_t was = umask(0077);
    ck_assert_int_eq(own_file_write(dir, "certs.d/docker.io/hosts.toml", OURS), 1);
    (void)umask(was);
    holds("certs.d/docker.io/hosts.toml", OURS);
    struct stat st;
    ck_assert_int_eq(fstatat(dir, "certs.d/docker.io/hosts.toml", &st, 0), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);
    is_tidy("certs.d/docker.io/.entrepot.new");
}
END_TEST

START_TEST(the_same_text_again_changes_nothing)
{
    struct stat before, after;
    ck_assert_int_eq(own_file_write(dir, "a", OURS), 1);
    ck_assert_int_eq(fstatat(dir, "a", &before, 0), 0);
    ck_assert_int_eq(own_file_write(dir, "a", OURS), 0);
    ck_assert_int_eq(fstatat(dir, "a", &after, 0), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(ours_is_replaced_by_another_file_and_not_written_over)
{
    put("a", OURS "old, and longer than the new one\n");
    AUTO_CLOSE int reader = openat(dir, "a", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(own_file_write(dir, "a", OURS), 1);
    holds("a", OURS);
    char is[256] = "";
    ck_assert_int_gt(read(reader, is, sizeof(is) - 1), 0);
    ck_assert_str_eq(is, OURS "old, and longer than the new one\n");
}
END_TEST

START_TEST(what_is_left_of_a_crash_is_in_nobodys_way)
{
    put(".entrepot.new", "half a fi");
    ck_assert_int_eq(own_file_write(dir, "a", OURS), 1);
    holds("a", OURS);
    is_tidy(".entrepot.new");
}
END_TEST

static const char *const foreign[] = {"server = \"https://registry-1.docker.io\"\n", "", "# Written by", " " OURS};

START_TEST(somebody_elses_file_stays_as_it_is)
{
    put("hosts.toml", foreign[_i]);
    ck_assert_int_eq(own_file_write(dir, "hosts.toml", OURS), -EEXIST);
    ck_assert_int_eq(own_files_remove(dir, NULL), 0);
    holds("hosts.toml", foreign[_i]);
    is_tidy(".entrepot.new");
}
END_TEST

START_TEST(somebody_elses_file_with_the_same_text_is_as_good)
{
    put("daemon.json", "{}\n");
    ck_assert_int_eq(own_file_write(dir, "daemon.json", "{}\n"), 0);
    ck_assert_int_eq(own_files_remove(dir, NULL), 0);
    ck_assert(is_there("daemon.json"));
}
END_TEST

START_TEST(symbolic_links_are_not_followed)
{
    make("elsewhere");
    put("elsewhere/hosts.toml", OURS);
    ck_assert_int_eq(symlinkat("elsewhere", dir, "docker.io"), 0);
    ck_assert_int_eq(own_file_write(dir, "docker.io/hosts.toml", OURS "new\n"), -EEXIST);
    make("quay.io");
    ck_assert_int_eq(symlinkat("../elsewhere/hosts.toml", dir, "quay.io/hosts.toml"), 0);
    ck_assert_int_eq(own_file_write(dir, "quay.io/hosts.toml", OURS "new\n"), -EEXIST);
    holds("elsewhere/hosts.toml", OURS);
    ck_assert_int_eq(own_files_remove(dir, NULL), 1); /* the one that the links lead to, by its own name */
    ck_assert(is_there("docker.io"));
    ck_assert(is_there("quay.io/hosts.toml"));
}
END_TEST

START_TEST(what_is_no_file_is_somebody_elses)
{
    make("hosts.toml");
    ck_assert_int_eq(own_file_write(dir, "hosts.toml", OURS), -EEXIST);
    ck_assert_int_eq(mkfifoat(dir, "pipe", 0600), 0);
    ck_assert_int_eq(own_file_write(dir, "pipe", OURS), -EEXIST);
    put("docker.io", "");
    ck_assert_int_eq(own_file_write(dir, "docker.io/hosts.toml", OURS), -EEXIST);
    ck_assert_int_eq(own_files_remove(dir, NULL), 0);
}
END_TEST

START_TEST(ours_are_removed_with_the_directories_that_are_empty_then)
{
    ck_assert_int_eq(own_file_write(dir, "docker.io/hosts.toml", OURS), 1);
    ck_assert_int_eq(own_file_write(dir, "docker.io/entrepot-ca.crt", OURS), 1);
    ck_assert_int_eq(own_file_write(dir, "certs.d/m:5000/ca.crt", OURS), 1);
    ck_assert_int_eq(own_file_write(dir, "registries.conf.d/50-entrepot.conf", OURS), 1);
    put("registries.conf.d/shortnames.conf", "[aliases]\n");
    make("empty");
    ck_assert_int_eq(own_files_remove(dir, NULL), 4);
    ck_assert(!is_there("docker.io"));
    ck_assert(!is_there("certs.d"));
    ck_assert(is_there("registries.conf.d/shortnames.conf"));
    ck_assert(!is_there("registries.conf.d/50-entrepot.conf"));
    ck_assert(is_there("empty"));
    ck_assert_int_eq(own_files_remove(dir, NULL), 0);
}
END_TEST

START_TEST(those_that_are_kept_stay)
{
    char path[] = "docker.io/hosts.toml";
    struct hosts_file item = {.path = path};
    const struct hosts_files keep = {&item, 1};
    ck_assert_int_eq(own_file_write(dir, "docker.io/hosts.toml", OURS), 1);
    ck_assert_int_eq(own_file_write(dir, "quay.io/hosts.toml", OURS), 1);
    put("docker.io/.entrepot.new", "");
    ck_assert_int_eq(own_files_remove(dir, &keep), 2);
    ck_assert(is_there("docker.io/hosts.toml"));
    ck_assert(!is_there("quay.io"));
    is_tidy("docker.io/.entrepot.new");
}
END_TEST

START_TEST(nothing_is_looked_for_deeper_than_it_is_written)
{
    make("a");
    make("a/b");
    make("a/b/c");
    put("a/b/c/file", OURS);
    put("a/b/file", OURS);
    ck_assert_int_eq(own_files_remove(dir, NULL), 1);
    ck_assert(is_there("a/b/c/file"));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("own_files");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_file_is_written_with_its_directories_for_all_to_read);
    tcase_add_test(t, the_same_text_again_changes_nothing);
    tcase_add_test(t, ours_is_replaced_by_another_file_and_not_written_over);
    tcase_add_test(t, what_is_left_of_a_crash_is_in_nobodys_way);
    tcase_add_loop_test(t, somebody_elses_file_stays_as_it_is, 0, ARRAY_SIZE(foreign));
    tcase_add_test(t, somebody_elses_file_with_the_same_text_is_as_good);
    tcase_add_test(t, symbolic_links_are_not_followed);
    tcase_add_test(t, what_is_no_file_is_somebody_elses);
    tcase_add_test(t, ours_are_removed_with_the_directories_that_are_empty_then);
    tcase_add_test(t, those_that_are_kept_stay);
    tcase_add_test(t, nothing_is_looked_for_deeper_than_it_is_written);
    Suite *s = suite_create("own_files");
    suite_add_tcase(s, t);
    return suite_run(s);
}
