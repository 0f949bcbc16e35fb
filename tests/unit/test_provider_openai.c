/* The OpenAI codec: exact requests, and every shape of answer. */
#include "provider_help.h"
#include "json/write.h"

static const struct provider local = {.kind = PROVIDER_OPENAI,
                                      .base_url = "http://127.0.0.1:8080/v1/",
                                      .model = "stories",
                                      .api_key = "sk-test-0123456789abcdef"};

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(openai, .init = setup, .fini = teardown);

Test(openai, plain_request)
{
    struct provider_member m = test_member("What is \"AI\"?\n");
    struct provider_call call = test_encode(&local, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/chat/completions");
    test_same_json(buf_slice(&call.body),
                   "{\"model\":\"stories\",\"messages\":[{\"role\":\"user\",\"content\":\"What is "
                   "\\\"AI\\\"?\\n\"}],\"max_tokens\":100}");
    provider_call_fini(&call);
}

Test(openai, plain_request_with_everything)
{
    struct provider_member m = test_member("now?");
    m.system_prompt = slice_of("Be kind.");
    m.messages = slice_of(" [ {\"role\":\"user\",\"content\":\"a\"}, "
                          "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"b]\"}]} ] ");
    m.model = slice_of("other");
    m.temperature = 0.7;
    m.extra = slice_of("{\"top_p\":0.9,\"stop\":[\"}\",\"x\"],\"seed\":9007199254740993,\"stream\":true,"
                       "\"n\":4,\"model\":\"evil\",\"max_tokens\":1,\"user\":\"é\"}");
    struct provider_call call = test_encode(&local, MODE_DEFAULT, &m, 1);
    test_same_json(
        buf_slice(&call.body),
        "{\"model\":\"other\",\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},"
        "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"b]\"}]},{\"role\":\"user\",\"content\":\"now?\"}],\"temperature\":0.7,"
        "\"max_tokens\":100,\"top_p\":0.9,\"stop\":[\"}\",\"x\"],\"seed\":9007199254740993,"
        "\"user\":\"é\"}");
    assert_holds(buf_slice(&call.body), "9007199254740993"); /* all its digits */
    provider_call_fini(&call);
    m.prompt = slice_of("");
    m.extra = slice_of("{ }");
    call = test_encode(&local, MODE_DEFAULT, &m, 1);
    assert_holds_not(buf_slice(&call.body), "now?");
    provider_call_fini(&call);
    m.messages = slice_of("[]");
    call = test_encode(&local, MODE_DEFAULT, &m, 1);
    cJSON_Delete(test_parse(buf_slice(&call.body)));
    provider_call_fini(&call);
}

