/* The Gemini codec: exact requests, and every shape of answer. */
#include "provider_help.h"
#include "json/write.h"

static const struct provider google = {.kind = PROVIDER_GEMINI,
                                       .base_url = "http://127.0.0.1:9000/",
                                       .model = "gemini-2.0-flash",
                                       .api_key = "AIzaTest-0123456789"};

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(gemini, .init = setup, .fini = teardown);

Test(gemini, plain_request)
{
    struct provider_member m = test_member("What is \"AI\"?");
    struct provider_call call = test_encode(&google, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:9000/v1beta/models/gemini-2.0-flash:generateContent");
    cr_assert_null(strstr(call.url, "AIza"));
    test_same_json(buf_slice(&call.body),
                   "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"What is \\\"AI\\\"?\"}]}],"
                   "\"generationConfig\":{\"maxOutputTokens\":100}}");
    provider_call_fini(&call);
}

Test(gemini, plain_request_with_everything)
{
    struct provider_member m = test_member("now?");
    m.system_prompt = slice_of("Be kind.");
    m.messages =
        slice_of("[{\"role\":\"system\",\"content\":\"And brief.\"},{\"role\":\"user\",\"content\":"
                 "\"a\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}]");
    m.temperature = 0;
    m.extra = slice_of("{\"top_p\":0.9,\"stop\":\"END\",\"seed\":5}");
    struct provider_call call = test_encode(&google, MODE_DEFAULT, &m, 1);
    test_same_json(
        buf_slice(&call.body),
        "{\"systemInstruction\":{\"parts\":[{\"text\":\"Be kind.\"},{\"text\":\"And brief.\"}]},"
        "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\",\"parts\":"
        "[{\"text\":\"b\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"now?\"}]}],"
        "\"generationConfig\":{\"maxOutputTokens\":100,\"temperature\":0,\"topP\":0.9,"
        "\"stopSequences\":[\"END\"],\"seed\":5}}");
    provider_call_fini(&call);
    static const char *const refused[] = {
        "[{\"role\":\"tool\",\"content\":\"x\"}]", "[{\"role\":\"user\",\"content\":7}]", "[7]",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "[{\"content\":\"x\"}]"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct err e = {0};
        uint64_t seed = 1;
        m.messages = slice_of(refused[i]);
        cr_assert_eq(provider_encode(&google, MODE_DEFAULT, &m, 1, 9999, test_random_bytes, &seed, &call, &e),
                     ERR_NOT_FOUND, "%s", refused[i]);
    }
}

Test(gemini, combined_request)
{
    struct provider_member m[2] = {test_member("What is AI?"), test_member("Why?")};
    struct provider_call call = test_encode(&google, MODE_ARRAY, m, 2);
    cr_assert_eq(call.mode, MODE_COMBINED);
    char expected[4000];
    snprintf(
        expected, sizeof(expected),
        "{\"maxOutputTokens\":%u,\"responseMimeType\":\"application/json\",\"responseSchema\":{\"type\":"
        "\"OBJECT\",\"properties\":{\"%s\":{\"type\":\"OBJECT\",\"properties\":{\"echo\":{\"type\":"
        "\"STRING\"},\"answer\":{\"type\":\"STRING\"}},\"required\":[\"echo\",\"answer\"],"
        "\"propertyOrdering\":[\"echo\",\"answer\"]},\"%s\":{\"type\":\"OBJECT\",\"properties\":{\"echo\":{"
        "\"type\":\"STRING\"},\"answer\":{\"type\":\"STRING\"}},\"required\":[\"echo\",\"answer\"],"
        "\"propertyOrdering\":[\"echo\",\"answer\"]}},\"required\":[\"%s\",\"%s\"]}}",
        combined_max_tokens(m, 2), call.ids[0], call.ids[1], call.ids[0], call.ids[1]);
    cJSON *root = test_parse(buf_slice(&call.body));
    char *config = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(root, "generationConfig"));
    test_same_json(slice_of(config), expected);
    cJSON_free(config);
    cJSON_Delete(root);
    assert_holds_not(buf_slice(&call.body), "additionalProperties");

    struct buf text, body;
    struct json_writer w;
    buf_init(&text, 1 << 16);
    buf_init(&body, 1 << 16);
    json_writer_init(&w, &body);
    combined_instruction(&text, m, 2, call.ids);
    json_text(&w, buf_slice(&text));
    assert_holds(buf_slice(&call.body), body.data);
    buf_clear(&text);
    buf_clear(&body);
    json_writer_init(&w, &body);
    combined_questions(&text, m, 2, call.ids);
    json_text(&w, buf_slice(&text));
    assert_holds(buf_slice(&call.body), body.data);
    buf_fini(&text);
    buf_fini(&body);
    provider_call_fini(&call);
}

