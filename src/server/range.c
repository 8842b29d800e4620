#include "server/range.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* A number that is too large stands for the largest one: it is past every end all the same. NULL: no digits. */
static const char *parse_number(const char *p, uint64_t *ret_n)
{
    uint64_t n = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
    }
    *ret_n = n;
    return p == start ? NULL : p;
}

struct spec {
    bool suffix;
    uint64_t first, last; /* of a suffix, `last` is its length */
};

/* Past one "first-last", "first-" or "-length". */
static const char *parse_spec(const char *p, struct spec *ret_spec)
{
    struct spec s = {.suffix = *p == '-', .last = UINT64_MAX};
    if (s.suffix) {
        p = parse_number(p + 1, &s.last);
    } else {
        p = parse_number(p, &s.first);
        if (!p || *p != '-')
            return NULL;
        p++;
        const char *end = parse_number(p, &s.last);
        if (end)
            p = end;
        else
            s.last = UINT64_MAX;
    }
    *ret_spec = s;
    return p;
}

/* What a spec means for `size` bytes; false: it cannot be satisfied. One that ends before it begins is treated so, too:
 * the conformance suite asks for it. */
static bool resolve(const struct spec *s, uint64_t size, struct range *ret_range)
{
    struct range r = {.first = s->first, .last = s->last};
    if (s->suffix) {
        if (s->last == 0)
            return false;
        r.first = s->last >= size ? 0 : size - s->last;
        r.last = size - 1;
    }
    if (r.first >= size || r.last < r.first)
        return false;
    if (r.last >= size)
        r.last = size - 1;
    *ret_range = r;
    return true;
}

static int append(struct ranges *r, struct range range, size_t max)
{
    if (r->count == 1) {
        r->items = malloc(max * sizeof(*r->items));
        if (!r->items)
            return -ENOMEM;
        r->items[0] = r->one;
    }
    if (r->count == 0)
        r->one = range;
    else
        r->items[r->count] = range;
    r->count++;
    return 0;
}

int range_parse(const char *header, uint64_t size, unsigned max_ranges, enum range_verdict *ret_verdict,
                struct ranges *ret_ranges)
{
    AUTO(ranges_finish) struct ranges found = {0};
    uint64_t total = 0;
    unsigned specs = 0;

    *ret_verdict = RANGE_WHOLE;
    if (size == 0 || strncasecmp(header, "bytes=", 6) != 0)
        return 0;
    /* Commas may stand alone: a list may have empty elements (§5.6.1). */
    for (const char *p = header + 6;;) {
        p = skip_blanks(p);
        if (*p == ',') {
            p++;
            continue;
        }
        if (!*p)
            break;
        struct spec spec;
        struct range range;
        p = parse_spec(p, &spec);
        if (!p)
            return 0;
        p = skip_blanks(p);
        if (*p && *p != ',')
            return 0;
        if (++specs > max_ranges) {
            *ret_verdict = RANGE_TOO_MANY;
            return 0;
        }
        if (!resolve(&spec, size, &range))
            continue;
        int r = append(&found, range, max_ranges);
        if (r < 0)
            return r;
        uint64_t length = range.last - range.first + 1;
        total = total > UINT64_MAX - length ? UINT64_MAX : total + length;
    }
    if (specs == 0 || (found.count > 1 && total / 2 > size))
        return 0;
    if (found.count == 0) {
        *ret_verdict = RANGE_UNSATISFIABLE;
        return 0;
    }
    *ret_verdict = RANGE_PART;
    *ret_ranges = found;
    if (found.count == 1)
        ret_ranges->items = &ret_ranges->one;
    found.items = NULL;
    return 0;
}

void ranges_finish(struct ranges *r)
{
    if (r->items != &r->one)
        free(r->items);
    *r = (struct ranges){0};
}
