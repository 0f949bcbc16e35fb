/* What Gemini says in OpenAI's words, in one and as a stream. */
#include "stream_help.h"

static const struct provider google = {.kind = PROVIDER_GEMINI,
                                       .base_url = "http://127.0.0.1:9000",
                                       .model = "gemini-2.5-flash",
                                       .api_key = "AIzaTest-0123456789"};

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

TestSuite(gemini_response, .init = setup, .fini = teardown);

static struct provider_outcome answer(int status, const char *body)
{
    struct provider_member m = test_verbatim(HI, NULL);
    struct provider_call call = test_encode(&google, MODE_DEFAULT, &m, 1);
    struct provider_outcome out = test_decode(&google, &call, &m, test_response(status, body), &arena);
    provider_call_fini(&call);
    return out;
}

#define SAID(id, model)                                                                                      \
    "{\"id\":\"chatcmpl-" id "\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"" model   \
    "\",\"choices\":["

Test(gemini_response, everything_it_may_say)
{
    struct provider_outcome out = answer(
        200,
        "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true},{"
        "\"text\":"
        "\"It \\u00e9\"},{\"text\":\"\\\"s.\"}]},\"finishReason\":\"STOP\",\"index\":0,\"logprobsResult\":{"
        "\"chosenCandidates\":[{\"token\":\"It\",\"tokenId\":5,\"logProbability\":-0.250},{\"token\":\"x\"}],"
        "\"topCandidates\":[{\"candidates\":[{\"token\":\"It\",\"logProbability\":-0.25},{\"token\":\"I\","
        "\"logProbability\":"
        "-2}]},{\"candidates\":[]}]}},{\"index\":1,\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\","
        "\"args\":{\"n\":"
        "12345678901234567890,\"s\":\"\\\"\"}},\"thoughtSignature\":\"c2ln\"},{\"functionCall\":{\"id\":"
        "\"own\",\"name\":"
        "\"g\"}}]},\"finishReason\":\"STOP\"},{\"index\":2,\"finishReason\":\"SAFETY\"},{\"index\":3,"
        "\"content\":{\"parts\":"
        "[{\"text\":\"cut\"}]},\"finishReason\":\"MAX_TOKENS\"}],\"usageMetadata\":{\"promptTokenCount\":4,"
        "\"candidatesTokenCount\":5,\"thoughtsTokenCount\":6,\"cachedContentTokenCount\":2,"
        "\"totalTokenCount\":15},"
        "\"modelVersion\":\"gemini-2.5-flash-001\",\"responseId\":\"r_1-x\"}");
    cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(out.parts[0].text, "It \xc3\xa9\"s.");
    assert_slice(out.parts[0].finish_reason, "stop");
    cr_assert_eq(out.prompt_tokens, 4);
    cr_assert_eq(out.completion_tokens, 11);
    test_same_json(
        out.parts[0].response,
        SAID("r_1-x",
             "gemini-2.5-flash-001") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"It "
                                     "\xc3\xa9\\\"s.\"},\"logprobs\":{\"content\":[{"
                                     "\"token\":\"It\",\"logprob\":-0.25,\"bytes\":null,\"top_logprobs\":[{"
                                     "\"token\":\"It\",\"logprob\":-0.25,\"bytes\":null},"
                                     "{\"token\":\"I\",\"logprob\":-2,\"bytes\":null}]},{\"token\":\"x\","
                                     "\"logprob\":0,\"bytes\":null,\"top_logprobs\":[]}]},"
                                     "\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"role\":"
                                     "\"assistant\",\"content\":null,\"tool_calls\":[{"
                                     "\"id\":\"call_r_1-x_1_0\",\"type\":\"function\",\"function\":{\"name\":"
                                     "\"f\",\"arguments\":\"{\\\"n\\\":"
                                     "12345678901234567890,\\\"s\\\":\\\"\\\\\\\"\\\"}\"},\"extra_content\":{"
                                     "\"google\":{\"thought_signature\":\"c2ln\"}}},"
                                     "{\"id\":\"own\",\"type\":\"function\",\"function\":{\"name\":\"g\","
                                     "\"arguments\":\"{}\"}}]},\"logprobs\":null,"
                                     "\"finish_reason\":\"tool_calls\"},{\"index\":2,\"message\":{\"role\":"
                                     "\"assistant\",\"content\":null},\"logprobs\":"
                                     "null,\"finish_reason\":\"content_filter\"},{\"index\":3,\"message\":{"
                                     "\"role\":\"assistant\",\"content\":\"cut\"},"
                                     "\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_"
                                     "tokens\":4,\"completion_tokens\":11,"
                                     "\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":2},"
                                     "\"completion_tokens_details\":{"
                                     "\"reasoning_tokens\":6}}}");
}

