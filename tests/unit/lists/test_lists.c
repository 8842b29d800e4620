#include "lists/lists.h"

#include "suite.h"

#include "base/buf.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define SAMPLES "/tests/unit/lists/samples/"

/* --- what is read, as text -------------------------------------------------------------------------------------- */

static struct image_list *list;
static struct buf seen;

static void setup(void)
{
    seen = BUF_INIT(16 * MIB);
}

static void cleanup(void)
{
    image_list_destroy(list);
    list = NULL;
    buf_finish(&seen);
}

static void open_list(const struct image_list_options *options)
{
    static const struct image_list_options none;
    const char *wrong;
    image_list_destroy(list);
    list = NULL;
    ck_assert_int_eq(image_list_create(options ? options : &none, &list, &wrong), 0);
}

static void read_list(const char *text)
{
    if (!list)
        open_list(NULL);
    ck_assert_int_eq(image_list_read(list, "f", text, strlen(text)), 0);
}

static void read_file(const char *directory, const char *name, struct buf *text)
{
    char path[512], block[4096];
    (void)snprintf(path, sizeof(path), "%s%s%s", SOURCE_ROOT, directory, name);
    AUTO_FCLOSE FILE *f = fopen(path, "re");
    ck_assert_msg(f != NULL, "%s", path);
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        ck_assert_int_eq(buf_add(text, block, n), 0);
}

static void see(const char *s)
{
    ck_assert_int_eq(buf_adds(&seen, s), 0);
}

static void see_all(const char *label, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        see(i == 0 ? label : ",");
        see(texts[i]);
    }
}

/* "3:5 docker.io/library/alpine:3.20 on linux/amd64,default", a line each */
static const char *references(void)
{
    size_t count;
    const struct image_reference *reference = image_list_references(list, &count);
    buf_reset(&seen);
    see("");
    for (size_t i = 0; i < count; i++, reference++) {
        ck_assert_int_eq(buf_addf(&seen, "%d:%d %s", reference->line, reference->column, reference->name), 0);
        if (reference->pattern.is_set)
            see(reference->pattern.is_partial ? " partly" : " tags");
        see_all(" in ", reference->pattern.allow, reference->pattern.allow_count);
        see_all(" not ", reference->pattern.deny, reference->pattern.deny_count);
        see_all(" semver ", reference->pattern.semver, reference->pattern.semver_count);
        see_all(" on ", reference->platforms, reference->platform_count);
        if (reference->platform_count > 0 && reference->default_platforms)
            see(" and the default");
        see("\n");
        ck_assert(reference->platform_count > 0 || reference->default_platforms);
    }
    return seen.data;
}

/* "error 3:5 message" */
static const char *notes(void)
{
    size_t count;
    const struct image_note *note = image_list_notes(list, &count);
    buf_reset(&seen);
    see("");
    for (size_t i = 0; i < count; i++, note++)
        ck_assert_int_eq(buf_addf(&seen, "%s %d:%d %s\n", note->is_error ? "error" : "warning", note->line,
                                  note->column, note->message),
                         0);
    return seen.data;
}

/* --- the formats, as they are met --------------------------------------------------------------------------------- */

static const struct {
    const char *sample;
    enum image_list_format format;
} samples[] = {
    {"plain.txt", IMAGE_LIST_TEXT},       {"skopeo.yaml", IMAGE_LIST_SKOPEO},   {"regsync.yaml", IMAGE_LIST_REGSYNC},
    {"pods.json", IMAGE_LIST_KUBERNETES}, {"helm.yaml", IMAGE_LIST_KUBERNETES}, {"compose.yaml", IMAGE_LIST_COMPOSE},
    {"hauler.yaml", IMAGE_LIST_HAULER},   {"zarf.yaml", IMAGE_LIST_ZARF},
};

