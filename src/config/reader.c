#include "config/reader.h"

#include "base/limits.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "base/yaml.h"
#include "config/config.h"
#include "config/value.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define READER_ERRORS_MAX 100
#define QUOTE_MAX 60

struct reader {
    const char *name;
    struct buf *errors;
    unsigned count; /* of errors, told or not */
    int failed;     /* -ENOMEM, or 0: sticky */
    struct yaml *yaml;
    const void *root;  /* what is being filled */
    const void *owner; /* of the struct that is being filled */
};

/* A node and the way to it; on the stack of who reads it. */
struct where {
    const struct where *up;
    const char *key;            /* NULL in a list, and for the root */
    size_t index;               /* in a list */
    struct yaml_node *key_node; /* NULL in a list, and where the text does not have it */
    struct yaml_node *node;     /* NULL where the text does not have it */
};

/* ------------------------------------------------------------------ errors */

static void note(struct reader *r, int result)
{
    if (result < 0 && r->failed == 0)
        r->failed = result;
}

/* As JSON, cut to a length that can be read. */
static int add_quoted(struct buf *b, const char *s)
{
    char cut[QUOTE_MAX + 4];
    size_t len = 0;
    for (size_t n; s[len] && (n = utf8_length(s + len)) > 0 && len + n <= QUOTE_MAX;)
        len += n;
    memcpy(cut, s, len);
    memcpy(cut + len, s[len] ? "..." : "", s[len] ? 4 : 1);
    return buf_add_json(b, cut);
}

static int add_key(struct buf *b, const char *key)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:[]/";
    size_t len = strlen(key);
    return len > 0 && len <= QUOTE_MAX && strspn(key, bare) == len ? buf_adds(b, key) : add_quoted(b, key);
}

static int add_path(struct buf *b, const struct where *w)
{
    if (!w->up)
        return 0;
    int e = add_path(b, w->up);
    if (e == 0 && !w->key)
        return buf_addf(b, "[%zu]", w->index);
    if (e == 0 && w->up->up)
        e = buf_adds(b, ".");
    return e == 0 ? add_key(b, w->key) : e;
}

static void PRINTF_LIKE(4, 5) say(struct reader *r, int line, int column, const char *fmt, ...)
{
    if (r->failed || ++r->count > READER_ERRORS_MAX)
        return;
    size_t was = r->errors->len;
    int e = buf_addf(r->errors, "%s:%d:%d: ", r->name, line, column);
    va_list ap;
    va_start(ap, fmt);
    if (e == 0)
        e = r->count < READER_ERRORS_MAX ? buf_vaddf(r->errors, fmt, ap)
                                         : buf_adds(r->errors, "and there are more errors");
    va_end(ap);
    if (e == 0)
        e = buf_adds(r->errors, "\n");
    if (e < 0)
        buf_cut(r->errors, was);
    if (e == -EFBIG)
        r->count = READER_ERRORS_MAX; /* the caller has no room for more */
    else
        note(r, e);
}

/* At the node, or else the nearest thing above it that the text has. */
static void add_error(struct reader *r, const struct where *w, const char *fmt, va_list ap)
{
    int line = 1, column = 1;
    for (const struct where *at = w; at; at = at->up)
        if (yaml_place(at->node, &line, &column) || yaml_place(at->key_node, &line, &column))
            break;
    AUTO_BUF struct buf b = BUF_INIT(16 * KIB);
    int e = add_path(&b, w);
    if (e == 0 && w->up)
        e = buf_adds(&b, ": ");
    if (e == 0)
        e = buf_vaddf(&b, fmt, ap);
    note(r, e);
    if (e == 0)
        say(r, line, column, "%s", b.data);
}

static void PRINTF_LIKE(3, 4) error(struct reader *r, const struct where *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_error(r, w, fmt, ap);
    va_end(ap);
}

