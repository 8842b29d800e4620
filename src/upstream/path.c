#include "upstream/path.h"

#include "base/buf.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>

/* Names come from clients. They are checked elsewhere too; here so that none can become another request. */
static bool is_plain(const char *s)
{
    for (const char *p = s; *p; p += strcspn(p, "/"), p += *p == '/') {
        size_t len = strcspn(p, "/");
        if (len == 0 || (len <= 2 && strspn(p, ".") == len))
            return false;
    }
    return *s && s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-:+=@")] == '\0';
}

static bool is_query(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || *s == '#')
            return false;
    return true;
}

int path_check(const char *repository, const char *reference, const char *query)
{
    return is_plain(repository) && (!reference || is_plain(reference)) && (!query || is_query(query)) ? 0 : -EINVAL;
}

/* A sibling serves many registries, and is told which is meant. */
static int add_query(struct buf *text, const char *query, const struct source *s)
{
    int r = query ? buf_addf(text, "?%s", query) : 0;
    if (r < 0 || !s->sibling)
        return r;
    r = buf_adds(text, query ? "&ns=" : "?ns=");
    return r < 0 ? r : buf_add_urlencoded(text, s->registry);
}

int path_url(const struct attempt_request *request, const struct source *s, const char *repository, struct url *ret_url)
{
    static const char *const objects[] = {
        [UPSTREAM_MANIFEST] = "/manifests/",
        [UPSTREAM_BLOB] = "/blobs/",
        [UPSTREAM_TAGS] = "/tags/list",
        [UPSTREAM_REFERRERS] = "/referrers/",
    };
    enum upstream_object object = request->intent.object;
    const char *reference = object == UPSTREAM_TAGS || !request->reference ? "" : request->reference;
    size_t base = strlen(s->url.text);
    while (base > 0 && s->url.text[base - 1] == '/')
        base--;
    struct buf text = BUF_INIT(LIMIT_URL);
    int r = buf_add(&text, s->url.text, base);
    if (r == 0)
        r = buf_addf(&text, "/v2/%s%s%s", repository, objects[object], reference);
    if (r == 0)
        r = add_query(&text, request->query, s);
    if (r == 0)
        r = url_parse(text.data, ret_url);
    buf_finish(&text);
    return r < 0 && r != -ENOMEM ? -EINVAL : r;
}
