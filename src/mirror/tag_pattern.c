#include "mirror/tag_pattern.h"

#include "base/buf.h"
#include "base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

/* The C library writes a repetition out, one in another as often as both say: so large may the whole become. */
#define COST_MAX 2000
#define DEPTH_MAX 8

struct part {
    char kind;     /* as its line begins */
    char *range;   /* = */
    regex_t regex; /* + and - */
};

struct tag_pattern {
    bool is_partial;
    struct part parts[TAG_PATTERN_PARTS_MAX];
    size_t count;
    bool has_allowance, has_range;
};

/* --- regular expressions ------------------------------------------------------------------------------------- */

/* What POSIX has for the escapes of Go's, outside of brackets and in them. */
static const struct {
    char escape;
    const char *outside, *inside;
} classes[] = {
    {'d', "[0-9]", "0-9"},
    {'D', "[^0-9]", NULL},
    {'w', "[0-9A-Za-z_]", "0-9A-Za-z_"},
    {'W', "[^0-9A-Za-z_]", NULL},
    {'s', "[[:space:]]", "[:space:]"},
};

/* An expression of Go's on its way to one of POSIX. */
struct translation {
    struct buf *out;
    size_t depth;                      /* in groups */
    unsigned long cost[DEPTH_MAX + 1]; /* of what stands in each group so far, but for `last` */
    unsigned long last;                /* of what a repetition would be of; 0: of nothing */
    bool is_repeated;                  /* it is already */
};

static void begin_atom(struct translation *t, unsigned long cost)
{
    t->cost[t->depth] += t->last;
    t->last = cost;
    t->is_repeated = false;
}

/* -EINVAL: there is no such thing in POSIX. */
static int translate_escape(struct translation *t, char c, bool in_brackets)
{
    if (!in_brackets)
        begin_atom(t, 1);
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
        if (classes[i].escape == c) {
            const char *s = in_brackets ? classes[i].inside : classes[i].outside;
            return s ? buf_adds(t->out, s) : -EINVAL;
        }
    if (isalnum((unsigned char)c) || c == '\0')
        return -EINVAL;
    return in_brackets ? buf_add(t->out, &c, 1) : buf_addf(t->out, "\\%c", c);
}

/* Takes what stands in brackets; *at is behind them. */
static int translate_brackets(struct translation *t, const char **at)
{
    const char *p = *at + 1;
    begin_atom(t, 1);
    int r = buf_adds(t->out, *p == '^' ? "[^" : "[");
    p += *p == '^';
    for (bool first = true; r == 0 && *p && (first || *p != ']'); first = false, p++) {
        if (*p == '\\')
            r = translate_escape(t, *++p, /* in_brackets= */ true);
        else
            r = buf_add(t->out, p, 1);
        if (r == 0 && *p == '\0')
            r = -EINVAL;
    }
    *at = p + 1;
    return r == 0 && *p == ']' ? buf_adds(t->out, "]") : r < 0 ? r : -EINVAL;
}

static int translate_group(struct translation *t, const char **at)
{
    bool is_unnamed = strncmp(*at, "(?:", 3) == 0;
    if (t->depth == DEPTH_MAX || (!is_unnamed && (*at)[1] == '?'))
        return -EINVAL;
    begin_atom(t, 0);
    t->cost[++t->depth] = 0;
    *at += is_unnamed ? 3 : 1;
    return buf_adds(t->out, "(");
}

static int end_group(struct translation *t)
{
    if (t->depth == 0)
        return -EINVAL;
    t->last += t->cost[t->depth--];
    t->is_repeated = false;
    return buf_adds(t->out, ")");
}

/* "*", "+", "?", "{3}", "{1,}" or "{1,3}". Go's lazy forms, with a ? behind, match the same tags. */
static int translate_repetition(struct translation *t, const char **at)
{
    char *end;
    size_t len = 1;
    unsigned long times = **at == '+' ? 2 : 1;
    if (t->is_repeated && **at == '?') {
        (*at)++;
        return 0;
    }
    if (**at == '{') {
        times = strtoul(*at + 1, &end, 10);
        if (*end == ',' && isdigit((unsigned char)end[1]))
            times = strtoul(end + 1, &end, 10);
        else if (*end == ',')
            end++;
        len = (size_t)(end + 1 - *at);
        if (*end != '}' || !isdigit((unsigned char)(*at)[1]))
            return -EINVAL;
    }
    if (t->is_repeated || t->last == 0 || times > COST_MAX)
        return -EINVAL;
    t->last *= times + 1; /* one more where it may be repeated for ever */
    t->is_repeated = true;
    int r = buf_add(t->out, *at, len);
    *at += len;
    return r;
}