/* "`word`: why; did you mean name?" */
static void error_with_word(struct reader *r, const struct where *w, const char *word, const char *why,
                            const struct nearest *nearest)
{
    AUTO_BUF struct buf b = BUF_INIT(SCHEMA_TEXT_MAX);
    int e = word ? add_quoted(&b, word) : 0;
    if (e == 0)
        e = buf_addf(&b, "%s%s", word ? " " : "", why);
    if (e == 0 && nearest && nearest->name)
        e = buf_addf(&b, "; did you mean \"%s\"?", nearest->name);
    if (e < 0)
        note(r, e);
    else
        error(r, w, "%s", b.data);
}

/* ------------------------------------------------------------------ nodes */

/* The node is of this kind (of a YAML_TEXT, or a null); else says so. Aliases and tags have no use here and many
 * surprises. */
static bool is_kind(struct reader *r, const struct where *w, enum yaml_kind kind, const char *expected)
{
    static const char *const names[] = {
        [YAML_NULL] = "nothing", [YAML_TEXT] = "a text", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};
    enum yaml_kind is = yaml_kind(w->node);
    if (is == kind || (is == YAML_NULL && kind == YAML_TEXT))
        return true;
    if (is == YAML_ALIAS)
        error(r, w, "aliases (*NAME) are not supported");
    else if (is == YAML_TAGGED)
        error(r, w, "tags (!NAME) are not supported");
    else
        error(r, w, "%s is expected, not %s", expected, names[is]);
    return false;
}

/* The text of a scalar, good as long as the document; NULL where there is none or it is refused. */
static const char *get_text(struct reader *r, const struct where *w, const char *expected)
{
    if (!is_kind(r, w, YAML_TEXT, expected))
        return NULL;
    size_t len = 0;
    const char *s = yaml_text(w->node, &len);
    if (!s) {
        note(r, -ENOMEM);
        return NULL;
    }
    if (len > SCHEMA_TEXT_MAX) {
        error(r, w, "is longer than %d bytes", SCHEMA_TEXT_MAX);
        return NULL;
    }
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length(s + i);
        if (n == 0 || (unsigned char)s[i] < ' ' || s[i] == 0x7f) { /* by an escape: "\0", "\ud800" */
            error(r, w, "contains a control character, or what is no character");
            return NULL;
        }
    }
    return s;
}

/* ------------------------------------------------------------------ values */

static void put(const struct schema_item *item, void *object, const void *value, size_t size)
{
    memcpy((char *)object + item->offset, value, size);
}

static bool is_in_range(struct reader *r, const struct where *w, const struct schema_item *item, const char *text,
                        int result, uint64_t value)
{
    if (result == 0 && value >= (uint64_t)item->min && value <= (uint64_t)item->max)
        return true;
    AUTO_BUF struct buf b = BUF_INIT(SCHEMA_TEXT_MAX);
    int (*add)(struct buf *, uint64_t) = value_add_count;
    const char *how = "";
    if (item->type == SCHEMA_DURATION) {
        add = value_add_duration;
        how = ", such as 250ms, 5m, 1h30m or 30d";
    } else if (item->type == SCHEMA_SIZE) {
        add = value_add_size;
        how = ", such as 512, 64KiB or 10GiB";
    } else if (item->type == SCHEMA_ROOM) {
        add = value_add_size;
        how = ", such as 10GiB or 90%";
    }
    int e;
    if (result == -EINVAL) {
        e = buf_addf(&b, "is not %s%s", schema_type_name(item->type), how);
    } else {
        e = buf_adds(&b, item->min < item->max ? "is out of range: " : "must be ");
        if (e == 0)
            e = add(&b, (uint64_t)item->min);
        if (e == 0 && item->min < item->max)
            e = buf_adds(&b, " to ");
        if (e == 0 && item->min < item->max)
            e = add(&b, (uint64_t)item->max);
    }
    note(r, e);
    if (e == 0)
        error_with_word(r, w, text, b.data, NULL);
    return false;
}

