/*
 * Intrusive doubly linked lists. A node is on at most one list; a node that is on none points to itself.
 */
#ifndef CARPOOL_BASE_LIST_H
#define CARPOOL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct list {
    struct list *prev, *next;
};

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
#define list_for_each(it, head)        for (struct list *it = (head)->next; it != (head); it = it->next)
/* The current node may be removed (or freed) in the body. */
#define list_for_each_safe(it, tmp, head)                                                                    \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = tmp->next)

static inline void list_init(struct list *n)
{
    n->prev = n->next = n;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_insert_before(struct list *position, struct list *n)
{
    n->prev = position->prev;
    n->next = position;
    position->prev->next = n;
    position->prev = n;
}

static inline void list_append(struct list *head, struct list *n)
{
    list_insert_before(head, n);
}

static inline void list_prepend(struct list *head, struct list *n)
{
    list_insert_before(head->next, n);
}

/* Harmless on a node that is on no list. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

static inline struct list *list_first(struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

#endif
