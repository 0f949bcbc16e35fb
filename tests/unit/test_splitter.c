/*
 * The splitter: each rule by itself, then 10,000 random calls whose right answers were damaged in random
 * ways. Every answer carries a canary of its prompt; none may reach another prompt's member.
 */
#include "provider/echo.h"
#include "splitter_help.h"
#include "json/write.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 64 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(splitter, .init = setup, .fini = teardown);

#define A "qaaaaaaaa"
#define B "qbbbbbbbb"
static char ids[2][PROVIDER_ID_SIZE] = {A, B};

struct result {
    struct slice texts[2];
    enum split_result result;
    const char *reason;
};

static struct result split(const char *text)
{
    struct provider_member m[2] = {test_member("What is AI?"), test_member("Say \"hi\"")};
    struct result r = {.texts = {{"untouched", 9}, {"untouched", 9}}};
    cr_assert_eq(combined_split(slice_of(text), m, 2, ids, &arena, r.texts, &r.result, &r.reason), 0);
    if (r.result == SPLIT_DISCARD)
        cr_assert(slice_is(r.texts[0], "untouched") && slice_is(r.texts[1], "untouched"));
    return r;
}

#define EA "\"" A "\":{\"echo\":\"What is AI?\",\"answer\":\"It is.\"}"
#define EB "\"" B "\":{\"answer\":\"hi\",\"echo\":\"say hi\"}"

Test(splitter, takes_apart)
{
    static const char *const texts[] = {
        "{" EA "," EB "}",           "{" EB "," EA "}",
        " \n{" EA "," EB "}\n",      "```json\n{" EA "," EB "}\n```",
        "```\n{" EA "," EB "}```\n", "```{" EA "," EB "}```",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct result r = split(texts[i]);
        cr_assert_eq(r.result, SPLIT_OK, "%s: %s", texts[i], r.reason);
        assert_slice(r.texts[0], "It is.");
        assert_slice(r.texts[1], "hi");
    }
}

Test(splitter, missing)
{
    struct result r = split("{" EB "}");
    cr_assert_eq(r.result, SPLIT_OK);
    cr_assert_null(r.texts[0].p);
    assert_slice(r.texts[1], "hi");
    r = split("{}");
    cr_assert_eq(r.result, SPLIT_OK);
    cr_assert(!r.texts[0].p && !r.texts[1].p);
    r = split("{\"" A "\":{\"echo\":\"What is AI?\",\"answer\":\"\"},\"" B
              "\":{\"echo\":\"say hi\",\"answer\":\" \\n\"}}");
    cr_assert_eq(r.result, SPLIT_OK);
    cr_assert(!r.texts[0].p && !r.texts[1].p);
}

