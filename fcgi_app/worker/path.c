/* Paths and query parameters; see path.h. */
#include "worker/path.h"

#include <strings.h>

#include "base/utf8.h"

#define NAME_PLACE     "{name}"
#define NAMES_BELOW    "/v1/models/" /* where names with slashes are, as many models have */
#define REQUEST_ID_MAX 128

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* plus: '+' is a space, as in a query. slash: "%2F" is allowed. */
static int decode(struct slice raw, bool plus, bool slash, struct arena *arena, struct slice *ret_text,
                  struct err *e)
{
    char *text = arena_alloc(arena, raw.n + 1);
    size_t n = 0;
    if (!text)
        return err_set(e, ERR_NOMEM, "There is no memory for this URI now.");
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '%') {
            bool whole = raw.n - i > 2;
            int high = whole ? hex_value(raw.p[i + 1]) : -1, low = whole ? hex_value(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(e, ERR_INVAL, "byte %zu: a '%%' without two hexadecimal digits.", i);
            c = (char)(high << 4 | low);
            if (!c || (c == '/' && !slash))
                return err_set(e, ERR_INVAL, "byte %zu: %%%02X is not allowed here.", i, (unsigned)c);
            i += 2;
        } else if (c == '+' && plus)
            c = ' ';
        text[n++] = c;
    }
    if (utf8_valid_prefix((struct slice){text, n}) != n)
        return err_set(e, ERR_INVAL, "its bytes are no UTF-8.");
    *ret_text = (struct slice){text, n};
    return 0;
}

/* The absolute form "http://host/path" as a path: the authority ends where a path or a query begins (RFC
 * 3986, 3.2). */
static struct slice without_authority(struct slice uri)
{
    size_t scheme = uri.n >= 8 && !strncasecmp(uri.p, "https://", 8)  ? 8
                    : uri.n >= 7 && !strncasecmp(uri.p, "http://", 7) ? 7
                                                                      : 0;
    if (!scheme)
        return uri;
    while (scheme < uri.n && uri.p[scheme] != '/' && uri.p[scheme] != '?' && uri.p[scheme] != '#')
        scheme++;
    return (struct slice){uri.p + scheme, uri.n - scheme};
}

int path_from_uri(struct slice uri, const char *base_path, struct arena *arena, struct slice *ret_path,
                  struct slice *ret_query, struct err *e)
{
    /* A web server that breaks off leaves a request without variables. */
    struct slice path = without_authority(uri.p ? uri : SLICE_LITERAL("/")), query = {0};
    const char *mark = path.n ? memchr(path.p, '?', path.n) : NULL;
    size_t base = strlen(base_path);

    if (mark) {
        query = (struct slice){mark + 1, path.n - (size_t)(mark - path.p) - 1};
        path.n = (size_t)(mark - path.p);
    }
    while (base && base_path[base - 1] == '/')
        base--;
    if (path.n < base || memcmp(path.p, base_path, base) != 0 || (path.n > base && path.p[base] != '/'))
        return err_set(e, ERR_NOT_FOUND, "The path does not begin with \"%s\".", base_path);
    path = (struct slice){path.p + base, path.n - base};
    if (!path.n)
        path = SLICE_LITERAL("/");
    size_t below = sizeof(NAMES_BELOW) - 1;
    bool slash = path.n >= below && memcmp(path.p, NAMES_BELOW, below) == 0;
    struct slice decoded;
    int rc = decode(path, false, slash, arena, &decoded, e);
    if (rc)
        return rc;
    *ret_path = decoded;
    *ret_query = query;
    return 0;
}

bool path_match(const char *pattern, struct slice path, struct slice *ret_id)
{
    const char *place = strchr(pattern, '{');
    if (!place) {
        if (!slice_is(path, pattern))
            return false;
        *ret_id = (struct slice){0};
        return true;
    }
    size_t prefix = (size_t)(place - pattern);
    bool slashes = !strcmp(place, NAME_PLACE);
    if (path.n <= prefix || memcmp(path.p, pattern, prefix) != 0 ||
        (!slashes && memchr(path.p + prefix, '/', path.n - prefix)))
        return false;
    *ret_id = (struct slice){path.p + prefix, path.n - prefix};
    return true;
}

int query_get(struct slice query, const char *name, struct arena *arena, struct slice *ret_value,
              struct err *e)
{
    struct slice value = {0}, raw = {0};
    size_t length = strlen(name);
    for (size_t at = 0; at < query.n;) {
        const char *start = query.p + at, *amp = memchr(start, '&', query.n - at);
        size_t n = amp ? (size_t)(amp - start) : query.n - at;
        if (n >= length && !memcmp(start, name, length) && (n == length || start[length] == '=')) {
            if (raw.p)
                return err_set(e, ERR_INVAL, "%s is given twice.", name);
            raw = n == length ? (struct slice){"", 0} : (struct slice){start + length + 1, n - length - 1};
        }
        at += n + 1;
    }
    if (raw.p) {
        struct err why = {0};
        int rc = decode(raw, true, true, arena, &value, &why);
        if (rc)
            return err_set(e, rc, "%s: %s", name, why.text);
    }
    *ret_value = value;
    return 0;
}

bool request_id_valid(struct slice id)
{
    if (!id.p || !id.n || id.n > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '.' && c != '_' && c != ':' && c != '-')
            return false;
    }
    return true;
}
