#include "mirror/listing.h"

#include "base/json_text.h"
#include "mirror/manifest.h"

#include <errno.h>
#include <string.h>

#define LISTING_ENTRIES_MAX 1000000

struct listing {
    json_t *entries; /* array */
};

int listing_create(struct listing **ret_listing)
{
    struct listing *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->entries = json_array();
    if (!l->entries) {
        free(l);
        return -ENOMEM;
    }
    *ret_listing = l;
    return 0;
}

void listing_destroy(struct listing *l)
{
    if (!l)
        return;
    json_decref(l->entries);
    free(l);
}

static int load_object(const char *text, size_t len, json_t **ret_root)
{
    AUTO_JSON json_t *root = NULL;
    int r = json_text_read(text, len, JSON_REJECT_DUPLICATES, &root, NULL);
    if (r < 0)
        return r;
    if (!json_is_object(root))
        return -EINVAL;
    *ret_root = TAKE_PTR(root);
    return 0;
}

static int add_page(struct listing *l, const char *page, size_t len, const char *key, bool (*fits)(const json_t *))
{
    AUTO_JSON json_t *root = NULL;
    int r = load_object(page, len, &root);
    if (r < 0)
        return r;
    json_t *list = json_object_get(root, key), *entry;
    if (!list || !(json_is_array(list) || json_is_null(list)))
        return -EINVAL;
    size_t at;
    json_array_foreach(list, at, entry)
    {
        if (!fits(entry))
            return -EINVAL;
        if (json_array_size(l->entries) == LISTING_ENTRIES_MAX)
            return -EFBIG;
        if (json_array_append(l->entries, entry) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool is_tag(const json_t *j)
{
    return json_is_string(j);
}

static bool is_descriptor(const json_t *j)
{
    return json_is_object(j) && json_is_string(json_object_get(j, "digest"));
}

int listing_add_tags(struct listing *l, const char *page, size_t len)
{
    return add_page(l, page, len, "tags", is_tag);
}

void listing_each_tag(const struct listing *l, void (*fn)(void *arg, const char *tag), void *arg)
{
    size_t at;
    const json_t *tag;
    json_array_foreach(l->entries, at, tag) fn(arg, json_string_value(tag));
}

int listing_add_referrers(struct listing *l, const char *page, size_t len)
{
    return add_page(l, page, len, "manifests", is_descriptor);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int write_tags(const char *name, const char *const *tags, size_t count, struct buf *body)
{
    int r = buf_adds(body, "{\"name\":");
    if (r == 0)
        r = buf_add_json(body, name);
    if (r == 0)
        r = buf_adds(body, ",\"tags\":[");
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (i > 0)
            r = buf_adds(body, ",");
        if (r == 0)
            r = buf_add_json(body, tags[i]);
    }
    return r == 0 ? buf_adds(body, "]}") : r;
}

/* The strings of an array, which keep belonging to it. */
static int strings_of(const json_t *array, const char ***ret_strings, size_t *ret_count)
{
    size_t count = json_array_size(array), at, used = 0;
    const char **strings = calloc(count + 1, sizeof(*strings));
    const json_t *j;
    if (!strings)
        return -ENOMEM;
    json_array_foreach(array, at, j) if (json_is_string(j)) strings[used++] = json_string_value(j);
    *ret_strings = strings;
    *ret_count = used;
    return 0;
}

int listing_write_tags(struct listing *l, const char *repository, struct buf *document)
{
    AUTO_FREE const char **tags = NULL;
    size_t count, unique = 0;
    int r = strings_of(l->entries, &tags, &count);
    if (r < 0)
        return r;
    qsort(tags, count, sizeof(*tags), compare_strings);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(tags[i], tags[unique - 1]) != 0)
            tags[unique++] = tags[i];
    return write_tags(repository, tags, unique, document);
}

static int write_index(json_t *manifests, struct buf *body)
{
    AUTO_FREE char *text = json_dumps(manifests, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    int r = buf_adds(body, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX "\",\"manifests\":");
    if (r == 0)
        r = buf_adds(body, text);
    return r == 0 ? buf_adds(body, "}") : r;
}

int listing_write_referrers(struct listing *l, struct buf *document)
{
    return write_index(l->entries, document);
}

int listing_page_of_tags(const char *document, size_t len, const char *name, int64_t n, const char *last,
                         struct buf *body, struct buf *link)
{
    AUTO_JSON json_t *root = NULL;
    AUTO_FREE const char **tags = NULL;
    size_t count, first = 0;
    int r = load_object(document, len, &root);
    if (r == 0)
        r = strings_of(json_object_get(root, "tags"), &tags, &count);
    if (r < 0)
        return r;
    while (last && first < count && strcmp(tags[first], last) <= 0)
        first++;
    size_t most = n >= 0 && (uint64_t)n < count - first ? (size_t)n : count - first;
    r = write_tags(name, tags + first, most, body);
    if (r < 0 || most == 0 || first + most == count)
        return r;
    r = buf_addf(link, "n=%lld&last=", (long long)n);
    return r == 0 ? buf_add_urlencoded(link, tags[first + most - 1]) : r;
}

int listing_filter_referrers(const char *document, size_t len, const char *artifact_type, struct buf *body)
{
    AUTO_JSON json_t *root = NULL, *found = json_array();
    json_t *entry;
    size_t at;
    int r = found ? load_object(document, len, &root) : -ENOMEM;
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(root, "manifests"), at, entry)
    {
        const char *type = json_string_value(json_object_get(entry, "artifactType"));
        if (type && strcmp(type, artifact_type) == 0 && json_array_append(found, entry) < 0)
            return -ENOMEM;
    }
    return write_index(found, body);
}

bool listing_next(const char *link, struct buf *query)
{
    buf_reset(query);
    const char *end = link[0] == '<' ? strchr(link, '>') : NULL;
    const char *mark = end ? memchr(link, '?', (size_t)(end - link)) : NULL;
    if (!mark || !(strstr(end, "rel=\"next\"") || strstr(end, "rel=next")))
        return false;
    for (const char *p = mark + 1; p < end; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
            return false;
    return mark + 1 < end && buf_add(query, mark + 1, (size_t)(end - mark - 1)) == 0;
}
