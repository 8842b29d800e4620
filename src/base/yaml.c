#include "base/yaml.h"

#include "base/utf8.h"

#include <errno.h>
#include <libfyaml.h>
#include <string.h>

struct yaml {
    char *text;
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct fy_document *document; /* NULL where the text is empty */
};

static struct fy_node *fy(struct yaml_node *node)
{
    return (struct fy_node *)node;
}

static struct yaml_node *ours(struct fy_node *node)
{
    return (struct yaml_node *)node;
}

/* ------------------------------------------------------------------ nodes */

struct yaml_node *yaml_root(const struct yaml *y)
{
    return y->document ? ours(fy_document_root(y->document)) : NULL;
}

/* What YAML 1.2 takes for null, where it is written. */
static bool is_null_text(struct fy_node *node)
{
    static const char *const nulls[] = {"~", "null", "Null", "NULL"};
    size_t len = 0;
    const char *s = fy_node_get_style(node) == FYNS_PLAIN ? fy_node_get_scalar(node, &len) : NULL;
    for (size_t i = 0; s && i < ARRAY_SIZE(nulls); i++)
        if (len == strlen(nulls[i]) && memcmp(s, nulls[i], len) == 0)
            return true;
    return false;
}

enum yaml_kind yaml_kind(struct yaml_node *node)
{
    if (!node)
        return YAML_NULL;
    if (fy_node_is_alias(fy(node)))
        return YAML_ALIAS;
    if (fy_node_get_tag_token(fy(node)))
        return YAML_TAGGED;
    if (fy_node_is_mapping(fy(node)))
        return YAML_MAP;
    if (fy_node_is_sequence(fy(node)))
        return YAML_LIST;
    return fy_node_is_null(fy(node)) || is_null_text(fy(node)) ? YAML_NULL : YAML_TEXT;
}

bool yaml_place(struct yaml_node *node, int *ret_line, int *ret_column)
{
    struct fy_node *n = fy(node);
    while (n && !fy_node_is_scalar(n)) {
        void *it = NULL;
        n = fy_node_is_mapping(n) ? fy_node_pair_key(fy_node_mapping_iterate(n, &it))
                                  : fy_node_sequence_iterate(n, &it);
    }
    struct fy_token *token = n ? fy_node_get_scalar_token(n) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (!mark)
        return false;
    /* libfyaml's mark is behind the quote. */
    bool quoted = fy_node_get_style(n) == FYNS_SINGLE_QUOTED || fy_node_get_style(n) == FYNS_DOUBLE_QUOTED;
    *ret_line = mark->line + 1;
    *ret_column = mark->column + (quoted && mark->column > 0 ? 0 : 1);
    return true;
}

struct yaml_node *yaml_resolve(struct yaml_node *node)
{
    return ours(fy_node_resolve_alias(fy(node)));
}

const char *yaml_text(struct yaml_node *node, size_t *ret_len)
{
    if (yaml_kind(node) == YAML_NULL) {
        *ret_len = 0;
        return "";
    }
    *ret_len = fy_node_get_scalar_length(fy(node));
    return fy_node_get_scalar0(fy(node));
}

bool yaml_is_plain(struct yaml_node *node)
{
    return node && fy_node_get_style(fy(node)) == FYNS_PLAIN;
}

size_t yaml_count(struct yaml_node *node)
{
    int n = fy_node_is_mapping(fy(node)) ? fy_node_mapping_item_count(fy(node)) : fy_node_sequence_item_count(fy(node));
    return n > 0 ? (size_t)n : 0;
}

bool yaml_next(struct yaml_node *list, void **it, struct yaml_node **ret_member)
{
    struct fy_node *member = fy_node_sequence_iterate(fy(list), it);
    if (member)
        *ret_member = ours(member);
    return member != NULL;
}

bool yaml_next_pair(struct yaml_node *map, void **it, struct yaml_node **ret_key, struct yaml_node **ret_value)
{
    struct fy_node_pair *pair = fy_node_mapping_iterate(fy(map), it);
    if (pair) {
        *ret_key = ours(fy_node_pair_key(pair));
        *ret_value = ours(fy_node_pair_value(pair));
    }
    return pair != NULL;
}

