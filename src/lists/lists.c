#include "lists/lists.h"

#include "base/hash.h"
#include "lists/fields.h"
#include "lists/reading.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PAGE_SIZE (64 * KIB)

/* Memory that is never given back singly; the list's strings and arrays are in it. */
struct page {
    struct page *next;
    size_t used, size;
    max_align_t bytes[];
};

struct image_list {
    struct image_list_options options;
    struct page *pages;
    struct image_reference *references;
    size_t count, room;
    uint32_t *table;   /* by hash, open addressing: 1 + an index of references, or 0 */
    size_t table_size; /* a power of two, or 0 */
    bool is_full;
    struct image_note *notes;
    size_t note_count, note_room, errors;
};

/* --- formats -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*read)(struct reading *r, struct yaml_node *root); /* of one document; NULL: it is no YAML */
} formats[] = {
    [IMAGE_LIST_DETECT] = {"auto", NULL},
    [IMAGE_LIST_TEXT] = {"text", NULL},
    [IMAGE_LIST_KUBERNETES] = {"kubernetes", read_kubernetes},
    [IMAGE_LIST_COMPOSE] = {"compose", read_compose},
    [IMAGE_LIST_SKOPEO] = {"skopeo", read_skopeo},
    [IMAGE_LIST_REGSYNC] = {"regsync", read_regsync},
    [IMAGE_LIST_HAULER] = {"hauler", read_hauler},
    [IMAGE_LIST_ZARF] = {"zarf", read_zarf},
};

const char *image_list_format_name(enum image_list_format format)
{
    return (size_t)format < ARRAY_SIZE(formats) ? formats[format].name : NULL;
}

bool image_list_format_find(const char *name, enum image_list_format *ret_format)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(formats[i].name, name) == 0) {
            *ret_format = (enum image_list_format)i;
            return true;
        }
    return false;
}

/* --- memory --------------------------------------------------------------------------------------------------- */

static void *take(struct image_list *l, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct page *p = l->pages;
    if (!p || p->size - p->used < size) {
        size_t page = size > PAGE_SIZE ? size : PAGE_SIZE;
        p = malloc(sizeof(*p) + page);
        if (!p)
            return NULL;
        *p = (struct page){.next = l->pages, .size = page};
        l->pages = p;
    }
    void *bytes = (char *)p->bytes + p->used;
    p->used += size;
    return bytes;
}

static const char *keep(struct image_list *l, const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = take(l, size);
    return copy ? memcpy(copy, s, size) : NULL;
}

static int keep_all(struct image_list *l, const char *const *texts, size_t count, const char *const **ret_texts)
{
    if (count == 0) {
        *ret_texts = NULL;
        return 0;
    }
    const char **copies = take(l, count * sizeof(*copies));
    for (size_t i = 0; copies && i < count; i++) {
        copies[i] = keep(l, texts[i]);
        if (!copies[i])
            return -ENOMEM;
    }
    *ret_texts = copies;
    return copies ? 0 : -ENOMEM;
}

/* Makes room for one more in an array. */
static int grow(void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return 0;
    size_t more = *room ? 2 * *room : 64;
    void *grown = realloc(*array, more * size);
    if (!grown)
        return -ENOMEM;
    *array = grown;
    *room = more;
    return 0;
}

int image_list_create(const struct image_list_options *options, struct image_list **ret_list, const char **ret_wrong)
{
    AUTO(auto_image_list_destroy) struct image_list *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    if (options->field_count > IMAGE_LIST_FIELDS_MAX) {
        *ret_wrong = "there are too many fields";
        return -EINVAL;
    }
    for (size_t i = 0; i < options->field_count; i++) {
        const char *wrong = field_wrong(options->fields[i]);
        if (wrong) {
            *ret_wrong = wrong;
            return -EINVAL;
        }
    }
    l->options = *options;
    int r = keep_all(l, options->fields, options->field_count, &l->options.fields);
    if (r == 0)
        *ret_list = TAKE_PTR(l);
    return r;
}

