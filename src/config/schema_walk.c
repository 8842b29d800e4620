#include "config/config.h"
#include "config/schema.h"

#include <string.h>

const char *schema_type_name(enum schema_type type)
{
    static const char *const names[] = {
        [SCHEMA_BOOL] = "true or false",  [SCHEMA_COUNT] = "a whole number",      [SCHEMA_DURATION] = "a duration",
        [SCHEMA_SIZE] = "a size",         [SCHEMA_ROOM] = "a size or percentage", [SCHEMA_CHOICE] = "a word",
        [SCHEMA_TEXT] = "a text",         [SCHEMA_TEXTS] = "a list of texts",     [SCHEMA_SECTION] = "a map",
        [SCHEMA_LIST] = "a list of maps", [SCHEMA_MAP] = "a map of maps",
    };
    return names[type];
}

static void finish_texts(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){0};
}

/* The structs of a LIST or MAP. */
static void finish_structs(const struct schema_item *item, void *object)
{
    char *array;
    size_t count;
    memcpy(&array, (char *)object + item->offset, sizeof(array));
    memcpy(&count, (char *)object + item->count_offset, sizeof(count));
    for (size_t i = 0; i < count; i++) {
        char *element = array + i * item->size, *name;
        schema_finish(item->items, element);
        if (item->type == SCHEMA_MAP) {
            memcpy(&name, element, sizeof(name));
            free(name);
        }
    }
    free(array);
    array = NULL;
    count = 0;
    memcpy((char *)object + item->offset, &array, sizeof(array));
    memcpy((char *)object + item->count_offset, &count, sizeof(count));
}

void schema_finish(const struct schema_item *items, void *object)
{
    for (const struct schema_item *item = items; item->name; item++) {
        void *field = (char *)object + item->offset;
        char *text;
        switch (item->type) {
        case SCHEMA_TEXT:
            memcpy(&text, field, sizeof(text));
            free(text);
            memset(field, 0, sizeof(text));
            break;
        case SCHEMA_TEXTS:
            finish_texts(field);
            break;
        case SCHEMA_SECTION:
            schema_finish(item->items, object);
            break;
        case SCHEMA_LIST:
        case SCHEMA_MAP:
            finish_structs(item, object);
            break;
        case SCHEMA_BOOL:
        case SCHEMA_COUNT:
        case SCHEMA_DURATION:
        case SCHEMA_SIZE:
        case SCHEMA_ROOM:
        case SCHEMA_CHOICE:
            break;
        }
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_room(const struct config_room *a, const struct config_room *b)
{
    return a->bytes == b->bytes && a->percent == b->percent;
}

static bool same_texts(const struct config_list *a, const struct config_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

static bool same(const struct schema_item *item, const void *was, const void *now)
{
    const void *a = (const char *)was + item->offset, *b = (const char *)now + item->offset;
    const char *s, *t;
    switch (item->type) {
    case SCHEMA_BOOL:
        return memcmp(a, b, sizeof(bool)) == 0;
    case SCHEMA_COUNT:
    case SCHEMA_CHOICE:
        return memcmp(a, b, sizeof(unsigned)) == 0;
    case SCHEMA_DURATION:
    case SCHEMA_SIZE:
        return memcmp(a, b, sizeof(uint64_t)) == 0;
    case SCHEMA_ROOM:
        return same_room(a, b);
    case SCHEMA_TEXT:
        memcpy(&s, a, sizeof(s));
        memcpy(&t, b, sizeof(t));
        return same_text(s, t);
    case SCHEMA_TEXTS:
        return same_texts(a, b);
    case SCHEMA_SECTION:
    case SCHEMA_LIST:
    case SCHEMA_MAP:
        break;
    }
    return true;
}

static int add_restart_keys(const struct schema_item *items, const char *section, const void *was, const void *now,
                            struct buf *keys)
{
    int r = 0;
    for (const struct schema_item *item = items; r == 0 && item->name; item++) {
        if (item->type == SCHEMA_SECTION) {
            AUTO_BUF struct buf path = BUF_INIT(SCHEMA_TEXT_MAX);
            r = buf_addf(&path, "%s%s.", section, item->name);
            if (r == 0)
                r = add_restart_keys(item->items, path.data, was, now, keys);
        } else if (item->restart && !same(item, was, now)) {
            r = buf_addf(keys, "%s%s%s", keys->len ? ", " : "", section, item->name);
        }
    }
    return r;
}

int schema_restart_keys(const struct schema_item *items, const void *was, const void *now, struct buf *keys)
{
    return add_restart_keys(items, "", was, now, keys);
}
