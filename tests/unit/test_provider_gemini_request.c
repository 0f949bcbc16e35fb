/* OpenAI's requests in Gemini's words: messages, tools and parameters, and what has no counterpart. */
#include "stream_help.h"

static const struct provider google = {.kind = PROVIDER_GEMINI,
                                       .base_url = "http://127.0.0.1:9000",
                                       .model = "gemini-2.5-flash",
                                       .api_key = "AIzaTest-0123456789"};

#define HI       "[{\"role\":\"user\",\"content\":\"hi\"}]"
#define HI_THERE "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"

static void check(const char *messages, const char *extra, const char *expected)
{
    struct provider_member m = test_verbatim(messages, extra);
    struct provider_call call = test_encode(&google, MODE_COMBINED, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:9000/v1beta/models/gemini-2.5-flash:generateContent");
    test_same_json(buf_slice(&call.body), expected);
    provider_call_fini(&call);
}

Test(gemini_request, nothing_is_added)
{
    check(HI, NULL, "{" HI_THERE ",\"generationConfig\":{}}");
}

Test(gemini_request, all_roles_and_kinds_of_content)
{
    check("[{\"role\":\"developer\",\"content\":\"Be\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
          "\"text\":\"a\"},"
          "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
          "png;x=y;base64,AAAA\",\"detail\":\"low\"}},"
          "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"BBBB\",\"format\":\"mp3\"}},"
          "{\"type\":\"file\",\"file\":{\"filename\":\"f\",\"file_data\":\"data:application/"
          "pdf;base64,CCCC\"}}]},"
          "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"system\",\"content\":[{\"type\":\"text\","
          "\"text\":"
          "\"kind\"}]},{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":null,"
          "\"refusal\":\"no\"},"
          "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"never\"}]}]",
          "{}",
          "{\"systemInstruction\":{\"parts\":[{\"text\":\"Be\"},{\"text\":\"kind\"}]},\"contents\":[{"
          "\"role\":\"user\","
          "\"parts\":[{\"text\":\"a\"},{\"inlineData\":{\"mimeType\":\"image/"
          "png\",\"data\":\"AAAA\"}},{\"inlineData\":"
          "{\"mimeType\":\"audio/mp3\",\"data\":\"BBBB\"}},{\"inlineData\":{\"mimeType\":\"application/"
          "pdf\",\"data\":"
          "\"CCCC\"}}]},{\"role\":\"model\",\"parts\":[{\"text\":\"b\"}]},{\"role\":\"user\",\"parts\":[{"
          "\"text\":\"\"}]},"
          "{\"role\":\"model\",\"parts\":[{\"text\":\"no\"}]},{\"role\":\"model\",\"parts\":[{\"text\":"
          "\"never\"}]}],"
          "\"generationConfig\":{}}");
}

Test(gemini_request, calls_of_functions_and_what_they_gave)
{
    check("[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{"
          "\"id\":"
          "\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\": "
          "12345678901234567890}\"},"
          "\"extra_content\":{\"google\":{\"thought_signature\":\"c2ln\"}}},{\"id\":\"c2\",\"type\":"
          "\"function\","
          "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c2\","
          "\"content\":"
          "\"warm\"},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"{"
          "\\\"t\\\":\"},"
          "{\"type\":\"text\",\"text\":\"1}\"}]},{\"role\":\"user\",\"content\":\"so?\"}]",
          "{}",
          "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{"
          "\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"n\":12345678901234567890}},"
          "\"thoughtSignature\":"
          "\"c2ln\"},{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\","
          "\"parts\":[{"
          "\"functionResponse\":{\"id\":\"c2\",\"name\":\"g\",\"response\":{\"output\":\"warm\"}}},{"
          "\"functionResponse\":"
          "{\"id\":\"c1\",\"name\":\"f\",\"response\":{\"t\":1}}}]},{\"role\":\"user\",\"parts\":[{\"text\":"
          "\"so?\"}]}],"
          "\"generationConfig\":{}}");
}

Test(gemini_request, all_parameters)
{
    check(HI,
          "{\"temperature\":0.30,\"top_p\":0.9,\"top_k\":4,\"n\":2,\"seed\":123456789012345,\"presence_"
          "penalty\":-1,"
          "\"frequency_penalty\":1,\"max_tokens\":1,\"max_completion_tokens\":7,\"stop\":[\"a\",\"b\"],"
          "\"logprobs\":true,"
          "\"top_logprobs\":3,\"reasoning_effort\":\"medium\",\"response_format\":{\"type\":\"json_schema\","
          "\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":{\"type\":\"object\","
          "\"additionalProperties\":false}}},"
          "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":false,\"parallel_tool_calls\":true,\"logit_"
          "bias\":null,"
          "\"modalities\":[ \"text\" ],\"service_tier\":\"auto\",\"prompt_cache_key\":\"k\"}",
          "{" HI_THERE
          ",\"generationConfig\":{\"temperature\":0.3,\"topP\":0.9,\"topK\":4,\"candidateCount\":2,\"seed\":"
          "123456789012345,\"presencePenalty\":-1,\"frequencyPenalty\":1,\"maxOutputTokens\":7,"
          "\"stopSequences\":[\"a\","
          "\"b\"],\"responseLogprobs\":true,\"logprobs\":3,\"thinkingConfig\":{\"thinkingBudget\":8192},"
          "\"responseMimeType\":\"application/"
          "json\",\"responseJsonSchema\":{\"type\":\"object\",\"additionalProperties\":"
          "false}}}");
    check(HI, "{\"stop\":\"a\",\"response_format\":{\"type\":\"json_object\"},\"max_tokens\":5}",
          "{" HI_THERE
          ",\"generationConfig\":{\"stopSequences\":[\"a\"],\"responseMimeType\":\"application/json\","
          "\"maxOutputTokens\":5}}");
    check(HI, "{\"response_format\":{\"type\":\"text\"},\"max_completion_tokens\":null,\"max_tokens\":5}",
          "{" HI_THERE ",\"generationConfig\":{\"maxOutputTokens\":5}}");
}

#define TOOLS                                                                                                \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"strict\":true,"  \
    "\"parameters\":{\"type\":\"object\"}}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]"
#define DECLARED                                                                                             \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\",\"parametersJsonSchema\":"  \
    "{\"type\":\"object\"}},{\"name\":\"g\"}]}]"

Test(gemini_request, tools_and_which_of_them)
{
    static const struct {
        const char *choice, *config;
    } cases[] = {
        {"\"auto\"", "{\"mode\":\"AUTO\"}"},
        {"\"none\"", "{\"mode\":\"NONE\"}"},
        {"\"required\"", "{\"mode\":\"ANY\"}"},
        {"{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
         "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"g\"]}"},
        {"{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":\"function\","
         "\"function\":"
         "{\"name\":\"f\"}}]}}",
         "{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"f\"]}"},
        {"{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":"
         "\"function\","
         "\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}",
         "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\",\"g\"]}"},
    };
    check(HI, "{" TOOLS "}", "{" HI_THERE ",\"generationConfig\":{}," DECLARED "}");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char extra[1000], expected[1000];
        snprintf(extra, sizeof(extra), "{" TOOLS ",\"tool_choice\":%s}", cases[i].choice);
        snprintf(expected, sizeof(expected),
                 "{" HI_THERE ",\"generationConfig\":{}," DECLARED
                 ",\"toolConfig\":{\"functionCallingConfig\":%s}}",
                 cases[i].config);
        check(HI, extra, expected);
    }
}

Test(gemini_request, thinking_goes_by_the_model)
{
    static const struct {
        const char *model, *effort, *config; /* NULL: refused */
    } cases[] = {
        {"gemini-2.5-pro", "low", "{\"thinkingBudget\":1024}"},
        {"gemini-2.5-flash", "none", "{\"thinkingBudget\":0}"},
        {"gemini-2.5-flash", "high", "{\"thinkingBudget\":24576}"},
        {"models/gemini-3-flash", "minimal", "{\"thinkingLevel\":\"minimal\"}"},
        {"gemini-3.5-pro", "high", "{\"thinkingLevel\":\"high\"}"},
        {"gemini-3-pro", "none", NULL},
        {"gemini-3-pro", "xhigh", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int verbatim = 0; verbatim < 2; verbatim++) {
            char extra[100], expected[300];
            struct provider_call call;
            struct err e = {0};
            snprintf(extra, sizeof(extra), "{\"reasoning_effort\":\"%s\"}", cases[i].effort);
            struct provider_member m = verbatim ? test_verbatim(HI, extra) : test_member("hi");
            m.extra = slice_of(extra);
            m.model = slice_of(cases[i].model);
            int rc = provider_encode(&google, MODE_DEFAULT, &m, 1, 9999, test_random_bytes, NULL, &call, &e);
            cr_assert_eq(rc, cases[i].config ? 0 : ERR_NOT_FOUND, "%zu", i);
            if (rc)
                continue;
            snprintf(expected, sizeof(expected),
                     "{" HI_THERE ",\"generationConfig\":{%s\"thinkingConfig\":%s}}",
                     verbatim ? "" : "\"maxOutputTokens\":100,", cases[i].config);
            test_same_json(buf_slice(&call.body), expected);
            provider_call_fini(&call);
        }
}

Test(gemini_request, what_has_no_counterpart_is_named)
{
    static const char *const extras[][2] = {
        {"{\"logit_bias\":{\"1\":2}}", "logit_bias"},
        {"{\"parallel_tool_calls\":false}", "parallel_tool_calls"},
        {"{\"modalities\":[\"text\",\"audio\"]}", "modalities"},
        {"{\"audio\":{}}", "audio"},
        {"{\"prediction\":{}}", "prediction"},
        {"{\"web_search_options\":{}}", "web_search_options"},
        {"{\"verbosity\":\"low\"}", "verbosity"},
        {"{\"functions\":[]}", "functions"},
        {"{\"new_thing\":1}", "new_thing"},
        {"{\"prompt\":\"x\"}", "prompt"},
        {"{\"n\":\"2\"}", "n"},
        {"{\"stop\":7}", "stop"},
        {"{\"logprobs\":7}", "logprobs"},
        {"{\"reasoning_effort\":3}", "reasoning_effort"},
        {"{\"response_format\":{\"type\":\"grammar\"}}", "response_format"},
        {"{\"response_format\":{\"type\":\"json_schema\"}}", "response_format"},
        {"{\"response_format\":7}", "response_format"},
        {"{\"tools\":7}", "tools"},
        {"{\"tools\":[{\"type\":\"custom\"}]}", "tools"},
        {"{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":7}}]}", "tools"},
        {"{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":7}}]}", "tools"},
        {"{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":7}}]}", "tools"},
        {"{\"tool_choice\":\"any\"}", "tool_choice"},
        {"{\"tool_choice\":{\"type\":\"function\"}}", "tool_choice"},
        {"{\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\"}}}",
         "tool_choice"},
        {"{\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"x\",\"tools\":[]}}}",
         "tool_choice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        struct provider_member m = test_verbatim(HI, extras[i][0]);
        struct provider_call call;
        struct err e = {0};
        int rc =
            provider_encode(&google, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e);
        cr_assert_eq(rc, ERR_NOT_FOUND, "%s: %d", extras[i][0], rc);
        size_t n = strlen(extras[i][1]);
        cr_assert(strncmp(e.text, extras[i][1], n) == 0 && e.text[n] == ':', "%s: %s", extras[i][0], e.text);
    }
}

