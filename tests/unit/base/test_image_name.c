#include "base/image_name.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define DIGEST "sha256:0a4eaa0eecf5f8c050e5bba433f58c052be7587ee8af3e8b3910ef9ab5fbe9f5"

/* --- grammar ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *text;
    bool is_valid;
} repositories[] = {
    {"a", true},           {"0", true},
    {"a/b", true},         {"library/alpine", true},
    {"a.b", true},         {"a_b", true},
    {"a__b", true},        {"a-b", true},
    {"a---b", true},       {"a.b_c__d-e/f", true},
    {"a/b/c/d/e/f", true}, {"", false},
    {"/", false},          {"a/", false},
    {"/a", false},         {"a//b", false},
    {"A", false},          {"a.", false},
    {".a", false},         {"a..b", false},
    {"a___b", false},      {"a._b", false},
    {"a-_b", false},       {"-a", false},
    {"a-", false},         {"a_", false},
    {"a/-b", false},       {"..", false},
    {"a/../b", false},     {"a b", false},
    {"a:b", false},        {"a@b", false},
    {"a%2fb", false},      {"a?b", false},
    {"a\nb", false},       {"\xc3\xa4", false},
};

START_TEST(the_grammar_of_repositories)
{
    ck_assert_msg(repository_is_valid(repositories[_i].text) == repositories[_i].is_valid, "\"%s\"",
                  repositories[_i].text);
}
END_TEST

static const struct {
    const char *text;
    bool is_valid;
} tags[] = {
    {"latest", true}, {"3.20", true}, {"v1.2.3-rc.1", true},    {"_", true},    {"A", true},    {"0", true},
    {"a..b", true},   {"a--b", true}, {"sha256-abc.sig", true}, {"", false},    {".a", false},  {"-a", false},
    {"a:b", false},   {"a/b", false}, {"a b", false},           {"a@b", false}, {"a\n", false}, {"\xc3\xa4", false},
    {"a+b", false},   {"..", false},
};

START_TEST(the_grammar_of_tags)
{
    ck_assert_msg(tag_is_valid(tags[_i].text) == tags[_i].is_valid, "\"%s\"", tags[_i].text);
}
END_TEST

START_TEST(a_tag_has_128_characters_at_the_most)
{
    char tag[LIMIT_TAG + 2];
    memset(tag, 'a', sizeof(tag));
    tag[LIMIT_TAG] = '\0';
    ck_assert(tag_is_valid(tag));
    tag[LIMIT_TAG] = 'a';
    tag[LIMIT_TAG + 1] = '\0';
    ck_assert(!tag_is_valid(tag));
}
END_TEST

/* --- what names mean ---------------------------------------------------------------------------------------- */

static const struct {
    const char *text, *registry, *repository, *tag, *digest;
} names[] = {
    {"alpine", "docker.io", "library/alpine", "latest", ""},
    {"alpine:3.20", "docker.io", "library/alpine", "3.20", ""},
    {"grafana/grafana:11.2.0", "docker.io", "grafana/grafana", "11.2.0", ""},
    {"docker.io/alpine", "docker.io", "library/alpine", "latest", ""},
    {"index.docker.io/library/alpine", "docker.io", "library/alpine", "latest", ""},
    {"Docker.IO/alpine", "docker.io", "library/alpine", "latest", ""},
    {"quay.io/a", "quay.io", "a", "latest", ""},
    {"quay.io/a/b/c:d", "quay.io", "a/b/c", "d", ""},
    {"localhost/a", "localhost", "a", "latest", ""},
    {"localhost:5000/a/b:1", "localhost:5000", "a/b", "1", ""},
    {"local/a", "docker.io", "local/a", "latest", ""},
    {"Localhost/a", "localhost", "a", "latest", ""},
    {"[2001:db8::1]:5000/a:1", "[2001:db8::1]:5000", "a", "1", ""},
    {"10.0.0.1:5000/a", "10.0.0.1:5000", "a", "latest", ""},
    {"a@" DIGEST, "docker.io", "library/a", "", DIGEST},
    {"a:1@" DIGEST, "docker.io", "library/a", "1", DIGEST},
    {"registry.example:5000/a/b:1@" DIGEST, "registry.example:5000", "a/b", "1", DIGEST},
    {"xn--bcher-kva.example/a", "xn--bcher-kva.example", "a", "latest", ""},
    /* these are no names: `digest` says a part of what is wrong */
    {"", NULL, NULL, NULL, "empty"},
    {"Alpine", NULL, NULL, NULL, "upper-case"},
    {"Registry/a", NULL, NULL, NULL, "upper-case"},
    {"quay.io/A", NULL, NULL, NULL, "upper-case"},
    {"a b", NULL, NULL, NULL, "space"},
    {"alpine:", NULL, NULL, NULL, "tag"},
    {"alpine:.x", NULL, NULL, NULL, "tag"},
    {"a:b:c", NULL, NULL, NULL, "tag"},
    {"a@sha256:00", NULL, NULL, NULL, "no digest"},
    {"a@", NULL, NULL, NULL, "no digest"},
    {"a@md5:0123456789abcdef0123456789abcdef", NULL, NULL, NULL, "algorithm"},
    {"docker://a", NULL, NULL, NULL, "URL"},
    {"quay.io/", NULL, NULL, NULL, "repository"},
    {"/a", NULL, NULL, NULL, "repository"},
    {"a//b", NULL, NULL, NULL, "repository"},
    {"a..b/c", NULL, NULL, NULL, "host"},
    {".b/c", NULL, NULL, NULL, "host"},
    {"a-.b/c", NULL, NULL, NULL, "host"},
    {"a:/c", NULL, NULL, NULL, "host"},
    {"a:123456/c", NULL, NULL, NULL, "host"},
    {"a:b/c", NULL, NULL, NULL, "host"},
    {"[::1/a", NULL, NULL, NULL, "host"},
    {"[]:1/a", NULL, NULL, NULL, "host"},
    {"a\tb", NULL, NULL, NULL, "repository"},
    {"0a4eaa0eecf5f8c050e5bba433f58c052be7587ee8af3e8b3910ef9ab5fbe9f5", NULL, NULL, NULL, "id"},
};

