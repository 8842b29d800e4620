#include "mirror/listing.h"

#include "scratch.h"

#include "mirror/manifest.h"

#include <errno.h>
#include <string.h>

/* --- the pages of an upstream ------------------------------------------------------------------------------- */

static int add_tags(struct listing *l, const char *page)
{
    return listing_add_tags(l, page, strlen(page));
}

static int add_referrers(struct listing *l, const char *page)
{
    return listing_add_referrers(l, page, strlen(page));
}

START_TEST(pages_of_tags_become_one_sorted_list_without_repetitions)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf text = BUF_INIT(4096);
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_tags(l, "{\"name\":\"x\",\"tags\":[\"b\",\"a\",\"10\",\"B\"]}"), 0);
    ck_assert_int_eq(add_tags(l, "{\"name\":\"x\",\"tags\":[]}"), 0);
    ck_assert_int_eq(add_tags(l, "{\"name\":\"x\",\"tags\":[\"9\",\"b\",\"a\"]}"), 0);
    ck_assert_int_eq(listing_write_tags(l, "library/x", &text), 0);
    ck_assert_str_eq(text.data, "{\"name\":\"library/x\",\"tags\":[\"10\",\"9\",\"B\",\"a\",\"b\"]}");
}
END_TEST

START_TEST(no_tags_at_all_are_a_list_as_well)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf text = BUF_INIT(4096);
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_tags(l, "{\"name\":\"x\",\"tags\":null}"), 0); /* as distribution has it */
    ck_assert_int_eq(listing_write_tags(l, "x", &text), 0);
    ck_assert_str_eq(text.data, "{\"name\":\"x\",\"tags\":[]}");
}
END_TEST

static const char *const no_tags[] = {
    "",
    "{}",
    "[]",
    "null",
    "{\"tags\":{}}",
    "{\"tags\":\"a\"}",
    "{\"tags\":[1]}",
    "{\"tags\":[null]}",
    "<html",
    "{\"tags\":[\"a\"",
    "{\"tags\":[],\"tags\":[]}",
};

START_TEST(what_is_no_page_of_tags_is_refused)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_tags(l, no_tags[_i]), -EINVAL);
}
END_TEST

START_TEST(referrers_keep_their_order_and_every_member)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf text = BUF_INIT(4096);
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_referrers(l, "{\"manifests\":[{\"digest\":\"sha256:2\",\"size\":3,\"x\":{\"y\":[1]}}]}"), 0);
    ck_assert_int_eq(add_referrers(l, "{\"manifests\":[{\"digest\":\"sha256:1\"}]}"), 0);
    ck_assert_int_eq(listing_write_referrers(l, &text), 0);
    ck_assert_str_eq(text.data, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":["
                                "{\"digest\":\"sha256:2\",\"size\":3,\"x\":{\"y\":[1]}},{\"digest\":\"sha256:1\"}]}");
}
END_TEST

START_TEST(what_is_no_page_of_referrers_is_refused)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf text = BUF_INIT(4096);
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_referrers(l, "{\"tags\":[]}"), -EINVAL);
    ck_assert_int_eq(add_referrers(l, "{\"manifests\":[\"sha256:1\"]}"), -EINVAL);
    ck_assert_int_eq(add_referrers(l, "{\"manifests\":[{\"size\":1}]}"), -EINVAL);
    ck_assert_int_eq(listing_write_referrers(l, &text), 0);
    ck_assert_str_eq(text.data, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":[]}");
}
END_TEST

START_TEST(a_document_that_does_not_fit_is_an_error)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf text = BUF_INIT(16);
    ck_assert_int_eq(listing_create(&l), 0);
    ck_assert_int_eq(add_tags(l, "{\"tags\":[\"a\"]}"), 0);
    ck_assert_int_eq(listing_write_tags(l, "x", &text), -EFBIG);
    ck_assert_int_eq(listing_write_referrers(l, &text), -EFBIG);
}
END_TEST

/* --- a client's page ---------------------------------------------------------------------------------------- */

static const char document[] = "{\"name\":\"x\",\"tags\":[\"a\",\"b\",\"c\",\"d e\"]}";

