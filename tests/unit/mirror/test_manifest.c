#include "mirror/manifest.h"

#include "scratch.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DIGEST_C                                                                                                       \
    "sha512:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"                                          \
    "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static struct manifest *parse(const char *text)
{
    struct manifest *m = NULL;
    int r = manifest_parse(text, strlen(text), &m);
    ck_assert_msg(r == 0, "%d: %s", r, text);
    return m;
}

static int error_of(const char *text)
{
    struct manifest *m = NULL;
    int r = manifest_parse(text, strlen(text), &m);
    ck_assert_ptr_null(m);
    return r;
}

static void is_child(const struct manifest *m, size_t i, const char *digest, uint64_t size, bool is_manifest)
{
    char text[DIGEST_TEXT_MAX];
    ck_assert_uint_lt(i, m->child_count);
    ck_assert_str_eq(digest_format(&m->children[i].digest, text), digest);
    ck_assert_uint_eq(m->children[i].size, size);
    ck_assert(m->children[i].is_manifest == is_manifest);
}

START_TEST(an_image_refers_to_its_config_and_its_layers)
{
    AUTO(auto_manifest_destroy)
    struct manifest *m = parse(
        "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\","
        "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" DIGEST_A
        "\",\"size\":7},"
        "\"layers\":[{\"digest\":\"" DIGEST_B "\",\"size\":4294967296},{\"digest\":\"" DIGEST_C "\",\"size\":0}]}");
    ck_assert_str_eq(m->media_type, MEDIA_TYPE_OCI_MANIFEST);
    ck_assert_uint_eq(m->child_count, 3);
    is_child(m, 0, DIGEST_A, 7, false);
    is_child(m, 1, DIGEST_B, 4294967296, false);
    is_child(m, 2, DIGEST_C, 0, false);
}
END_TEST

START_TEST(an_index_refers_to_manifests)
{
    AUTO(auto_manifest_destroy)
    struct manifest *m =
        parse("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_DOCKER_LIST "\",\"manifests\":["
              "{\"digest\":\"" DIGEST_A "\",\"size\":528,\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}},"
              "{\"digest\":\"" DIGEST_B "\",\"size\":529}]}");
    ck_assert_str_eq(m->media_type, MEDIA_TYPE_DOCKER_LIST);
    ck_assert_uint_eq(m->child_count, 2);
    is_child(m, 0, DIGEST_A, 528, true);
    is_child(m, 1, DIGEST_B, 529, true);
}
END_TEST

START_TEST(an_artifact_manifest_has_blobs)
{
    AUTO(auto_manifest_destroy)
    struct manifest *m =
        parse("{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"blobs\":["
              "{\"digest\":\"" DIGEST_A "\",\"size\":5}],\"subject\":{\"digest\":\"" DIGEST_B "\",\"size\":6}}");
    ck_assert_uint_eq(m->child_count, 1); /* what it is about is not a part of it */
    is_child(m, 0, DIGEST_A, 5, false);
}
END_TEST

START_TEST(without_a_media_type_the_form_says_what_it_is)
{
    AUTO(auto_manifest_destroy) struct manifest *index = parse("{\"schemaVersion\":2,\"manifests\":[]}");
    ck_assert_str_eq(index->media_type, MEDIA_TYPE_OCI_INDEX);
    AUTO(auto_manifest_destroy) struct manifest *image = parse("{\"schemaVersion\":2,\"config\":{}}");
    ck_assert_str_eq(image->media_type, MEDIA_TYPE_OCI_MANIFEST);
    AUTO(auto_manifest_destroy) struct manifest *layers = parse("{\"schemaVersion\":2,\"layers\":[]}");
    ck_assert_str_eq(layers->media_type, MEDIA_TYPE_OCI_MANIFEST);
    AUTO(auto_manifest_destroy)
    struct manifest *generic = parse("{\"mediaType\":\"application/json\",\"manifests\":[]}");
    ck_assert_str_eq(generic->media_type, MEDIA_TYPE_OCI_INDEX);
}
END_TEST

START_TEST(a_media_type_that_could_not_stand_in_a_header_is_none)
{
    AUTO(auto_manifest_destroy)
    struct manifest *m = parse("{\"mediaType\":\"application/x\\r\\nSet-Cookie: a=b\",\"manifests\":[]}");
    ck_assert_str_eq(m->media_type, MEDIA_TYPE_OCI_INDEX);
    ck_assert_int_eq(error_of("{\"mediaType\":\"application/x y\"}"), -EINVAL);
}
END_TEST

START_TEST(descriptors_that_mean_nothing_to_us_are_left_out)
{
    AUTO(auto_manifest_destroy)
    struct manifest *m = parse("{\"schemaVersion\":2,\"config\":\"opaque\",\"layers\":["
                               "{\"digest\":\"" DIGEST_A "\",\"size\":-1},"
                               "{\"digest\":\"" DIGEST_A "\",\"size\":\"7\"},"
                               "{\"digest\":\"" DIGEST_A "\"},"
                               "{\"digest\":\"" DIGEST_A "\",\"size\":7.5},"
                               "{\"digest\":\"sha256:short\",\"size\":7},"
                               "{\"digest\":\"blake3:aa\",\"size\":7},"
                               "{\"digest\":7,\"size\":7},"
                               "{\"size\":7},"
                               "null,[],\"" DIGEST_A "\","
                               "{\"digest\":\"" DIGEST_B "\",\"size\":9223372036854775807}]}");
    ck_assert_uint_eq(m->child_count, 1);
    is_child(m, 0, DIGEST_B, 9223372036854775807, false);
}
END_TEST