Test(splitter, discards)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "not JSON"},
        {"Sure! {" EA "," EB "}", "not JSON"},
        {"{" EA "," EB "} Anything else?", "not JSON"},
        {"Here:\n```json\n{" EA "}\n```", "not JSON"},
        {"```json\n{" EA "}\n``` done", "not JSON"},
        {"``````", "not JSON"},
        {"```", "not JSON"},
        {"{" EA "," EB, "not JSON"},
        {"{" EA ",}", "not JSON"},
        {"[{" EA "}]", "not a JSON object"},
        {"\"" A "\"", "not a JSON object"},
        {"null", "not a JSON object"},
        {"{" EA ",\"qcccccccc\":{\"echo\":\"x\",\"answer\":\"y\"}}", "an id that was not sent"},
        {"{" EA ",\"\":1}", "an id that was not sent"},
        {"{" EA ",\"" A " \":1}", "an id that was not sent"},
        {"{" EA "," EA "}", "a key twice"},
        {"{" EA ",\"\\u0071aaaaaaaa\":{\"echo\":\"What is AI?\",\"answer\":\"It is.\"}}", "a key twice"},
        {"{\"QAAAAAAAA\":{\"echo\":\"What is AI?\",\"answer\":\"It is.\"}}", "an id that was not sent"},
        {"{\"" A "\":\"It is.\"}", "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":null}", "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":[\"What is AI?\",\"It is.\"]}", "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\"}}", "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"answer\":\"x\"}}", "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\",\"answer\":7}}",
         "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\",\"answer\":null}}",
         "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\",\"answer\":[\"x\"]}}",
         "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\",\"answer\":\"x\",\"note\":\"y\"}}",
         "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"What is AI?\",\"Answer\":\"x\"}}",
         "an entry of another shape than an echo and an answer"},
        {"{\"" A "\":{\"echo\":\"say hi\",\"answer\":\"hi\"}}", "an echo that does not match its question"},
        {"{\"" A "\":{\"echo\":\"\",\"answer\":\"hi\"}}", "an echo that does not match its question"},
        {"{\"" A "\":{\"echo\":\"say hi\",\"answer\":\"hi\"},\"" B
         "\":{\"echo\":\"What is AI?\",\"answer\":\"It is.\"}}",
         "an echo that does not match its question"},
        {"{" EA ",\"" B "\":{\"echo\":\"say hi\",\"answer\":\"a\\u0000b\"}}", "not JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result r = split(cases[i].text);
        cr_assert_eq(r.result, SPLIT_DISCARD, "%s", cases[i].text);
        cr_assert_str_eq(r.reason, cases[i].reason, "%s", cases[i].text);
    }
}

Test(splitter, truncated_answer_is_discarded_though_it_parses)
{
    for (size_t k = 0; k < 2; k++) {
        struct provider_member m[2] = {test_member("What is AI?"), test_member("Say hi")};
        struct provider_call call = test_encode(&test_kinds[k], MODE_DEFAULT, m, 2);
        memcpy(call.ids, ids, sizeof(ids));
        const char *body = test_wrap(&test_kinds[k], slice_of("{" EA "," EB "}"), true, &arena);
        struct provider_outcome o = test_decode(&test_kinds[k], &call, m, test_response(200, body), &arena);
        cr_assert(o.discarded);
        assert_slice(o.discard_reason, "cut short at max_tokens");
        cr_assert(o.parts[0].verdict == VERDICT_MISSING && o.parts[1].verdict == VERDICT_MISSING);
        cr_assert_eq(o.status, 502);
        cr_assert_eq(o.parts[0].completion_tokens, 27); /* bought all the same */
        provider_call_fini(&call);
    }
}

Test(splitter, usage_is_shared_by_bytes)
{
    struct provider_member m[2] = {test_member("What is AI?"), test_member("Say hi")}; /* 11 and 6 bytes */
    struct provider_call call = test_encode(&test_kinds[0], MODE_DEFAULT, m, 2);
    memcpy(call.ids, ids, sizeof(ids));
    const char *body =
        test_wrap(&test_kinds[0], slice_of("{" EA "," EB "}"), false, &arena); /* 6 and 2 bytes */
    struct provider_outcome o = test_decode(&test_kinds[0], &call, m, test_response(200, body), &arena);
    cr_assert(o.parts[0].prompt_tokens == 65 && o.parts[1].prompt_tokens == 36); /* 65.35, 35.65 of 101 */
    cr_assert(o.parts[0].completion_tokens == 40 &&
              o.parts[1].completion_tokens == 13); /* 39.75, 13.25 of 53 */
    cr_assert_eq(o.status, 0);
    body = test_wrap(&test_kinds[0], slice_of("{" EB "}"), false, &arena);
    o = test_decode(&test_kinds[0], &call, m, test_response(200, body), &arena);
    cr_assert(o.parts[0].completion_tokens == 0 && o.parts[1].completion_tokens == 53);
    cr_assert_eq(o.parts[0].prompt_tokens, 65);
    cr_assert_eq(o.status, 502);
    cr_assert_str_eq(o.error_code, "BAD_UPSTREAM_ANSWER");
    cr_assert_not(o.discarded);
    provider_call_fini(&call);
}
