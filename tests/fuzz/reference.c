/* The second opinion on JSON; see reference.h. Recursive, one function a rule of RFC 8259. */
#include "reference.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "fuzz.h"
#include "json/read.h"
#include "json/scan.h"

#define CANON_MAX  (16u << 20)
#define DEPTH      64
#define NUMBER_MAX 63

struct ref {
    const char *at, *end;
    struct buf *canon;
};

static bool value(struct ref *r, unsigned depth);

static bool peek(const struct ref *r, char c)
{
    return r->at < r->end && *r->at == c;
}

static bool accept(struct ref *r, char c)
{
    bool is = peek(r, c);
    r->at += is;
    return is;
}

static void space(struct ref *r)
{
    while (r->at < r->end && strchr(" \t\n\r", *r->at) && *r->at)
        r->at++;
}

/* Four hexadecimal digits; -1: none. */
static long unit(struct ref *r)
{
    char digits[5] = {0};
    if (r->end - r->at < 4)
        return -1;
    memcpy(digits, r->at, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") != 4)
        return -1;
    r->at += 4;
    return strtol(digits, NULL, 16);
}

static void put_utf8(struct buf *out, unsigned long c)
{
    if (c < 0x80)
        buf_append_byte(out, (uint8_t)c);
    else if (c < 0x800) {
        buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* Behind the backslash. */
static bool escape(struct ref *r, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return false;
    const char *plain = *r->at ? strchr(from, *r->at) : NULL;
    if (plain) {
        r->at++;
        buf_append_byte(out, (uint8_t)to[plain - from]);
        return true;
    }
    if (!accept(r, 'u'))
        return false;
    long c = unit(r);
    if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff))
        return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        long low = accept(r, '\\') && accept(r, 'u') ? unit(r) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, (unsigned long)c);
    return true;
}

static bool string(struct ref *r, struct buf *out)
{
    if (!accept(r, '"'))
        return false;
    while (!accept(r, '"')) {
        if (r->at == r->end)
            return false;
        if (accept(r, '\\')) {
            if (!escape(r, out))
                return false;
            continue;
        }
        size_t n = utf8_char_size((struct slice){r->at, (size_t)(r->end - r->at)});
        if (!n || (unsigned char)*r->at < 0x20)
            return false;
        buf_append(out, r->at, n);
        r->at += n;
    }
    return true;
}

static void canon_string(struct buf *out, struct slice s)
{
    buf_printf(out, "S%zu:", s.n);
    buf_append_slice(out, s);
}

static size_t digits(struct ref *r)
{
    const char *first = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return (size_t)(r->at - first);
}

static bool number(struct ref *r)
{
    char copy[NUMBER_MAX + 1] = {0};
    const char *first = r->at;
    (void)accept(r, '-');
    if (!accept(r, '0') && !digits(r))
        return false;
    if (accept(r, '.') && !digits(r))
        return false;
    if (accept(r, 'e') || accept(r, 'E')) {
        if (!accept(r, '+'))
            (void)accept(r, '-');
        if (!digits(r))
            return false;
    }
    if (r->at - first > NUMBER_MAX)
        return false;
    memcpy(copy, first, (size_t)(r->at - first));
    double d = strtod(copy, NULL);
    buf_printf(r->canon, "N%a;", d);
    return !isinf(d);
}

static bool word(struct ref *r, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    buf_append_byte(r->canon, (uint8_t)*text);
    return true;
}

/* The keys of one object, to find a doubled one. */
struct keys {
    struct buf *items;
    size_t n;
};

static bool new_key(struct keys *keys, struct buf *key)
{
    for (size_t i = 0; i < keys->n; i++)
        if (slice_equal(buf_slice(&keys->items[i]), buf_slice(key)))
            return false;
    keys->items = realloc(keys->items, (keys->n + 1) * sizeof(*keys->items));
    keys->items[keys->n++] = *key;
    *key = (struct buf){0};
    return true;
}

static bool member(struct ref *r, struct keys *keys, unsigned depth)
{
    struct buf key;
    buf_init(&key, CANON_MAX);
    space(r);
    bool good = string(r, &key);
    canon_string(r->canon, buf_slice(&key));
    good = good && new_key(keys, &key);
    buf_fini(&key);
    space(r);
    return good && accept(r, ':') && value(r, depth);
}

