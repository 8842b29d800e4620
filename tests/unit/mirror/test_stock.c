/* What of an image is stored, for which platforms, and what the rest would cost. */
#include "mirror/stock.h"

#include "world.h"

#include "base/clock.h"
#include "mirror/pointers.h"

#include <errno.h>
#include <string.h>

#define LAYER 1000

/* --- images ------------------------------------------------------------------------------------------------- */

/* Blob `n`; stored, or only known by its digest. */
static struct digest blob(unsigned n, bool is_stored)
{
    struct digest digest;
    AUTO_FREE char *bytes = scratch_bytes(n, LAYER, &digest);
    if (is_stored)
        world_store(bytes, LAYER, &digest);
    return digest;
}

static void add_descriptor(struct buf *text, const struct digest *digest, const char *more)
{
    char name[DIGEST_TEXT_MAX];
    const char *separator = text->data[text->len - 1] == '}' ? "," : "";
    ck_ok(buf_addf(text, "%s{\"digest\":\"%s\",\"size\":%d%s}", separator, digest_format(digest, name), LAYER, more));
}

static struct digest document(const struct buf *text, bool is_stored)
{
    struct digest digest;
    if (is_stored)
        return world_add_document(text);
    ck_ok(digest_of(DIGEST_SHA256, text->data, text->len, &digest));
    return digest;
}

/* Of the blobs n, which is its configuration, and n + 1. */
static struct digest manifest(unsigned n, bool is_stored, bool has_config, bool has_layer)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    struct digest config = blob(n, has_config), layer = blob(n + 1, has_layer);
    ck_ok(buf_adds(&text, "{\"schemaVersion\":2,\"config\":"));
    add_descriptor(&text, &config, "");
    ck_ok(buf_adds(&text, ",\"layers\":["));
    add_descriptor(&text, &layer, "");
    ck_ok(buf_adds(&text, "]}"));
    return document(&text, is_stored);
}

static void begin_index(struct buf *text)
{
    ck_ok(buf_adds(text, "{\"schemaVersion\":2,\"manifests\":["));
}

/* `platform` "linux/arm/v7", or NULL */
static void add_manifest(struct buf *text, const struct digest *digest, const char *platform)
{
    char more[256] = "";
    struct platform p = {""};
    if (platform && strcmp(platform, "unknown/unknown") == 0)
        ck_assert(platform_make("unknown", "unknown", NULL, &p));
    else if (platform)
        ck_ok(platform_parse(platform, &p));
    if (platform)
        (void)snprintf(more, sizeof(more), ",\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\",\"variant\":\"%s\"}",
                       p.os, p.architecture, p.variant);
    add_descriptor(text, digest, more);
}

static struct digest end_index(struct buf *text)
{
    ck_ok(buf_adds(text, "]}"));
    return document(text, true);
}

static void point(const char *tag, const struct digest *digest, int64_t age_ms)
{
    struct pointer pointer = {.digest = *digest, .checked_at = clock_real_ms() - age_ms};
    struct pointer_key key;
    pointer_key_make(&key, "docker.io", "a/b", POINTER_TAG, tag);
    pointers_put(world.mirror->pointers, &key, &pointer);
}

/* amd64 is whole, arm64 lacks a layer, of arm/v7 nothing is stored */
static struct digest three_platforms(void)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    struct digest amd64 = manifest(10, true, true, true), arm64 = manifest(20, true, true, false),
                  arm = manifest(30, false, false, false), attestation = manifest(40, false, false, false);
    begin_index(&text);
    add_manifest(&text, &amd64, "linux/amd64");
    add_manifest(&text, &arm64, "linux/arm64/v8");
    add_manifest(&text, &arm, "linux/arm/v7");
    add_manifest(&text, &attestation, "unknown/unknown");
    return end_index(&text);
}

/* --- stock -------------------------------------------------------------------------------------------------- */

/* Platforms with a space between them. */
static struct stock *take(const char *image, const char *platforms)
{
    struct image_name name;
    struct platform wanted[STOCK_PLATFORMS_MAX];
    char words[256], *rest = words;
    const char *wrong;
    size_t count = 0;
    struct stock *s;
    ck_ok(image_name_parse(image, strlen(image), &name, &wrong));
    (void)snprintf(words, sizeof(words), "%s", platforms);
    for (char *word; (word = strsep(&rest, " "));)
        if (*word)
            ck_ok(platform_parse(word, &wanted[count++]));
    ck_ok(mirror_stock(world.mirror, &name, wanted, count, &s));
    return s;
}

