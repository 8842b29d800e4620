#include "server/route.h"

#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define D256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX64 "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
#define D512 "sha512:" HEX64 HEX64
#define HEX16 "0123456789abcdef"

static char target[4096];
static struct route route;

static enum route_verdict parse(const char *method, const char *text)
{
    (void)snprintf(target, sizeof(target), "%s", text);
    return route_parse(method, target, &route);
}

static enum route_verdict get(const char *text)
{
    return parse("GET", text);
}

START_TEST(the_ping_has_a_slash_or_none)
{
    ck_assert_int_eq(get("/v2/"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_PING);
    ck_assert_int_eq(get("/v2"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_PING);
    ck_assert_int_eq(get("/v2/?ns=docker.io"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_PING);
}
END_TEST

START_TEST(a_manifest_is_named_by_tag_or_digest)
{
    ck_assert_int_eq(get("/v2/library/alpine/manifests/3.20_a-b"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_MANIFEST);
    ck_assert(!route.head);
    ck_assert_str_eq(route.name, "library/alpine");
    ck_assert_str_eq(route.reference, "3.20_a-b");
    ck_assert_ptr_null(route.ns);
    ck_assert_int_eq(parse("HEAD", "/v2/alpine/manifests/" D512 "?ns=docker.io"), ROUTE_OK);
    ck_assert(route.head);
    ck_assert_str_eq(route.name, "alpine");
    ck_assert_str_eq(route.reference, D512);
    ck_assert_str_eq(route.ns, "docker.io");
}
END_TEST

START_TEST(blobs_tags_and_referrers_are_told_apart)
{
    ck_assert_int_eq(get("/v2/a/b/c/blobs/" D256), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_BLOB);
    ck_assert_str_eq(route.name, "a/b/c");
    ck_assert_int_eq(get("/v2/a/tags/list?n=10&last=b%2Bc"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_TAGS);
    ck_assert_ptr_null(route.reference);
    ck_assert_int_eq(route.page_size, 10);
    ck_assert_str_eq(route.last, "b+c");
    ck_assert_int_eq(get("/v2/a/referrers/" D256 "?artifactType=application%2Fx%2Bjson"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_REFERRERS);
    ck_assert_str_eq(route.reference, D256);
    ck_assert_str_eq(route.artifact_type, "application/x+json");
    ck_assert_int_eq(route.page_size, -1);
}
END_TEST

START_TEST(a_name_may_have_components_that_are_called_like_ours)
{
    ck_assert_int_eq(get("/v2/manifests/tags/manifests/list"), ROUTE_OK);
    ck_assert_int_eq(route.kind, ROUTE_MANIFEST);
    ck_assert_str_eq(route.name, "manifests/tags");
    ck_assert_str_eq(route.reference, "list");
    ck_assert_int_eq(get("/v2/blobs/uploads/manifests/1"), ROUTE_OK);
    ck_assert_str_eq(route.name, "blobs/uploads");
    ck_assert_int_eq(get("/v2/v2/tags/list"), ROUTE_OK);
    ck_assert_str_eq(route.name, "v2");
}
END_TEST

START_TEST(escapes_in_the_path_are_decoded)
{
    ck_assert_int_eq(get("/v2/library%2Falpine/manifests/1%2e0"), ROUTE_OK);
    ck_assert_str_eq(route.name, "library/alpine");
    ck_assert_str_eq(route.reference, "1.0");
    ck_assert_int_eq(get("/v2/a/blobs/sha256%3A" HEX16 HEX16 HEX16 HEX16), ROUTE_OK);
    ck_assert_str_eq(route.reference, "sha256:" HEX16 HEX16 HEX16 HEX16);
    ck_assert_int_eq(get("/v2/a/manifests/1+2"), ROUTE_BAD_TAG);
}
END_TEST

START_TEST(the_absolute_form_of_a_target_is_the_same)
{
    ck_assert_int_eq(get("http://mirror.example:5000/v2/a/manifests/1?ns=x"), ROUTE_OK);
    ck_assert_str_eq(route.name, "a");
    ck_assert_str_eq(route.ns, "x");
    ck_assert_int_eq(get("https://mirror.example"), ROUTE_NOT_FOUND);
    ck_assert_int_eq(get("http://"), ROUTE_NOT_FOUND);
}
END_TEST

START_TEST(a_registry_with_a_port_may_be_the_first_component)
{
    ck_assert_int_eq(get("/v2/127.0.0.1:5000/a/manifests/1"), ROUTE_OK);
    ck_assert_str_eq(route.name, "127.0.0.1:5000/a");
    ck_assert_int_eq(get("/v2/localhost:5000/manifests/1"), ROUTE_BAD_NAME);
    ck_assert_int_eq(get("/v2/a/localhost:5000/b/manifests/1"), ROUTE_BAD_NAME);
    ck_assert_int_eq(get("/v2/localhost:/b/manifests/1"), ROUTE_BAD_NAME);
    ck_assert_int_eq(get("/v2/localhost:5x/b/manifests/1"), ROUTE_BAD_NAME);
}
END_TEST

static const char *const good_names[] = {"a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b/c_d/e--f", "a/b/c/d/e/f"};

START_TEST(names_that_the_specification_allows)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "/v2/%s/manifests/1", good_names[_i]);
    ck_assert_msg(get(text) == ROUTE_OK, "%s", good_names[_i]);
    ck_assert_str_eq(route.name, good_names[_i]);
}
END_TEST

static const char *const bad_names[] = {"A",     "a..b",     "a___b", "a_", "_a",   "-a",  "a-",    "a.",
                                        ".",     "..",       "a//b",  "a/", "/a",   "",    "/",     "a b",
                                        "a%20b", "\xc3\xa4", "a._b",  "a*", "a%25", "a~b", "a/../b"};

START_TEST(names_that_it_does_not)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "/v2/%s/manifests/1", bad_names[_i]);
    ck_assert_msg(get(text) == ROUTE_BAD_NAME, "%s", bad_names[_i]);
    ck_assert_ptr_null(route.name);
}
END_TEST

START_TEST(a_name_has_at_most_255_characters)
{
    char text[512], name[257];
    memset(name, 'a', sizeof(name));
    name[255] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/%s/tags/list", name);
    ck_assert_int_eq(get(text), ROUTE_OK);
    name[255] = 'a';
    name[256] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/%s/tags/list", name);
    ck_assert_int_eq(get(text), ROUTE_BAD_NAME);
}
END_TEST

START_TEST(a_tag_has_at_most_128_characters_and_not_every_one)
{
    char text[512], tag[130];
    memset(tag, 'T', sizeof(tag));
    tag[128] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/a/manifests/%s", tag);
    ck_assert_int_eq(get(text), ROUTE_OK);
    tag[128] = 'T';
    tag[129] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/a/manifests/%s", tag);
    ck_assert_int_eq(get(text), ROUTE_BAD_TAG);
    ck_assert_int_eq(get("/v2/a/manifests/"), ROUTE_BAD_TAG);
    ck_assert_int_eq(get("/v2/a/manifests/.."), ROUTE_BAD_TAG);
    ck_assert_int_eq(get("/v2/a/manifests/-a"), ROUTE_BAD_TAG);
    ck_assert_int_eq(get("/v2/a/manifests/a%20b"), ROUTE_BAD_TAG);
    ck_assert_int_eq(get("/v2/a/manifests/_a"), ROUTE_OK);
}
END_TEST

static const char *const bad_digests[] = {
    "sha256:abc",
    "sha256:",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    "sha256:" HEX16 HEX16 HEX16 "0123456789abcdeg",
    "sha256:" HEX16 HEX16 HEX16 "0123456789ABCDEF",
    "sha512:" HEX16 HEX16 HEX16 HEX16,
    ":",
};

START_TEST(digests_are_checked)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "/v2/a/manifests/%s", bad_digests[_i]);
    ck_assert_int_eq(get(text), ROUTE_BAD_DIGEST);
    (void)snprintf(text, sizeof(text), "/v2/a/blobs/%s", bad_digests[_i]);
    ck_assert_int_eq(get(text), ROUTE_BAD_DIGEST);
    (void)snprintf(text, sizeof(text), "/v2/a/referrers/%s", bad_digests[_i]);
    ck_assert_int_eq(get(text), ROUTE_BAD_DIGEST);
    ck_assert_ptr_null(route.reference);
}
END_TEST

