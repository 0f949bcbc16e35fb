/* The chunks of a stream put together; see gather.h. */
#include "provider/extra.h"
#include "provider/gather_node.h"

#define INDEX_MAX 255 /* of a choice or a tool call */

void gather_init(struct gather *g, size_t max_bytes)
{
    *g = (struct gather){.max_bytes = max_bytes};
}

void gather_fini(struct gather *g)
{
    if (!g)
        return;
    node_free_all(g->root);
    *g = (struct gather){.max_bytes = g->max_bytes};
}

static bool is_null(struct slice value)
{
    return slice_is(value, "null");
}

/* -1: no index within bounds. */
static int index_of(struct slice value)
{
    int index = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return -1;
        index = index * 10 + (value.p[i] - '0');
        if (index > INDEX_MAX)
            return -1;
    }
    return value.n ? index : -1;
}

bool gather_is_name(struct slice key)
{
    static const char *const names[] = {"role", "id", "type", "name", "format"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_is(key, names[i]))
            return true;
    return false;
}

static int grow_object(struct gather *g, struct gather_node *n, struct slice object);

static int grow_text(struct gather *g, struct gather_node *n, struct slice value)
{
    struct slice text = {value.p + 1, value.n - 2};
    if (gather_is_name(node_key(n)))
        return text.n || !n->told ? node_replace(g, n, value) : 0;
    node_become(n, NODE_TEXT);
    g->said += text.n;
    return node_append(g, n, text);
}

/* Elements that name their index are pieces of the one of that index, others are elements of their own. */
static int grow_array(struct gather *g, struct gather_node *n, struct slice array)
{
    struct slice element;
    int rc = 0;
    for (size_t at = 0; !rc && extra_element(array, &at, &element);) {
        int index = index_of(extra_get(element, "index"));
        if (index >= 0) {
            struct gather_node *object;
            node_become(n, NODE_INDEXED);
            rc = node_indexed(g, n, (unsigned)index, &object);
            if (!rc)
                rc = grow_object(g, object, element);
            continue;
        }
        node_become(n, NODE_LIST);
        if (n->bytes.len)
            rc = node_append(g, n, SLICE_LITERAL(","));
        if (!rc)
            rc = node_append(g, n, element);
    }
    if (!n->told)
        node_become(n, NODE_LIST);
    return rc;
}

static int grow(struct gather *g, struct gather_node *n, struct slice value)
{
    if (value.p[0] == '"')
        return grow_text(g, n, value);
    if (value.p[0] == '[')
        return grow_array(g, n, value);
    if (value.p[0] != '{')
        return node_replace(g, n, value);
    node_become(n, NODE_OBJECT);
    return grow_object(g, n, value);
}

/* The index of what is one of several was taken already. */
static int grow_object(struct gather *g, struct gather_node *n, struct slice object)
{
    struct extra_item item;
    struct gather_node *child;
    int rc = 0;
    for (size_t at = 0; !rc && extra_next(object, &at, &item);) {
        if (slice_is(item.key, "index"))
            continue;
        rc = node_member(g, n, item.key, &child);
        if (!rc)
            rc = grow(g, child, item.value);
    }
    return rc;
}

/* delta, text and logprobs are pieces; what else a choice has says the same as ever, or something new. */
static int add_choice(struct gather *g, struct gather_node *choices, struct slice choice)
{
    struct gather_node *n, *child;
    struct extra_item item;
    struct slice told = extra_get(choice, "index");
    int index = told.p ? index_of(told) : 0;
    if (index < 0)
        return ERR_INVAL;
    int rc = node_indexed(g, choices, (unsigned)index, &n);
    for (size_t at = 0; !rc && extra_next(choice, &at, &item);) {
        bool delta = slice_is(item.key, "delta");
        if (slice_is(item.key, "index") || slice_is(item.key, "message"))
            continue;
        if (delta && item.value.p[0] != '{') {
            rc = is_null(item.value) ? 0 : ERR_INVAL;
            continue;
        }
        bool grows = delta || slice_is(item.key, "text") || slice_is(item.key, "logprobs");
        rc = node_member(g, n, delta ? SLICE_LITERAL("message") : item.key, &child);
        if (!rc)
            rc = grows ? grow(g, child, item.value) : node_replace(g, child, item.value);
    }
    return rc;
}

static int add_choices(struct gather *g, struct slice array)
{
    struct gather_node *choices;
    struct slice element;
    if (array.p[0] != '[')
        return is_null(array) ? 0 : ERR_INVAL;
    int rc = node_member(g, g->root, SLICE_LITERAL("choices"), &choices);
    if (rc)
        return rc;
    node_become(choices, NODE_INDEXED);
    for (size_t at = 0; !rc && extra_element(array, &at, &element);)
        rc = element.p[0] == '{' ? add_choice(g, choices, element) : ERR_INVAL;
    return rc;
}

static int add_member(struct gather *g, const struct extra_item *item)
{
    struct gather_node *n;
    struct slice value = item->value;
    if (slice_is(item->key, "choices"))
        return add_choices(g, value);
    /* Padding against those who guess words by the length of packets; and null until it is known. */
    if (slice_is(item->key, "obfuscation") || (slice_is(item->key, "usage") && is_null(value)))
        return 0;
    if (slice_is(item->key, "object") && slice_is(value, "\"chat.completion.chunk\""))
        value = SLICE_LITERAL("\"chat.completion\"");
    int rc = node_member(g, g->root, item->key, &n);
    return rc ? rc : node_replace(g, n, value);
}

static int make_root(struct gather *g)
{
    return g->root ? 0 : node_new(g, NODE_OBJECT, (struct slice){0}, &g->root);
}

int gather_add(struct gather *g, struct slice chunk)
{
    struct extra_item item;
    int rc = make_root(g);
    for (size_t at = 0; !rc && extra_next(chunk, &at, &item);)
        rc = add_member(g, &item);
    return rc;
}

int gather_set(struct gather *g, const char *key, struct slice value)
{
    struct extra_item item = {slice_of(key), value};
    int rc = make_root(g);
    return rc ? rc : add_member(g, &item);
}

bool gather_has(const struct gather *g, const char *key)
{
    const struct gather_node *n = node_find(g->root, slice_of(key));
    return n && n->told;
}

bool gather_finished(const struct gather *g)
{
    const struct gather_node *choices = node_find(g->root, SLICE_LITERAL("choices"));
    const struct gather_node *choice = choices ? choices->children : NULL;
    bool finished = choice;
    for (; choice; choice = choice->next) {
        const struct gather_node *reason = node_find(choice, SLICE_LITERAL("finish_reason"));
        finished = finished && reason && reason->told;
    }
    return finished;
}