Test(openai, max_tokens_key)
{
    static const struct {
        const char *base, *model, *key;
    } cases[] = {
        {"https://api.openai.com/v1", "gpt-5-mini", "\"max_completion_tokens\":100"},
        {"", "o3", "\"max_completion_tokens\":100"},
        {"https://api.openai.com/v1/", "gpt-4o-mini", "\"max_tokens\":100"},
        {"https://api.openai.com.evil.example/v1", "o1", "\"max_tokens\":100"},
        {"http://127.0.0.1:1/v1", "o4-mini", "\"max_tokens\":100"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider p = local;
        p.base_url = cases[i].base;
        p.model = cases[i].model;
        struct provider_member m = test_member("x");
        struct provider_call call = test_encode(&p, MODE_DEFAULT, &m, 1);
        assert_holds(buf_slice(&call.body), cases[i].key);
        provider_call_fini(&call);
    }
}

Test(openai, combined_request)
{
    struct provider_member m[2] = {test_member("What is \"AI\"?"), test_member("Why?\nNow")};
    m[0].temperature = m[1].temperature = 0.5;
    m[1].max_tokens = 30;
    struct provider_call call = test_encode(&local, MODE_DEFAULT, m, 2);
    cr_assert_eq(call.mode, MODE_COMBINED);
    struct buf text, expected;
    struct json_writer w;
    buf_init(&text, 1 << 16);
    buf_init(&expected, 1 << 16);
    json_writer_init(&w, &expected);
    json_object_begin(&w);
    json_field_cstr(&w, "model", "stories");
    json_key(&w, "messages");
    json_array_begin(&w);
    combined_instruction(&text, m, 2, call.ids);
    json_object_begin(&w);
    json_field_cstr(&w, "role", "system");
    json_field_text(&w, "content", buf_slice(&text));
    json_object_end(&w);
    buf_clear(&text);
    combined_questions(&text, m, 2, call.ids);
    json_object_begin(&w);
    json_field_cstr(&w, "role", "user");
    json_field_text(&w, "content", buf_slice(&text));
    json_object_end(&w);
    json_array_end(&w);
    buf_clear(&text);
    combined_schema(&text, 2, call.ids, COMBINED_OPENAI);
    json_key(&w, "response_format");
    json_object_begin(&w);
    json_field_cstr(&w, "type", "json_schema");
    json_key(&w, "json_schema");
    json_object_begin(&w);
    json_field_cstr(&w, "name", "answers");
    json_field_bool(&w, "strict", true);
    json_key(&w, "schema");
    json_raw(&w, buf_slice(&text));
    json_object_end(&w);
    json_object_end(&w);
    json_key(&w, "temperature");
    json_double(&w, 0.5);
    json_field_u64(&w, "max_tokens", combined_max_tokens(m, 2));
    json_object_end(&w);
    cr_assert_gt(combined_max_tokens(m, 2), 130);
    cr_assert_lt(combined_max_tokens(m, 2), 500);
    test_same_json(buf_slice(&call.body), expected.data);
    buf_fini(&text);
    buf_fini(&expected);
    provider_call_fini(&call);
}

Test(openai, array_request)
{
    struct provider_member m[2] = {test_member("one"), test_member("two")};
    m[0].system_prompt = m[1].system_prompt = slice_of("Sys");
    m[1].max_tokens = 300;
    struct provider_call call = test_encode(&local, MODE_ARRAY, m, 2);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/completions");
    test_same_json(buf_slice(&call.body),
                   "{\"model\":\"stories\",\"prompt\":[\"Sys\\n\\none\",\"Sys\\n\\ntwo\"],"
                   "\"max_tokens\":300}");
    provider_call_fini(&call);
}

static struct provider_outcome plain(const char *body)
{
    static struct provider_member m;
    m = test_member("What is AI?");
    struct provider_call call = test_encode(&local, MODE_DEFAULT, &m, 1);
    struct provider_outcome out = test_decode(&local, &call, &m, test_response(200, body), &arena);
    provider_call_fini(&call);
    return out;
}

Test(openai, plain_answer)
{
    struct provider_outcome o =
        plain("{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"It is \\u00e9.\","
              "\"refusal\":null},\"finish_reason\":\"stop\",\"logprobs\":{\"content\":[{\"logprob\":-0.5},"
              "{\"logprob\":-1.5}]}}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5}}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(o.parts[0].text, "It is é.");
    assert_slice(o.parts[0].finish_reason, "stop");
    cr_assert_eq(o.prompt_tokens, 12);
    cr_assert_eq(o.parts[0].completion_tokens, 5);
    cr_assert_float_eq(o.parts[0].confidence, exp(-1), 1e-12);
    cr_assert_eq(o.status, 0);
    cr_assert_not(o.discarded);
}

Test(openai, cut_plain_answer_is_an_answer)
{
    struct provider_outcome o =
        plain("{\"choices\":[{\"message\":{\"content\":\"half\"},\"finish_reason\":\"length\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(o.parts[0].finish_reason, "length");
    cr_assert(isnan(o.parts[0].confidence));
}

Test(openai, content_in_parts)
{
    struct provider_outcome o = plain(
        "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"thinking\",\"text\":\"no\"},{\"type\":\"text\","
        "\"text\":\"a\"},7,{\"type\":\"text\"},{\"type\":\"text\",\"text\":\"b\"}]}}]}");
    assert_slice(o.parts[0].text, "ab");
    assert_slice(o.parts[0].finish_reason, "stop");
}

Test(openai, filtered_and_refused)
{
    struct provider_outcome o =
        plain("{\"choices\":[{\"message\":{\"content\":\"part\"},\"finish_reason\":\"content_filter\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_FILTERED);
    cr_assert_eq(o.status, 400);
    cr_assert_str_eq(o.error_code, "CONTENT_FILTERED");
    cr_assert_str_eq(o.error_type, "content_filter");
    o = plain("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"I cannot help.\"}}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_FILTERED);
    assert_holds(o.message, "I cannot help.");
}

Test(openai, empty_answers_are_missing)
{
    struct provider_outcome o = plain("{\"choices\":[{\"message\":{\"content\":\"\"}}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
    cr_assert_eq(o.status, 502);
    cr_assert_str_eq(o.error_code, "BAD_UPSTREAM_ANSWER");
    o = plain("{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"length\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
    assert_holds(o.message, "max_tokens");
}

/* 70 levels: past the depth that the scan allows. */
static const char *deep(void)
{
    static char text[200];
    memset(text, '[', 70);
    memset(text + 70, ']', 70);
    text[140] = 0;
    return text;
}

Test(openai, hostile_bodies_with_200)
{
    const char *const bodies[] = {
        "",
        "<html><body>502 Bad Gateway</body></html>",
        "{",
        "null",
        "true",
        "7",
        "\"text\"",
        "[]",
        "{}",
        "{\"choices\":null}",
        "{\"choices\":[]}",
        "{\"choices\":{}}",
        "{\"choices\":{\"0\":{}}}",
        "{\"choices\":[null]}",
        "{\"choices\":[7]}",
        "{\"choices\":[[]]}",
        "{\"choices\":[{}]}",
        "{\"choices\":[{\"message\":\"x\"}]}",
        "{\"choices\":[{\"message\":[\"content\"]}]}",
        "{\"choices\":[{\"message\":{\"content\":7}}]}",
        "{\"choices\":[{\"message\":{\"content\":{}}}]}",
        "{\"choices\":[{\"message\":{\"content\":[7,null,{\"type\":7,\"text\":[]}]}}]}",
        "{\"choices\":[{\"message\":{\"content\":\"cut",
        "{\"error\":null}",
        "{\"error\":[]}",
        "{\"choices\":[{\"message\":{\"content\":\"x\",\"content\":\"y\"}}]}",
        "{\"choices\":[{\"message\":{\"content\":\"\\u0000\"}}]}",
        "\xef\xbb\xbf{}",
        "\xff\xfe",
        deep(),
        "{\"n\":123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890}",
        "data: {\"choices\":[]}\n\n",
        "{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"n\":1e999}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = plain(bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(o.status, 502, "%s", bodies[i]);
        cr_assert_str_eq(o.error_code, "BAD_UPSTREAM_ANSWER");
        cr_assert(o.message.n > 10 && o.message.p[o.message.n - 1] == '.', "%s", o.message.p);
        cr_assert_not(o.retry_helps);
    }
}

Test(openai, hostile_numbers)
{
    static const char *const usages[] = {"1e300", "-5", "1.5", "\"7\"", "null", "[]", "1e10", "true"};
    char body[500];
    for (size_t i = 0; i < ARRAY_LEN(usages); i++) {
        snprintf(
            body, sizeof(body),
            "{\"choices\":[{\"message\":{\"content\":\"ok\"},\"finish_reason\":%s,\"logprobs\":{\"content\":"
            "[{\"logprob\":%s}]}}],\"usage\":{\"prompt_tokens\":%s,\"completion_tokens\":3}}",
            usages[i], usages[i], usages[i]);
        struct provider_outcome o = plain(body);
        cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED, "%s", body);
        cr_assert_eq(o.prompt_tokens, 0, "%s", body);
        cr_assert_eq(o.completion_tokens, 3);
        cr_assert(isnan(o.parts[0].confidence) || (o.parts[0].confidence >= 0 && o.parts[0].confidence <= 1));
    }
}

Test(openai, error_under_200)
{
    struct provider_outcome o =
        plain("{\"error\":{\"message\":\"busy with sk-test-0123456789abcdef\",\"code\":502}}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
    assert_holds(o.message, "busy with");
    assert_holds_not(o.message, "0123456789abcdef");
}

static struct provider_outcome array(const char *body)
{
    static struct provider_member m[3];
    m[0] = test_member("aaaa");
    m[1] = test_member("bbbb");
    m[2] = test_member("cccc");
    struct provider_call call = test_encode(&local, MODE_ARRAY, m, 3);
    struct provider_outcome out = test_decode(&local, &call, m, test_response(200, body), &arena);
    provider_call_fini(&call);
    return out;
}

Test(openai, array_answers)
{
    struct provider_outcome o =
        array("{\"choices\":[{\"index\":2,\"text\":\"C\"},{\"index\":0,\"text\":\"A\","
              "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":7,"
              "\"completion_tokens\":9}}");
    assert_slice(o.parts[0].text, "A");
    assert_slice(o.parts[0].finish_reason, "length");
    cr_assert_eq(o.parts[1].verdict, VERDICT_MISSING);
    assert_slice(o.parts[2].text, "C");
    cr_assert_eq(o.parts[1].completion_tokens, 0);
    cr_assert_eq(o.status, 502);
    o = array("{\"choices\":[{\"index\":0,\"text\":\"A\"},{\"index\":1,\"text\":\"\",\"finish_reason\":"
              "\"content_filter\"},{\"index\":2,\"text\":\"\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED);
    cr_assert_eq(o.parts[1].verdict, VERDICT_FILTERED);
    cr_assert_eq(o.parts[2].verdict, VERDICT_MISSING);
    cr_assert_str_eq(o.error_code, "CONTENT_FILTERED");
}

Test(openai, array_answers_that_do_not_fit)
{
    static const char *const choices[] = {
        "{\"index\":0,\"text\":\"A\"},{\"index\":0,\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},{\"index\":3,\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},{\"index\":-1,\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},{\"index\":0.5,\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},{\"index\":1e99,\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},{\"text\":\"B\"}",
        "{\"index\":0,\"text\":\"A\"},null",
    };
    char body[300];
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        snprintf(body, sizeof(body), "{\"choices\":[%s]}", choices[i]);
        struct provider_outcome o = array(body);
        cr_assert(o.discarded, "%s", body);
        for (size_t k = 0; k < 3; k++) {
            cr_assert_eq(o.parts[k].verdict, VERDICT_MISSING);
            cr_assert_null(o.parts[k].text.p);
        }
    }
}
