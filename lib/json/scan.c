/*
 * The strict scan; see scan.h. One pass without recursion. The keys of all open objects stand on one stack,
 * an object's keys next to each other, so that closing an object drops them at once. While an object is small
 * each new key is compared with those before it; a large one is sorted when it closes (json/keys.h).
 */
#include "json/scan.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/escape.h"
#include "base/utf8.h"
#include "json/keys.h"

/* cJSON reads a number from its first 63 characters and fails on the rest. */
#define NUMBER_MAX 63
/* Keys compared one by one up to here: cheaper than sorting, and enough for nearly every object. */
#define FEW_KEYS    16
#define INLINE_KEYS 32

enum state { AT_VALUE, AT_KEY, AFTER_VALUE, AT_END };

struct frame {
    size_t first_key; /* where its keys begin on the stack of keys */
    bool is_object;
};

/* Invariant: keys[frames[d].first_key ..) up to the next frame's first key are those of the object at depth
 * d; the last of them is the one whose value is being read. */
struct scan {
    const char *start, *at, *end;
    enum state state;
    size_t depth, keys_n, keys_cap;
    struct json_span *keys; /* inline_keys until they do not suffice */
    struct json_fault *fault;
    struct frame frames[JSON_MAX_DEPTH];
    struct json_span inline_keys[INLINE_KEYS];
};

/* The innermost key whose value is being read, or NULL. */
static const struct json_span *current_key(const struct scan *s)
{
    size_t keys_end = s->keys_n;
    for (size_t d = s->depth; d-- > 0; keys_end = s->frames[d].first_key) {
        bool reads_value = d + 1 < s->depth || s->state != AT_KEY;
        if (s->frames[d].is_object && reads_value && keys_end > s->frames[d].first_key)
            return &s->keys[keys_end - 1];
    }
    return NULL;
}

static int refuse_key(struct scan *s, const struct json_span *key, const char *at, const char *reason)
{
    *s->fault = (struct json_fault){.offset = (size_t)(at - s->start), .reason = reason};
    if (key)
        json_span_decode(key, s->fault->field, sizeof(s->fault->field));
    return ERR_INVAL;
}

