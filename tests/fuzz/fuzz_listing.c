/*
 * A page of a list as an upstream sends it, with the Link header in the first line. The document that is made of it
 * must be one that can be read again, and a client that goes from page to page must come to the end.
 */
#include "mirror/listing.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX (1u << 20)

static void go_through(const struct buf *document)
{
    AUTO_FREE char *last = NULL;
    for (size_t pages = 0;; pages++) {
        AUTO_BUF struct buf body = BUF_INIT(BODY_MAX), link = BUF_INIT(BODY_MAX);
        assert(listing_page_of_tags(document->data, document->len, "x", 1, last, &body, &link) == 0);
        if (link.len == 0)
            return;
        assert(pages <= document->len); /* every page goes forward */
        /* The link is encoded; what it encodes is the one tag of the body: {"name":"x","tags":["TAG"]} */
        if (memchr(body.data, '\\', body.len))
            return;
        static const size_t head = sizeof("{\"name\":\"x\",\"tags\":[\"") - 1, tail = sizeof("\"]}") - 1;
        assert(body.len >= head + tail);
        free(last);
        last = strndup(body.data + head, body.len - head - tail);
        assert(last);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(auto_listing_destroy) struct listing *tags = NULL, *referrers = NULL, *again = NULL;
    AUTO_BUF struct buf query = BUF_INIT(4096), document = BUF_INIT(BODY_MAX), filtered = BUF_INIT(BODY_MAX);
    const uint8_t *line = memchr(data, '\n', size);
    size_t link_len = line ? (size_t)(line - data) : 0;
    AUTO_FREE char *link = strndup((const char *)data, link_len);
    const char *page = (const char *)data + (line ? link_len + 1 : 0);
    size_t len = size - (line ? link_len + 1 : 0);
    if (!link || listing_create(&tags) < 0 || listing_create(&referrers) < 0 || listing_create(&again) < 0)
        return 0;
    if (listing_next(link, &query))
        assert(query.len > 0 && !strpbrk(query.data, " \r\n#>"));
    if (listing_add_tags(tags, page, len) == 0 && listing_write_tags(tags, "x", &document) == 0) {
        assert(listing_add_tags(again, document.data, document.len) == 0);
        go_through(&document);
    }
    buf_reset(&document);
    if (listing_add_referrers(referrers, page, len) == 0 && listing_write_referrers(referrers, &document) == 0) {
        assert(listing_add_referrers(again, document.data, document.len) == 0);
        assert(listing_filter_referrers(document.data, document.len, "application/x", &filtered) == 0);
    }
    return 0;
}
