/* The codec of a model service of one's own: exact requests, every shape of answer, the missing endpoint. */
#include "provider_help.h"

static const struct provider service = {.kind = PROVIDER_MODEL_SERVICE,
                                        .base_url = "http://127.0.0.1:8001/",
                                        .model = "SmolLM2-135M-Instruct",
                                        .api_key = "service-key"};

static struct arena arena;
static struct provider_member two[2];
static struct provider_call call;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
    two[0] = test_member("What is 2+2?");
    two[1] = test_member("Define AI");
}

static void teardown(void)
{
    provider_call_fini(&call);
    arena_fini(&arena);
}

TestSuite(model_service, .init = setup, .fini = teardown);

static struct provider_outcome decode_two(int status, const char *body)
{
    provider_call_fini(&call);
    call = test_encode(&service, MODE_DEFAULT, two, 2);
    return test_decode(&service, &call, two, test_response(status, body), &arena);
}

/* One prompt, with the endpoint for several known to be missing or not. */
static struct provider_outcome decode_one(struct provider_member *m, bool array_missing, int status,
                                          const char *body)
{
    struct provider p = service;
    p.array_missing = array_missing;
    provider_call_fini(&call);
    call = test_encode(&p, array_missing ? MODE_CONCURRENT : MODE_ARRAY, m, 1);
    return test_decode(&p, &call, m, test_response(status, body), &arena);
}

Test(model_service, several_prompts_in_one_call)
{
    call = test_encode(&service, MODE_DEFAULT, two, 2);
    cr_assert_eq(call.mode, MODE_ARRAY);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate_batch");
    cr_assert_null(call.socket);
    cr_assert_str_eq(call.headers, "Content-Type: application/json\nAccept: application/json\n"
                                   "X-API-Key: service-key\n");
    test_same_json(buf_slice(&call.body),
                   "{\"prompts\":[\"What is 2+2?\",\"Define AI\"],\"max_new_tokens\":100}");
}