void image_list_destroy(struct image_list *l)
{
    if (!l)
        return;
    for (struct page *p = l->pages, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(l->references);
    free(l->table);
    free(l->notes);
    free(l);
}

const struct image_list_options *image_list_options(const struct image_list *l)
{
    return &l->options;
}

/* --- notes ---------------------------------------------------------------------------------------------------- */

int image_list_note(struct image_list *l, bool is_error, const char *file, struct reading_place place,
                    const char *message)
{
    l->errors += is_error;
    if (l->note_count == IMAGE_LIST_NOTES_MAX)
        return 0;
    if (l->note_count == IMAGE_LIST_NOTES_MAX - 1) {
        message = "and there is more to say";
        place = (struct reading_place){0};
    }
    void *notes = l->notes;
    int r = grow(&notes, l->note_count, &l->note_room, sizeof(*l->notes));
    l->notes = notes;
    struct image_note note = {
        .is_error = is_error, .file = file, .line = place.line, .column = place.column, .message = keep(l, message)};
    if (r < 0 || !note.message)
        return -ENOMEM;
    l->notes[l->note_count++] = note;
    return 0;
}

const struct image_note *image_list_notes(const struct image_list *l, size_t *ret_count)
{
    *ret_count = l->note_count;
    return l->notes;
}

size_t image_list_errors(const struct image_list *l)
{
    return l->errors;
}

/* --- references ----------------------------------------------------------------------------------------------- */

static bool same_texts(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same_pattern(const struct image_pattern *a, const struct image_pattern *b)
{
    return a->is_set == b->is_set && a->is_partial == b->is_partial &&
           same_texts(a->allow, a->allow_count, b->allow, b->allow_count) &&
           same_texts(a->deny, a->deny_count, b->deny, b->deny_count) &&
           same_texts(a->semver, a->semver_count, b->semver, b->semver_count);
}

/* Where it is in the table, or is to be. */
static uint32_t *place_of(struct image_list *l, const struct image_reference *reference)
{
    size_t at = hash_string(reference->name) & (l->table_size - 1);
    for (;; at = (at + 1) & (l->table_size - 1)) {
        const struct image_reference *there = l->table[at] ? &l->references[l->table[at] - 1] : NULL;
        if (!there || (strcmp(there->name, reference->name) == 0 && same_pattern(&there->pattern, &reference->pattern)))
            return &l->table[at];
    }
}

/* No more than half of the table is used. */
static int grow_table(struct image_list *l)
{
    if (2 * (l->count + 1) <= l->table_size)
        return 0;
    size_t size = l->table_size ? 2 * l->table_size : 256;
    uint32_t *table = calloc(size, sizeof(*table));
    if (!table)
        return -ENOMEM;
    free(l->table);
    l->table = table;
    l->table_size = size;
    for (size_t i = 0; i < l->count; i++)
        *place_of(l, &l->references[i]) = (uint32_t)i + 1;
    return 0;
}

static bool has_platform(const struct image_reference *reference, const char *platform)
{
    for (size_t i = 0; i < reference->platform_count; i++)
        if (strcmp(reference->platforms[i], platform) == 0)
            return true;
    return false;
}

/* What is too many of them is left out: no image has so many. */
static int merge(struct image_list *l, struct image_reference *there, const struct image_reference *reference)
{
    const char *platforms[IMAGE_LIST_PLATFORMS_MAX];
    size_t count = there->platform_count;
    there->default_platforms = there->default_platforms || reference->default_platforms;
    if (count > 0)
        memcpy(platforms, there->platforms, count * sizeof(*platforms));
    for (size_t i = 0; i < reference->platform_count && count < IMAGE_LIST_PLATFORMS_MAX; i++)
        if (!has_platform(there, reference->platforms[i]))
            platforms[count++] = reference->platforms[i];
    if (count == there->platform_count)
        return 0;
    int r = keep_all(l, platforms, count, &there->platforms);
    if (r == 0)
        there->platform_count = count;
    return r;
}

static int keep_pattern(struct image_list *l, struct image_pattern *pattern)
{
    int r = keep_all(l, pattern->allow, pattern->allow_count, &pattern->allow);
    if (r == 0)
        r = keep_all(l, pattern->deny, pattern->deny_count, &pattern->deny);
    if (r == 0)
        r = keep_all(l, pattern->semver, pattern->semver_count, &pattern->semver);
    return r;
}

int image_list_put(struct image_list *l, const struct image_reference *reference)
{
    int r = grow_table(l);
    void *references = l->references;
    if (r == 0)
        r = grow(&references, l->count, &l->room, sizeof(*l->references));
    l->references = references;
    if (r < 0)
        return r;
    uint32_t *at = place_of(l, reference);
    if (*at)
        return merge(l, &l->references[*at - 1], reference);
    if (l->count == IMAGE_LIST_REFERENCES_MAX) {
        bool was_full = l->is_full;
        l->is_full = true;
        return was_full
                   ? 0
                   : image_list_note(l, /* is_error= */ true, reference->file,
                                     (struct reading_place){reference->line, reference->column},
                                     "there are more images than one list may have: this one and the next ones are "
                                     "left out");
    }
    struct image_reference copy = *reference;
    copy.written = keep(l, reference->written);
    copy.name = keep(l, reference->name);
    copy.registry = keep(l, reference->registry);
    copy.repository = keep(l, reference->repository);
    copy.tag = reference->tag ? keep(l, reference->tag) : NULL;
    copy.digest = reference->digest ? keep(l, reference->digest) : NULL;
    copy.platforms = NULL;
    copy.platform_count = 0;
    r = keep_pattern(l, &copy.pattern);
    if (r == 0)
        r = merge(l, &copy, reference);
    if (r < 0 || !copy.written || !copy.name || !copy.registry || !copy.repository || (reference->tag && !copy.tag) ||
        (reference->digest && !copy.digest))
        return -ENOMEM;
    l->references[l->count++] = copy;
    *at = (uint32_t)l->count;
    return 0;
}

const struct image_reference *image_list_references(const struct image_list *l, size_t *ret_count)
{
    *ret_count = l->count;
    return l->references;
}

int image_list_add(struct image_list *l, const char *reference, const char **ret_wrong)
{
    struct reading r = {.list = l, .file = ""};
    struct image_name name;
    if (image_name_parse(reference, strlen(reference), &name, ret_wrong) < 0)
        return -EINVAL;
    reading_add(&r, (struct reading_place){0}, reference, NULL);
    return r.failed;
}

/* --- files ---------------------------------------------------------------------------------------------------- */

/* Lines that are blank or comments are passed over. */
static const char *first_line(const char *text, const char *end, size_t *ret_len)
{
    if (end - text >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end;
        const char *s = text;
        while (s < stop && strchr(" \t\r", *s) && *s)
            s++;
        if (s < stop && *s != '#') {
            *ret_len = (size_t)(stop - s);
            return s;
        }
        text = stop + (newline ? 1 : 0);
    }
    *ret_len = 0;
    return text;
}

/* The first line of plain text is a reference, perhaps with platforms; a key has a colon and then a space, or nothing.
 */
static bool is_yaml(const char *text, size_t len)
{
    size_t n;
    const char *line = first_line(text, text + len, &n);
    if (n == 0)
        return false;
    if (strchr("{[\"'%&!|>", *line) || (n >= 3 && memcmp(line, "---", 3) == 0))
        return true;
    for (size_t i = 0; i < n && line[i] != '#'; i++)
        if (line[i] == ':' && (i + 1 == n || strchr(" \t\r", line[i + 1])))
            return true;
    return false;
}

static bool is_skopeo(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *what;
    const char *registry;
    void *it = NULL;
    while (reading_next_pair(r, root, &it, &registry, &what))
        if (reading_find(r, what, "images") || reading_find(r, what, "images-by-tag-regex") ||
            reading_find(r, what, "images-by-semver"))
            return true;
    return false;
}

/* IMAGE_LIST_DETECT: it is none of them. */
static enum image_list_format detect(struct reading *r, struct yaml_node *root)
{
    static const char hauler[] = "content.hauler.cattle.io/";
    const char *kind = reading_find_text(r, root, "kind"), *version = reading_find_text(r, root, "apiVersion");
    if (kind && strncmp(kind, "Zarf", 4) == 0)
        return IMAGE_LIST_ZARF;
    if (kind && version && strncmp(version, hauler, strlen(hauler)) == 0)
        return IMAGE_LIST_HAULER;
    if (kind || yaml_kind(root) == YAML_LIST)
        return IMAGE_LIST_KUBERNETES;
    if (yaml_kind(reading_find(r, root, "services")) == YAML_MAP)
        return IMAGE_LIST_COMPOSE;
    if (yaml_kind(reading_find(r, root, "sync")) == YAML_LIST)
        return IMAGE_LIST_REGSYNC;
    return is_skopeo(r, root) ? IMAGE_LIST_SKOPEO : IMAGE_LIST_DETECT;
}

static void on_error(void *arg, int line, int column, const char *message)
{
    struct reading *r = arg;
    reading_error(r, (struct reading_place){.line = r->line + line, .column = column}, "this is no YAML: %s", message);
}

/* As many as it may have, or some more: what only looks like one, in a text, counts as well. */
static size_t count_anchors(const char *text, size_t len)
{
    size_t count = 0;
    for (const char *s = text, *end = text + len; (s = memchr(s, '&', (size_t)(end - s))); s++)
        count += (s == text || strchr(" \t\r\n[{,", s[-1])) && s + 1 < end && !strchr(" \t\r\n&", s[1]);
    return count;
}

static void read_document(struct reading *r, const char *text, size_t len)
{
    AUTO(auto_yaml_close) struct yaml *yaml = NULL;
    enum image_list_format format = r->list->options.format;
    r->near = NULL;
    r->anchors = count_anchors(text, len);
    if (r->anchors > READING_ANCHORS_MAX) {
        reading_error(r, (struct reading_place){.line = r->line + 1, .column = 1},
                      "a document begins here that has more than %d anchors (&NAME)", READING_ANCHORS_MAX);
        return;
    }
    int e = yaml_open(text, len, on_error, r, &yaml);
    if (e < 0) {
        r->failed = e == -ENOMEM ? e : r->failed;
        return;
    }
    struct yaml_node *root = yaml_root(yaml);
    if (yaml_kind(root) == YAML_NULL)
        return;
    if (format == IMAGE_LIST_DETECT)
        format = detect(r, root);
    if (format == IMAGE_LIST_DETECT)
        reading_error(r, reading_place(r, root),
                      "this is none of the formats that are known; --format NAME says which it is to be");
    else
        formats[format].read(r, root);
}

/* The length of the document that begins at `text`. Those of a file are read each by itself: one that is wrong does not
 * keep the next from being read, and one is in memory at a time. A line that begins with --- is a document's beginning
 * even in a block of text (YAML 1.2, "c-forbidden"). */
static size_t document_length(const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char *newline = memchr(text + at, '\n', len - at);
        if (!newline)
            return len;
        at = (size_t)(newline - text) + 1;
        if (len - at >= 3 && memcmp(text + at, "---", 3) == 0 && (len - at == 3 || strchr(" \t\r\n", text[at + 3])))
            return at;
    }
    return len;
}

static void read_documents(struct reading *r, const char *text, size_t len)
{
    size_t n;
    const char *first = first_line(text, text + len, &n);
    /* what stands before the first --- belongs to it: comments, and directives */
    bool has_directive = n > 0 && *first == '%';
    for (size_t at = 0; at < len && !r->failed && !r->is_over;) {
        size_t part = document_length(text + at, len - at);
        if (at == 0 && has_directive && part < len)
            part += document_length(text + part, len - part);
        read_document(r, text + at, part);
        for (const char *s = text + at; (s = memchr(s, '\n', part - (size_t)(s - text - at))); s++)
            r->line++;
        at += part;
    }
}

int image_list_read(struct image_list *l, const char *file, const char *text, size_t len)
{
    struct reading r = {
        .list = l, .file = keep(l, file), .steps = READING_STEPS_MIN + READING_STEPS_A_BYTE * (len + 1)};
    enum image_list_format format = l->options.format;
    if (!r.file)
        return -ENOMEM;
    if (len > IMAGE_LIST_TEXT_MAX)
        reading_error(&r, (struct reading_place){0}, "this file is larger than %llu MiB", IMAGE_LIST_TEXT_MAX / MIB);
    else if (format == IMAGE_LIST_TEXT || (format == IMAGE_LIST_DETECT && !is_yaml(text, len)))
        read_text(&r, text, len);
    else
        read_documents(&r, text, len);
    return r.failed;
}