Test(gemini, model_names)
{
    static const struct {
        const char *model, *url; /* NULL: refused */
    } cases[] = {
        {"gemini-1.5_pro.x", "http://127.0.0.1:9000/v1beta/models/gemini-1.5_pro.x:generateContent"},
        {"models/g", "http://127.0.0.1:9000/v1beta/models/g:generateContent"},
        {"tunedModels/mine-7", "http://127.0.0.1:9000/v1beta/tunedModels/mine-7:generateContent"},
        {"../../x", NULL},
        {"a/../b", NULL},
        {"a/..", NULL},
        {"/a", NULL},
        {"a/", NULL},
        {"a//b", NULL},
        {"a?key=1", NULL},
        {"a%2e", NULL},
        {"a:b", NULL},
        {"a b", NULL},
        {"a\nb", NULL},
        {"", NULL},
        {"é", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider p = google;
        p.model = cases[i].model;
        struct provider_member m = test_member("x");
        struct provider_call call;
        struct err e = {0};
        int rc = provider_encode(&p, MODE_DEFAULT, &m, 1, 9999, test_random_bytes, NULL, &call, &e);
        cr_assert_eq(rc, cases[i].url ? 0 : ERR_INVAL, "%s", cases[i].model);
        if (rc)
            continue;
        cr_assert_str_eq(call.url, cases[i].url);
        provider_call_fini(&call);
    }
}

static struct provider_outcome plain(const char *body)
{
    static struct provider_member m;
    m = test_member("What is AI?");
    struct provider_call call = test_encode(&google, MODE_DEFAULT, &m, 1);
    struct provider_outcome out = test_decode(&google, &call, &m, test_response(200, body), &arena);
    provider_call_fini(&call);
    return out;
}

Test(gemini, plain_answer)
{
    struct provider_outcome o = plain(
        "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true},"
        "{\"text\":\"It \"},{\"inlineData\":{}},{\"text\":\"is.\"}]},\"finishReason\":\"STOP\","
        "\"avgLogprobs\":-0.25}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":5,"
        "\"thoughtsTokenCount\":6,\"totalTokenCount\":15}}");
    assert_slice(o.parts[0].text, "It is.");
    assert_slice(o.parts[0].finish_reason, "stop");
    cr_assert_eq(o.prompt_tokens, 4);
    cr_assert_eq(o.completion_tokens, 11);
    cr_assert_float_eq(o.parts[0].confidence, exp(-0.25), 1e-12);
    o = plain(
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"half\"}]},\"finishReason\":\"MAX_TOKENS\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(o.parts[0].finish_reason, "length");
}

Test(gemini, filtered)
{
    static const char *const bodies[] = {
        "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{"
        "\"promptTokenCount\":4}}",
        "{\"candidates\":[{\"finishReason\":\"SAFETY\"}]}",
        "{\"candidates\":[{\"finishReason\":\"RECITATION\",\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = plain(bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_FILTERED);
        cr_assert_eq(o.status, 400);
        cr_assert_str_eq(o.error_code, "CONTENT_FILTERED");
        cr_assert_null(o.parts[0].text.p);
    }
}

Test(gemini, hostile_bodies_with_200)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "{",
        "[]",
        "null",
        "[{}]",
        "{}",
        "{\"candidates\":[]}",
        "{\"candidates\":7}",
        "{\"candidates\":[null]}",
        "{\"candidates\":[\"x\"]}",
        "{\"candidates\":[{}]}",
        "{\"candidates\":[{\"content\":7}]}",
        "{\"candidates\":[{\"content\":{\"parts\":{}}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[7,null]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":7}]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"thinking\",\"thought\":true}]}}]}",
        "{\"candidates\":[{\"finishReason\":7,\"avgLogprobs\":\"x\"}]}",
        "{\"promptFeedback\":7}",
        "{\"promptFeedback\":{\"blockReason\":7}}",
        "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}",
        "[{\"error\":{\"code\":500}}]",
        "{\"usageMetadata\":{\"promptTokenCount\":1e999}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = plain(bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(o.status, 502);
        cr_assert_str_eq(o.error_code, "BAD_UPSTREAM_ANSWER");
    }
}