START_TEST(docker_schema_1_is_told_apart)
{
    ck_assert_int_eq(error_of("{\"schemaVersion\":1,\"name\":\"library/alpine\",\"fsLayers\":[]}"), -ENOTSUP);
    ck_assert_int_eq(error_of("{\"schemaVersion\":1,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\"}"), -ENOTSUP);
}
END_TEST

static const char *const nonsense[] = {
    "",
    " ",
    "null",
    "[]",
    "\"manifest\"",
    "{}",
    "{\"schemaVersion\":2}",
    "{\"manifests\":{}}",
    "{\"layers\":{}}",
    "{\"config\":[]}",
    "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}",
    "<!DOCTYPE html><html></html>",
    "{\"manifests\":[]} trailing",
    "{\"manifests\":[]}{\"manifests\":[]}",
    "{\"manifests\":[",
    "{\"manifests\":[],\"manifests\":[]}",
    "{\"manifests\":[],\"x\":\"\xff\"}",
    "{\"mediaType\":\"text/html\"}",
};

START_TEST(what_is_no_manifest_is_refused)
{
    ck_assert_msg(error_of(nonsense[_i]) == -EINVAL, "%s", nonsense[_i]);
}
END_TEST

START_TEST(nesting_without_end_is_refused)
{
    char deep[20001];
    memset(deep, '[', 20000);
    deep[20000] = '\0';
    ck_assert_int_eq(error_of(deep), -EINVAL);
}
END_TEST

START_TEST(as_many_references_as_may_be_and_not_one_more)
{
    AUTO_BUF struct buf text = BUF_INIT(64u << 20);
    ck_assert_int_eq(buf_adds(&text, "{\"manifests\":["), 0);
    for (unsigned i = 0; i < MANIFEST_CHILDREN_MAX; i++)
        ck_assert_int_eq(buf_addf(&text, "%s{\"digest\":\"" DIGEST_A "\",\"size\":%u}", i ? "," : "", i), 0);
    size_t len = text.len;
    ck_assert_int_eq(buf_adds(&text, "]}"), 0);
    AUTO(auto_manifest_destroy) struct manifest *m = parse(text.data);
    ck_assert_uint_eq(m->child_count, MANIFEST_CHILDREN_MAX);
    is_child(m, MANIFEST_CHILDREN_MAX - 1, DIGEST_A, MANIFEST_CHILDREN_MAX - 1, true);

    text.len = len;
    ck_assert_int_eq(buf_adds(&text, ",{\"digest\":\"" DIGEST_A "\",\"size\":1}]}"), 0);
    ck_assert_int_eq(error_of(text.data), -EFBIG);
}
END_TEST

static const struct {
    const char *type;
    bool is_manifest;
} types[] = {
    {MEDIA_TYPE_OCI_INDEX, true},
    {MEDIA_TYPE_OCI_MANIFEST, true},
    {MEDIA_TYPE_DOCKER_LIST, true},
    {MEDIA_TYPE_DOCKER_MANIFEST, true},
    {"application/vnd.example.anything+json", true},
    {"", false},
    {"application/json", false},
    {"application/octet-stream", false},
    {"binary/octet-stream", false},
    {"text/html", false},
    {"text/plain", false},
    {"application/x\nx", false},
    {"application/x\tx", false},
    {"application/x\xc3\xa4", false},
    {"manifest", false},
};

START_TEST(which_types_can_be_those_of_a_manifest)
{
    ck_assert_msg(media_type_is_manifest(types[_i].type) == types[_i].is_manifest, "%s", types[_i].type);
}
END_TEST

START_TEST(a_type_is_not_longer_than_its_place)
{
    char type[MEDIA_TYPE_MAX + 1];
    memset(type, 'x', sizeof(type));
    memcpy(type, "application/", 12);
    type[MEDIA_TYPE_MAX - 1] = '\0';
    ck_assert(media_type_is_manifest(type));
    type[MEDIA_TYPE_MAX - 1] = 'x';
    type[MEDIA_TYPE_MAX] = '\0';
    ck_assert(!media_type_is_manifest(type));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("manifest");
    TCase *tests = tcase_create("manifest");
    tcase_add_test(tests, an_image_refers_to_its_config_and_its_layers);
    tcase_add_test(tests, an_index_refers_to_manifests);
    tcase_add_test(tests, an_artifact_manifest_has_blobs);
    tcase_add_test(tests, without_a_media_type_the_form_says_what_it_is);
    tcase_add_test(tests, a_media_type_that_could_not_stand_in_a_header_is_none);
    tcase_add_test(tests, descriptors_that_mean_nothing_to_us_are_left_out);
    tcase_add_test(tests, docker_schema_1_is_told_apart);
    tcase_add_loop_test(tests, what_is_no_manifest_is_refused, 0, ARRAY_SIZE(nonsense));
    tcase_add_test(tests, nesting_without_end_is_refused);
    tcase_add_test(tests, as_many_references_as_may_be_and_not_one_more);
    tcase_add_loop_test(tests, which_types_can_be_those_of_a_manifest, 0, ARRAY_SIZE(types));
    tcase_add_test(tests, a_type_is_not_longer_than_its_place);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