START_TEST(a_blob_or_referrer_has_no_tag)
{
    ck_assert_int_eq(get("/v2/a/blobs/latest"), ROUTE_BAD_DIGEST);
    ck_assert_int_eq(get("/v2/a/referrers/latest"), ROUTE_BAD_DIGEST);
}
END_TEST

static const char *const elsewhere[] = {"/",
                                        "",
                                        "*",
                                        "/v1/",
                                        "/v2x",
                                        "/v2/a",
                                        "/v2/a/b",
                                        "/v2/a/tags",
                                        "/favicon.ico",
                                        "/v2/a/tags/lists",
                                        "/v2/a/x/y",
                                        "/v3/a/tags/list",
                                        "v2/a/tags/list",
                                        "/v2//"};

START_TEST(other_paths_are_not_found)
{
    ck_assert_msg(get(elsewhere[_i]) == ROUTE_NOT_FOUND, "%s", elsewhere[_i]);
    ck_assert_int_eq(route.kind, ROUTE_OTHER);
}
END_TEST

START_TEST(there_are_no_uploads_and_no_other_methods)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "PROPFIND"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        ck_assert_int_eq(parse(methods[i], "/v2/a/manifests/1"), ROUTE_BAD_METHOD);
        ck_assert_int_eq(parse(methods[i], "/v2/a/blobs/uploads/"), ROUTE_BAD_METHOD);
        ck_assert_int_eq(parse(methods[i], "/%00"), ROUTE_BAD_METHOD);
    }
    ck_assert_int_eq(get("/v2/a/blobs/uploads/"), ROUTE_BAD_METHOD);
    ck_assert_int_eq(get("/v2/a/blobs/uploads"), ROUTE_BAD_METHOD);
    ck_assert_int_eq(get("/v2/a/blobs/uploads/1234"), ROUTE_BAD_METHOD);
    ck_assert_int_eq(route_refusal(ROUTE_BAD_METHOD)->status, 405);
}
END_TEST

