/* The strict scan: what RFC 8259 has and has not, every trap of cJSON, where and in which field a fault lies.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "json/scan.h"

#define S(text) SLICE_LITERAL(text)

Test(json_scan, accepts)
{
    static const struct slice good[] = {
        S("null"),
        S("true"),
        S("false"),
        S("0"),
        S("-0"),
        S("\"\""),
        S("{}"),
        S("[]"),
        S(" \t\r\n[ ]\n"),
        S("[1,2, 3 ,\n4]"),
        S("{\"a\":1,\"b\":{\"a\":[]}}"),
        S("[-1.5e+10,1E-2,0.0,123.456e7,0e1,0e+1]"),
        S("[1e-999]"),
        S("1.7976931348623157e308"),
        S("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
        S("[\"\\u0061\\u00e4\\uD83D\\uDE00\\ud83d\\ude00\\uFFFF\\u0001\"]"),
        S("\"\x7f\""),
        S("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""),
        S("{\"\":0}"),
        S("{\"\":0,\" \":1}"),
        S("{\"a\":{\"a\":{\"a\":1}},\"A\":2}"),
        S("[{\"a\":1},{\"a\":1}]"),
        S("[[[[]]],[],{}]"),
        S("{\"a\\u0062\":1,\"a\\\\u0062\":2}"),
        S("[123456789012345678901234567890]"),
        /* 63 characters, the longest number cJSON reads */
        S("[0.1234567890123456789012345678901234567890123456789012345678901]"),
        S("\"/\""),
        S("\"plain text that is longer than a word of eight bytes, with an end\""),
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct json_fault fault = {0};
        cr_assert_eq(json_scan(good[i], &fault), 0, "%s at %zu: %s", good[i].p, fault.offset, fault.reason);
        cr_assert_null(fault.reason);
    }
}

struct bad {
    struct slice text;
    size_t offset;
    const char *reason, *field;
};

static void expect_fault(const struct bad *b)
{
    struct json_fault fault = {0};
    cr_assert_eq(json_scan(b->text, &fault), ERR_INVAL, "%s is no JSON", b->text.p);
    cr_assert_eq(fault.offset, b->offset, "%s: byte %zu, not %zu (%s)", b->text.p, fault.offset, b->offset,
                 fault.reason);
    cr_assert_str_eq(fault.reason, b->reason, "%s: %s", b->text.p, fault.reason);
    cr_assert_str_eq(fault.field, b->field ? b->field : "", "%s: in %s", b->text.p, fault.field);
}

#define EARLY "the text ends too early"
#define VALUE "expected a value"
#define DIGIT "a number lacks a digit here"