/* What is to be read of a sample stands beside it, with .expected behind its name. */
START_TEST(a_sample_of_each_format_is_known_and_read)
{
    static const char *const fields[] = {"Widget:.spec.nodes.*.pictures[]", "*:.spec.image"};
    const struct image_list_options detecting = {.fields = fields, .field_count = ARRAY_SIZE(fields)};
    struct image_list_options told = detecting;
    AUTO_BUF struct buf sample = BUF_INIT(MIB), expected = BUF_INIT(MIB), found = BUF_INIT(MIB);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s.expected", samples[_i].sample);
    read_file(SAMPLES, samples[_i].sample, &sample);
    read_file(SAMPLES, path, &expected);
    told.format = samples[_i].format;
    for (int i = 0; i < 2; i++) {
        open_list(i == 0 ? &detecting : &told);
        read_list(sample.data);
        buf_reset(&found);
        ck_assert_int_eq(buf_adds(&found, references()), 0);
        ck_assert_int_eq(buf_adds(&found, notes()), 0);
        ck_assert_str_eq(found.data, expected.data);
    }
}
END_TEST

/* --- the platform's own lists ------------------------------------------------------------------------------------- */

START_TEST(the_lists_of_the_platform_are_right)
{
    static const char *const files[] = {"data.txt", "observability.txt", "platform.txt"};
    static const char *const wanted[] = {
        "apache/doris",
        "trinodb/trino",
        "apache/superset",
        "minio/minio",
        "hashicorp/vault",
        "treeverse/lakefs",
        "apache/spark",
        "kubeflow/spark-operator/controller",
        "grafana/loki",
        "velero/velero",
        "apache/seatunnel",
        "apache/iceberg-rest-fixture",
        "grafana/grafana",
        "library/postgres",
        "prometheus/prometheus",
        "clickhouse/clickhouse-server",
        "argoproj/argocd",
        "cloudflare/cloudflared",
        "prometheus/alertmanager",
        "apache/dolphinscheduler-master",
        "jetstack/cert-manager-controller",
    };
    static const char registries[] = " docker.io ghcr.io quay.io registry.k8s.io public.ecr.aws ";
    size_t count, lines = 0;
    bool seen_wanted[ARRAY_SIZE(wanted)] = {false};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        AUTO_BUF struct buf text = BUF_INIT(MIB);
        read_file("/config/images/", files[i], &text);
        read_list(text.data);
        for (char *line = text.data; *line; line += strcspn(line, "\n") + 1)
            lines += *line != '#' && *line != '\n';
    }
    ck_assert_str_eq(notes(), "");
    const struct image_reference *r = image_list_references(list, &count);
    ck_assert_uint_eq(count, lines); /* none twice */
    for (size_t i = 0; i < count; i++) {
        char word[LIMIT_NAME + 3];
        (void)snprintf(word, sizeof(word), " %s ", r[i].registry);
        ck_assert_msg(strstr(registries, word) != NULL, "%s", r[i].name);
        ck_assert_msg(strcmp(r[i].written, r[i].name) == 0, "%s is not written in full", r[i].written);
        ck_assert_msg(strcmp(r[i].tag, "latest") != 0, "%s", r[i].name);
        for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
            seen_wanted[k] = seen_wanted[k] || strcmp(r[i].repository, wanted[k]) == 0;
    }
    for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
        ck_assert_msg(seen_wanted[k], "%s is missing", wanted[k]);
}
END_TEST