static const char *const broken[] = {
    "/v2/a/manifests/%",     "/v2/a/manifests/%4",      "/v2/a/manifests/%zz",     "/v2/a/manifests/%4z",
    "/v2/a%00/manifests/1",  "/v2/a%0a/manifests/1",    "/v2/a/manifests/1%7f",    "/v2/a/manifests/1\x01",
    "/v2/a/manifests/1?n=%", "/v2/a/manifests/1?%00=1", "/v2/a/manifests/1?x=%0d", "/v2/a/manifests/1?ns=a%1fb",
};

START_TEST(broken_escapes_and_control_characters_are_refused)
{
    ck_assert_msg(get(broken[_i]) == ROUTE_BAD_TARGET, "%s", broken[_i]);
}
END_TEST

START_TEST(a_page_size_is_a_number)
{
    ck_assert_int_eq(get("/v2/a/tags/list?n=0"), ROUTE_OK);
    ck_assert_int_eq(route.page_size, 0);
    ck_assert_int_eq(get("/v2/a/tags/list?n="), ROUTE_OK);
    ck_assert_int_eq(route.page_size, -1);
    ck_assert_int_eq(get("/v2/a/tags/list?n=-1"), ROUTE_BAD_PAGE_SIZE);
    ck_assert_int_eq(get("/v2/a/tags/list?n=x"), ROUTE_BAD_PAGE_SIZE);
    ck_assert_int_eq(get("/v2/a/tags/list?n=1x"), ROUTE_BAD_PAGE_SIZE);
    ck_assert_int_eq(get("/v2/a/tags/list?n=99999999999999999999"), ROUTE_BAD_PAGE_SIZE);
    ck_assert_int_eq(get("/v2/a/manifests/1?n=x"), ROUTE_OK);
}
END_TEST