static void put_room(struct reader *r, const struct where *w, const struct schema_item *item, void *object,
                     const char *text)
{
    struct config_room room = {0};
    if (!strchr(text, '%')) {
        int e = value_parse_size(text, &room.bytes);
        if (is_in_range(r, w, item, text, e, room.bytes))
            put(item, object, &room, sizeof(room));
    } else if (value_parse_percent(text, &room.percent) == 0) {
        put(item, object, &room, sizeof(room));
    } else {
        error_with_word(r, w, text, "is not a percentage of 1% to 100%", NULL);
    }
}

static void put_choice(struct reader *r, const struct where *w, const struct schema_item *item, void *object,
                       const char *text)
{
    struct nearest nearest;
    nearest_begin(&nearest, text);
    AUTO_BUF struct buf b = BUF_INIT(SCHEMA_TEXT_MAX);
    int e = buf_adds(&b, "is none of");
    for (unsigned i = 0; e == 0 && item->choices[i]; i++) {
        if (strcmp(text, item->choices[i]) == 0) {
            put(item, object, &i, sizeof(i));
            return;
        }
        nearest_offer(&nearest, item->choices[i]);
        e = buf_addf(&b, "%s %s", i ? "," : "", item->choices[i]);
    }
    note(r, e);
    if (e == 0)
        error_with_word(r, w, text, b.data, &nearest);
}

/* A copy that passed the checks, or NULL. */
static char *copy_text(struct reader *r, const struct where *w, const struct schema_item *item, const char *text)
{
    const char *wrong = *text == '\0' ? "must not be empty" : item->check ? item->check(text) : NULL;
    if (wrong) { /* without the text, which may hold a password */
        error(r, w, "%s", wrong);
        return NULL;
    }
    char *copy = strdup(text);
    note(r, copy ? 0 : -ENOMEM);
    return copy;
}

/* Sets a value that is one scalar; `plain`: it stands in the text without quotes. */
static void put_scalar(struct reader *r, const struct where *w, const struct schema_item *item, void *object,
                       const char *text, bool plain)
{
    uint64_t number = 0;
    int64_t duration = 0;
    int e;
    switch (item->type) {
    case SCHEMA_BOOL: {
        bool value = strcmp(text, "true") == 0;
        if (plain && (value || strcmp(text, "false") == 0))
            put(item, object, &value, sizeof(value));
        else
            error_with_word(r, w, text, "is not true or false", NULL);
        break;
    }
    case SCHEMA_COUNT:
        if (!plain) {
            error(r, w, "a number stands without quotes");
            break;
        }
        e = value_parse_count(text, &number);
        if (is_in_range(r, w, item, text, e, number))
            put(item, object, &(unsigned){(unsigned)number}, sizeof(unsigned));
        break;
    case SCHEMA_DURATION:
        e = value_parse_duration(text, &duration);
        if (is_in_range(r, w, item, text, e, (uint64_t)duration))
            put(item, object, &duration, sizeof(duration));
        break;
    case SCHEMA_SIZE:
        e = value_parse_size(text, &number);
        if (is_in_range(r, w, item, text, e, number))
            put(item, object, &number, sizeof(number));
        break;
    case SCHEMA_ROOM:
        put_room(r, w, item, object, text);
        break;
    case SCHEMA_CHOICE:
        put_choice(r, w, item, object, text);
        break;
    case SCHEMA_TEXT: {
        char *copy = copy_text(r, w, item, text);
        put(item, object, &copy, sizeof(copy));
        break;
    }
    case SCHEMA_TEXTS:
    case SCHEMA_SECTION:
    case SCHEMA_LIST:
    case SCHEMA_MAP:
        break;
    }
}

