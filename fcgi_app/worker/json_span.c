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

struct slice json_member_span(struct slice text, const char *key)
{
    const char *end = text.p + text.n, *at = skip_space(text.p, end);
    size_t length = strlen(key);
    if (at == end || *at++ != '{')
        return (struct slice){0};
    while ((at = skip_space(at, end)) < end && *at == '"') {
        const char *name = at + 1, *after = skip_string(at, end);
        at = skip_space(after, end);
        if (at == end || *at++ != ':')
            break;
        const char *value = skip_space(at, end);
        at = skip_value(value, end);
        if ((size_t)(after - name) == length + 1 && !memcmp(name, key, length))
            return (struct slice){value, (size_t)(at - value)};
        at = skip_space(at, end);
        if (at == end || *at++ != ',')
            break;
    }
    return (struct slice){0};
}
