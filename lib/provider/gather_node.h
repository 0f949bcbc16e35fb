/* The values that gather.c collects, each as far as it must be understood to grow. Private to gather.c and
 * gather_node.c. */
#ifndef CARPOOL_PROVIDER_GATHER_NODE_H
#define CARPOOL_PROVIDER_GATHER_NODE_H

#include "provider/gather.h"

enum node_kind {
    NODE_RAW,    /* bytes are the value; none at all: null */
    NODE_TEXT,   /* bytes are what stands between the quotes */
    NODE_LIST,   /* bytes are what stands between the brackets */
    NODE_OBJECT, /* children have keys */
    NODE_INDEXED /* an array of objects: children are in the order of their index */
};

struct gather_node {
    enum node_kind kind;
    bool told; /* something other than null came */
    struct buf bytes;
    struct gather_node *children, *next;
    unsigned index;
    size_t key_n;
    char key[]; /* as it stands between its quotes */
};

static inline struct slice node_key(const struct gather_node *n)
{
    return (struct slice){n->key, n->key_n};
}

/* All that fail: ERR_LIMIT (gather.max_bytes, or too many members), ERR_NOMEM. */
MUST_CHECK
int node_new(struct gather *g, enum node_kind kind, struct slice key, struct gather_node **ret_node);
/* The node, its siblings and what is under them. NULL is allowed. */
void node_free_all(struct gather_node *n);
/* The member of an object, or NULL (also for no object). */
struct gather_node *node_find(const struct gather_node *object, struct slice key);
/* The same, made when it is new: null then. */
MUST_CHECK
int node_member(struct gather *g, struct gather_node *object, struct slice key,
                struct gather_node **ret_node);
/* The object of that index in an array, made where it belongs when it is new. */
MUST_CHECK
int node_indexed(struct gather *g, struct gather_node *array, unsigned index, struct gather_node **ret_node);

/* A value of another kind takes the place of what was there. */
void node_become(struct gather_node *n, enum node_kind kind);
MUST_CHECK
int node_append(struct gather *g, struct gather_node *n, struct slice bytes);
/* The value becomes another; null changes nothing. */
MUST_CHECK
int node_replace(struct gather *g, struct gather_node *n, struct slice value);

#endif
