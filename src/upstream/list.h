/* Intrusive doubly linked lists, circular with a head of their own. An element that is in no list points to itself, so
 * that removing it twice is harmless. No allocation; not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

static inline void list_insert_after(struct list *where, struct list *item)
{
    item->prev = where;
    item->next = where->next;
    where->next->prev = item;
    where->next = item;
}

static inline void list_append(struct list *head, struct list *item)
{
    list_insert_after(head->prev, item);
}

static inline void list_prepend(struct list *head, struct list *item)
{
    list_insert_after(head, item);
}

/* Moves everything of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The element is taken out; NULL where the list is empty. */
static inline struct list *list_take_first(struct list *head)
{
    struct list *item = head->next;
    if (item == head)
        return NULL;
    list_remove(item);
    return item;
}