Test(gemini_response, a_prompt_that_is_blocked)
{
    struct provider_outcome out = answer(
        200, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":4}}");
    cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(out.parts[0].finish_reason, "content_filter");
    assert_slice(out.parts[0].text, "");
    test_same_json(out.parts[0].response,
                   SAID("0192f0c1-22aa-7000-8000-000000000001",
                        "gemini-2.5-flash") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                            "null},\"logprobs\":null,"
                                            "\"finish_reason\":\"content_filter\"}],\"usage\":{\"prompt_"
                                            "tokens\":4,\"completion_tokens\":0,"
                                            "\"total_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":"
                                            "0},\"completion_tokens_details\":{"
                                            "\"reasoning_tokens\":0}}}");
}

Test(gemini_response, what_is_no_answer)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "[]",
        "null",
        "{}",
        "{\"candidates\":[]}",
        "{\"candidates\":7}",
        "{\"candidates\":[null]}",
        "{\"candidates\":[{\"index\":8}]}",
        "{\"candidates\":[{\"index\":-1}]}",
        "{\"candidates\":[{\"content\":{\"parts\":7}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":7}}]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":[]}}]}}]}",
        "[{\"error\":{\"code\":500}}]",
        "{\"error\":{\"message\":\"hm\"}}",
        "{\"promptFeedback\":7}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome out = answer(200, bodies[i]);
        cr_assert_eq(out.parts[0].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(out.status, 502);
    }
    struct provider_outcome out = answer(400, "{\"error\":{\"code\":400,\"message\":\"Unknown name\"}}");
    assert_slice(out.message, "Unknown name");
}

#define EVENT(parts, rest)                                                                                   \
    "data: {\"candidates\": [{\"content\": {\"parts\": [" parts "],\"role\": \"model\"}" rest "}],"          \
    "\"usageMetadata\": {\"promptTokenCount\": 3,\"candidatesTokenCount\": 7},\"modelVersion\": \"g\","      \
    "\"responseId\": \"R\"}\r\n\r\n"
#define CHUNK(rest)                                                                                          \
    "{\"id\":\"chatcmpl-R\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"g\","    \
    "\"choices\":[{\"index\":0," rest "}]}\n"

static const char stream[] = EVENT("{\"text\":\"th\",\"thought\":true}", ",\"index\":0")
    EVENT("{\"text\": \"One,\"},{\"text\":\" t\\u00e9\"}", "")
        EVENT("{\"text\":\"n\"},{\"functionCall\":{\"name\":\"f\"}}", "")
            EVENT("{\"functionCall\":{\"name\":\"g\",\"args\":{\"a\":1}}}", ",\"finishReason\":\"STOP\"");