static const struct {
    int64_t n;
    const char *last;
    const char *tags, *link;
} pages[] = {
    {-1, NULL, "\"a\",\"b\",\"c\",\"d e\"", NULL},
    {4, NULL, "\"a\",\"b\",\"c\",\"d e\"", NULL},
    {99, NULL, "\"a\",\"b\",\"c\",\"d e\"", NULL},
    {INT64_MAX, NULL, "\"a\",\"b\",\"c\",\"d e\"", NULL},
    {1, NULL, "\"a\"", "n=1&last=a"},
    {3, NULL, "\"a\",\"b\",\"c\"", "n=3&last=c"},
    {2, "a", "\"b\",\"c\"", "n=2&last=c"},
    {2, "b", "\"c\",\"d e\"", NULL},
    {-1, "b", "\"c\",\"d e\"", NULL},
    {1, "aa", "\"b\"", "n=1&last=b"}, /* `last` need not exist */
    {1, "", "\"a\"", "n=1&last=a"},
    {1, "z", "", NULL},
    {0, NULL, "", NULL},
    {0, "a", "", NULL},
};

START_TEST(a_page_has_what_follows_the_last_one)
{
    AUTO_BUF struct buf body = BUF_INIT(4096), link = BUF_INIT(4096), wanted = BUF_INIT(4096);
    ck_assert_int_eq(
        listing_page_of_tags(document, strlen(document), "library/x", pages[_i].n, pages[_i].last, &body, &link), 0);
    ck_assert_int_eq(buf_addf(&wanted, "{\"name\":\"library/x\",\"tags\":[%s]}", pages[_i].tags), 0);
    ck_assert_str_eq(body.data, wanted.data);
    if (pages[_i].link)
        ck_assert_str_eq(link.data, pages[_i].link);
    else
        ck_assert_uint_eq(link.len, 0);
}
END_TEST

START_TEST(the_last_tag_of_a_page_is_encoded_in_its_link)
{
    static const char odd[] = "{\"tags\":[\"a&n=9 \\u00e4\",\"z\"]}";
    AUTO_BUF struct buf body = BUF_INIT(4096), link = BUF_INIT(4096);
    ck_assert_int_eq(listing_page_of_tags(odd, strlen(odd), "x", 1, NULL, &body, &link), 0);
    ck_assert_str_eq(link.data, "n=1&last=a%26n%3D9%20%C3%A4");
}
END_TEST

START_TEST(going_from_page_to_page_shows_every_tag_once)
{
    AUTO(auto_listing_destroy) struct listing *l = NULL;
    AUTO_BUF struct buf all = BUF_INIT(65536);
    ck_assert_int_eq(listing_create(&l), 0);
    for (unsigned i = 0; i < 100; i++) {
        char page[64];
        (void)snprintf(page, sizeof(page), "{\"tags\":[\"v%u\"]}", i * 37 % 100);
        ck_assert_int_eq(add_tags(l, page), 0);
    }
    ck_assert_int_eq(listing_write_tags(l, "x", &all), 0);
    char last[16] = "";
    unsigned seen = 0, page_count = 0;
    for (bool more = true; more; page_count++) {
        AUTO_BUF struct buf body = BUF_INIT(65536), link = BUF_INIT(4096);
        ck_assert_int_eq(listing_page_of_tags(all.data, all.len, "x", 7, *last ? last : NULL, &body, &link), 0);
        for (const char *p = strstr(body.data, "\"v"); p; p = strstr(p + 1, "\"v")) {
            char tag[16];
            ck_assert_int_eq(sscanf(p, "\"%15[v0-9]", tag), 1);
            ck_assert_int_gt(strcmp(tag, last), 0);
            (void)stpcpy(last, tag);
            seen++;
        }
        more = link.len > 0;
    }
    ck_assert_uint_eq(seen, 100);
    ck_assert_uint_eq(page_count, 15);
}
END_TEST