bool yaml_find(struct yaml_node *map, const char *key, struct yaml_node **ret_key, struct yaml_node **ret_value)
{
    if (yaml_kind(map) != YAML_MAP)
        return false;
    struct fy_node_pair *pair = fy_node_mapping_lookup_pair_by_simple_key(fy(map), key, strlen(key));
    if (pair) {
        *ret_key = ours(fy_node_pair_key(pair));
        *ret_value = ours(fy_node_pair_value(pair));
    }
    return pair != NULL;
}

/* ------------------------------------------------------------------ the document */

/* libfyaml ends at a NUL and swallows bytes that are no UTF-8, without a word. */
static bool is_clean(const char *text, size_t len, yaml_error_fn on_error, void *arg)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < len; column++) {
        size_t n = text[i] ? utf8_length(text + i) : 0;
        if (n == 0) {
            on_error(arg, line, column, text[i] ? "this is not UTF-8" : "there is a NUL byte here");
            return false;
        }
        if (text[i] == '\n') {
            line++;
            column = 0;
        }
        i += n;
    }
    return true;
}

/* Nothing but white space, comments and marks of an end: there is no document, and rightly so. */
static bool is_blank(const char *s)
{
    if (strncmp(s, "\xef\xbb\xbf", 3) == 0)
        s += 3;
    while (*s) {
        s += strspn(s, " \t\r\n");
        if (*s == '#')
            s += strcspn(s, "\r\n");
        else if (strncmp(s, "...", 3) == 0)
            s += 3;
        else if (*s)
            return false;
    }
    return true;
}

static int load(struct yaml *y, size_t len)
{
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.colorize = false;
    y->diag = fy_diag_create(&diag_cfg);
    if (!y->diag)
        return -ENOMEM;
    fy_diag_set_collect_errors(y->diag, true);
    const struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_ALLOW_DUPLICATE_KEYS,
                                     .diag = y->diag};
    y->parser = fy_parser_create(&cfg);
    if (!y->parser || fy_parser_set_string(y->parser, y->text, len) != 0)
        return -ENOMEM;
    y->document = fy_parse_load_document(y->parser);
    return fy_parser_get_stream_error(y->parser) || (!y->document && !is_blank(y->text)) ? -EINVAL : 0;
}

static void report(struct yaml *y, yaml_error_fn on_error, void *arg)
{
    struct fy_diag_error *e;
    void *it = NULL;
    int count = 0;
    for (; (e = fy_diag_errors_iterate(y->diag, &it)); count++)
        on_error(arg, e->line, e->column, e->msg);
    if (count == 0) /* ">0" is such a text */
        on_error(arg, 1, 1, "this is no YAML, for a reason and at a place that the parser does not tell");
}

/* What comes behind the document must be nothing. */
static int check_end(struct yaml *y, yaml_error_fn on_error, void *arg)
{
    struct fy_document *second = y->document ? fy_parse_load_document(y->parser) : NULL;
    if (!second && !fy_parser_get_stream_error(y->parser))
        return 0;
    if (second) {
        int line = 1, column = 1;
        (void)yaml_place(ours(fy_document_root(second)), &line, &column);
        on_error(arg, line, column, "a second document begins here; there must be one only");
        fy_document_destroy(second);
    } else {
        report(y, on_error, arg);
    }
    return -EINVAL;
}

int yaml_open(const char *text, size_t len, yaml_error_fn on_error, void *arg, struct yaml **ret_yaml)
{
    AUTO(auto_yaml_close) struct yaml *y = calloc(1, sizeof(*y));
    if (!y || !(y->text = malloc(len + 1)))
        return -ENOMEM;
    if (len > 0)
        memcpy(y->text, text, len);
    y->text[len] = '\0';
    if (!is_clean(y->text, len, on_error, arg))
        return -EINVAL;
    int r = load(y, len);
    if (r == -EINVAL)
        report(y, on_error, arg);
    if (r == 0)
        r = check_end(y, on_error, arg);
    if (r == 0)
        *ret_yaml = TAKE_PTR(y);
    return r;
}

void yaml_close(struct yaml *y)
{
    if (!y)
        return;
    fy_document_destroy(y->document);
    if (y->parser)
        fy_parser_destroy(y->parser);
    if (y->diag)
        fy_diag_destroy(y->diag);
    free(y->text);
    free(y);
}
