/* Spans of members in JSON texts; see json_span.h. Relies on the text being valid. */
#include "worker/json_span.h"

#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* at stands on the opening quote. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
            if (!depth)
                return at;
            continue;
        }
        if (!depth && (*at == ',' || *at == '}' || *at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
            return at;
        if (*at == '{' || *at == '[')
            depth++;
        else if ((*at == '}' || *at == ']') && --depth == 0)
            return at + 1;
        at++;
    }
    return end;
}

bool json_span_next(struct slice object, size_t *at, struct slice *ret_key, struct slice *ret_value)
{
    const char *end = object.p + object.n, *p = skip_space(object.p + *at, end);
    if (p == end || *p != (*at ? ',' : '{'))
        return false;
    p = skip_space(p + 1, end);
    if (p == end || *p != '"')
        return false;
    const char *name = p + 1, *after = skip_string(p, end);
    p = skip_space(after, end);
    if (p == end || *p != ':')
        return false;
    const char *value = skip_space(p + 1, end);
    p = skip_value(value, end);
    *ret_key = (struct slice){name, (size_t)(after - 1 - name)};
    *ret_value = (struct slice){value, (size_t)(p - value)};
    *at = (size_t)(p - object.p);
    return true;
}

struct slice json_member_span(struct slice text, const char *key)
{
    struct slice name, value;
    for (size_t at = 0; json_span_next(text, &at, &name, &value);)
        if (slice_is(name, key))
            return value;
    return (struct slice){0};
}