START_TEST(referrers_are_filtered_by_their_artifact_type)
{
    static const char index[] = "{\"schemaVersion\":2,\"manifests\":["
                                "{\"digest\":\"sha256:1\",\"artifactType\":\"application/a\"},"
                                "{\"digest\":\"sha256:2\"},"
                                "{\"digest\":\"sha256:3\",\"artifactType\":7},"
                                "{\"digest\":\"sha256:4\",\"artifactType\":\"application/b\"},"
                                "{\"digest\":\"sha256:5\",\"artifactType\":\"application/a\"}]}";
    AUTO_BUF struct buf body = BUF_INIT(4096), none = BUF_INIT(4096);
    ck_assert_int_eq(listing_filter_referrers(index, strlen(index), "application/a", &body), 0);
    ck_assert_str_eq(body.data, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":["
                                "{\"digest\":\"sha256:1\",\"artifactType\":\"application/a\"},"
                                "{\"digest\":\"sha256:5\",\"artifactType\":\"application/a\"}]}");
    ck_assert_int_eq(listing_filter_referrers(index, strlen(index), "application/c", &none), 0);
    ck_assert_str_eq(none.data, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":[]}");
}
END_TEST

/* --- Link --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *link, *query; /* NULL: no next page */
} links[] = {
    {"</v2/x/tags/list?n=2&last=b>; rel=\"next\"", "n=2&last=b"},
    {"</v2/x/tags/list?n=2&last=b>; rel=next", "n=2&last=b"},
    {"<https://registry.example/v2/x/tags/list?last=b%2Fc&n=2>;rel=\"next\"", "last=b%2Fc&n=2"},
    {"<?next_page=abc%3D>; rel=\"next\"; title=\"x\"", "next_page=abc%3D"},
    {"</v2/x?a=1?b=2>; rel=\"next\"", "a=1?b=2"},
    {"", NULL},
    {"/v2/x?n=2; rel=\"next\"", NULL},
    {"</v2/x?n=2>", NULL},
    {"</v2/x?n=2>; rel=\"prev\"", NULL},
    {"</v2/x?n=2; rel=\"next\"", NULL},
    {"</v2/x>; rel=\"next\"", NULL},
    {"</v2/x?>; rel=\"next\"", NULL},
    {"</v2/x>; x=\"?\"; rel=\"next\"", NULL},
    {"</v2/x?n=2 HTTP/1.1>; rel=\"next\"", NULL},
    {"</v2/x?n=2\r\nX: y>; rel=\"next\"", NULL},
    {"</v2/x?n=2#fragment>; rel=\"next\"", NULL},
    {"</v2/x?n=\xff>; rel=\"next\"", NULL},
};

START_TEST(the_query_of_the_next_page)
{
    AUTO_BUF struct buf query = BUF_INIT(4096);
    ck_assert_int_eq(buf_adds(&query, "left from before"), 0);
    bool found = listing_next(links[_i].link, &query);
    ck_assert_msg(found == !!links[_i].query, "%s", links[_i].link);
    ck_assert_str_eq(query.data, found ? links[_i].query : "");
}
END_TEST

START_TEST(a_query_that_is_too_long_is_none)
{
    AUTO_BUF struct buf query = BUF_INIT(8);
    ck_assert(listing_next("<?12345678>; rel=next", &query));
    ck_assert(!listing_next("<?123456789>; rel=next", &query));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listing");
    TCase *tests = tcase_create("listing");
    tcase_add_test(tests, pages_of_tags_become_one_sorted_list_without_repetitions);
    tcase_add_test(tests, no_tags_at_all_are_a_list_as_well);
    tcase_add_loop_test(tests, what_is_no_page_of_tags_is_refused, 0, ARRAY_SIZE(no_tags));
    tcase_add_test(tests, referrers_keep_their_order_and_every_member);
    tcase_add_test(tests, what_is_no_page_of_referrers_is_refused);
    tcase_add_test(tests, a_document_that_does_not_fit_is_an_error);
    tcase_add_loop_test(tests, a_page_has_what_follows_the_last_one, 0, ARRAY_SIZE(pages));
    tcase_add_test(tests, the_last_tag_of_a_page_is_encoded_in_its_link);
    tcase_add_test(tests, going_from_page_to_page_shows_every_tag_once);
    tcase_add_test(tests, referrers_are_filtered_by_their_artifact_type);
    tcase_add_loop_test(tests, the_query_of_the_next_page, 0, ARRAY_SIZE(links));
    tcase_add_test(tests, a_query_that_is_too_long_is_none);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