static int translate_one(struct translation *t, const char **at)
{
    const char *p = *at;
    switch (*p) {
    case '\\':
        *at += p[1] ? 2 : 1;
        return translate_escape(t, p[1], /* in_brackets= */ false);
    case '[':
        return translate_brackets(t, at);
    case '(':
        return translate_group(t, at);
    case '*':
    case '+':
    case '?':
    case '{':
        return translate_repetition(t, at);
    case ')':
        (*at)++;
        return end_group(t);
    default:
        (*at)++;
        begin_atom(t, 1);
        return buf_add(t->out, p, 1);
    }
}

static int translate(const char *in, struct buf *out)
{
    struct translation t = {.out = out};
    int r = 0;
    while (r == 0 && *in) {
        r = translate_one(&t, &in);
        if (r == 0 && t.cost[t.depth] + t.last > COST_MAX)
            r = -EINVAL;
    }
    return r == 0 && t.depth > 0 ? -EINVAL : r;
}

static int compile(const char *text, bool is_partial, regex_t *regex)
{
    AUTO_BUF struct buf posix = BUF_INIT(16 * KIB);
    int r = is_partial ? 0 : buf_adds(&posix, "^(");
    if (r == 0)
        r = translate(text, &posix);
    if (r == 0 && !is_partial)
        r = buf_adds(&posix, ")$");
    if (r < 0)
        return r == -ENOMEM ? r : -EINVAL;
    r = regcomp(regex, posix.data ? posix.data : "", REG_EXTENDED | REG_NOSUB);
    return r == 0 ? 0 : r == REG_ESPACE ? -ENOMEM : -EINVAL;
}

/* --- versions ------------------------------------------------------------------------------------------------ */

struct version {
    unsigned long numbers[3];
    unsigned given; /* how many of them were said */
};

/* Returns behind it, or NULL. */
static const char *read_version(const char *s, struct version *v)
{
    *v = (struct version){.given = 0};
    s += *s == 'v' || *s == 'V';
    for (;;) {
        char *end;
        if (*s == 'x' || *s == 'X' || *s == '*') {
            s++;
            while (*s == '.' && (s[1] == 'x' || s[1] == 'X' || s[1] == '*'))
                s += 2;
            return s;
        }
        if (!isdigit((unsigned char)*s))
            return NULL;
        v->numbers[v->given] = strtoul(s, &end, 10);
        if (end - s > 9)
            return NULL;
        s = end;
        if (++v->given == 3 || *s != '.')
            return s;
        s++;
    }
}

static int compare(const struct version *a, const struct version *b)
{
    for (unsigned i = 0; i < 3; i++)
        if (a->numbers[i] != b->numbers[i])
            return a->numbers[i] < b->numbers[i] ? -1 : 1;
    return 0;
}

/* The first version above all that a version given so far stands for; `depth` numbers of it stay. */
static struct version above(const struct version *v, unsigned depth)
{
    struct version next = {.given = 3};
    for (unsigned i = 0; i < depth; i++)
        next.numbers[i] = v->numbers[i];
    if (depth > 0)
        next.numbers[depth - 1]++;
    return next;
}

static bool is_in(const struct version *v, const struct version *from, unsigned depth)
{
    struct version end = above(from, depth);
    return compare(v, from) >= 0 && (depth == 0 || compare(v, &end) < 0);
}

/* How many numbers ^ holds fast: up to the first that is not zero. */
static unsigned caret_depth(const struct version *v)
{
    for (unsigned i = 0; i < v->given; i++)
        if (v->numbers[i] > 0)
            return i + 1;
    return v->given;
}

static bool holds(const char *op, size_t op_len, const struct version *v, const struct version *than)
{
    struct version end = above(than, than->given);
    bool exact = than->given == 3;
    if (op_len == 0 || strncmp(op, "=", op_len) == 0)
        return is_in(v, than, than->given);
    if (strncmp(op, "!=", op_len) == 0)
        return !is_in(v, than, than->given);
    if (strncmp(op, ">=", 2) == 0)
        return compare(v, than) >= 0;
    if (strncmp(op, "<=", 2) == 0)
        return exact ? compare(v, than) <= 0 : than->given == 0 || compare(v, &end) < 0;
    if (*op == '>')
        return exact ? compare(v, than) > 0 : than->given > 0 && compare(v, &end) >= 0;
    if (*op == '<')
        return compare(v, than) < 0;
    if (*op == '^')
        return is_in(v, than, caret_depth(than));
    return is_in(v, than, than->given < 2 ? than->given : 2); /* ~ */
}

