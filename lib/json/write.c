/* JSON into a buffer; see write.h. */
#include "json/write.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digits.h"
#include "base/escape.h"

#define MAX_DEPTH 63 /* bits of has_items but for the top level's */

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

/* The comma before an item, where one is due. */
static void before_item(struct json_writer *w)
{
    uint64_t bit = 1ull << w->depth;
    if (w->after_key)
        w->after_key = false;
    else if (w->depth > 0 && (w->has_items & bit))
        buf_append_byte(w->out, ',');
    w->has_items |= bit;
}

static void begin(struct json_writer *w, char bracket)
{
    assert(w->depth < MAX_DEPTH);
    before_item(w);
    buf_append_byte(w->out, (uint8_t)bracket);
    w->depth++;
    w->has_items &= ~(1ull << w->depth);
}

static void end(struct json_writer *w, char bracket)
{
    assert(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_append_byte(w->out, (uint8_t)bracket);
}

void json_object_begin(struct json_writer *w)
{
    begin(w, '{');
}

void json_object_end(struct json_writer *w)
{
    end(w, '}');
}

void json_array_begin(struct json_writer *w)
{
    begin(w, '[');
}

void json_array_end(struct json_writer *w)
{
    end(w, ']');
}

static void quoted(struct buf *out, struct slice text)
{
    /* Grows once for the usual text, which needs no escapes. */
    if (!buf_reserve(out, text.n + 2))
        return;
    buf_append_byte(out, '"');
    escape_json(out, text);
    buf_append_byte(out, '"');
}

void json_key(struct json_writer *w, const char *key)
{
    assert(!w->after_key);
    before_item(w);
    quoted(w->out, slice_of(key));
    buf_append_byte(w->out, ':');
    w->after_key = true;
}

void json_text(struct json_writer *w, struct slice text)
{
    if (!text.p) {
        json_null(w);
        return;
    }
    before_item(w);
    quoted(w->out, text);
}

void json_u64(struct json_writer *w, uint64_t number)
{
    char digits[DIGITS_SIZE];
    before_item(w);
    buf_append(w->out, digits, (size_t)(digits_of(digits, number) - digits));
}

void json_i64(struct json_writer *w, int64_t number)
{
    before_item(w);
    buf_printf(w->out, "%" PRId64, number);
}

void json_double(struct json_writer *w, double number)
{
    char text[32];
    if (!isfinite(number)) {
        json_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    before_item(w);
    buf_append_text(w->out, text);
}

void json_us_as_ms(struct json_writer *w, uint64_t us)
{
    char digits[DIGITS_MS_SIZE], *end = digits_ms(digits, us);
    while (end[-1] == '0')
        end--;
    if (end[-1] == '.')
        end--;
    before_item(w);
    buf_append(w->out, digits, (size_t)(end - digits));
}

void json_bool(struct json_writer *w, bool value)
{
    before_item(w);
    buf_append_text(w->out, value ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    before_item(w);
    buf_append_text(w->out, "null");
}

void json_raw(struct json_writer *w, struct slice json)
{
    before_item(w);
    buf_append_slice(w->out, json);
}

void json_field_text(struct json_writer *w, const char *key, struct slice text)
{
    json_key(w, key);
    json_text(w, text);
}

void json_field_cstr(struct json_writer *w, const char *key, const char *text)
{
    json_key(w, key);
    json_text(w, slice_of(text));
}

void json_field_u64(struct json_writer *w, const char *key, uint64_t number)
{
    json_key(w, key);
    json_u64(w, number);
}

void json_field_bool(struct json_writer *w, const char *key, bool value)
{
    json_key(w, key);
    json_bool(w, value);
}

void json_escape(struct buf *out, struct slice text)
{
    escape_json(out, text);
}
