/* A pairing heap by age; see age.h. */
#include "batch/age.h"

struct age_node *age_older(struct age_node *a, struct age_node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->at_us != b->at_us)
        return a->at_us < b->at_us ? a : b;
    return a->seq <= b->seq ? a : b;
}

/* Makes the younger of two roots the first child of the older. */
static struct age_node *meld(struct age_node *a, struct age_node *b)
{
    struct age_node *top = age_older(a, b);
    struct age_node *under = top == a ? b : a;
    if (!under)
        return top;
    under->prev = top;
    under->next = top->child;
    if (top->child)
        top->child->prev = under;
    top->child = under;
    return top;
}

/* Melds a row of siblings into one tree: in pairs from the left, then the pairs from the right, which is what
 * keeps removal logarithmic. */
static struct age_node *meld_siblings(struct age_node *first)
{
    struct age_node *pairs = NULL, *root = NULL;
    while (first) {
        struct age_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct age_node *a = pairs;
        pairs = a->next;
        a->next = NULL;
        root = meld(root, a);
    }
    return root;
}

void age_push(struct age_heap *h, struct age_node *n)
{
    n->child = n->next = n->prev = NULL;
    h->root = meld(h->root, n);
}

void age_remove(struct age_heap *h, struct age_node *n)
{
    struct age_node *children = meld_siblings(n->child);
    if (h->root == n) {
        h->root = children;
    } else {
        if (n->prev->child == n)
            n->prev->child = n->next;
        else
            n->prev->next = n->next;
        if (n->next)
            n->next->prev = n->prev;
        h->root = meld(h->root, children);
    }
    n->child = n->next = n->prev = NULL;
}