/* "served linux/amd64+ linux/arm64- linux/s390x? pulls=1 bytes=1000+" */
static void summarize(const struct stock *s, struct buf *text)
{
    static const char *const words[] = {"served", "wanting", "not offered"};
    char platform[PLATFORM_TEXT_MAX];
    ck_ok(buf_adds(text, words[s->verdict]));
    for (size_t i = 0; i < s->platform_count; i++)
        ck_ok(buf_addf(text, " %s%c", platform_format(&s->platforms[i].platform, platform),
                       "+-?"[s->platforms[i].verdict]));
    ck_ok(buf_addf(text, " pulls=%u bytes=%llu%s", s->manifest_gets, (unsigned long long)s->missing_bytes,
                   s->has_unknown_bytes ? "+" : ""));
}

static void expect(const char *image, const char *platforms, enum stock_name name, const char *expected)
{
    AUTO(auto_stock_destroy) struct stock *s = take(image, platforms);
    AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
    summarize(s, &text);
    ck_assert_str_eq(text.data, expected);
    ck_assert_int_eq(s->name, name);
}

START_TEST(each_platform_is_judged_by_itself)
{
    struct digest index = three_platforms();
    point("1", &index, 0);
    expect("a/b:1", "linux/amd64", STOCK_NAME_GOOD, "served linux/amd64+ pulls=0 bytes=0");
    expect("a/b:1", "linux/amd64 linux/arm64", STOCK_NAME_GOOD, "wanting linux/amd64+ linux/arm64- pulls=0 bytes=1000");
    expect("a/b:1", "linux/arm/v7", STOCK_NAME_GOOD, "wanting linux/arm/v7- pulls=1 bytes=1000+");
    expect("a/b:1", "linux/arm64 linux/arm/v7", STOCK_NAME_GOOD,
           "wanting linux/arm64- linux/arm/v7- pulls=1 bytes=2000+");
    expect("a/b:1", "linux/amd64 linux/s390x", STOCK_NAME_GOOD, "served linux/amd64+ linux/s390x? pulls=0 bytes=0");
    expect("a/b:1", "linux/s390x", STOCK_NAME_GOOD, "not offered linux/s390x? pulls=0 bytes=0");
    /* all of them, but for attestations */
    expect("a/b:1", "", STOCK_NAME_GOOD, "wanting linux/amd64+ linux/arm64- linux/arm/v7- pulls=1 bytes=2000+");
}
END_TEST

START_TEST(the_parts_of_an_image_are_listed_under_what_names_them)
{
    struct digest index = three_platforms();
    point("1", &index, 0);
    AUTO(auto_stock_destroy) struct stock *s = take("a/b:1", "linux/arm64 linux/arm/v7");
    static const struct {
        enum stock_kind kind;
        enum stock_state state;
        size_t parent;
        const char *architecture;
    } items[] = {
        {STOCK_INDEX, STOCK_STORED, 0, ""},        {STOCK_MANIFEST, STOCK_STORED, 0, "arm64"},
        {STOCK_CONFIG, STOCK_STORED, 1, ""},       {STOCK_LAYER, STOCK_MISSING, 1, ""},
        {STOCK_MANIFEST, STOCK_MISSING, 0, "arm"},
    };
    ck_assert_uint_eq(s->item_count, ARRAY_SIZE(items));
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        ck_assert_int_eq(s->items[i].kind, items[i].kind);
        ck_assert_int_eq(s->items[i].state, items[i].state);
        ck_assert_uint_eq(s->items[i].parent, items[i].parent);
        ck_assert_str_eq(s->items[i].platform.architecture, items[i].architecture);
    }
    ck_assert(digest_equal(&s->items[0].digest, &index));
    ck_assert_str_eq(s->registry, "docker.io");
    ck_assert_str_eq(s->repository, "a/b");
}
END_TEST