#define CALLED                                                                                               \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":"    \
    "\"f\",\"arguments\":\"{}\"}}]}"

Test(gemini_request, messages_that_cannot_be_said)
{
    static const char *const messages[] = {
        "[]",
        "[7]",
        "[{\"role\":\"system\",\"content\":\"x\"}]",
        "[{\"role\":\"robot\",\"content\":\"x\"}]",
        "[{\"role\":\"user\"}]",
        "[{\"role\":\"user\",\"content\":7}]",
        "[{\"role\":\"user\",\"content\":null}]",
        "[{\"role\":\"user\",\"content\":[7]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"video\"}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/"
        "y.png\"}}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
        "png,x\"}}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"A\","
        "\"format\":\"ogg\"}}]}]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]",
        "[{\"role\":\"assistant\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
        "png;base64,A\"}}]}]",
        "[{\"role\":\"system\",\"content\":[{\"type\":\"image_url\"}]},{\"role\":\"user\",\"content\":\"x\"}"
        "]",
        "[{\"role\":\"assistant\"}]",
        "[{\"role\":\"assistant\",\"content\":\"\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}}]",
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"custom\"}]}]",
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":"
        "\"f\","
        "\"arguments\":\"[]\"}}]}]",
        "[{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\"}]",
        "[" CALLED ",{\"role\":\"tool\",\"tool_call_id\":\"d\",\"content\":\"x\"}]",
        "[" CALLED ",{\"role\":\"tool\",\"content\":\"x\"}]",
        "[" CALLED ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":[{\"type\":\"image_url\"}]}]",
        "[" CALLED ",{\"role\":\"tool\",\"tool_call_id\":\"c\"}]",
        "[" CALLED ",{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"tool\",\"tool_call_id\":\"c\","
        "\"content\":\"x\"}]",
        "[" CALLED ",{\"role\":\"assistant\",\"content\":\"y\"},{\"role\":\"tool\",\"tool_call_id\":\"c\","
        "\"content\":\"x\"}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        struct provider_member m = test_verbatim(messages[i], NULL);
        struct provider_call call;
        struct err e = {0};
        int rc =
            provider_encode(&google, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e);
        cr_assert_eq(rc, ERR_NOT_FOUND, "%s: %d", messages[i], rc);
        cr_assert_eq(strncmp(e.text, "messages:", 9), 0, "%s: %s", messages[i], e.text);
    }
}

