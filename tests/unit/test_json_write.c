/* The writer: structure, escapes, numbers; and that all of it passes the strict scan. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "json/scan.h"
#include "json/write.h"

static struct buf out;
static struct json_writer w;

static void begin(void)
{
    buf_init(&out, 1 << 20);
    json_writer_init(&w, &out);
}

static void expect(const char *text)
{
    struct json_fault fault = {0};
    cr_assert_not(buf_failed(&out));
    cr_assert_str_eq(out.data, text);
    cr_assert_eq(json_scan(buf_slice(&out), &fault), 0, "%s: %s", text, fault.reason);
    cr_assert_eq(w.depth, 0);
    buf_fini(&out);
    json_writer_init(&w, &out);
}

TestSuite(json_write, .init = begin);

Test(json_write, structure)
{
    json_object_begin(&w);
    json_field_cstr(&w, "a", "x");
    json_key(&w, "b");
    json_array_begin(&w);
    json_u64(&w, 1);
    json_object_begin(&w);
    json_object_end(&w);
    json_array_begin(&w);
    json_array_end(&w);
    json_i64(&w, INT64_MIN);
    json_array_end(&w);
    json_field_u64(&w, "c", UINT64_MAX);
    json_field_bool(&w, "d", false);
    json_key(&w, "e");
    json_raw(&w, SLICE_LITERAL("{\"raw\":[1]}"));
    json_key(&w, "f");
    json_null(&w);
    json_object_end(&w);
    expect("{\"a\":\"x\",\"b\":[1,{},[],-9223372036854775808],\"c\":18446744073709551615,\"d\":false,"
           "\"e\":{\"raw\":[1]},\"f\":null}");
}

Test(json_write, commas_do_not_leak_between_containers)
{
    json_array_begin(&w);
    for (int i = 0; i < 3; i++) {
        json_object_begin(&w);
        json_field_u64(&w, "i", (uint64_t)i);
        json_object_end(&w);
    }
    json_array_end(&w);
    expect("[{\"i\":0},{\"i\":1},{\"i\":2}]");
}

Test(json_write, depth_up_to_62_containers)
{
    char text[200] = "";
    for (int i = 0; i < 62; i++) {
        json_array_begin(&w);
        strcat(text, "[");
    }
    for (int i = 0; i < 62; i++) {
        json_array_end(&w);
        strcat(text, "]");
    }
    expect(text);
}

Test(json_write, absent_is_null_and_empty_is_not)
{
    json_object_begin(&w);
    json_field_text(&w, "a", (struct slice){0});
    json_field_cstr(&w, "b", NULL);
    json_field_cstr(&w, "c", "");
    json_object_end(&w);
    expect("{\"a\":null,\"b\":null,\"c\":\"\"}");
}

Test(json_write, escapes)
{
    json_text(&w, SLICE_LITERAL("\"\\/\b\f\n\r\t\x01\x1f\x7f"));
    expect("\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    json_text(&w, SLICE_LITERAL("a\0b"));
    cr_assert_str_eq(out.data, "\"a\\u0000b\"");
    buf_fini(&out);
}

Test(json_write, keeps_characters_and_replaces_what_is_none)
{
    json_array_begin(&w);
    json_text(&w, SLICE_LITERAL("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 and a longer plain text"));
    json_text(&w, SLICE_LITERAL("a\xff"
                                "b"));
    json_text(&w, SLICE_LITERAL("cut \xe2\x82"));
    json_text(&w, SLICE_LITERAL("\xed\xa0\x80"));
    json_array_end(&w);
    expect("[\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 and a longer plain text\",\"a\xef\xbf\xbd"
           "b\","
           "\"cut \xef\xbf\xbd\xef\xbf\xbd\",\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"]");
}

Test(json_write, any_bytes_become_json)
{
    srand(7);
    for (int round = 0; round < 2000; round++) {
        char bytes[100];
        size_t n = (size_t)rand() % sizeof(bytes);
        struct json_fault fault = {0};
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(rand() % 3 ? rand() % 128 : rand());
        buf_clear(&out);
        json_writer_init(&w, &out);
        json_text(&w, (struct slice){bytes, n});
        int rc = json_scan(buf_slice(&out), &fault);
        /* A zero byte is the one thing the scan does not take back. */
        cr_assert(rc == 0 || strcmp(fault.reason, "\\u0000 is not allowed") == 0, "%s", fault.reason);
    }
    buf_fini(&out);
}

Test(json_write, escape_alone)
{
    json_escape(&out, SLICE_LITERAL("a\"b"));
    cr_assert_str_eq(out.data, "a\\\"b");
    json_escape(&out, (struct slice){0});
    cr_assert_eq(out.len, 4);
    buf_fini(&out);
}

static void expect_double(double d, const char *text)
{
    json_double(&w, d);
    expect(text);
}

Test(json_write, doubles_in_their_shortest_form)
{
    expect_double(0, "0");
    expect_double(-0.0, "-0");
    expect_double(0.1, "0.1");
    expect_double(0.1 + 0.2, "0.30000000000000004");
    expect_double(1.0 / 3, "0.3333333333333333");
    expect_double(123.45, "123.45");
    expect_double(1e15, "1e+15");
    expect_double(1e300, "1e+300");
    expect_double(1.7976931348623157e308, "1.7976931348623157e+308");
    expect_double(-2.5e-10, "-2.5e-10");
    expect_double(NAN, "null");
    expect_double(INFINITY, "null");
    expect_double(-INFINITY, "null");
}

Test(json_write, doubles_read_back_the_same)
{
    srand(7);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
        double d;
        memcpy(&d, &bits, sizeof(d));
        if (!isfinite(d))
            continue;
        buf_clear(&out);
        json_writer_init(&w, &out);
        json_double(&w, d);
        cr_assert_eq(strtod(out.data, NULL), d, "%s", out.data);
    }
    buf_fini(&out);
}

static void expect_ms(uint64_t us, const char *text)
{
    json_us_as_ms(&w, us);
    expect(text);
}

Test(json_write, microseconds_as_milliseconds)
{
    expect_ms(0, "0");
    expect_ms(1, "0.001");
    expect_ms(10, "0.01");
    expect_ms(1000, "1");
    expect_ms(1050, "1.05");
    expect_ms(1500, "1.5");
    expect_ms(1234567, "1234.567");
    expect_ms(UINT64_MAX, "18446744073709551.615");
}

Test(json_write, a_ceiling_fails_the_buffer)
{
    struct buf small;
    buf_init(&small, 10);
    json_writer_init(&w, &small);
    json_text(&w, SLICE_LITERAL("12345678"));
    cr_assert_not(buf_failed(&small));
    json_text(&w, SLICE_LITERAL("x"));
    cr_assert(buf_failed(&small));
    buf_clear(&small);
    json_text(&w, SLICE_LITERAL("1234567\n"));
    cr_assert(buf_failed(&small));
    buf_fini(&small);
}