Test(gemini_response, as_a_stream_however_it_is_cut)
{
    for (size_t cut = 0; cut < sizeof(stream); cut++) {
        struct test_stream t;
        test_stream_run(&t, &google, slice_of(stream), cut, cut ? sizeof(stream) : 1, TRANSPORT_COMPLETE);
        assert_slice(
            buf_slice(&t.told),
            CHUNK("\"delta\":{\"role\":\"assistant\"},\"logprobs\":null,\"finish_reason\":null") CHUNK(
                "\"delta\":{\"content\":\"One, t\\u00e9\"},\"logprobs\":null,\"finish_reason\":null")
                CHUNK("\"delta\":{\"content\":\"n\",\"tool_calls\":[{\"index\":0,\"id\":\"call_R_0_0\","
                      "\"type\":"
                      "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
                      "\"finish_reason\":null")
                    CHUNK(
                        "\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_R_0_1\",\"type\":\"function\","
                        "\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1}\"}}]},\"logprobs\":null,"
                        "\"finish_reason\":\"tool_calls\""));
        const struct provider_part *part = &t.outcome.parts[0];
        cr_assert_eq(part->verdict, VERDICT_ANSWERED);
        assert_slice(part->text, "One, t\xc3\xa9n");
        assert_slice(part->finish_reason, "tool_calls");
        cr_assert_eq(t.outcome.prompt_tokens, 3);
        cr_assert_eq(t.outcome.completion_tokens, 7);
        cJSON *root = test_parse(part->response);
        cr_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(root, "object")), "chat.completion");
        cr_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(root, "id")), "chatcmpl-R");
        cr_assert_eq(
            cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "usage"), "total_tokens")),
            10);
        cJSON_Delete(root);
        test_stream_close(&t);
    }
}

Test(gemini_response, a_stream_may_end_otherwise)
{
    static const struct {
        const char *bytes;
        enum transport transport;
        enum verdict verdict;
        const char *says;
    } cases[] = {
        {EVENT("{\"text\":\"a\"}", ""), TRANSPORT_COMPLETE, VERDICT_UNKNOWN, "ended before"},
        {EVENT("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\""), TRANSPORT_LOST, VERDICT_UNKNOWN, "lost"},
        {EVENT("{\"text\":\"a\"}", "") "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n",
         TRANSPORT_COMPLETE, VERDICT_UNKNOWN, "overloaded"},
        {"data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n", TRANSPORT_COMPLETE,
         VERDICT_MISSING, "overloaded"},
        {EVENT("{\"text\":\"a\"}", "") "data: {\"candidates\":7}\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN,
         "no response"},
        {"data: {\"promptFeedback\":{\"blockReason\":\"OTHER\"}}\n\n", TRANSPORT_COMPLETE, VERDICT_ANSWERED,
         ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_stream t;
        test_stream_run(&t, &google, slice_of(cases[i].bytes), 5, 50, cases[i].transport);
        cr_assert_eq(t.outcome.parts[0].verdict, cases[i].verdict, "%zu: %d", i,
                     (int)t.outcome.parts[0].verdict);
        if (t.outcome.status)
            assert_holds(t.outcome.message, cases[i].says);
        test_stream_close(&t);
    }
}

Test(gemini_response, a_completion_does_not_grow_together_with_its_prompt)
{
    static const char *const prompts[][2] = {{"{\"prompt\":\"Once\"}", " upon a"},
                                             {"{\"prompt\":\"Once \"}", "upon a"},
                                             {"{\"prompt\":\"Once\\n\"}", "upon a"}};
    for (size_t i = 0; i < ARRAY_LEN(prompts); i++) {
        struct provider_member m = test_verbatim(NULL, prompts[i][0]);
        m.completion = true;
        struct provider_call call = test_encode(&google, MODE_DEFAULT, &m, 1);
        struct provider_outcome out = test_decode(
            &google, &call, &m,
            test_response(200,
                          "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"upon\"},{\"text\":\" a\"}]},"
                          "\"finishReason\":\"STOP\"}],\"responseId\":\"R\",\"modelVersion\":\"g\"}"),
            &arena);
        char expected[300];
        snprintf(expected, sizeof(expected),
                 "{\"id\":\"cmpl-R\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"g\","
                 "\"choices\":[{"
                 "\"index\":0,\"text\":\"%s\",\"logprobs\":null,\"finish_reason\":\"stop\"}]}",
                 prompts[i][1]);
        assert_slice(out.parts[0].text, prompts[i][1]);
        test_same_json(out.parts[0].response, expected);
        provider_call_fini(&call);
    }
}