static int refuse(struct scan *s, const char *at, const char *reason)
{
    return refuse_key(s, current_key(s), at,
                      at == s->end ? (s->end == s->start ? "there is no text" : "the text ends too early")
                                   : reason);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool next_is(const struct scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool digit_next(const struct scan *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i], low = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            value = value * 16 + (low - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* at is on the backslash. */
static int scan_escape(struct scan *s)
{
    const char *p = s->at + 1;
    if (p == s->end)
        return refuse(s, p, NULL);
    if (*p != 'u') {
        if (!memchr("\"\\/bfnrt", *p, 8))
            return refuse(s, s->at, "invalid escape");
        s->at += 2;
        return 0;
    }
    int32_t unit = hex4(p + 1, s->end);
    if (unit < 0)
        return refuse(s, s->at, "\\u without four hexadecimal digits");
    if (unit == 0)
        return refuse(s, s->at, "\\u0000 is not allowed");
    size_t size = 6;
    if (unit >= 0xd800 && unit < 0xe000) {
        const char *q = p + 5;
        int32_t low =
            unit < 0xdc00 && s->end - q >= 6 && q[0] == '\\' && q[1] == 'u' ? hex4(q + 2, s->end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(s, s->at, "lone surrogate");
        size = 12;
    }
    s->at += size;
    return 0;
}

/* at is on the opening quote. */
static int scan_string(struct scan *s, struct json_span *ret_span)
{
    const char *first = ++s->at;
    bool escaped = false;
    for (;;) {
        s->at += escape_plain_run(s->at, (size_t)(s->end - s->at));
        if (s->at == s->end)
            return refuse(s, s->at, NULL);
        if (*s->at == '"')
            break;
        if (*s->at == '\\') {
            int rc = scan_escape(s);
            if (rc)
                return rc;
            escaped = true;
            continue;
        }
        if ((uint8_t)*s->at < 0x20)
            return refuse(s, s->at, "control character in a string");
        size_t size = utf8_char_size((struct slice){s->at, (size_t)(s->end - s->at)});
        if (!size)
            return refuse(s, s->at, "invalid UTF-8");
        s->at += size;
    }
    *ret_span = (struct json_span){first, (size_t)(s->at - first), escaped};
    s->at++;
    return 0;
}

/* Only an exponent can take so short a number beyond a double. */
static bool overflows(const char *number, size_t n)
{
    char copy[NUMBER_MAX + 1];
    memcpy(copy, number, n);
    copy[n] = 0;
    return isinf(strtod(copy, NULL));
}

static int scan_digits(struct scan *s)
{
    if (!digit_next(s))
        return refuse(s, s->at, "a number lacks a digit here");
    while (digit_next(s))
        s->at++;
    return 0;
}

static int scan_number(struct scan *s)
{
    const char *first = s->at;
    bool exponent = false;
    int rc = 0;
    if (next_is(s, '-'))
        s->at++;
    bool zero = next_is(s, '0');
    const char *digits = s->at;
    rc = scan_digits(s);
    if (!rc && zero && s->at - digits > 1)
        rc = refuse(s, digits, "a number begins with a zero");
    if (!rc && next_is(s, '.')) {
        s->at++;
        rc = scan_digits(s);
    }
    if (!rc && (next_is(s, 'e') || next_is(s, 'E'))) {
        exponent = true;
        s->at++;
        if (next_is(s, '+') || next_is(s, '-'))
            s->at++;
        rc = scan_digits(s);
    }
    if (rc)
        return rc;
    size_t n = (size_t)(s->at - first);
    if (n > NUMBER_MAX)
        return refuse(s, first, "a number of more than 63 characters");
    if (exponent && overflows(first, n))
        return refuse(s, first, "a number too large for a double");
    return 0;
}

static int scan_word(struct scan *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return refuse(s, s->at, "expected a value");
    s->at += n;
    return 0;
}

static int open_container(struct scan *s, bool is_object)
{
    if (s->depth == JSON_MAX_DEPTH)
        return refuse(s, s->at, "nested deeper than 64 levels");
    s->frames[s->depth++] = (struct frame){s->keys_n, is_object};
    s->at++;
    skip_space(s);
    /* An empty one goes straight to its closing bracket. */
    if (next_is(s, is_object ? '}' : ']'))
        s->state = AFTER_VALUE;
    else
        s->state = is_object ? AT_KEY : AT_VALUE;
    return 0;
}

static int scan_value(struct scan *s)
{
    struct json_span unused;
    skip_space(s);
    if (s->at == s->end)
        return refuse(s, s->at, NULL);
    char c = *s->at;
    if (c == '{' || c == '[')
        return open_container(s, c == '{');
    s->state = AFTER_VALUE;
    switch (c) {
    case '"':
        return scan_string(s, &unused);
    case 't':
        return scan_word(s, "true", 4);
    case 'f':
        return scan_word(s, "false", 5);
    case 'n':
        return scan_word(s, "null", 4);
    default:
        if (c == '-' || digit_next(s))
            return scan_number(s);
        return refuse(s, s->at, "expected a value");
    }
}

static int grow_keys(struct scan *s)
{
    bool is_inline = s->keys == s->inline_keys;
    struct json_span *keys = reallocarray(is_inline ? NULL : s->keys, s->keys_cap * 2, sizeof(*keys));
    if (!keys)
        return ERR_NOMEM;
    if (is_inline)
        memcpy(keys, s->inline_keys, sizeof(s->inline_keys));
    s->keys = keys;
    s->keys_cap *= 2;
    return 0;
}

static int add_key(struct scan *s, struct json_span key)
{
    size_t first = s->frames[s->depth - 1].first_key;
    if (s->keys_n - first < FEW_KEYS) {
        for (size_t i = first; i < s->keys_n; i++)
            if (json_span_equal(&s->keys[i], &key))
                return refuse_key(s, &key, key.p - 1, "duplicate key");
    }
    if (s->keys_n == s->keys_cap && grow_keys(s))
        return ERR_NOMEM;
    s->keys[s->keys_n++] = key;
    return 0;
}

static int scan_key(struct scan *s)
{
    struct json_span key = {0};
    skip_space(s);
    if (!next_is(s, '"'))
        return refuse(s, s->at, "expected a key in double quotes");
    int rc = scan_string(s, &key);
    if (!rc)
        rc = add_key(s, key);
    if (rc)
        return rc;
    skip_space(s);
    s->state = AT_VALUE;
    if (!next_is(s, ':'))
        return refuse(s, s->at, "expected a colon");
    s->at++;
    return 0;
}

static int close_container(struct scan *s)
{
    const struct frame *f = &s->frames[s->depth - 1];
    if (s->keys_n - f->first_key > FEW_KEYS) {
        const struct json_span *doubled =
            json_spans_duplicate(s->keys + f->first_key, s->keys_n - f->first_key);
        if (doubled)
            return refuse_key(s, doubled, doubled->p - 1, "duplicate key");
    }
    s->keys_n = f->first_key;
    s->depth--;
    s->at++;
    return 0;
}

static int scan_after_value(struct scan *s)
{
    skip_space(s);
    if (s->depth == 0) {
        s->state = AT_END;
        return s->at == s->end ? 0 : refuse(s, s->at, "bytes after the value");
    }
    bool is_object = s->frames[s->depth - 1].is_object;
    if (next_is(s, is_object ? '}' : ']'))
        return close_container(s);
    if (!next_is(s, ','))
        return refuse(s, s->at, is_object ? "expected a comma or }" : "expected a comma or ]");
    s->at++;
    s->state = is_object ? AT_KEY : AT_VALUE;
    return 0;
}

static int step(struct scan *s)
{
    if (s->state == AT_VALUE)
        return scan_value(s);
    return s->state == AT_KEY ? scan_key(s) : scan_after_value(s);
}

int json_scan(struct slice text, struct json_fault *ret_fault)
{
    struct scan s; /* not zeroed as a whole: the arrays are large and written before they are read */
    int rc = 0;

    s.start = s.at = text.p ? text.p : "";
    s.end = s.start + (text.p ? text.n : 0);
    s.state = AT_VALUE;
    s.depth = s.keys_n = 0;
    s.keys_cap = INLINE_KEYS;
    s.keys = s.inline_keys;
    s.fault = ret_fault;

    if (s.end - s.start >= 3 && memcmp(s.start, "\xef\xbb\xbf", 3) == 0)
        rc = refuse(&s, s.start, "byte order mark");
    while (!rc && s.state != AT_END)
        rc = step(&s);
    if (s.keys != s.inline_keys)
        free(s.keys);
    return rc;
}
