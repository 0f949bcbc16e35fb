/* Requests of OpenAI's API that go through as they are, and their responses. */
#include "stream_help.h"

static const struct provider local = {
    .kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:8080/v1", .model = "m", .api_key = "sk-test-key"};

#define HI "[{\"role\":\"user\",\"content\":\"hi\"}]"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(verbatim, .init = setup, .fini = teardown);

Test(verbatim, every_byte_is_sent_and_none_is_added)
{
    struct provider_member m = test_verbatim(
        " [ {\"role\":\"user\", \"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]} ] ",
        " { \"seed\":18446744073709551615,\"n\":2 , \"temperature\":0.30, \"tools\":[ "
        "],\"new_thing\":{\"a\":1e0}} ");
    m.temperature = 0.7;
    m.max_tokens = 9;
    m.system_prompt = SLICE_LITERAL("unheard");
    m.confidence = true;
    struct provider_call call = test_encode(&local, MODE_COMBINED, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/chat/completions");
    assert_slice(buf_slice(&call.body),
                 "{\"model\":\"m\",\"messages\": [ {\"role\":\"user\", \"content\":[{\"type\":\"image_url\","
                 "\"image_url\":{\"url\":\"x\"}}]} ] ,\"seed\":18446744073709551615,\"n\":2 , "
                 "\"temperature\":0.30, \"tools\":[ ],\"new_thing\":{\"a\":1e0}}");
    cr_assert(!call.streams && !call.logprobs && call.mode == MODE_CONCURRENT);
    cr_assert_not_null(strstr(call.headers, "Accept: application/json\n"));
    provider_call_fini(&call);
}

Test(verbatim, a_stream_asks_for_its_usage)
{
    struct provider_member m = test_verbatim(HI, "{}");
    m.model = SLICE_LITERAL("other");
    m.stream = true;
    struct provider_call call = test_encode(&local, MODE_DEFAULT, &m, 1);
    assert_slice(buf_slice(&call.body), "{\"model\":\"other\",\"messages\":" HI ",\"stream\":true,"
                                        "\"stream_options\":{\"include_usage\":true}}");
    cr_assert(call.streams);
    cr_assert_not_null(strstr(call.headers, "Accept: text/event-stream, "));
    cr_assert_not_null(strstr(call.headers, "Authorization: Bearer sk-test-key\n"));
    provider_call_fini(&call);
}

Test(verbatim, a_completion_has_its_prompt_among_the_rest)
{
    struct provider p = local;
    struct provider_member m = test_verbatim(NULL, "{\"prompt\":[1,2],\"messages\":7,\"echo\":true}");
    m.completion = true;
    p.array_missing = true; /* nobody else can say it */
    struct provider_call call = test_encode(&p, MODE_COMBINED, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/completions");
    assert_slice(buf_slice(&call.body), "{\"model\":\"m\",\"prompt\":[1,2],\"messages\":7,\"echo\":true}");
    struct provider_outcome out =
        test_decode(&p, &call, &m,
                    test_response(200, "{\"choices\":[{\"index\":1,\"text\":\"\",\"finish_reason\":\"stop\"},"
                                       "{\"index\":0,\"text\":\"b\"}]}"),
                    &arena);
    cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(out.parts[0].text, "");
    provider_call_fini(&call);
}

Test(verbatim, what_is_refused)
{
    static const struct {
        const char *messages, *extra, *says;
    } cases[] = {
        {HI, "{\"model\":\"x\"}", "\"model\""},
        {HI, "{\"a\":1,\"stream\":false}", "\"stream\""},
        {HI, "{\"stream_options\":null}", "\"stream_options\""},
        {HI, "{\"messages\":[]}", "\"messages\""},
        {HI, "{\"str\\u0065am\":true}", "escape"},
        {HI, "{\"a\":1,\"a\":2}", "duplicate key"},
        {HI, "[]", "must be a JSON object"},
        {HI, "{\"a\":}", "extra"},
        {"{}", "{}", "must be a JSON array"},
        {"[", NULL, "messages"},
        {NULL, NULL, "messages"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_member m = test_verbatim(cases[i].messages, cases[i].extra);
        struct provider_call call;
        struct err e = {0};
        int rc =
            provider_encode(&local, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e);
        cr_assert_eq(rc, strcmp(cases[i].says, "escape") ? ERR_INVAL : ERR_NOT_FOUND, "%zu: %d", i, rc);
        cr_assert_not_null(strstr(e.text, cases[i].says), "%zu: %s", i, e.text);
    }
    struct provider_member two[2] = {test_verbatim(HI, NULL), test_member("x")};
    struct provider_call call;
    struct err e = {0};
    cr_assert_eq(
        provider_encode(&local, MODE_COMBINED, two, 2, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e),
        ERR_INVAL);
    cr_assert_not(provider_combinable(&two[0], MODE_ARRAY));
}

static struct provider_outcome answer(int status, const char *body)
{
    struct provider_member m = test_verbatim(HI, NULL);
    struct provider_call call = test_encode(&local, MODE_DEFAULT, &m, 1);
    struct provider_outcome out = test_decode(&local, &call, &m, test_response(status, body), &arena);
    provider_call_fini(&call);
    return out;
}

Test(verbatim, whatever_is_in_an_answer_it_is_kept)
{
    static const struct {
        const char *choice, *text, *finish;
    } cases[] = {
        {"{\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},\"finish_reason\":\"stop\"}", "yes",
         "stop"},
        {"{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"1\"}]},\"finish_reason\":\"tool_calls\"}",
         "", "tool_calls"},
        {"{\"message\":{\"content\":\"\"},\"finish_reason\":\"length\"}", "", "length"},
        {"{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}", "", "stop"},
        {"{\"message\":{\"content\":\"ba\"},\"finish_reason\":\"content_filter\"}", "ba", "content_filter"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[500], kept[400];
        snprintf(kept, sizeof(kept), "{\"id\": 1.0,\n\"choices\":[%s],\"usage\":{\"prompt_tokens\":5}}",
                 cases[i].choice);
        snprintf(body, sizeof(body), " %s\r\n", kept);
        struct provider_outcome out = answer(200, body);
        cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED, "%zu", i);
        assert_slice(out.parts[0].response, kept);
        assert_slice(out.parts[0].text, cases[i].text);
        assert_slice(out.parts[0].finish_reason, cases[i].finish);
        cr_assert_eq(out.prompt_tokens, 5);
    }
}

Test(verbatim, what_is_no_answer)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "[]",
        "{}",
        "{\"choices\":[]}",
        "{\"choices\":{}}",
        "{\"choices\":[{}]}",
        "{\"choices\":[{\"message\":7}]}",
        "{\"choices\":[{\"text\":7}]}",
        "{\"error\":{\"message\":\"hm\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome out = answer(200, bodies[i]);
        cr_assert_eq(out.parts[0].verdict, VERDICT_MISSING, "%zu", i);
        cr_assert_eq(out.status, 502);
        cr_assert_null(out.parts[0].response.p);
    }
}

Test(verbatim, the_provider_says_itself_why_it_refuses)
{
    struct provider_outcome out =
        answer(400, "{\"error\":{\"message\":\"Unknown parameter: 'x'\\nof sk-test-key\",\"param\":\"x\"}}");
    cr_assert_eq(out.status, 400);
    cr_assert_eq(out.parts[0].verdict, VERDICT_FAILED);
    assert_slice(out.message, "Unknown parameter: 'x' of ***********");
    assert_slice(out.param, "x");
    out = answer(422, "oh");
    assert_slice(out.message, "The provider refused the request (HTTP 422).");
    cr_assert_null(out.param.p);
    out = answer(401, "{\"error\":{\"message\":\"Incorrect key\",\"param\":\"y\"}}");
    assert_holds(out.message, "does not accept");
    cr_assert_null(out.param.p);
}

Test(verbatim, pictures_are_not_counted_by_the_byte)
{
    char messages[40000] = "[{\"url\":\"data:image/png;base64,";
    struct provider_member m = test_verbatim(messages, "{\"n\":1}");
    uint64_t few = provider_estimate_tokens(&m);
    memset(messages + strlen(messages), 'A', sizeof(messages) - 100);
    strcat(messages, "\"}]");
    m = test_verbatim(messages, "{\"n\":1}");
    cr_assert_leq(provider_estimate_tokens(&m), few + 10);
    cr_assert_geq(provider_estimate_tokens(&m), 1000 + 100);
    m = test_verbatim("[\"123456789\"]", "{\"n\":1}");
    cr_assert_eq(provider_estimate_tokens(&m), (13 + 7 + 2) / 3 + 100); /* not the prompt of the record */
    m.extra = (struct slice){0};
    cr_assert_eq(provider_estimate_tokens(&m), (13 + 2) / 3 + 100);
}

static uint64_t answers(const char *extra, bool completion)
{
    struct provider_member m = test_verbatim("[]", extra);
    m.completion = completion;
    return provider_answers(&m);
}

Test(verbatim, several_answers_are_counted)
{
    struct provider_member m = test_verbatim("[]", "{\"n\":3}");
    cr_assert_eq(provider_answers(&m), 3);
    m.verbatim = false;
    cr_assert_eq(provider_answers(&m), 1);
    m = test_verbatim("[]", "{}");
    m.extra = (struct slice){0};
    cr_assert_eq(provider_answers(&m), 1);
    cr_assert_eq(answers("{\"n\":null,\"a\":2}", false), 1);
    cr_assert_eq(answers("{\"n\":\"7\"}", false), 1);
    cr_assert_eq(answers("{\"n\":-7}", false), 1);
    cr_assert_eq(answers("{\"n\":1.28e2,\"best_of\":500}", false), 128);
    cr_assert_eq(answers("{\"n\":1e300}", false), 1000000);
    cr_assert_eq(answers("{\"n\":2,\"best_of\":5,\"prompt\":\"a\"}", true), 5);
    cr_assert_eq(answers("{\"n\":2,\"prompt\":[ \"a\", \"b\" ,\"c\"]}", true), 6);
    cr_assert_eq(answers("{\"prompt\":[1,2,3]}", true), 1);
    cr_assert_eq(answers("{\"prompt\":[[1,2],[3]]}", true), 2);
    cr_assert_eq(answers("{\"prompt\":[]}", true), 1);
    cr_assert_eq(answers("{\"n\":1000000,\"prompt\":[\"a\",\"b\"]}", true), 1000000);
}
