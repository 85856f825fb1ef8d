/* Doubly linked lists whose links lie in the elements: adding and leaving cost nothing and cannot
 * fail. A list is a Link of its own; an element that is in none points at itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct Link {
        struct Link *next, *prev;
} Link;

#define link_element(link, type, member) ((type *) ((char *) (link) -offsetof(type, member)))

static inline void link_init(Link *l) {
        l->next = l->prev = l;
}

static inline bool list_empty(const Link *list) {
        return list->next == list;
}

/* Takes l out of its list; fine when it is in none. */
static inline void link_leave(Link *l) {
        l->next->prev = l->prev;
        l->prev->next = l->next;
        link_init(l);
}

/* Puts l at the end of list; it leaves the one it was in. */
static inline void list_append(Link *list, Link *l) {
        link_leave(l);
        l->prev = list->prev;
        l->next = list;
        list->prev->next = l;
        list->prev = l;
}
