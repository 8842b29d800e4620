#include "cli/help.h"

#include <string.h>

#define INDENT 2
#define GAP 3 /* spaces between a term that is no option and its text; two behind an option */

/* Where a run of `gap` spaces begins, if something follows it; `len`: nowhere. */
static size_t find_gap(const char *s, size_t len, size_t gap)
{
    for (size_t i = 0, run = 0; i < len; i++) {
        run = s[i] == ' ' ? run + 1 : 0;
        if (run == gap && i >= gap && i + 1 < len)
            return i + 1 - gap;
    }
    return len;
}

static void split(struct help_line *l, enum help_kind kind, const char *s, size_t len, size_t gap)
{
    size_t skip = gap;
    while (skip < len && s[skip] == ' ')
        skip++;
    *l = (struct help_line){.kind = kind, .term = s, .term_len = gap, .text = s + skip, .text_len = len - skip};
}

static void classify(struct help *h, const char *s, size_t len, struct help_line *l)
{
    size_t indent = 0;
    while (indent < len && s[indent] == ' ')
        indent++;
    const char *text = s + indent;
    size_t text_len = len - indent;
    if (text_len == 0) {
        *l = (struct help_line){.kind = HELP_BLANK};
    } else if (indent == INDENT && text[0] == '-') {
        split(l, HELP_OPTION, text, text_len, find_gap(text, text_len, 2));
    } else if (indent == 0 && find_gap(text, text_len, GAP) < text_len) {
        split(l, HELP_TERM, text, text_len, find_gap(text, text_len, GAP));
    } else {
        enum help_kind kind = indent == 0 ? HELP_PROSE : indent > INDENT && h->in_item ? HELP_MORE : HELP_EXAMPLE;
        *l = (struct help_line){.kind = kind, .text = text, .text_len = text_len};
    }
    h->in_item = l->kind == HELP_OPTION || l->kind == HELP_TERM || l->kind == HELP_MORE;
}

bool help_next(struct help *h, struct help_line *ret_line)
{
    if (!*h->rest)
        return false;
    size_t len = strcspn(h->rest, "\n");
    classify(h, h->rest, len, ret_line);
    h->rest += len + (h->rest[len] == '\n');
    return true;
}

bool help_next_option(struct help *h, struct help_line *ret_line)
{
    struct help_line l;
    while (help_next(h, &l))
        if (l.kind == HELP_OPTION) {
            *ret_line = l;
            return true;
        }
    return false;
}