START_TEST(parameters_are_decoded_and_unknown_ones_ignored)
{
    ck_assert_int_eq(get("/v2/a/manifests/1?&x&y=&ns=&%6es=127.0.0.1%3A22&ns=second&a=b=c&last=a+b"), ROUTE_OK);
    ck_assert_str_eq(route.ns, "127.0.0.1:22");
    ck_assert_str_eq(route.last, "a b");
    ck_assert_int_eq(get("/v2/a/manifests/1?"), ROUTE_OK);
    ck_assert_ptr_null(route.ns);
}
END_TEST

START_TEST(a_namespace_has_a_limit)
{
    char text[1024], ns[257];
    memset(ns, 'a', sizeof(ns));
    ns[256] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/a/manifests/1?ns=%s", ns);
    ck_assert_int_eq(get(text), ROUTE_BAD_NAMESPACE);
    ns[255] = '\0';
    (void)snprintf(text, sizeof(text), "/v2/a/manifests/1?ns=%s", ns);
    ck_assert_int_eq(get(text), ROUTE_OK);
}
END_TEST

START_TEST(every_verdict_but_ok_has_a_refusal)
{
    ck_assert_ptr_null(route_refusal(ROUTE_OK));
    for (int v = ROUTE_OK + 1; v <= ROUTE_BAD_FRAMING; v++) {
        const struct route_refusal *r = route_refusal((enum route_verdict)v);
        ck_assert(r->status >= 400 && r->status < 500);
        ck_assert_ptr_nonnull(r->code);
        ck_assert_ptr_nonnull(r->message);
    }
}
END_TEST

#define LOOP(t, list) tcase_add_loop_test(c, t, 0, (int)(sizeof(list) / sizeof((list)[0])))

int main(void)
{
    Suite *s = suite_create("route");
    TCase *c = tcase_create("route");
    suite_add_tcase(s, c);
    tcase_add_test(c, the_ping_has_a_slash_or_none);
    tcase_add_test(c, a_manifest_is_named_by_tag_or_digest);
    tcase_add_test(c, blobs_tags_and_referrers_are_told_apart);
    tcase_add_test(c, a_name_may_have_components_that_are_called_like_ours);
    tcase_add_test(c, escapes_in_the_path_are_decoded);
    tcase_add_test(c, the_absolute_form_of_a_target_is_the_same);
    tcase_add_test(c, a_registry_with_a_port_may_be_the_first_component);
    LOOP(names_that_the_specification_allows, good_names);
    LOOP(names_that_it_does_not, bad_names);
    tcase_add_test(c, a_name_has_at_most_255_characters);
    tcase_add_test(c, a_tag_has_at_most_128_characters_and_not_every_one);
    LOOP(digests_are_checked, bad_digests);
    tcase_add_test(c, a_blob_or_referrer_has_no_tag);
    LOOP(other_paths_are_not_found, elsewhere);
    tcase_add_test(c, there_are_no_uploads_and_no_other_methods);
    LOOP(broken_escapes_and_control_characters_are_refused, broken);
    tcase_add_test(c, a_page_size_is_a_number);
    tcase_add_test(c, parameters_are_decoded_and_unknown_ones_ignored);
    tcase_add_test(c, a_namespace_has_a_limit);
    tcase_add_test(c, every_verdict_but_ok_has_a_refusal);
    return suite_run(s);
}
