/* Requests of OpenAI's API for the mock and for a model service, which know plain texts only. */
#include "stream_help.h"

static const struct provider service = {
    .kind = PROVIDER_MODEL_SERVICE, .base_url = "http://127.0.0.1:8001", .model = "smol", .api_key = "k"};

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

TestSuite(verbatim_plain, .init = setup, .fini = teardown);

static struct provider_outcome mock(const struct provider_member *m)
{
    struct provider_outcome out;
    cr_assert_eq(mock_answer(m, 1, &arena, &out), 0);
    return out;
}

Test(verbatim_plain, the_mock_answers_in_full)
{
    struct provider_member m = test_verbatim(HI, "{\"n\":1,\"tools\":[1,2],\"logprobs\":true}");
    m.prompt = SLICE_LITERAL("say \"hi\"");
    struct provider_outcome out = mock(&m);
    cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
    test_same_json(
        out.parts[0].response,
        "{\"id\":\"chatcmpl-0192f0c1-22aa-7000-8000-000000000001\",\"object\":\"chat.completion\","
        "\"created\":1700000000,\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":\"Processed: say \\\"hi\\\"\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":5,"
        "\"total_tokens\":7}}");
    m = test_verbatim(NULL, "{\"prompt\":[\"Once\"],\"stop\":\"x\"}");
    m.prompt = SLICE_LITERAL("Once");
    m.model = SLICE_LITERAL("other");
    m.completion = true;
    out = mock(&m);
    test_same_json(
        out.parts[0].response,
        "{\"id\":\"cmpl-0192f0c1-22aa-7000-8000-000000000001\",\"object\":\"text_completion\","
        "\"created\":1700000000,\"model\":\"other\",\"choices\":[{\"index\":0,\"text\":\" Processed: "
        "Once\",\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,"
        "\"completion_tokens\":4,\"total_tokens\":5}}");
}