Test(json_scan, refuses_what_the_grammar_has_not)
{
    static const struct bad bad[] = {
        {S(""), 0, "there is no text", NULL},
        {S("  "), 2, EARLY, NULL},
        {S("{"), 1, EARLY, NULL},
        {S("["), 1, EARLY, NULL},
        {S("[1"), 2, EARLY, NULL},
        {S("{\"a\""), 4, EARLY, "a"},
        {S("{\"a\":"), 5, EARLY, "a"},
        {S("{\"a\":1"), 6, EARLY, "a"},
        {S("\"abc"), 4, EARLY, NULL},
        {S("\"abc\\"), 5, EARLY, NULL},
        {S("-"), 1, EARLY, NULL},
        {S("[1,]"), 3, VALUE, NULL},
        {S("[,1]"), 1, VALUE, NULL},
        {S("[1,,2]"), 3, VALUE, NULL},
        {S("[1 2]"), 3, "expected a comma or ]", NULL},
        {S("[1}"), 2, "expected a comma or ]", NULL},
        {S("{\"a\":1]"), 6, "expected a comma or }", "a"},
        {S("{\"a\":1 \"b\":2}"), 7, "expected a comma or }", "a"},
        {S("{\"a\":1,}"), 7, "expected a key in double quotes", NULL},
        {S("{,}"), 1, "expected a key in double quotes", NULL},
        {S("{a:1}"), 1, "expected a key in double quotes", NULL},
        {S("{'a':1}"), 1, "expected a key in double quotes", NULL},
        {S("{1:1}"), 1, "expected a key in double quotes", NULL},
        {S("{\"a\" 1}"), 5, "expected a colon", "a"},
        {S("{\"a\"::1}"), 5, VALUE, "a"},
        {S("{\"a\"}"), 4, "expected a colon", "a"},
        {S("]"), 0, VALUE, NULL},
        {S("nul"), 0, VALUE, NULL},
        {S("True"), 0, VALUE, NULL},
        {S("nan"), 0, VALUE, NULL},
        {S("NaN"), 0, VALUE, NULL},
        {S("Infinity"), 0, VALUE, NULL},
        {S("-Infinity"), 1, DIGIT, NULL},
        {S("+1"), 0, VALUE, NULL},
        {S(".5"), 0, VALUE, NULL},
        {S("-.5"), 1, DIGIT, NULL},
        {S("[1.]"), 3, DIGIT, NULL},
        {S("1.e5"), 2, DIGIT, NULL},
        {S("[1e]"), 3, DIGIT, NULL},
        {S("[1e+]"), 4, DIGIT, NULL},
        {S("0x10"), 1, "bytes after the value", NULL},
        {S("007"), 0, "a number begins with a zero", NULL},
        {S("-01"), 1, "a number begins with a zero", NULL},
        {S("[\"a\\x\"]"), 3, "invalid escape", NULL},
        {S("[\"\\'\"]"), 2, "invalid escape", NULL},
        {S("[\"\\u12g4\"]"), 2, "\\u without four hexadecimal digits", NULL},
        {S("[\"\\u123"), 2, "\\u without four hexadecimal digits", NULL},
        {S("[/* c */1]"), 1, VALUE, NULL},
        {S("[1]//"), 3, "bytes after the value", NULL},
        {S("\f1"), 0, VALUE, NULL},
        {S("\xc2\xa0[]"), 0, VALUE, NULL},
        {S("\xff\xfe[\0]\0"), 0, VALUE, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_fault(&bad[i]);
    struct json_fault fault;
    cr_assert_eq(json_scan((struct slice){0}, &fault), ERR_INVAL);
}

Test(json_scan, refuses_what_cjson_lets_through)
{
    static const struct bad bad[] = {
        {S("{\"a\":1,\"a\":2}"), 7, "duplicate key", "a"},
        {S("{\"a\":1,\"\\u0061\":2}"), 7, "duplicate key", "a"},
        {S("{\"\\u0061\":1,\"a\":2}"), 12, "duplicate key", "a"},
        {S("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"), 18, "duplicate key", "\xf0\x9f\x98\x80"},
        {S("{\"a\\/\":1,\"a/\":2}"), 9, "duplicate key", "a/"},
        {S("{\"\":1,\"\":2}"), 6, "duplicate key", ""},
        {S("{\"o\":{\"x\":[{\"k\":1,\"k\":1}]}}"), 18, "duplicate key", "k"},
        {S("[\"a\\u0000b\"]"), 3, "\\u0000 is not allowed", NULL},
        {S("[\"a\0b\"]"), 3, "control character in a string", NULL},
        {S("[\"a\nb\"]"), 3, "control character in a string", NULL},
        {S("{\"a\tb\":1}"), 3, "control character in a string", NULL},
        {S("[\"\xff\"]"), 2, "invalid UTF-8", NULL},
        {S("[\"\xc0\x80\"]"), 2, "invalid UTF-8", NULL},
        {S("{\"k\":\"\xed\xa0\x80\"}"), 6, "invalid UTF-8", "k"},
        {S("[\"\xf4\x90\x80\x80\"]"), 2, "invalid UTF-8", NULL},
        {S("[\"\xe2\x82\"]"), 2, "invalid UTF-8", NULL},
        {S("[\"\\ud800\"]"), 2, "lone surrogate", NULL},
        {S("[\"\\udc00\"]"), 2, "lone surrogate", NULL},
        {S("[\"\\ud800\\ud800\"]"), 2, "lone surrogate", NULL},
        {S("[\"\\ud800x\"]"), 2, "lone surrogate", NULL},
        {S("[\"\\ud800\\u0041\"]"), 2, "lone surrogate", NULL},
        {S("\xef\xbb\xbf[]"), 0, "byte order mark", NULL},
        {S("[] x"), 3, "bytes after the value", NULL},
        {S("{}{}"), 2, "bytes after the value", NULL},
        {S("1\0"), 1, "bytes after the value", NULL},
        {S("{\"n\":1e999}"), 5, "a number too large for a double", "n"},
        {S("-1e309"), 0, "a number too large for a double", NULL},
        {S("[0.12345678901234567890123456789012345678901234567890123456789012]"), 1,
         "a number of more than 63 characters", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_fault(&bad[i]);
}

Test(json_scan, names_the_innermost_key_being_read)
{
    static const struct bad bad[] = {
        {S("{\"a\":{\"b\":[1,{\"c\":x}]}}"), 18, VALUE, "c"},
        {S("{\"a\":{\"b\":1},\"c\":[x"), 18, VALUE, "c"},
        {S("{\"a\":[{\"b\":1},x]}"), 14, VALUE, "a"},
        {S("{\"a\":{x}}"), 6, "expected a key in double quotes", "a"},
        {S("{\"a\":{\"b\":1},x}"), 13, "expected a key in double quotes", ""},
        {S("{\"say \\\"\\u00e4\\\"\":x}"), 18, VALUE, "say \"\xc3\xa4\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_fault(&bad[i]);
}

Test(json_scan, cuts_a_long_key_at_a_character)
{
    char text[400] = "{\"";
    struct json_fault fault;
    for (int i = 0; i < 80; i++)
        strcat(text, "\xc3\xa4");
    strcat(text, "\":x}");
    cr_assert_eq(json_scan(slice_of(text), &fault), ERR_INVAL);
    cr_assert_eq(strlen(fault.field), 126);
    cr_assert_eq(strncmp(fault.field, text + 2, 126), 0);
}

static void nest(struct buf *b, size_t depth, const char *open, const char *close)
{
    for (size_t i = 0; i < depth; i++)
        buf_append_text(b, open);
    buf_append_text(b, "1");
    for (size_t i = 0; i < depth; i++)
        buf_append_text(b, close);
}

Test(json_scan, depth)
{
    struct json_fault fault;
    struct buf b;
    buf_init(&b, 1 << 20);
    nest(&b, JSON_MAX_DEPTH, "[", "]");
    cr_assert_eq(json_scan(buf_slice(&b), &fault), 0);
    buf_clear(&b);
    nest(&b, JSON_MAX_DEPTH, "{\"a\":", "}");
    cr_assert_eq(json_scan(buf_slice(&b), &fault), 0);
    buf_clear(&b);
    nest(&b, JSON_MAX_DEPTH + 1, "{\"a\":", "}");
    cr_assert_eq(json_scan(buf_slice(&b), &fault), ERR_INVAL);
    cr_assert_eq(fault.offset, 5 * JSON_MAX_DEPTH);
    cr_assert_str_eq(fault.reason, "nested deeper than 64 levels");
    buf_clear(&b);
    nest(&b, 100000, "[", "]");
    cr_assert_eq(json_scan(buf_slice(&b), &fault), ERR_INVAL);
    buf_fini(&b);
}

/* An object of n keys; key number twin comes again at the end, escaped when asked. */
static void many_keys(struct buf *b, int n, int twin, bool escaped)
{
    buf_append_byte(b, '{');
    for (int i = 0; i < n; i++)
        buf_printf(b, "%s\"key%d\":{\"a\":1,\"b\":2}", i ? "," : "", i);
    if (twin >= 0)
        buf_printf(b, ",\"%s%d\":0", escaped ? "\\u006bey" : "key", twin);
    buf_append_byte(b, '}');
}

Test(json_scan, duplicates_in_objects_of_every_size)
{
    static const int sizes[] = {1, 2, 15, 16, 17, 18, 31, 32, 33, 64, 65, 1000};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int twin = -1; twin<sizes[i]; twin += sizes[i]> 50 ? 37 : 1) {
            for (int escaped = 0; escaped < 2; escaped++) {
                struct json_fault fault = {0};
                char name[20];
                snprintf(name, sizeof(name), "key%d", twin);
                buf_clear(&b);
                many_keys(&b, sizes[i], twin, escaped);
                int rc = json_scan(buf_slice(&b), &fault);
                cr_assert_eq(rc, twin < 0 ? 0 : ERR_INVAL, "%d keys, twin %d", sizes[i], twin);
                if (twin >= 0)
                    cr_assert_str_eq(fault.field, name);
                if (twin >= 0)
                    cr_assert_eq(fault.offset, (size_t)(strrchr(b.data, ',') + 1 - b.data));
            }
        }
    }
    buf_fini(&b);
}

Test(json_scan, of_several_duplicates_the_first_in_the_text_is_told)
{
    struct json_fault fault;
    struct buf b;
    buf_init(&b, 1 << 20);
    many_keys(&b, 40, -1, false);
    b.len--;
    buf_append_text(&b, ",\"key30\":0,\"key9\":0,\"key1\":0}");
    cr_assert_eq(json_scan(buf_slice(&b), &fault), ERR_INVAL);
    cr_assert_str_eq(fault.field, "key30");
    buf_fini(&b);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(json_scan, many_keys_do_not_take_quadratic_time)
{
    struct json_fault fault;
    struct buf b;
    buf_init(&b, 8 << 20);
    buf_append_byte(&b, '{');
    for (int i = 0; i < 200000; i++)
        buf_printf(&b, "%s\"%s%d\":0", i ? "," : "", i % 2 ? "\\u0078" : "y", i);
    buf_append_byte(&b, '}');
    double before = seconds();
    cr_assert_eq(json_scan(buf_slice(&b), &fault), 0);
    /* A few hundredths; comparing all pairs takes minutes. */
    cr_assert_lt(seconds() - before, 5.0);
    buf_fini(&b);
}

Test(json_scan, every_special_byte_at_every_alignment)
{
    struct json_fault fault;
    char text[40];
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 1; at < 20; at++) {
            memset(text, 'a', sizeof(text));
            text[0] = '"';
            text[30] = '"';
            text[at] = (char)c;
            bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            int rc = json_scan((struct slice){text, 31}, &fault);
            cr_assert_eq(rc == 0, good, "byte %u at %zu", c, at);
        }
    }
}

Test(json_scan, reads_nothing_behind_the_text)
{
    static const char whole[] = "{\"a\":[1.5e3,true,\"\\ud83d\\ude00\\u0041\xf0\x9f\x98\x80\",null,false]}";
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        struct json_fault fault;
        char *copy = malloc(n ? n : 1); /* so that a sanitizer sees one byte too many */
        memcpy(copy, whole, n);
        cr_assert_eq(json_scan((struct slice){copy, n}, &fault), ERR_INVAL, "%zu bytes", n);
        cr_assert_leq(fault.offset, n);
        free(copy);
    }
}
