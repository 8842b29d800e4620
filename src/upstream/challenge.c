#include "upstream/challenge.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct reader {
    const char *p, *end;
};

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static void skip_blank(struct reader *r)
{
    while (at(r, ' ') || at(r, '\t'))
        r->p++;
}

static size_t read_token(struct reader *r, const char **ret_token)
{
    *ret_token = r->p;
    while (r->p < r->end && is_token(*r->p))
        r->p++;
    return (size_t)(r->p - *ret_token);
}

/* A quoted string without its quotes and backslashes, or what stands there up to a comma or a blank: registries send
 * bare URLs, which RFC 9110 would have in quotes. -EPROTO: the quote does not end. */
static int read_value(struct reader *r, char **ret_value)
{
    AUTO_FREE char *value = malloc((size_t)(r->end - r->p) + 1);
    if (!value)
        return -ENOMEM;
    size_t n = 0;
    if (!at(r, '"')) {
        while (r->p < r->end && !strchr(", \t", *r->p))
            value[n++] = *r->p++;
    } else {
        for (r->p++; !at(r, '"'); r->p++) {
            if (at(r, '\\'))
                r->p++;
            if (r->p >= r->end)
                return -EPROTO;
            value[n++] = *r->p;
        }
        r->p++;
    }
    value[n] = '\0';
    *ret_value = TAKE_PTR(value);
    return 0;
}

static bool named(const char *token, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(token, name, len) == 0;
}

/* Where a parameter of that name is kept; NULL for one that is of no interest. */
static char **slot(struct challenge *c, const char *name, size_t len)
{
    return named(name, len, "realm")     ? &c->realm
           : named(name, len, "service") ? &c->service
           : named(name, len, "scope")   ? &c->scope
           : named(name, len, "error")   ? &c->error
                                         : NULL;
}

static bool better(const struct challenge *c, const struct challenge *best)
{
    bool usable = c->scheme == CHALLENGE_BASIC || (c->scheme == CHALLENGE_BEARER && c->realm && c->realm[0]);
    return usable && c->scheme > best->scheme;
}

/* `c` ends: it becomes the best, or is forgotten. */
static void settle(struct challenge *c, struct challenge *best)
{
    if (better(c, best)) {
        challenge_finish(best);
        *best = *c;
    } else {
        challenge_finish(c);
    }
    *c = (struct challenge){0};
}

/* One field. Commas separate challenges as well as their parameters: a token that `=` follows is a parameter, any other
 * begins a challenge. */
static int parse_line(struct reader *r, struct challenge *best)
{
    struct challenge now = {0};
    while (r->p < r->end) {
        const char *name;
        size_t len = read_token(r, &name);
        if (len == 0) {
            r->p++; /* a comma, a blank, or what makes no sense */
            continue;
        }
        skip_blank(r);
        if (!at(r, '=')) {
            settle(&now, best);
            now.scheme = named(name, len, "bearer")  ? CHALLENGE_BEARER
                         : named(name, len, "basic") ? CHALLENGE_BASIC
                                                     : CHALLENGE_NONE;
            continue;
        }
        r->p++;
        skip_blank(r);
        AUTO_FREE char *value = NULL;
        int e = read_value(r, &value);
        if (e < 0) {
            challenge_finish(&now);
            return e == -ENOMEM ? e : 0; /* half a challenge is none */
        }
        char **s = slot(&now, name, len);
        if (s && !*s)
            *s = TAKE_PTR(value);
    }
    settle(&now, best);
    return 0;
}

int challenge_parse(const char *text, size_t len, struct challenge *ret_challenge)
{
    struct challenge best = {0};
    for (const char *end = text + len; text < end;) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        struct reader r = {text, newline ? newline : end};
        int e = parse_line(&r, &best);
        if (e < 0) {
            challenge_finish(&best);
            return e;
        }
        text = newline ? newline + 1 : end;
    }
    *ret_challenge = best;
    return 0;
}

int challenge_copy(const struct challenge *c, struct challenge *ret_copy)
{
    struct challenge copy = {
        .scheme = c->scheme,
        .realm = c->realm ? strdup(c->realm) : NULL,
        .service = c->service ? strdup(c->service) : NULL,
        .scope = c->scope ? strdup(c->scope) : NULL,
        .error = c->error ? strdup(c->error) : NULL,
    };
    if (!copy.realm != !c->realm || !copy.service != !c->service || !copy.scope != !c->scope ||
        !copy.error != !c->error) {
        challenge_finish(&copy);
        return -ENOMEM;
    }
    *ret_copy = copy;
    return 0;
}

void challenge_finish(struct challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    free(c->error);
    *c = (struct challenge){0};
}