static void add_to_list(struct reader *r, const struct where *w, const struct schema_item *item,
                        struct config_list *list, const char *text)
{
    char *copy = copy_text(r, w, item, text);
    if (!copy)
        return;
    char **items = realloc(list->items, (list->count + 2) * sizeof(*items));
    if (!items) {
        free(copy);
        note(r, -ENOMEM);
        return;
    }
    items[list->count] = copy;
    items[list->count + 1] = NULL;
    list->items = items;
    list->count++;
}

static bool is_count_right(struct reader *r, const struct where *w, const struct schema_item *item, size_t count)
{
    if ((int64_t)count >= item->min && (int64_t)count <= item->max)
        return true;
    error(r, w, "has %zu members; %lld to %lld are allowed", count, (long long)item->min, (long long)item->max);
    return false;
}

static void read_texts(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    struct config_list *list = (void *)((char *)object + item->offset);
    const char *text;
    if (yaml_kind(w->node) == YAML_TEXT) { /* one needs no brackets */
        if ((text = get_text(r, w, "a text")))
            add_to_list(r, w, item, list, text);
        return;
    }
    if (!is_kind(r, w, YAML_LIST, schema_type_name(item->type)) || !is_count_right(r, w, item, yaml_count(w->node)))
        return;
    void *it = NULL;
    for (struct where member = {.up = w}; yaml_next(w->node, &it, &member.node); member.index++)
        if ((text = get_text(r, &member, "a text")))
            add_to_list(r, &member, item, list, text);
}

/* The default, by the way that a text of the file goes. */
static void put_default(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    AUTO_BUF struct buf text = BUF_INIT(SCHEMA_TEXT_MAX);
    const struct schema_place place = {r->root, r->owner, object};
    int e = item->derive ? item->derive(&place, &text) : item->fallback ? buf_adds(&text, item->fallback) : 0;
    note(r, e);
    if (e < 0 || text.len == 0)
        return;
    if (item->type != SCHEMA_TEXTS) {
        put_scalar(r, w, item, object, text.data, true);
        return;
    }
    char *rest = text.data;
    for (char *word; (word = strsep(&rest, " "));)
        add_to_list(r, w, item, (void *)((char *)object + item->offset), word);
}

/* ------------------------------------------------------------------ maps and lists of maps */

static void read_map(struct reader *r, const struct where *w, const struct schema_item *items, void *object);

/* A map, or nothing: then all of it has its defaults. */
static bool is_map(struct reader *r, const struct where *w)
{
    return yaml_kind(w->node) == YAML_NULL || is_kind(r, w, YAML_MAP, "a map");
}

/* Appends a zeroed struct to the array of a LIST or MAP; good until the next is added. */
static void *add_struct(struct reader *r, const struct schema_item *item, void *object)
{
    char *array;
    size_t count;
    memcpy(&array, (char *)object + item->offset, sizeof(array));
    memcpy(&count, (char *)object + item->count_offset, sizeof(count));
    char *grown = realloc(array, (count + 1) * item->size);
    if (!grown) {
        note(r, -ENOMEM);
        return NULL;
    }
    memset(grown + count * item->size, 0, item->size);
    count++;
    memcpy((char *)object + item->offset, &grown, sizeof(grown));
    memcpy((char *)object + item->count_offset, &count, sizeof(count));
    return grown + (count - 1) * item->size;
}

/* A member of a LIST or MAP in `object`. */
static void read_member(struct reader *r, const struct where *w, const struct schema_item *item, const void *object,
                        void *element)
{
    const void *owner = r->owner;
    r->owner = object;
    read_map(r, w, item->items, element);
    r->owner = owner;
}

static void read_list(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    if (!is_kind(r, w, YAML_LIST, schema_type_name(item->type)) || !is_count_right(r, w, item, yaml_count(w->node)))
        return;
    void *it = NULL;
    for (struct where member = {.up = w}; yaml_next(w->node, &it, &member.node); member.index++) {
        void *element = is_map(r, &member) ? add_struct(r, item, object) : NULL;
        if (element)
            read_member(r, &member, item, object, element);
    }
}