Test(verbatim_plain, the_mock_gives_one_answer_only)
{
    static const struct {
        const char *extra, *param;
        bool completion;
    } cases[] = {
        {"{\"a\":1,\"n\":2}", "n", false},
        {"{\"n\":3}", "n", true},
        {"{\"best_of\":3}", "best_of", true},
        {"{\"prompt\":[\"a\",\"b\"]}", "prompt", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_member m = test_verbatim(HI, cases[i].extra);
        m.completion = cases[i].completion;
        struct provider_outcome out = mock(&m);
        cr_assert_eq(out.parts[0].verdict, VERDICT_FAILED);
        cr_assert_eq(out.status, 400);
        assert_slice(out.param, cases[i].param);
        assert_holds(out.message, cases[i].param);
    }
}

static void check_service(const char *messages, const char *extra, bool completion, const char *body)
{
    struct provider_member m = test_verbatim(messages, extra);
    m.completion = completion;
    m.stream = true; /* which it cannot */
    struct provider_call call = test_encode(&service, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate");
    test_same_json(buf_slice(&call.body), body);
    cr_assert_not(call.streams);
    provider_call_fini(&call);
}

Test(verbatim_plain, a_service_is_asked_in_words)
{
    check_service(HI, NULL, false, "{\"prompt\":\"hi\",\"max_new_tokens\":100}");
    check_service(
        "[{\"role\":\"system\",\"content\":\"Be\"},{\"role\":\"developer\",\"content\":[{\"type\":\"text\","
        "\"text\":\"kind\"}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
        "\"text\",\"text\":\"b\"}]}]",
        "{\"max_completion_tokens\":7,\"temperature\":0.1,\"top_p\":1,\"stop\":null,\"n\":1,\"user\":\"u\","
        "\"response_format\":{ \"type\": \"text\" },\"logprobs\":false}",
        false, "{\"prompt\":\"Be\\n\\nkind\\n\\nab\",\"max_new_tokens\":7}");
    check_service("[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{"
                  "\"role\":\"user\","
                  "\"content\":\"c\"}]",
                  "{\"max_tokens\":9}", false,
                  "{\"prompt\":\"user: a\\n\\nassistant: b\\n\\nuser: c\\n\\n\",\"max_new_tokens\":9}");
    check_service(NULL, "{\"prompt\":[\"Once\"]}", true, "{\"prompt\":\"Once\",\"max_new_tokens\":100}");
    check_service(NULL, "{\"prompt\":\"On\\u0063e\",\"suffix\":null,\"echo\":false}", true,
                  "{\"prompt\":\"Once\",\"max_new_tokens\":100}");
}

Test(verbatim_plain, a_service_refuses_what_is_no_text)
{
    static const struct {
        const char *messages, *extra, *says;
        bool completion;
    } cases[] = {
        {HI, "{\"tools\":[{}]}", "tools:", false},
        {HI, "{\"n\":2}", "n:", false},
        {HI, "{\"stop\":[\"x\"]}", "stop:", false},
        {HI, "{\"logprobs\":true}", "logprobs:", false},
        {HI, "{\"response_format\":{\"type\":\"json_object\"}}", "response_format:", false},
        {HI, "{\"max_tokens\":\"9\"}", "max_tokens:", false},
        {HI, "{\"max_tokens\":99999999999}", "max_tokens:", false},
        {HI, "{\"prompt\":\"x\"}", "prompt:", false},
        {HI, "{\"new_thing\":0}", "new_thing:", false},
        {"[]", NULL, "messages:", false},
        {"[7]", NULL, "messages:", false},
        {"[{\"role\":\"tool\",\"content\":\"x\"}]", NULL, "messages:", false},
        {"[{\"role\":\"user\",\"content\":null}]", NULL, "messages:", false},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"text\":\"x\"}]}]", NULL, "messages",
         false},
        {NULL, "{\"prompt\":[\"a\",\"b\"]}", "prompt:", true},
        {NULL, "{}", "prompt:", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_member m = test_verbatim(cases[i].messages, cases[i].extra);
        struct provider_call call;
        struct err e = {0};
        m.completion = cases[i].completion;
        int rc =
            provider_encode(&service, MODE_DEFAULT, &m, 1, TEST_BODY_MAX, test_random_bytes, NULL, &call, &e);
        cr_assert_eq(rc, ERR_NOT_FOUND, "%zu: %d", i, rc);
        cr_assert_eq(strncmp(e.text, cases[i].says, strlen(cases[i].says)), 0, "%zu: %s", i, e.text);
    }
}

Test(verbatim_plain, a_service_answers_in_openais_words)
{
    struct provider_member m = test_verbatim(NULL, "{\"prompt\":\"Once\"}");
    m.completion = true;
    struct provider_call call = test_encode(&service, MODE_DEFAULT, &m, 1);
    static const char *const bodies[] = {"{\"generated_text\":\"Once upon\"}",
                                         "{\"generated_text\":\" upon\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome out = test_decode(&service, &call, &m, test_response(200, bodies[i]), &arena);
        assert_slice(out.parts[0].text, " upon");
        test_same_json(
            out.parts[0].response,
            "{\"id\":\"cmpl-0192f0c1-22aa-7000-8000-000000000001\",\"object\":\"text_completion\","
            "\"created\":1700000000,\"model\":\"smol\",\"choices\":[{\"index\":0,\"text\":\" upon\","
            "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":0,"
            "\"completion_tokens\":0,\"total_tokens\":0}}");
    }
    struct provider_outcome out = test_decode(&service, &call, &m, test_response(200, "{\"x\":1}"), &arena);
    cr_assert_eq(out.parts[0].verdict, VERDICT_MISSING);
    out = test_decode(&service, &call, &m, test_response(422, "{\"detail\":\"too long\"}"), &arena);
    assert_slice(out.message, "too long");
    provider_call_fini(&call);
}