static bool container(struct ref *r, unsigned depth)
{
    struct keys keys = {0};
    bool object = *r->at++ == '{', good = depth < DEPTH;
    char end = object ? '}' : ']';
    buf_append_byte(r->canon, object ? '{' : '[');
    space(r);
    if (good && !accept(r, end)) {
        do
            good = object ? member(r, &keys, depth + 1) : value(r, depth + 1);
        while (good && accept(r, ','));
        good = good && accept(r, end);
    }
    buf_append_byte(r->canon, (uint8_t)end);
    for (size_t i = 0; i < keys.n; i++)
        buf_fini(&keys.items[i]);
    free(keys.items);
    return good;
}

static bool text_value(struct ref *r)
{
    struct buf text;
    buf_init(&text, CANON_MAX);
    bool good = string(r, &text);
    canon_string(r->canon, buf_slice(&text));
    buf_fini(&text);
    return good;
}

/* Leaves the reader behind the white space after the value. */
static bool value(struct ref *r, unsigned depth)
{
    bool good;
    space(r);
    if (r->at == r->end)
        return false;
    switch (*r->at) {
    case '{':
    case '[':
        good = container(r, depth);
        break;
    case '"':
        good = text_value(r);
        break;
    case 't':
        good = word(r, "true");
        break;
    case 'f':
        good = word(r, "false");
        break;
    case 'n':
        good = word(r, "null");
        break;
    default:
        good = number(r);
    }
    space(r);
    return good;
}

bool reference_parse(struct slice text, struct buf *ret_canon)
{
    struct ref r = {text.p, text.p + text.n, ret_canon};
    buf_clear(ret_canon);
    return value(&r, 0) && r.at == r.end;
}

void reference_of_tree(struct buf *out, const cJSON *tree)
{
    const cJSON *item;
    if (cJSON_IsObject(tree) || cJSON_IsArray(tree)) {
        buf_append_byte(out, cJSON_IsObject(tree) ? '{' : '[');
        cJSON_ArrayForEach (item, tree) {
            if (cJSON_IsObject(tree))
                canon_string(out, slice_of(item->string));
            reference_of_tree(out, item);
        }
        buf_append_byte(out, cJSON_IsObject(tree) ? '}' : ']');
    } else if (cJSON_IsString(tree))
        canon_string(out, slice_of(tree->valuestring));
    else if (cJSON_IsNumber(tree))
        buf_printf(out, "N%a;", tree->valuedouble);
    else
        buf_append_byte(out, cJSON_IsTrue(tree) ? 't' : cJSON_IsFalse(tree) ? 'f' : 'n');
}

/* What went through the scan must be JSON again when cJSON writes it (metadata is, now and then). */
static void check_printed(const cJSON *tree)
{
    struct buf again;
    char *printed = cJSON_PrintUnformatted(tree);
    buf_init(&again, CANON_MAX);
    FUZZ_CHECK(printed, "cJSON prints nothing");
    FUZZ_CHECK(reference_parse(slice_of(printed), &again), "cJSON prints what is no JSON: %s", printed);
    buf_fini(&again);
    cJSON_free(printed);
}

bool reference_check(struct slice text)
{
    struct buf canon, tree_canon;
    struct json_fault fault = {0};
    cJSON *tree = NULL;
    struct err e = {0};
    buf_init(&canon, CANON_MAX);
    buf_init(&tree_canon, CANON_MAX);
    bool accepted = reference_parse(text, &canon);
    int rc = json_scan(text, &fault);
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL, "scan: %d", rc);
    FUZZ_CHECK((rc == 0) == accepted, "the scan says %d (byte %zu: %s), the reference says %d", rc,
               fault.offset, fault.reason ? fault.reason : "", accepted);
    FUZZ_CHECK(rc == 0 || (fault.offset <= text.n && fault.reason), "fault at %zu of %zu", fault.offset,
               text.n);
    FUZZ_CHECK(utf8_valid_prefix(slice_of(fault.field)) == strlen(fault.field), "a field that is no UTF-8");
    rc = json_parse(text, &tree, &e);
    FUZZ_CHECK((rc == 0) == accepted, "json_parse says %d: %s", rc, e.text);
    if (accepted) {
        reference_of_tree(&tree_canon, tree);
        FUZZ_CHECK(slice_equal(buf_slice(&canon), buf_slice(&tree_canon)),
                   "cJSON reads\n  %s\nand it means\n  %s", tree_canon.data, canon.data);
        check_printed(tree);
    }
    cJSON_Delete(tree);
    buf_fini(&canon);
    buf_fini(&tree_canon);
    return accepted;
}