static void add_named(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    char *name = strdup(w->key), *element = name ? add_struct(r, item, object) : NULL;
    if (!element) {
        free(name);
        note(r, -ENOMEM);
        return;
    }
    memcpy(element, &name, sizeof(name));
    read_member(r, w, item, object, element);
}

static bool is_builtin(const struct schema_item *item, const char *name)
{
    for (size_t i = 0; item->builtin && item->builtin(i); i++)
        if (strcmp(item->builtin(i), name) == 0)
            return true;
    return false;
}

/* `false`: a built-in member is taken away. */
static bool is_taken_away(struct reader *r, const struct where *w, const struct schema_item *item)
{
    size_t len;
    const char *s =
        item->builtin && yaml_kind(w->node) == YAML_TEXT && yaml_is_plain(w->node) ? yaml_text(w->node, &len) : NULL;
    if (!s || strcmp(s, "false") != 0)
        return false;
    if (!is_builtin(item, w->key)) {
        struct nearest nearest;
        nearest_begin(&nearest, w->key);
        for (size_t i = 0; item->builtin(i); i++)
            nearest_offer(&nearest, item->builtin(i));
        error_with_word(r, w, NULL, "is not built in and cannot be taken away", &nearest);
    }
    return true;
}

/* The next pair of the map w->up into *w. A key that is no text is reported and passed over. */
static bool next_pair(struct reader *r, struct where *w, void **it)
{
    while (!r->failed && yaml_next_pair(w->up->node, it, &w->key_node, &w->node)) {
        struct where key = *w->up; /* what is wrong with a key is wrong with its map */
        key.node = key.key_node = w->key_node;
        if ((w->key = get_text(r, &key, "a name as key")))
            return true;
    }
    return false;
}

static void refuse_double(struct reader *r, const struct where *w, struct yaml_node *first)
{
    const struct where at_key = {.up = w->up, .key = w->key, .node = w->key_node};
    int line = 1, column = 1;
    (void)yaml_place(first, &line, &column);
    error(r, &at_key, "stands here twice, first in line %d", line);
}

static void read_named(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    bool is_said = is_map(r, w) && yaml_kind(w->node) == YAML_MAP;
    if (is_said && yaml_count(w->node) > (size_t)item->max) {
        (void)is_count_right(r, w, item, yaml_count(w->node));
        return;
    }
    struct where member = {.up = w};
    struct yaml_node *first, *value;
    for (void *it = NULL; is_said && next_pair(r, &member, &it);) {
        const char *wrong = item->check ? item->check(member.key) : NULL;
        if (wrong)
            error(r, &member, "%s", wrong);
        else if (yaml_find(w->node, member.key, &first, &value) && first != member.key_node)
            refuse_double(r, &member, first);
        else if (!is_taken_away(r, &member, item) && is_map(r, &member))
            add_named(r, &member, item, object);
    }
    for (size_t i = 0; item->builtin && item->builtin(i); i++) {
        member = (struct where){.up = w, .key = item->builtin(i)};
        if (!yaml_find(w->node, member.key, &first, &value))
            add_named(r, &member, item, object);
    }
    size_t count;
    memcpy(&count, (char *)object + item->count_offset, sizeof(count));
    (void)is_count_right(r, w, item, count);
}

static void read_item(struct reader *r, const struct where *w, const struct schema_item *item, void *object)
{
    const char *text;
    if (item->type == SCHEMA_SECTION) {
        read_map(r, w, item->items, object);
    } else if (item->type == SCHEMA_MAP) {
        read_named(r, w, item, object);
    } else if (yaml_kind(w->node) == YAML_NULL) {
        if (item->required)
            error(r, w, "is missing: %s must be given", schema_type_name(item->type));
        else
            put_default(r, w, item, object);
    } else if (item->type == SCHEMA_LIST) {
        read_list(r, w, item, object);
    } else if (item->type == SCHEMA_TEXTS) {
        read_texts(r, w, item, object);
    } else if ((text = get_text(r, w, schema_type_name(item->type)))) {
        put_scalar(r, w, item, object, text, yaml_is_plain(w->node));
    }
}