START_TEST(an_image_without_an_index_is_for_whoever_asks)
{
    struct digest whole = manifest(10, true, true, true), part = manifest(20, true, false, true);
    point("whole", &whole, 0);
    point("part", &part, 0);
    expect("a/b:whole", "linux/amd64 linux/s390x", STOCK_NAME_GOOD, "served linux/amd64+ linux/s390x+ pulls=0 bytes=0");
    expect("a/b:whole", "", STOCK_NAME_GOOD, "served pulls=0 bytes=0");
    expect("a/b:part", "linux/amd64", STOCK_NAME_GOOD, "wanting linux/amd64- pulls=0 bytes=1000");
    expect("a/b:part", "", STOCK_NAME_GOOD, "wanting pulls=0 bytes=1000");
}
END_TEST

START_TEST(a_tag_leads_somewhere_or_not)
{
    struct digest m = manifest(10, true, true, true), lost = manifest(20, false, false, false);
    int64_t stale_for = world.config.tags.stale_for_ms;
    ck_assert_int_gt(stale_for, 0);
    point("fresh", &m, 0);
    point("stale", &m, stale_for - 1);
    point("old", &m, stale_for);
    point("lost", &lost, 0);
    expect("a/b:stale", "", STOCK_NAME_GOOD, "served pulls=0 bytes=0");
    expect("a/b:old", "", STOCK_NAME_TOO_OLD, "wanting pulls=0 bytes=0");
    expect("a/b:never", "linux/amd64", STOCK_NAME_UNKNOWN, "wanting linux/amd64- pulls=2 bytes=0+");
    expect("a/b:never", "", STOCK_NAME_UNKNOWN, "wanting pulls=2 bytes=0+");
    expect("a/b:lost", "", STOCK_NAME_GOOD, "wanting pulls=2 bytes=0+");
    expect("nowhere.example/a/b:1", "", STOCK_NAME_UNCONFIGURED, "wanting pulls=2 bytes=0+");
    AUTO(auto_stock_destroy) struct stock *s = take("a/b:stale", "");
    ck_assert_int_eq(s->served_until, clock_real_ms() + 1);
    ck_assert_int_eq(s->checked_at, clock_real_ms() + 1 - stale_for);
}
END_TEST

START_TEST(a_digest_needs_no_tag)
{
    char image[512], text[DIGEST_TEXT_MAX];
    struct digest m = manifest(10, true, true, true);
    (void)snprintf(image, sizeof(image), "a/b:never@%s", digest_format(&m, text));
    expect(image, "", STOCK_NAME_GOOD, "served pulls=0 bytes=0");
    m.raw[0] ^= 1;
    (void)snprintf(image, sizeof(image), "a/b@%s", digest_format(&m, text));
    expect(image, "linux/amd64", STOCK_NAME_GOOD, "wanting linux/amd64- pulls=2 bytes=0+");
}
END_TEST

START_TEST(what_two_platforms_share_is_paid_for_once)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB), other = BUF_INIT(64 * KIB);
    struct digest first = manifest(10, true, true, false), layer = blob(11, false), second;
    ck_ok(buf_adds(&other, "{\"schemaVersion\":2,\"layers\":["));
    add_descriptor(&other, &layer, "");
    add_descriptor(&other, &layer, "");
    ck_ok(buf_adds(&other, "]}"));
    second = document(&other, true);
    begin_index(&text);
    add_manifest(&text, &first, "linux/amd64");
    add_manifest(&text, &second, "linux/arm64");
    struct digest index = end_index(&text);
    point("1", &index, 0);
    expect("a/b:1", "linux/amd64 linux/arm64", STOCK_NAME_GOOD, "wanting linux/amd64- linux/arm64- pulls=0 bytes=1000");
}
END_TEST

START_TEST(what_is_elsewhere_is_not_wanting)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    struct digest foreign = blob(11, false);
    ck_ok(buf_adds(&text, "{\"schemaVersion\":2,\"layers\":["));
    add_descriptor(&text, &foreign, ",\"urls\":[\"https://mcr.example/x\"]");
    ck_ok(buf_adds(&text, "]}"));
    struct digest m = document(&text, true);
    point("1", &m, 0);
    expect("a/b:1", "linux/amd64", STOCK_NAME_GOOD, "served linux/amd64+ pulls=0 bytes=0");
}
END_TEST