Test(model_service, one_prompt_is_an_array_of_one_until_there_is_none)
{
    struct provider p = service;
    two[0].max_tokens = 7;
    call = test_encode(&p, MODE_ARRAY, two, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate_batch");
    test_same_json(buf_slice(&call.body), "{\"prompts\":[\"What is 2+2?\"],\"max_new_tokens\":7}");
    provider_call_fini(&call);
    p.array_missing = true;
    call = test_encode(&p, MODE_ARRAY, two, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate");
    test_same_json(buf_slice(&call.body), "{\"prompt\":\"What is 2+2?\",\"max_new_tokens\":7}");
}

Test(model_service, concurrent_by_configuration_never_asks_for_several)
{
    two[0].completion = true;
    call = test_encode(&service, MODE_CONCURRENT, two, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate");
}

Test(model_service, default_address_and_no_key)
{
    struct provider p = service;
    p.base_url = p.api_key = "";
    call = test_encode(&p, MODE_CONCURRENT, two, 1);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8001/generate");
    cr_assert_null(strstr(call.headers, "API-Key"));
}

Test(model_service, behind_a_unix_socket)
{
    struct provider p = service;
    p.base_url = "unix:/run/model.sock";
    call = test_encode(&p, MODE_DEFAULT, two, 2);
    cr_assert_str_eq(call.url, "http://localhost/generate_batch");
    cr_assert_str_eq(call.socket, "/run/model.sock");
}

Test(model_service, system_prompt_and_history_stand_in_front)
{
    two[0].system_prompt = slice_of("Be \"brief\".");
    two[0].messages =
        slice_of("[{\"role\":\"user\",\"content\":\"Hello\"},{\"role\":\"assistant\",\"content\":"
                 "\"Hi!\"},{\"content\":\"x\"}]");
    call = test_encode(&service, MODE_CONCURRENT, two, 1);
    test_same_json(buf_slice(&call.body),
                   "{\"prompt\":\"Be \\\"brief\\\".\\n\\nuser: Hello\\n\\nassistant: Hi!\\n\\nuser: x\\n\\n"
                   "What is 2+2?\",\"max_new_tokens\":100}");
}

Test(model_service, histories_of_other_things_than_texts_are_refused)
{
    static const char *const bad[] = {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "[1]",
                                      "[{\"role\":\"user\"}]", "[", "[{\"role\":\"user\",\"content\":null}]"};
    uint64_t seed = 42;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};
        two[0].messages = slice_of(bad[i]);
        cr_assert_eq(
            provider_encode(&service, MODE_ARRAY, two, 1, TEST_BODY_MAX, test_random_bytes, &seed, &call, &e),
            bad[i][1] ? ERR_NOT_FOUND : ERR_INVAL, "%s", bad[i]);
        cr_assert(e.text[0]);
    }
}

Test(model_service, limits)
{
    struct err e = {0};
    uint64_t seed = 42;
    cr_assert_eq(provider_encode(&service, MODE_DEFAULT, two, 2, 20, test_random_bytes, &seed, &call, &e),
                 ERR_LIMIT);
    cr_assert_eq(provider_encode(&service, MODE_CONCURRENT, two, 2, TEST_BODY_MAX, test_random_bytes, &seed,
                                 &call, &e),
                 ERR_INVAL, "one prompt a call");
}

Test(model_service, texts_go_to_their_prompts)
{
    struct provider_outcome o =
        decode_two(200, "{\"generated_texts\":[\"It is 4.\",\"Define AI: a field\"],\"took\":1}");
    assert_slice(o.parts[0].text, "It is 4.");
    assert_slice(o.parts[1].text, "Define AI: a field"); /* a question is no beginning to be stripped */
    assert_slice(o.parts[0].finish_reason, "stop");
    cr_assert_eq(o.status, 0);
    cr_assert_eq(o.prompt_tokens + o.completion_tokens, 0, "a model service says nothing of tokens");
}

Test(model_service, another_number_of_texts_is_never_handed_out)
{
    static const char *const bodies[] = {"{\"generated_texts\":[\"one\"]}", "{\"generated_texts\":[]}",
                                         "{\"generated_texts\":[\"one\",\"two\",\"three\"]}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = decode_two(200, bodies[i]);
        cr_assert(o.discarded, "%s", bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
        cr_assert_eq(o.parts[1].verdict, VERDICT_MISSING);
        cr_assert_null(o.parts[0].text.p);
        assert_holds(o.message, "another number of texts");
        cr_assert_not(o.nothing_ran, "it ran: asking again is a repair");
    }
}

Test(model_service, a_text_that_is_none_is_missing_alone)
{
    static const char *const bodies[] = {"{\"generated_texts\":[\"one\",null]}",
                                         "{\"generated_texts\":[\"one\",\"\"]}",
                                         "{\"generated_texts\":[\"one\",{\"text\":\"two\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = decode_two(200, bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED, "%s", bodies[i]);
        cr_assert_eq(o.parts[1].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(o.status, 502);
    }
}

Test(model_service, other_shapes_are_no_answers)
{
    static const char *const bodies[] = {"{\"generated_text\":\"one\"}",
                                         "{\"generated_texts\":\"one\"}",
                                         "[\"one\",\"two\"]",
                                         "null",
                                         "",
                                         "<html>",
                                         "{\"generated_texts\":{\"0\":\"a\",\"1\":\"b\"}}",
                                         "{\"generated_texts\":[null,null]}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct provider_outcome o = decode_two(200, bodies[i]);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(o.parts[1].verdict, VERDICT_MISSING, "%s", bodies[i]);
        cr_assert_eq(o.status, 502, "%s", bodies[i]);
    }
}

Test(model_service, prompt_in_front_of_a_continuation_is_stripped)
{
    struct provider_member m = test_member("The future of AI is");
    m.completion = true;
    struct provider_outcome o =
        decode_one(&m, true, 200, "{\"generated_text\":\"The future of AI is promising\"}");
    assert_slice(o.parts[0].text, " promising");
    o = decode_one(&m, true, 200, "{\"generated_text\":\" promising\"}");
    assert_slice(o.parts[0].text, " promising");
    o = decode_one(&m, false, 200, "{\"generated_texts\":[\"The future of AI is bright\"]}");
    assert_slice(o.parts[0].text, " bright");
    o = decode_one(&m, true, 200, "{\"generated_text\":\"bright\"}");
    assert_slice(o.parts[0].text, "bright"); /* as the model has it: it may go on in the middle of a word */
    o = decode_one(&m, true, 200, "{\"generated_text\":\"The future of AI is\"}");
    assert_slice(o.parts[0].text, "The future of AI is"); /* nothing would be left */
    m.completion = false;
    o = decode_one(&m, true, 200, "{\"generated_text\":\"The future of AI is promising\"}");
    assert_slice(o.parts[0].text, "The future of AI is promising");
}

Test(model_service, missing_endpoint_ran_nothing)
{
    static const int statuses[] = {404, 405, 501};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct provider_outcome o = decode_two(statuses[i], "{\"detail\":\"Not Found\"}");
        cr_assert(o.array_missing && o.nothing_ran);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
        cr_assert_eq(o.parts[1].verdict, VERDICT_MISSING);
        cr_assert(decode_one(two, false, statuses[i], "").array_missing, "of one, too");
    }
    struct provider_outcome o = decode_one(two, true, 404, "{\"detail\":\"Not Found\"}");
    cr_assert_not(o.array_missing, "/generate has no other to fall back to");
    cr_assert_eq(o.parts[0].verdict, VERDICT_FAILED);
    cr_assert_eq(o.status, 400);
    assert_holds(o.message, "base_url");
    cr_assert_not(decode_two(400, "").array_missing);
    cr_assert_not(decode_two(500, "").array_missing);
}

Test(model_service, refused_as_a_whole_each_may_pass_alone)
{
    struct provider_outcome o = decode_two(
        422, "{\"detail\":[{\"loc\":[\"body\",\"prompts\",1],\"msg\":\"prompt too long\",\"type\":\"x\"}]}");
    cr_assert(o.nothing_ran);
    cr_assert_not(o.array_missing);
    cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
    assert_holds(o.message, "prompt too long");
    o = decode_one(two, false, 422, "{\"detail\":[{\"msg\":\"prompt too long\"}]}");
    cr_assert_eq(o.parts[0].verdict, VERDICT_FAILED);
    cr_assert_eq(o.status, 400);
    assert_holds(o.message, "prompt too long");
}

Test(model_service, errors)
{
    static const struct {
        int status;
        const char *body;
        enum verdict verdict;
        int client;
        bool loading;
        const char *words;
    } cases[] = {
        {500, "{\"detail\":\"CUDA out of memory\"}", VERDICT_FAILED, 503, false, "CUDA out of memory"},
        {500, "Internal Server Error", VERDICT_FAILED, 503, false, "internal error"},
        {503, "{\"detail\":\"Model is still loading\"}", VERDICT_FAILED, 503, true, "Model is still loading"},
        {503, "{\"error\":\"busy\"}", VERDICT_FAILED, 503, false, "busy"},
        {500, "{\"detail\":\"error loading shared library\"}", VERDICT_FAILED, 503, false, "library"},
        {503, "{\"error\":{\"message\":\"Loading model\"}}", VERDICT_FAILED, 503, true, "Loading model"},
        {401, "{\"detail\":\"Invalid API key service-key\"}", VERDICT_FAILED, 401, false, "API key"},
        {429, "{\"detail\":\"slow down\"}", VERDICT_FAILED, 429, false, "slow down"},
        {502, "", VERDICT_UNKNOWN, 502, false, "may have been charged"},
        {200, "{\"detail\":\"no model\"}", VERDICT_MISSING, 502, false, "no model"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_outcome o = decode_two(cases[i].status, cases[i].body);
        cr_assert_eq(o.parts[0].verdict, cases[i].verdict, "%s", cases[i].body);
        cr_assert_eq(o.parts[1].verdict, cases[i].verdict, "%s", cases[i].body);
        cr_assert_eq(o.status, cases[i].client, "%s: %d", cases[i].body, o.status);
        cr_assert_eq(o.loading, cases[i].loading, "%s", cases[i].body);
        assert_holds(o.message, cases[i].words);
        assert_holds_not(o.message, "service-key");
    }
}

Test(model_service, transport)
{
    static const struct {
        enum transport transport;
        enum verdict verdict;
        bool away;
    } cases[] = {{TRANSPORT_NOT_SENT, VERDICT_FAILED, true},
                 {TRANSPORT_LOST, VERDICT_UNKNOWN, true},
                 {TRANSPORT_TIMED_OUT, VERDICT_UNKNOWN, false}};
    call = test_encode(&service, MODE_DEFAULT, two, 2);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_response r = {.transport = cases[i].transport,
                                      .transport_error = "Connection refused"};
        struct provider_outcome o = test_decode(&service, &call, two, r, &arena);
        cr_assert_eq(o.parts[1].verdict, cases[i].verdict);
        cr_assert_eq(o.away, cases[i].away);
        cr_assert_not(o.array_missing);
    }
}
