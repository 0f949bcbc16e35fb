/* Where a member's value stands in a JSON text. */
/* LINK: fcgi_app/worker/json_span.c */
#include <criterion/criterion.h>

#include "worker/json_span.h"

static void expect(const char *text, const char *key, const char *value)
{
    struct slice got = json_member_span(slice_of(text), key);
    cr_assert(value ? slice_is(got, value) : got.p == NULL, "%s of %s: %.*s", key, text, (int)got.n, got.p);
}

Test(json_span, finds_values_of_every_kind)
{
    expect("{\"a\":1,\"m\":{\"x\":[1,{\"y\":2}]},\"z\":0}", "m", "{\"x\":[1,{\"y\":2}]}");
    expect(" {\n \"m\" : 12345678901234567890 }", "m", "12345678901234567890");
    expect("{\"m\":\"a\\\"},b\"}", "m", "\"a\\\"},b\"");
    expect("{\"m\":true,\"n\":null}", "n", "null");
    expect("{\"m\":[]}", "m", "[]");
    expect("{\"s\":\"\\\\\",\"m\":{}}", "m", "{}");
}

Test(json_span, braces_and_keys_inside_texts_do_not_count)
{
    expect("{\"a\":\"\\\"m\\\":{\",\"m\":{\"k\":\"}\"}}", "m", "{\"k\":\"}\"}");
    expect("{\"a\":{\"m\":1},\"m\":2}", "m", "2");
}

Test(json_span, absent)
{
    expect("{\"a\":{\"m\":1}}", "m", NULL);
    expect("{}", "m", NULL);
    expect("{\"\\u006d\":1}", "m", NULL);
    expect("{\"mm\":1}", "m", NULL);
    expect("[1]", "m", NULL);
    expect("", "m", NULL);
}

Test(json_span, members_in_their_order)
{
    struct slice text = slice_of(" { \"a\" : [1, {\"x\":\",\"}] ,\n\"\\u0062\":\"}\",\"c\":1.50 } "), key,
                 value;
    static const char *const members[][2] = {
        {"a", "[1, {\"x\":\",\"}]"}, {"\\u0062", "\"}\""}, {"c", "1.50"}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        cr_assert(json_span_next(text, &at, &key, &value), "member %zu", i);
        cr_assert(slice_is(key, members[i][0]), "%.*s", (int)key.n, key.p);
        cr_assert(slice_is(value, members[i][1]), "%.*s", (int)value.n, value.p);
    }
    cr_assert(!json_span_next(text, &at, &key, &value));
    for (size_t i = 0; i < 2; i++) {
        at = 0;
        cr_assert(!json_span_next(slice_of(i ? "{ }" : "[1]"), &at, &key, &value));
    }
}