static void refuse_unknown(struct reader *r, const struct where *w, const struct schema_item *items)
{
    const struct where at_key = {.up = w->up, .key = w->key, .node = w->key_node};
    struct nearest nearest;
    nearest_begin(&nearest, w->key);
    for (const struct schema_item *item = items; item->name; item++)
        nearest_offer(&nearest, item->name);
    error_with_word(r, &at_key, NULL, "unknown key", &nearest);
}

/* First every key is looked up, then every row of the table is read in its order: defaults look at rows above. */
static void read_map(struct reader *r, const struct where *w, const struct schema_item *items, void *object)
{
    struct where found[SCHEMA_ITEMS_MAX] = {{0}}, key = {.up = w};
    if (!is_map(r, w))
        return;
    for (void *it = NULL; yaml_kind(w->node) == YAML_MAP && next_pair(r, &key, &it);) {
        size_t i = 0;
        while (items[i].name && strcmp(items[i].name, key.key) != 0)
            i++;
        if (!items[i].name)
            refuse_unknown(r, &key, items);
        else if (found[i].key_node)
            refuse_double(r, &key, found[i].key_node);
        else
            found[i] = key;
    }
    for (size_t i = 0; items[i].name && !r->failed; i++) {
        found[i].up = w;
        found[i].key = items[i].name;
        read_item(r, &found[i], &items[i], object);
    }
}

/* ------------------------------------------------------------------ the whole */

static void say_yaml_error(void *arg, int line, int column, const char *message)
{
    say(arg, line, column, "%.*s", (int)strcspn(message, "\n"), message);
}

int reader_open(const char *text, size_t len, const char *name, struct buf *errors, struct reader **ret_reader)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->name = name;
    r->errors = errors;
    int e = yaml_open(text, len, say_yaml_error, r, &r->yaml);
    if (e < 0) {
        free(r);
        return e;
    }
    *ret_reader = r;
    return 0;
}

void reader_read(struct reader *r, const struct schema_item *items, void *object)
{
    const struct where root = {.node = yaml_root(r->yaml)};
    r->root = object;
    read_map(r, &root, items, object);
}

bool reader_is_good(const struct reader *r)
{
    return r->count == 0 && r->failed == 0;
}

/* "[2]" of a list, or a key of a map. */
static void find(const struct where *in, const char *key, struct where *ret_found)
{
    struct yaml_node *member;
    *ret_found = (struct where){.up = in, .key = key};
    if (yaml_kind(in->node) != YAML_LIST) {
        (void)yaml_find(in->node, key, &ret_found->key_node, &ret_found->node);
        return;
    }
    ret_found->key = NULL;
    ret_found->index = strtoul(key + 1, NULL, 10);
    size_t i = 0;
    for (void *it = NULL; yaml_next(in->node, &it, &member); i++)
        if (i == ret_found->index)
            ret_found->node = member;
}

void reader_error(struct reader *r, const char *const *keys, const char *fmt, ...)
{
    struct where path[SCHEMA_DEPTH_MAX] = {{.node = yaml_root(r->yaml)}};
    size_t last = 0;
    for (; last + 1 < SCHEMA_DEPTH_MAX && keys[last]; last++)
        find(&path[last], keys[last], &path[last + 1]);
    va_list ap;
    va_start(ap, fmt);
    add_error(r, &path[last], fmt, ap);
    va_end(ap);
}

int reader_close(struct reader *r)
{
    if (!r)
        return 0;
    int result = r->failed ? r->failed : r->count ? -EINVAL : 0;
    yaml_close(r->yaml);
    free(r);
    return result;
}
