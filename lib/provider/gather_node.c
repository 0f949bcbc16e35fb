/* The values of a response that grows, and how they are written; see gather_node.h and gather.h. */
#include "provider/gather_node.h"

#include <stdlib.h>

#define MEMBERS_MAX 256 /* of an object that grows */

void node_free_all(struct gather_node *n)
{
    while (n) {
        struct gather_node *next = n->next;
        node_free_all(n->children);
        buf_fini(&n->bytes);
        free(n);
        n = next;
    }
}

static int take_room(struct gather *g, size_t n)
{
    if (n > g->max_bytes - g->bytes)
        return ERR_LIMIT;
    g->bytes += n;
    return 0;
}

int node_new(struct gather *g, enum node_kind kind, struct slice key, struct gather_node **ret_node)
{
    int rc = take_room(g, sizeof(struct gather_node) + key.n);
    if (rc)
        return rc;
    struct gather_node *n = malloc(sizeof(*n) + key.n);
    if (!n)
        return ERR_NOMEM;
    *n = (struct gather_node){.kind = kind, .key_n = key.n};
    buf_init(&n->bytes, g->max_bytes);
    if (key.n)
        memcpy(n->key, key.p, key.n);
    *ret_node = n;
    return 0;
}

struct gather_node *node_find(const struct gather_node *object, struct slice key)
{
    struct gather_node *n = object ? object->children : NULL;
    while (n && !slice_equal(node_key(n), key))
        n = n->next;
    return n;
}

int node_member(struct gather *g, struct gather_node *object, struct slice key, struct gather_node **ret_node)
{
    struct gather_node **at = &object->children;
    size_t n = 0;
    int rc = 0;
    while (*at && !slice_equal(node_key(*at), key)) {
        at = &(*at)->next;
        n++;
    }
    if (!*at)
        rc = n < MEMBERS_MAX ? node_new(g, NODE_RAW, key, at) : ERR_LIMIT;
    if (!rc)
        *ret_node = *at;
    return rc;
}

int node_indexed(struct gather *g, struct gather_node *array, unsigned index, struct gather_node **ret_node)
{
    struct gather_node **at = &array->children, *made;
    while (*at && (*at)->index < index)
        at = &(*at)->next;
    if (*at && (*at)->index == index) {
        *ret_node = *at;
        return 0;
    }
    int rc = node_new(g, NODE_OBJECT, (struct slice){0}, &made);
    if (rc)
        return rc;
    made->index = index;
    made->next = *at;
    *ret_node = *at = made;
    return 0;
}

void node_become(struct gather_node *n, enum node_kind kind)
{
    if (n->kind != kind) {
        node_free_all(n->children);
        n->children = NULL;
        buf_clear(&n->bytes);
        n->kind = kind;
    }
    n->told = true;
}

int node_append(struct gather *g, struct gather_node *n, struct slice bytes)
{
    int rc = take_room(g, bytes.n);
    if (rc)
        return rc;
    buf_append_slice(&n->bytes, bytes);
    return buf_failed(&n->bytes) ? ERR_NOMEM : 0;
}

int node_replace(struct gather *g, struct gather_node *n, struct slice value)
{
    if (slice_is(value, "null"))
        return 0;
    node_become(n, NODE_RAW);
    g->bytes -= n->bytes.len;
    buf_clear(&n->bytes);
    return node_append(g, n, value);
}

static void write_node(const struct gather_node *n, struct buf *out);

/* What a message has whatever its pieces said. */
static void write_message_rest(const struct gather_node *message, struct buf *out)
{
    bool role = node_find(message, SLICE_LITERAL("role"));
    if (!role)
        buf_append_text(out, message->children ? ",\"role\":\"assistant\"" : "\"role\":\"assistant\"");
    if (!node_find(message, SLICE_LITERAL("content")))
        buf_append_text(out, ",\"content\":null");
}

enum object_of { OBJECT_ANY, OBJECT_CHOICE, OBJECT_MESSAGE, OBJECT_INDEXED };

static void write_key(struct slice key, struct buf *out)
{
    buf_append_byte(out, '"');
    buf_append_slice(out, key);
    buf_append_text(out, "\":");
}

static bool is_message(const struct gather_node *n)
{
    return n->kind == NODE_OBJECT && slice_is(node_key(n), "message");
}

static void write_object(const struct gather_node *n, enum object_of of, struct buf *out)
{
    const bool choice = of == OBJECT_CHOICE;
    buf_append_byte(out, '{');
    if (choice || of == OBJECT_INDEXED)
        buf_printf(out, n->children ? "\"index\":%u," : "\"index\":%u", n->index);
    for (const struct gather_node *child = n->children; child; child = child->next) {
        write_key(node_key(child), out);
        if (choice && is_message(child))
            write_object(child, OBJECT_MESSAGE, out);
        else
            write_node(child, out);
        if (child->next)
            buf_append_byte(out, ',');
    }
    if (of == OBJECT_MESSAGE)
        write_message_rest(n, out);
    if (choice && !node_find(n, SLICE_LITERAL("message")) && !node_find(n, SLICE_LITERAL("text")))
        buf_append_text(out, ",\"message\":{\"role\":\"assistant\",\"content\":null}");
    buf_append_byte(out, '}');
}

static void write_indexed(const struct gather_node *n, enum object_of of, struct buf *out)
{
    buf_append_byte(out, '[');
    for (const struct gather_node *child = n->children; child; child = child->next) {
        write_object(child, of, out);
        if (child->next)
            buf_append_byte(out, ',');
    }
    buf_append_byte(out, ']');
}

/* The order of tool calls says enough, elsewhere than in a stream. */
static bool tells_no_index(const struct gather_node *n)
{
    return slice_is(node_key(n), "tool_calls");
}

static void write_node(const struct gather_node *n, struct buf *out)
{
    static const char brackets[][2] = {[NODE_TEXT] = {'"', '"'}, [NODE_LIST] = {'[', ']'}};
    if (n->kind == NODE_OBJECT)
        write_object(n, OBJECT_ANY, out);
    else if (n->kind == NODE_INDEXED)
        write_indexed(n, tells_no_index(n) ? OBJECT_ANY : OBJECT_INDEXED, out);
    else if (n->kind == NODE_RAW)
        buf_append_slice(out, n->bytes.len ? buf_slice(&n->bytes) : SLICE_LITERAL("null"));
    else {
        buf_append(out, &brackets[n->kind][0], 1);
        buf_append_slice(out, buf_slice(&n->bytes));
        buf_append(out, &brackets[n->kind][1], 1);
    }
}

void gather_write(const struct gather *g, struct buf *out)
{
    buf_append_byte(out, '{');
    for (const struct gather_node *n = g->root ? g->root->children : NULL; n; n = n->next) {
        write_key(node_key(n), out);
        if (n->kind == NODE_INDEXED)
            write_indexed(n, OBJECT_CHOICE, out);
        else
            write_node(n, out);
        if (n->next)
            buf_append_byte(out, ',');
    }
    buf_append_byte(out, '}');
}