/* --- each by itself ------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *text, *references, *notes;
} cases[] = {
    {"", "", ""},
    {"# nothing\n\n", "", ""},
    {"---\n# nothing\n", "", ""},
    {"\xef\xbb\xbf"
     "alpine:3.20\r\n",
     "1:1 docker.io/library/alpine:3.20\n", ""},
    {"alpine:3.20 plan9\n", "1:1 docker.io/library/alpine:3.20\n",
     "error 1:13 \"plan9\" is no platform: linux/amd64, linux/arm/v7, or all\n"},
    {"alpine:\xff\n", "",
     "error 1:1 \"alpine:\\ufffd\" is no image reference: its tag is none: letters, digits, _ . and - may be in one, "
     "at "
     "most 128, and neither . nor - be the first\n"},
    {"\talpine\t linux/amd64\t#\tx\n", "1:2 docker.io/library/alpine:latest on linux/amd64\n", ""},
    {"https://hub.docker.com/r/a/b\n", "",
     "error 1:1 \"https://hub.docker.com/r/a/b\" is no image reference: it begins like a URL; names of images have no "
     "scheme\n"},
    /* the same image of two files and in two ways is one, with the platforms of both */
    {"alpine linux/arm64\ndocker.io/library/alpine:latest linux/amd64\n",
     "1:1 docker.io/library/alpine:latest on linux/arm64,linux/amd64\n", ""},
    {"a: 1\n", "", "error 1:1 this is none of the formats that are known; --format NAME says which it is to be\n"},
    {"{\"a\":", "", NULL},
    {"kind: Pod\nspec: {containers: [{image: a/b}, {image: null}, {}, 1]}\n", "2:29 docker.io/a/b:latest\n", ""},
    /* any kind with a pod template in it */
    {"kind: Rollout\nspec:\n  template:\n    spec:\n      containers:\n      - image: a/b:1\n",
     "6:16 docker.io/a/b:1\n", ""},
    {"kind: Tekton\nspec: {containers: {a: {image: x}}}\n", "", ""},
    {"[{kind: Pod, spec: {containers: [{image: a/b:1}]}}, {kind: Pod, spec: {initContainers: [{image: a/b:2}]}}]",
     "1:42 docker.io/a/b:1\n1:97 docker.io/a/b:2\n", ""},
    {"{\"kind\": \"PodList\", \"items\": [{\"spec\": {\"containers\": [{\"image\": \"a/b:1\"}]}}]}",
     "1:66 docker.io/a/b:1\n", ""},
    {"kind: PrometheusList\nitems: [{spec: {image: a/b:1}}, 1]\n", "2:24 docker.io/a/b:1\n",
     "error 2:33 a Kubernetes object is expected here, and it has a kind\n"},
    {"kind: List\nitems:\n- {}\n", "", "error 2:1 a Kubernetes object is expected here, and it has a kind\n"},
    {"%YAML 1.2\n---\nkind: Pod\nspec: {containers: [{image: a/b:1}]}\n---\nkind: Pod\nspec: {containers: [{image: "
     "a/b:2}]}\n",
     "4:29 docker.io/a/b:1\n7:29 docker.io/a/b:2\n", ""},
    /* anchors that are not there lead nowhere, loops end */
    {"kind: Pod\nspec: {containers: [&a {image: a/b:1}, *a, *t]}\n", "2:32 docker.io/a/b:1\n", ""},
    {"kind: Pod\nspec: &s {containers: [{image: a/b:1}], x: [*s, *s]}\n", "2:32 docker.io/a/b:1\n", NULL},
    {"services: {}\n", "", ""},
    {"services: {a: {image: \"$$x\"}}\n", "",
     "error 1:23 \"$x\" is no image reference: its repository is no name: words of lower-case letters and digits, "
     "joined "
     "by . _ __ or -, and slashes between them\n"},
    {"services: {a: {image: \"a${B:+b}:${C:?no}\"}}\n", "",
     "error 1:23 a variable in it has no default here: `docker compose config` prints the file with all of them filled "
     "in\n"},
    {"services: {a: {image: \"a:${B:-1\"}}\n", "",
     "error 1:23 a variable in it has no default here: `docker compose config` prints the file with all of them filled "
     "in\n"},
    {"sync:\n- source: a\n", "", "error 2:3 source and type are expected here\n"},
    {"sync:\n- {source: a, type: b}\n", "", "error 2:21 image, repository or registry is expected here\n"},
    {"docker.io: {images: {a: [{}]}}\n", "", "error 1:22 a tag or a digest is expected here\n"},
    {"docker.io: {images: {a: 1}}\n", "", "error 1:25 a list of tags is expected here\n"},
    {"docker.io: {images: {A: [1]}}\n", "",
     "error 1:26 \"docker.io/A:1\" is no image reference: its repository has upper-case letters; there are none in "
     "names "
     "of images\n"},
    {"kind: ZarfPackageConfig\n", "", "error 1:1 a list called components is expected here\n"},
};

START_TEST(small_texts)
{
    read_list(cases[_i].text);
    ck_assert_str_eq(references(), cases[_i].references);
    if (cases[_i].notes)
        ck_assert_str_eq(notes(), cases[_i].notes);
    else
        ck_assert_uint_gt(image_list_errors(list), 0);
}
END_TEST

