/* Walks checked JSON without parsing it; see extra.h. Everything past extra_check relies on the text being
 * valid: brackets pair up and strings end. */
#include "provider/extra.h"

#include "json/scan.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int extra_check(struct slice text, char bracket, const char *what, struct err *e)
{
    struct json_fault fault;
    int rc = json_scan(text, &fault);
    if (rc == ERR_INVAL)
        return err_set(e, ERR_INVAL, "%s: byte %zu: %s", what, fault.offset, fault.reason);
    if (rc)
        return rc;
    if (slice_trim(text).p[0] != bracket)
        return err_set(e, ERR_INVAL, "%s must be a JSON %s", what, bracket == '{' ? "object" : "array");
    return 0;
}

struct slice extra_inside(struct slice container)
{
    struct slice s = slice_trim(container);
    return slice_trim((struct slice){s.p + 1, s.n - 2});
}

/* The index just past the string that opens at i. */
static size_t past_string(struct slice s, size_t i)
{
    for (i++; s.p[i] != '"'; i++)
        if (s.p[i] == '\\')
            i++;
    return i + 1;
}

/* The index of the comma after the value that begins at i, or of the end. */
static size_t past_value(struct slice s, size_t i)
{
    unsigned depth = 0;
    while (i < s.n && (depth > 0 || s.p[i] != ',')) {
        char c = s.p[i];
        if (c == '"') {
            i = past_string(s, i);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        i++;
    }
    return i;
}

/* The index of the next byte that is neither space nor comma. */
static size_t past_comma(struct slice s, size_t i)
{
    while (i < s.n && (is_space(s.p[i]) || s.p[i] == ','))
        i++;
    return i;
}

bool extra_element(struct slice array, size_t *at, struct slice *ret_element)
{
    struct slice s = extra_inside(array);
    size_t i = past_comma(s, *at);
    if (i >= s.n)
        return false;
    *at = past_value(s, i);
    *ret_element = slice_trim((struct slice){s.p + i, *at - i});
    return true;
}

bool extra_next(struct slice object, size_t *at, struct extra_item *ret_item)
{
    struct slice s = extra_inside(object);
    size_t i = past_comma(s, *at);
    if (i >= s.n)
        return false;
    size_t key_end = past_string(s, i);
    ret_item->key = (struct slice){s.p + i + 1, key_end - i - 2};
    size_t value = key_end;
    while (s.p[value] != ':')
        value++;
    size_t end = past_value(s, value + 1);
    ret_item->value = slice_trim((struct slice){s.p + value + 1, end - value - 1});
    *at = end;
    return true;
}

struct slice extra_get(struct slice object, const char *key)
{
    struct extra_item item;
    if (!object.n || object.p[0] != '{')
        return (struct slice){0};
    for (size_t at = 0; extra_next(object, &at, &item);)
        if (slice_is(item.key, key))
            return slice_is(item.value, "null") ? (struct slice){0} : item.value;
    return (struct slice){0};
}
