#include "server/conditional.h"

#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* Past the quoted tag at `p`, or NULL where there is none; ret_match tells whether it is `digest`. */
static const char *parse_tag(const char *p, const char *digest, bool *ret_match)
{
    if (*p != '"')
        return NULL;
    const char *end = strchr(p + 1, '"');
    if (!end)
        return NULL;
    size_t n = (size_t)(end - p - 1);
    *ret_match = strlen(digest) == n && memcmp(p + 1, digest, n) == 0;
    return end + 1;
}

bool conditional_none_match(const char *header, const char *digest)
{
    const char *p = skip_blanks(header);
    if (*p == '*' && *skip_blanks(p + 1) == '\0')
        return true;
    while (*p) {
        bool match = false;
        if (strncmp(p, "W/", 2) == 0)
            p += 2;
        p = parse_tag(p, digest, &match);
        if (!p)
            return false;
        if (match)
            return true;
        p = skip_blanks(p);
        if (*p && *p != ',')
            return false;
        while (*p == ',')
            p = skip_blanks(p + 1);
    }
    return false;
}

bool conditional_if_range(const char *header, const char *digest)
{
    bool match = false;
    const char *p = parse_tag(skip_blanks(header), digest, &match);
    return p && match && *skip_blanks(p) == '\0';
}

/* To the comma that ends the directive at `p`, or the end; one in a quoted value ends nothing. */
static const char *skip_directive(const char *p)
{
    for (bool quoted = false; *p && (quoted || *p != ','); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (quoted && *p == '\\' && p[1])
            p++;
    }
    return p;
}

/* Whether the parameters from `p` to `end` give a weight of 0: ";q=0", ";q=0.000". */
static bool is_weightless(const char *p, const char *end)
{
    while (p < end && *p != '=')
        p++;
    if (p == end)
        return false;
    p = skip_blanks(p + 1);
    while (p < end && (*p == '0' || *p == '.'))
        p++;
    return p == end || *p == ' ' || *p == '\t';
}

bool conditional_accepts_zstd(const char *header)
{
    static const char wanted[] = "zstd";
    const size_t n = sizeof(wanted) - 1;
    for (const char *p = skip_blanks(header); *p; p = skip_blanks(p + (*p == ','))) {
        const char *end = skip_directive(p);
        if (strncasecmp(p, wanted, n) == 0) {
            const char *after = skip_blanks(p + n);
            if (after == end || (*after == ';' && !is_weightless(after, end)))
                return true;
        }
        p = end;
    }
    return false;
}

bool conditional_only_if_cached(const char *header)
{
    static const char wanted[] = "only-if-cached";
    const size_t n = sizeof(wanted) - 1;
    for (const char *p = skip_blanks(header); *p; p = skip_blanks(p + (*p == ','))) {
        const char *end = skip_directive(p);
        if (strncasecmp(p, wanted, n) == 0 && (p + n == end || skip_blanks(p + n) == end))
            return true;
        p = end;
    }
    return false;
}
