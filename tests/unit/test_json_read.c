/* Parsing and the checked getters. */
#include <criterion/criterion.h>

#include "json/read.h"

static cJSON *parse(const char *text)
{
    cJSON *root = NULL;
    struct err e = {0};
    cr_assert_eq(json_parse(slice_of(text), &root, &e), 0, "%s", e.text);
    return root;
}

Test(json_read, parses_what_the_scan_accepts)
{
    static const char *const texts[] = {"1",
                                        "\"a\"",
                                        "null",
                                        " [] ",
                                        "[1e-999]",
                                        "-0",
                                        "true",
                                        "[0.1234567890123456789012345678901234567890123456789012345678901]",
                                        "{\"a\":{\"b\":[\"\\ud83d\\ude00\"]}}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        cJSON_Delete(parse(texts[i]));
}

Test(json_read, parses_a_text_that_is_not_terminated)
{
    cJSON *root = NULL;
    cr_assert_eq(json_parse((struct slice){"12345", 3}, &root, NULL), 0);
    cr_assert_eq(root->valuedouble, 123);
    cJSON_Delete(root);
}

Test(json_read, says_where_and_in_which_field)
{
    cJSON *root = NULL;
    struct err e = {0};
    cr_assert_eq(json_parse(SLICE_LITERAL("{\"prompt\":\"a\",\"prompt\":\"b\"}"), &root, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "byte 14, in \"prompt\": duplicate key");
    cr_assert_eq(json_parse(SLICE_LITERAL("[1] x"), &root, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "byte 4: bytes after the value");
    cr_assert_null(root);
}

Test(json_read, text)
{
    cJSON *o = parse("{\"a\":\"hello\",\"n\":null,\"x\":5,\"e\":\"\",\"A\":\"other\"}");
    struct slice text = {"before", 6};
    struct err e = {0};
    bool present = false;
    cr_assert_eq(json_get_text(o, "a", 5, &text, &present, &e), 0);
    cr_assert(present);
    cr_assert(slice_is(text, "hello"));
    cr_assert_eq(json_get_text(o, "a", 4, &text, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "a is 5 bytes long; at most 4 are allowed.");
    cr_assert(slice_is(text, "hello"));
    cr_assert_eq(json_get_text(o, "n", 5, &text, &present, &e), 0);
    cr_assert_not(present);
    present = true;
    cr_assert_eq(json_get_text(o, "absent", 5, &text, &present, &e), 0);
    cr_assert_not(present);
    cr_assert(slice_is(text, "hello"));
    cr_assert_eq(json_get_text(o, "e", 5, &text, NULL, &e), 0);
    cr_assert(slice_is(text, ""));
    cr_assert_eq(json_get_text(o, "x", 5, &text, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "x must be a string.");
    cr_assert_eq(json_get_text(o, "A", 5, &text, &present, &e), 0);
    cr_assert(slice_is(text, "other"));
    cJSON_Delete(o);
}

Test(json_read, whole_numbers)
{
    cJSON *o = parse(
        "{\"n\":200,\"half\":1.5,\"neg\":-1,\"text\":\"5\",\"zero\":-0,\"exp\":1e2,"
        "\"last\":9007199254740991,\"two53\":9007199254740992,\"lost\":9007199254740993,\"big\":1e300}");
    struct err e = {0};
    uint64_t n = 7;
    bool present = false;
    cr_assert_eq(json_get_u64(o, "n", 1, 200, &n, &present, &e), 0);
    cr_assert(present);
    cr_assert_eq(n, 200);
    cr_assert_eq(json_get_u64(o, "n", 1, 199, &n, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "n must be a whole number from 1 to 199.");
    cr_assert_eq(json_get_u64(o, "n", 201, 300, &n, &present, &e), ERR_INVAL);
    cr_assert_eq(json_get_u64(o, "zero", 0, 1, &n, NULL, &e), 0);
    cr_assert_eq(n, 0);
    cr_assert_eq(json_get_u64(o, "exp", 0, 100, &n, NULL, &e), 0);
    cr_assert_eq(n, 100);
    cr_assert_eq(json_get_u64(o, "last", 0, UINT64_MAX, &n, NULL, &e), 0);
    cr_assert_eq(n, 9007199254740991ull);
    static const char *const bad[] = {"half", "neg", "text", "two53", "lost", "big"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(json_get_u64(o, bad[i], 0, UINT64_MAX, &n, NULL, &e), ERR_INVAL, "%s", bad[i]);
    cr_assert_eq(n, 9007199254740991ull);
    cJSON_Delete(o);
}

Test(json_read, numbers)
{
    cJSON *o = parse("{\"t\":0.7,\"s\":\"0.7\"}");
    struct err e = {0};
    double t = 9;
    bool present = true;
    cr_assert_eq(json_get_double(o, "t", 0, 2, &t, &present, &e), 0);
    cr_assert_eq(t, 0.7);
    cr_assert_eq(json_get_double(o, "t", 1, 2, &t, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "t must be a number from 1 to 2.");
    cr_assert_eq(json_get_double(o, "s", 0, 2, &t, &present, &e), ERR_INVAL);
    cr_assert_eq(json_get_double(o, "u", 0, 2, &t, &present, &e), 0);
    cr_assert_not(present);
    cr_assert_eq(t, 0.7);
    cJSON_Delete(o);
}

Test(json_read, bools_and_objects)
{
    cJSON *o = parse("{\"t\":true,\"f\":false,\"n\":1,\"o\":{\"x\":1},\"a\":[]}");
    const cJSON *child = NULL;
    struct err e = {0};
    bool value = false, present = false;
    cr_assert_eq(json_get_bool(o, "t", &value, &present, &e), 0);
    cr_assert(value && present);
    cr_assert_eq(json_get_bool(o, "f", &value, &present, &e), 0);
    cr_assert_not(value);
    cr_assert_eq(json_get_bool(o, "n", &value, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "n must be true or false.");
    cr_assert_eq(json_get_object(o, "o", &child, &present, &e), 0);
    cr_assert_not_null(child);
    cr_assert_eq(json_get_object(o, "a", &child, &present, &e), ERR_INVAL);
    cr_assert_str_eq(e.text, "a must be an object.");
    cr_assert_eq(json_get_object(o, "absent", &child, &present, &e), 0);
    cr_assert_not(present);
    cJSON_Delete(o);
}