START_TEST(a_name_means_a_registry_a_repository_and_a_tag_or_a_digest)
{
    const char *wrong = NULL;
    struct image_name name = {.tag = "untouched"};
    int r = image_name_parse(names[_i].text, strlen(names[_i].text), &name, &wrong);
    if (!names[_i].registry) {
        ck_assert_int_eq(r, -EINVAL);
        ck_assert_msg(strstr(wrong, names[_i].digest) != NULL, "%s: %s", names[_i].text, wrong);
        ck_assert_str_eq(name.tag, "untouched");
        return;
    }
    ck_assert_msg(r == 0, "%s: %s", names[_i].text, wrong ? wrong : "");
    ck_assert_str_eq(name.registry, names[_i].registry);
    ck_assert_str_eq(name.repository, names[_i].repository);
    ck_assert_str_eq(name.tag, names[_i].tag);
    ck_assert_str_eq(name.digest, names[_i].digest);
}
END_TEST

START_TEST(a_name_is_written_in_one_way)
{
    char text[IMAGE_NAME_MAX];
    struct image_name name;
    const char *wrong;
    ck_assert_int_eq(image_name_parse("alpine", 6, &name, &wrong), 0);
    ck_assert_str_eq(image_name_format(&name, text), "docker.io/library/alpine:latest");
    ck_assert_int_eq(image_name_parse("alpine:3@" DIGEST, strlen("alpine:3@" DIGEST), &name, &wrong), 0);
    ck_assert_str_eq(image_name_format(&name, text), "docker.io/library/alpine@" DIGEST);
}
END_TEST

START_TEST(a_name_ends_at_255_characters)
{
    char text[LIMIT_NAME + 2];
    struct image_name name;
    const char *wrong;
    size_t len = (size_t)snprintf(text, sizeof(text), "quay.io/");
    memset(text + len, 'a', sizeof(text) - len);
    ck_assert_int_eq(image_name_parse(text, LIMIT_NAME, &name, &wrong), 0);
    ck_assert_int_eq(image_name_parse(text, LIMIT_NAME + 1, &name, &wrong), -EINVAL);
    /* "docker.io/library/" counts, where it is left out */
    memset(text, 'a', sizeof(text));
    len = LIMIT_NAME - strlen("docker.io/library/");
    ck_assert_int_eq(image_name_parse(text, len, &name, &wrong), 0);
    ck_assert_int_eq(image_name_parse(text, len + 1, &name, &wrong), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image_name");
    TCase *tests = tcase_create("image_name");
    tcase_add_loop_test(tests, the_grammar_of_repositories, 0, ARRAY_SIZE(repositories));
    tcase_add_loop_test(tests, the_grammar_of_tags, 0, ARRAY_SIZE(tags));
    tcase_add_test(tests, a_tag_has_128_characters_at_the_most);
    tcase_add_loop_test(tests, a_name_means_a_registry_a_repository_and_a_tag_or_a_digest, 0, ARRAY_SIZE(names));
    tcase_add_test(tests, a_name_is_written_in_one_way);
    tcase_add_test(tests, a_name_ends_at_255_characters);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