START_TEST(a_format_can_be_said)
{
    static const char text[] = "services: {a: {image: alpine}}\n";
    enum image_list_format format;
    ck_assert(image_list_format_find("kubernetes", &format));
    ck_assert_int_eq(format, IMAGE_LIST_KUBERNETES);
    ck_assert(!image_list_format_find("kubernetes ", &format));
    ck_assert_str_eq(image_list_format_name(IMAGE_LIST_ZARF), "zarf");
    ck_assert_ptr_null(image_list_format_name(IMAGE_LIST_ZARF + 1));
    open_list(&(struct image_list_options){.format = format});
    read_list(text);
    ck_assert_str_eq(notes(), "error 1:1 a Kubernetes object is expected here, and it has a kind\n");
    open_list(&(struct image_list_options){.format = IMAGE_LIST_TEXT});
    read_list(text);
    ck_assert_uint_gt(image_list_errors(list), 0);
    ck_assert_str_eq(references(), "");
}
END_TEST

START_TEST(fields_must_be_kinds_and_paths)
{
    static const struct {
        const char *field;
        bool is_right;
    } fields[] = {
        {"A:.b", true},     {"A:.b.c[].d", true}, {"A:.b[][]", true}, {"*:.b", true},   {"A:.*.b", true},
        {"A:.b-c_d", true}, {"A", false},         {"A:", false},      {"A:b", false},   {":.b", false},
        {"A:.", false},     {"A:.b.", false},     {"A:.b..c", false}, {"A:.[]", false}, {"A:.b[0]", false},
        {"A:.b[", false},   {"A:.b[]c", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct image_list_options options = {.fields = &fields[i].field, .field_count = 1};
        struct image_list *made = NULL;
        const char *wrong = NULL;
        int r = image_list_create(&options, &made, &wrong);
        ck_assert_msg(r == (fields[i].is_right ? 0 : -EINVAL), "%s: %s", fields[i].field, wrong ? wrong : "");
        ck_assert((r == 0) == (wrong == NULL));
        image_list_destroy(made);
    }
}
END_TEST

START_TEST(a_reference_of_a_command_line_is_added)
{
    const char *wrong = NULL;
    open_list(NULL);
    ck_assert_int_eq(image_list_add(list, "alpine", &wrong), 0);
    ck_assert_int_eq(image_list_add(list, "alpine:latest", &wrong), 0);
    ck_assert_int_eq(image_list_add(list, "Alpine", &wrong), -EINVAL);
    ck_assert_str_eq(wrong, "its repository has upper-case letters; there are none in names of images");
    ck_assert_str_eq(references(), "0:0 docker.io/library/alpine:latest\n");
}
END_TEST

/* --- bounds ----------------------------------------------------------------------------------------------------------
 */

START_TEST(a_bomb_of_aliases_ends)
{
    AUTO_BUF struct buf bomb = BUF_INIT(MIB);
    ck_assert_int_eq(buf_adds(&bomb, "kind: Pod\na: &a0 [{image: x}]\n"), 0);
    for (int i = 1; i < 40; i++)
        ck_assert_int_eq(buf_addf(&bomb, "b%d: &a%d [*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1), 0);
    ck_assert_int_eq(buf_adds(&bomb, "containers: [{image: a/b:1}]\n"), 0);
    read_list(bomb.data);
    ck_assert_str_eq(notes(), "error 0:0 there is too much in this file, or in its aliases: the rest is left out\n");
}
END_TEST

START_TEST(too_many_anchors_are_refused_and_what_only_looks_like_some_is_not)
{
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    ck_assert_int_eq(buf_adds(&text, "kind: Pod\na:\n"), 0);
    for (int i = 0; i < 1001; i++)
        ck_assert_int_eq(buf_addf(&text, "- &a%d x\n", i), 0);
    ck_assert_int_eq(buf_adds(&text, "---\nkind: Pod\nspec: {containers: [{image: a/b:1}]}\nb: |\n"), 0);
    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(buf_adds(&text, "  a && b & c?d=e&f\n"), 0);
    read_list(text.data);
    ck_assert_str_eq(notes(), "error 1:1 a document begins here that has more than 1000 anchors (&NAME)\n");
    ck_assert_str_eq(references(), "1006:29 docker.io/a/b:1\n");
}
END_TEST

START_TEST(a_list_ends_at_its_bounds)
{
    AUTO_BUF struct buf text = BUF_INIT(16 * MIB);
    size_t count;
    for (int i = 0; i < IMAGE_LIST_REFERENCES_MAX + 2; i++)
        ck_assert_int_eq(buf_addf(&text, "a/b:%d\n", i), 0);
    read_list(text.data);
    (void)image_list_references(list, &count);
    ck_assert_uint_eq(count, IMAGE_LIST_REFERENCES_MAX);
    ck_assert_str_eq(notes(), "error 100001:1 there are more images than one list may have: this one and the next ones "
                              "are left out\n");

    open_list(NULL);
    buf_reset(&text);
    for (int i = 0; i < 2 * IMAGE_LIST_NOTES_MAX; i++)
        ck_assert_int_eq(buf_adds(&text, "A\n"), 0);
    read_list(text.data);
    const struct image_note *last = image_list_notes(list, &count) + IMAGE_LIST_NOTES_MAX - 1;
    ck_assert_uint_eq(count, IMAGE_LIST_NOTES_MAX);
    ck_assert_str_eq(last->message, "and there is more to say");
    ck_assert_uint_eq(image_list_errors(list), 2 * IMAGE_LIST_NOTES_MAX);
}
END_TEST

START_TEST(a_file_ends_at_its_bounds)
{
    AUTO_FREE char *text = calloc(1, IMAGE_LIST_TEXT_MAX + 1);
    ck_assert_ptr_nonnull(text);
    open_list(NULL);
    ck_assert_int_eq(image_list_read(list, "f", text, IMAGE_LIST_TEXT_MAX + 1), 0);
    ck_assert_str_eq(notes(), "error 0:0 this file is larger than 64 MiB\n");
    open_list(NULL);
    memset(text, 'a', 5000);
    text[4999] = '\0';
    read_list(text);
    ck_assert_str_eq(notes(), "error 1:1 this line is longer than 4096 bytes\n");
}
END_TEST

START_TEST(platforms_and_patterns_end_at_their_bounds)
{
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    size_t count;
    for (int i = 0; i < 2 * IMAGE_LIST_PLATFORMS_MAX; i++)
        ck_assert_int_eq(buf_addf(&text, "a/b linux/a%d\n", i), 0);
    ck_assert_int_eq(buf_adds(&text, "a/c"), 0);
    for (int i = 0; i < IMAGE_LIST_PLATFORMS_MAX + 1; i++)
        ck_assert_int_eq(buf_addf(&text, " linux/a%d", i), 0);
    read_list(text.data);
    ck_assert_uint_eq(image_list_references(list, &count)[0].platform_count, IMAGE_LIST_PLATFORMS_MAX);
    ck_assert_ptr_nonnull(strstr(notes(), "there are more than 32 platforms\n"));

    open_list(NULL);
    buf_reset(&text);
    ck_assert_int_eq(buf_adds(&text, "sync: [{type: repository, source: a, tags: {allow: ["), 0);
    for (int i = 0; i < IMAGE_LIST_PATTERNS_MAX + 1; i++)
        ck_assert_int_eq(buf_addf(&text, "%d, ", i), 0);
    ck_assert_int_eq(buf_adds(&text, "]}}]\n"), 0);
    read_list(text.data);
    ck_assert_uint_eq(image_list_references(list, &count)[0].pattern.allow_count, IMAGE_LIST_PATTERNS_MAX);
    ck_assert_ptr_nonnull(strstr(notes(), "there are more than 100 of these\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lists");
    TCase *tc = tcase_create("lists");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, cleanup);
    tcase_add_loop_test(tc, a_sample_of_each_format_is_known_and_read, 0, (int)ARRAY_SIZE(samples));
    tcase_add_test(tc, the_lists_of_the_platform_are_right);
    tcase_add_loop_test(tc, small_texts, 0, (int)ARRAY_SIZE(cases));
    tcase_add_test(tc, a_format_can_be_said);
    tcase_add_test(tc, fields_must_be_kinds_and_paths);
    tcase_add_test(tc, a_reference_of_a_command_line_is_added);
    tcase_add_test(tc, a_bomb_of_aliases_ends);
    tcase_add_test(tc, too_many_anchors_are_refused_and_what_only_looks_like_some_is_not);
    tcase_add_test(tc, a_list_ends_at_its_bounds);
    tcase_add_test(tc, a_file_ends_at_its_bounds);
    tcase_add_test(tc, platforms_and_patterns_end_at_their_bounds);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