static bool is_operator(const char *op, size_t len)
{
    static const char *const operators[] = {"", "=", "!=", "<", "<=", ">", ">=", "^", "~"};
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
        if (strlen(operators[i]) == len && strncmp(operators[i], op, len) == 0)
            return true;
    return false;
}

/* Whether the version is in the range; NULL: only whether the range can be read. */
static bool read_range(const char *s, const struct version *v)
{
    bool any = false, all = true;
    for (;;) {
        s += strspn(s, " ,");
        if (*s == '\0' || strncmp(s, "||", 2) == 0) {
            any = any || all;
            all = true;
            if (*s == '\0')
                return v ? any : true;
            s += 2;
            continue;
        }
        struct version than;
        size_t op_len = strspn(s, "=!<>^~");
        const char *op = s;
        s += op_len;
        s += strspn(s, " ");
        s = read_version(s, &than);
        if (!s || !is_operator(op, op_len) || (*s && !strchr(" ,|", *s)))
            return false;
        all = all && (!v || holds(op, op_len, v, &than));
    }
}

/* --- patterns ------------------------------------------------------------------------------------------------ */

static int add_part(struct tag_pattern *p, const char *line, const char **ret_wrong)
{
    struct part *part = &p->parts[p->count];
    if (p->count == TAG_PATTERN_PARTS_MAX || !*line || !strchr("+-=", line[0]) || line[1] == '\0') {
        *ret_wrong = "is no list of patterns";
        return -EINVAL;
    }
    if (line[0] == '=') {
        *ret_wrong = "is no range of versions";
        if (!read_range(line + 1, NULL))
            return -EINVAL;
        part->range = strdup(line + 1);
        if (!part->range)
            return -ENOMEM;
    } else {
        *ret_wrong = "is no regular expression that can be used here";
        int r = compile(line + 1, p->is_partial, &part->regex);
        if (r < 0)
            return r;
    }
    part->kind = line[0];
    p->has_allowance = p->has_allowance || part->kind == '+';
    p->has_range = p->has_range || part->kind == '=';
    p->count++;
    return 0;
}

int tag_pattern_create(const char *text, struct tag_pattern **ret_pattern, const char **ret_wrong)
{
    AUTO_FREE char *copy = strdup(text);
    AUTO(auto_tag_pattern_destroy) struct tag_pattern *p = calloc(1, sizeof(*p));
    if (!copy || !p)
        return -ENOMEM;
    char *rest = copy;
    const char *line = strsep(&rest, "\n");
    p->is_partial = strcmp(line, "part") == 0;
    *ret_wrong = strlen(text) > TAG_PATTERN_TEXT_MAX ? "is too long" : "is no pattern";
    if (strlen(text) > TAG_PATTERN_TEXT_MAX || (!p->is_partial && strcmp(line, "whole") != 0))
        return -EINVAL;
    while (rest) {
        int r = add_part(p, strsep(&rest, "\n"), ret_wrong);
        if (r < 0)
            return r;
    }
    *ret_pattern = TAKE_PTR(p);
    return 0;
}

void tag_pattern_destroy(struct tag_pattern *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        if (p->parts[i].kind == '=')
            free(p->parts[i].range);
        else
            regfree(&p->parts[i].regex);
    }
    free(p);
}

bool tag_pattern_matches(const struct tag_pattern *p, const char *tag)
{
    bool is_allowed = !p->has_allowance, is_in_range = !p->has_range;
    struct version v;
    const char *end = read_version(tag, &v);
    bool is_version = end && !*end && v.given > 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct part *part = &p->parts[i];
        if (part->kind == '=') {
            is_in_range = is_in_range || (is_version && read_range(part->range, &v));
            continue;
        }
        bool matches = regexec(&part->regex, tag, 0, NULL, 0) == 0;
        if (matches && part->kind == '-')
            return false;
        is_allowed = is_allowed || matches;
    }
    return is_allowed && is_in_range;
}