Test(gemini_request, too_many_calls_in_a_message)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_append_text(&b, "[{\"role\":\"assistant\",\"tool_calls\":[");
    for (int i = 0; i < 129; i++)
        buf_printf(&b, "%s{\"id\":\"c%d\",\"type\":\"function\",\"function\":{\"name\":\"f\"}}", i ? "," : "",
                   i);
    buf_append_text(&b, "]}]");
    struct provider_member m = test_verbatim(b.data, NULL);
    struct provider_call call;
    struct err e = {0};
    cr_assert_eq(
        provider_encode(&google, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e),
        ERR_NOT_FOUND);
    cr_assert_not_null(strstr(e.text, "128"));
    buf_fini(&b);
}

Test(gemini_request, what_results_repeat_is_short)
{
    char messages[2000];
    snprintf(messages, sizeof(messages),
             "[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{"
             "\"name\":\"%0257d\"}}]}]",
             1);
    struct provider_member m = test_verbatim(messages, NULL);
    struct provider_call call;
    struct err e = {0};
    cr_assert_eq(
        provider_encode(&google, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e),
        ERR_NOT_FOUND);
    cr_assert_not_null(strstr(e.text, "256"));
}

Test(gemini_request, a_stream_and_a_completion)
{
    struct provider_member m =
        test_verbatim(NULL, "{\"prompt\":[\"Once \\u00e9\"],\"max_tokens\":5,\"echo\":false}");
    m.completion = m.stream = true;
    struct provider_call call = test_encode(&google, MODE_COMBINED, &m, 1);
    cr_assert_str_eq(call.url,
                     "http://127.0.0.1:9000/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    cr_assert(call.streams && call.ends_in_word);
    assert_holds(buf_slice(&call.body),
                 "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Once \\u00e9\"}]}]");
    assert_holds(buf_slice(&call.body),
                 "{\"systemInstruction\":{\"parts\":[{\"text\":\"The user's message is the");
    assert_holds(buf_slice(&call.body), "\"generationConfig\":{\"maxOutputTokens\":5}}");
    provider_call_fini(&call);
    static const char *const refused[] = {"{}",
                                          "{\"prompt\":7}",
                                          "{\"prompt\":[]}",
                                          "{\"prompt\":[\"a\",\"b\"]}",
                                          "{\"prompt\":[1]}",
                                          "{\"prompt\":\"a\",\"echo\":true}",
                                          "{\"prompt\":\"a\",\"suffix\":\"b\"}",
                                          "{\"prompt\":\"a\",\"best_of\":2}",
                                          "{\"prompt\":\"a\",\"logprobs\":2}",
                                          "{\"prompt\":\"a\",\"tools\":[{}]}"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct err e = {0};
        m.extra = slice_of(refused[i]);
        cr_assert_eq(provider_encode(&google, MODE_DEFAULT, &m, 1, 9999, test_random_bytes, NULL, &call, &e),
                     ERR_NOT_FOUND, "%s", refused[i]);
    }
    m.extra = SLICE_LITERAL("{\"prompt\":\"a\\n\"}");
    call = test_encode(&google, MODE_COMBINED, &m, 1);
    cr_assert_not(call.ends_in_word);
    provider_call_fini(&call);
}