START_TEST(an_index_in_an_index_is_followed_and_one_in_itself_is_not_forever)
{
    AUTO_BUF struct buf inner = BUF_INIT(64 * KIB), outer = BUF_INIT(64 * KIB);
    struct digest amd64 = manifest(10, true, true, true), arm64 = manifest(20, true, false, true);
    begin_index(&inner);
    add_manifest(&inner, &amd64, "linux/amd64");
    add_manifest(&inner, &arm64, "linux/arm64");
    struct digest in = end_index(&inner);
    begin_index(&outer);
    add_manifest(&outer, &in, NULL);
    struct digest out = end_index(&outer);
    point("1", &out, 0);
    expect("a/b:1", "linux/amd64 linux/arm64", STOCK_NAME_GOOD, "wanting linux/amd64+ linux/arm64- pulls=0 bytes=1000");

    struct image_name name;
    const char *wrong;
    struct stock *s = NULL;
    for (int i = 0; i < 6; i++) {
        AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
        begin_index(&text);
        add_manifest(&text, &out, NULL);
        out = end_index(&text);
    }
    point("deep", &out, 0);
    ck_ok(image_name_parse("a/b:deep", strlen("a/b:deep"), &name, &wrong));
    ck_assert_int_eq(mirror_stock(world.mirror, &name, NULL, 0, &s), -EFBIG);
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(what_says_no_platform_is_needed_by_all)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB), first = BUF_INIT(64 * KIB), second = BUF_INIT(64 * KIB);
    struct digest amd64 = manifest(10, true, true, true), arm64 = manifest(20, true, true, false),
                  plain = manifest(30, true, true, false);
    begin_index(&text);
    add_manifest(&text, &amd64, "linux/amd64");
    add_manifest(&text, &plain, NULL);
    struct digest index = end_index(&text);
    point("plain", &index, 0);
    expect("a/b:plain", "linux/amd64", STOCK_NAME_GOOD, "wanting linux/amd64- pulls=0 bytes=1000");

    begin_index(&first);
    add_manifest(&first, &amd64, "linux/amd64");
    struct digest one = end_index(&first);
    begin_index(&second);
    add_manifest(&second, &arm64, "linux/arm64");
    struct digest other = end_index(&second);
    buf_reset(&text);
    begin_index(&text);
    add_manifest(&text, &one, NULL);
    add_manifest(&text, &other, NULL);
    index = end_index(&text);
    point("both", &index, 0);
    expect("a/b:both", "linux/amd64", STOCK_NAME_GOOD, "served linux/amd64+ pulls=0 bytes=0");
    expect("a/b:both", "", STOCK_NAME_GOOD, "wanting linux/amd64+ linux/arm64- pulls=0 bytes=1000");
}
END_TEST

START_TEST(looking_is_no_use_and_asks_nobody)
{
    struct blobstore_info before, after;
    struct digest m = manifest(10, true, true, true), layer = blob(11, false);
    point("1", &m, 0);
    ck_ok(blobstore_stat(world.store, &m, &before));
    world_advance(CLOCK_MINUTE);
    expect("a/b:1", "", STOCK_NAME_GOOD, "served pulls=0 bytes=0");
    ck_ok(blobstore_flush_touches(world.store));
    ck_ok(blobstore_stat(world.store, &m, &after));
    ck_assert_int_eq(after.used_at, before.used_at);
    ck_ok(blobstore_remove(world.store, &layer));
    expect("a/b:1", "", STOCK_NAME_GOOD, "wanting pulls=0 bytes=1000");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stock");
    TCase *tests = tcase_create("stock");
    tcase_add_checked_fixture(tests, world_setup, world_cleanup);
    tcase_add_test(tests, each_platform_is_judged_by_itself);
    tcase_add_test(tests, the_parts_of_an_image_are_listed_under_what_names_them);
    tcase_add_test(tests, an_image_without_an_index_is_for_whoever_asks);
    tcase_add_test(tests, a_tag_leads_somewhere_or_not);
    tcase_add_test(tests, a_digest_needs_no_tag);
    tcase_add_test(tests, what_two_platforms_share_is_paid_for_once);
    tcase_add_test(tests, what_is_elsewhere_is_not_wanting);
    tcase_add_test(tests, an_index_in_an_index_is_followed_and_one_in_itself_is_not_forever);
    tcase_add_test(tests, what_says_no_platform_is_needed_by_all);
    tcase_add_test(tests, looking_is_no_use_and_asks_nobody);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
