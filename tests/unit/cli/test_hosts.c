/* What is written for each client, held against tests/unit/cli/hosts/CASE. */
#include "base/buf.h"
#include "base/limits.h"
#include "cli/hosts.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

static const char *const one[] = {"http://10.0.0.7:5000"};
static const char *const two[] = {"https://mirror.example:5443", "http://[fd00::7]:5000/images/"};
static const char *const registries[] = {"docker.io", "registry.example:5000"};
static const char *const docker_io[] = {"docker.io"};
static const char *const fallback[] = {"docker.io", HOSTS_DEFAULT};

static const char authority[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

static const struct {
    const char *name, *client;
    struct hosts_wish wish;
} cases[] = {
#define PLAIN .mirrors = one, .mirror_count = 1, .dial_ms = 2000
#define TLS .mirrors = two, .mirror_count = 2, .ca_path = "/etc/ssl/our.pem", .ca_text = authority, .dial_ms = 1500
    {"containerd", "containerd", {PLAIN, .registries = registries, .registry_count = 2}},
    {"containerd-tls", "containerd", {TLS, .registries = registries, .registry_count = 2}},
    {"containerd-default",
     "containerd",
     {.mirrors = one, .mirror_count = 1, .registries = fallback, .registry_count = 2}},
    {"crio", "crio", {PLAIN, .registries = registries, .registry_count = 2}},
    {"podman-tls", "podman", {TLS, .registries = registries, .registry_count = 2}},
    {"docker", "docker", {PLAIN, .registries = docker_io, .registry_count = 1}},
    {"docker-tls", "docker", {TLS, .registries = docker_io, .registry_count = 1}},
    {"k3s", "k3s", {PLAIN, .registries = fallback, .registry_count = 2}},
    {"k3s-tls", "k3s", {TLS, .registries = registries, .registry_count = 2}},
    {"buildkit", "buildkit", {PLAIN, .registries = registries, .registry_count = 2}},
    {"buildkit-tls", "buildkit", {TLS, .registries = registries, .registry_count = 2}},
};

static void read_golden(const char *name, struct buf *text)
{
    char path[512], piece[4096];
    (void)snprintf(path, sizeof(path), SOURCE_ROOT "/tests/unit/cli/hosts/%s", name);
    AUTO_FCLOSE FILE *f = fopen(path, "re");
    ck_assert_msg(f, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        ck_assert_int_eq(buf_add(text, piece, n), 0);
}

START_TEST(each_client_is_told_in_its_own_words)
{
    const struct hosts_client *client = hosts_client_find(cases[_i].client);
    const char *what;
    ck_assert_ptr_nonnull(client);
    ck_assert_ptr_null(hosts_wish_check(client, &cases[_i].wish, &what));
    AUTO_HOSTS_FILES struct hosts_files files = {0};
    ck_assert_int_eq(hosts_files_make(client, &cases[_i].wish, &files), 0);

    AUTO_BUF struct buf is = BUF_INIT(MIB), golden = BUF_INIT(MIB);
    for (size_t i = 0; i < files.count; i++)
        ck_assert_int_eq(buf_addf(&is, "==> %s <==\n%s", files.items[i].path, files.items[i].text), 0);
    read_golden(cases[_i].name, &golden);
    ck_assert_str_eq(is.data, golden.data);
}
END_TEST

START_TEST(all_that_can_have_a_comment_is_marked_as_ours)
{
    AUTO_HOSTS_FILES struct hosts_files files = {0};
    ck_assert_int_eq(hosts_files_make(hosts_client_find(cases[_i].client), &cases[_i].wish, &files), 0);
    for (size_t i = 0; i < files.count; i++)
        if (!strstr(files.items[i].path, ".json"))
            ck_assert_int_eq(strncmp(files.items[i].text, HOSTS_MARK, strlen(HOSTS_MARK)), 0);
}
END_TEST

START_TEST(no_capability_is_named_that_old_containerd_does_not_know)
{
    AUTO_HOSTS_FILES struct hosts_files files = {0};
    ck_assert_int_eq(hosts_files_make(hosts_client_find("containerd"), &cases[0].wish, &files), 0);
    for (size_t i = 0; i < files.count; i++)
        ck_assert_ptr_null(strstr(files.items[i].text, "referrers"));
}
END_TEST

static const struct {
    const char *client, *mirrors[2], *registries[2], *wrong, *what;
} refused[] = {
    {"containerd", {"mirror:5000"}, {"docker.io"}, "http://", "mirror:5000"},
    {"containerd", {"http://u:p@mirror"}, {"docker.io"}, "no password", "http://u:p@mirror"},
    {"containerd", {"http://m\"]\n[x"}, {"docker.io"}, "character", "http://m\"]\n[x"},
    {"containerd", {"http://m", "http://m"}, {"docker.io"}, "twice", "http://m"},
    {"containerd", {"http://m"}, {"quay.io", "quay.io"}, "twice", "quay.io"},
    {"containerd", {"http://m"}, {"../etc"}, "no valid host", "../etc"},
    {"containerd", {"http://m"}, {"Docker.io"}, "lower case", "Docker.io"},
    {"podman", {"http://m"}, {HOSTS_DEFAULT}, "each registry", HOSTS_DEFAULT},
    {"crio", {"http://m"}, {HOSTS_DEFAULT}, "each registry", HOSTS_DEFAULT},
    {"buildkit", {"http://m"}, {HOSTS_DEFAULT}, "each registry", HOSTS_DEFAULT},
    {"docker", {"http://m"}, {"docker.io", "quay.io"}, "docker.io only", "quay.io"},
};

START_TEST(what_would_spoil_a_file_is_refused)
{
    const struct hosts_wish wish = {
        .mirrors = refused[_i].mirrors,
        .mirror_count = refused[_i].mirrors[1] ? 2 : 1,
        .registries = refused[_i].registries,
        .registry_count = refused[_i].registries[1] ? 2 : 1,
    };
    const char *what, *wrong = hosts_wish_check(hosts_client_find(refused[_i].client), &wish, &what);
    ck_assert_msg(wrong && strstr(wrong, refused[_i].wrong), "%s", wrong ? wrong : "nothing wrong");
    ck_assert_str_eq(what, refused[_i].what);
}
END_TEST

START_TEST(every_client_that_is_named_is_known)
{
    char names[256];
    ck_assert_uint_lt(strlen(hosts_client_names()), sizeof(names));
    (void)snprintf(names, sizeof(names), "%s", hosts_client_names());
    int count = 0;
    for (char *rest = names, *name; (name = strsep(&rest, ", "));)
        if (*name) {
            const struct hosts_client *c = hosts_client_find(name);
            ck_assert_ptr_nonnull(c);
            ck_assert_int_eq(*hosts_client_directory(c), '/');
            ck_assert(hosts_client_takes(c, "docker.io"));
            count++;
        }
    ck_assert_int_eq(count, 6);
    ck_assert_ptr_null(hosts_client_find("rkt"));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("hosts");
    tcase_add_loop_test(t, each_client_is_told_in_its_own_words, 0, ARRAY_SIZE(cases));
    tcase_add_loop_test(t, all_that_can_have_a_comment_is_marked_as_ours, 0, ARRAY_SIZE(cases));
    tcase_add_test(t, no_capability_is_named_that_old_containerd_does_not_know);
    tcase_add_loop_test(t, what_would_spoil_a_file_is_refused, 0, ARRAY_SIZE(refused));
    tcase_add_test(t, every_client_that_is_named_is_known);
    Suite *s = suite_create("hosts");
    suite_add_tcase(s, t);
    return suite_run(s);
}
