/* Texts to be continued: which form each provider is asked in, and what is made of its words. */
#include "provider_help.h"

static const struct provider openai = {.kind = PROVIDER_OPENAI,
                                       .base_url = "http://127.0.0.1:8080/v1",
                                       .model = "stories",
                                       .api_key = "sk-test-0123456789abcdef"};
static const struct provider gemini = {
    .kind = PROVIDER_GEMINI, .base_url = "http://127.0.0.1:1", .model = "m", .api_key = "k"};

static struct arena arena;
static struct provider_member m[2];
static struct provider_call call;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
    m[0] = test_member("Once upon a time");
    m[1] = test_member("The cat sat");
    m[0].completion = m[1].completion = true;
}

static void teardown(void)
{
    provider_call_fini(&call);
    arena_fini(&arena);
}

TestSuite(completion, .init = setup, .fini = teardown);

static struct slice continued(const struct provider *p, const char *body)
{
    struct provider_outcome o = test_decode(p, &call, m, test_response(200, body), &arena);
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED, "%s", body);
    return o.parts[0].text;
}

Test(completion, openai_has_an_endpoint_for_it)
{
    static const enum provider_mode modes[] = {MODE_DEFAULT, MODE_COMBINED, MODE_CONCURRENT, MODE_ARRAY};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        call = test_encode(&openai, modes[i], m, 1);
        cr_assert_eq(call.mode, MODE_ARRAY);
        cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/completions");
        test_same_json(buf_slice(&call.body),
                       "{\"model\":\"stories\",\"prompt\":[\"Once upon a time\"],\"max_tokens\":100}");
        provider_call_fini(&call);
    }
    call = test_encode(&openai, MODE_ARRAY, m, 2);
    test_same_json(
        buf_slice(&call.body),
        "{\"model\":\"stories\",\"prompt\":[\"Once upon a time\",\"The cat sat\"],\"max_tokens\":100}");
}

Test(completion, text_comes_back_as_it_is)
{
    call = test_encode(&openai, MODE_DEFAULT, m, 1);
    assert_slice(
        continued(&openai,
                  "{\"choices\":[{\"index\":0,\"text\":\", there was\",\"finish_reason\":\"length\"}],"
                  "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":4}}"),
        ", there was");
    assert_slice(continued(&openai, "{\"choices\":[{\"index\":0,\"text\":\"ly\"}]}"), "ly");
    /* No server that speaks OpenAI's API repeats the prompt; if a model does, that is its continuation. */
    assert_slice(continued(&openai, "{\"choices\":[{\"index\":0,\"text\":\"Once upon a time again\"}]}"),
                 "Once upon a time again");
}

Test(completion, a_server_without_the_endpoint_is_told_to_continue)
{
    struct provider p = openai;
    call = test_encode(&openai, MODE_DEFAULT, m, 1);
    struct provider_outcome o = test_decode(
        &openai, &call, m,
        test_response(404, "{\"error\":{\"message\":\"This is a chat model and not supported in the "
                           "v1/completions endpoint.\",\"type\":\"invalid_request_error\"}}"),
        &arena);
    cr_assert(o.array_missing && o.nothing_ran);
    provider_call_fini(&call);
    p.array_missing = true;
    call = test_encode(&p, MODE_DEFAULT, m, 1);
    cr_assert_eq(call.mode, MODE_CONCURRENT);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/chat/completions");
    cJSON *root = test_parse(buf_slice(&call.body));
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(root, "messages");
    const cJSON *system = cJSON_GetArrayItem(messages, 0), *user = cJSON_GetArrayItem(messages, 1);
    cr_assert_str_eq(cJSON_GetObjectItem(system, "role")->valuestring, "system");
    cr_assert(strstr(cJSON_GetObjectItem(system, "content")->valuestring, "Continue"));
    cr_assert_str_eq(cJSON_GetObjectItem(user, "content")->valuestring, "Once upon a time");
    cJSON_Delete(root);
}

Test(completion, gemini_is_told_to_continue)
{
    call = test_encode(&gemini, MODE_DEFAULT, m, 1);
    assert_holds(buf_slice(&call.body), "Continue it");
    assert_holds(buf_slice(&call.body), "\"Once upon a time\"");
    cr_assert_eq(call.mode, MODE_CONCURRENT);
}

/* Whoever was told to continue begins with a word of its own. */
Test(completion, words_are_kept_apart)
{
    static const struct {
        const char *prompt, *said, *expected;
    } cases[] = {
        {"Once upon a time", "there was", " there was"},
        {"Once upon a time", " there was", " there was"},
        {"Once upon a time", ", there was", ", there was"},
        {"Once upon a time ", "there was", "there was"},
        {"Once\\n", "there", " there"},
        {"Count: 1", "2 3", " 2 3"},
        {"Es war",
         "\xc3\xbc"
         "ber",
         " \xc3\xbc"
         "ber"},
        {"line\n", "next", "next"},
    };
    struct provider p = openai;
    p.array_missing = true;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[256];
        m[0].prompt = slice_of(cases[i].prompt);
        provider_call_fini(&call);
        call = test_encode(&p, MODE_DEFAULT, m, 1);
        snprintf(body, sizeof(body), "{\"choices\":[{\"message\":{\"content\":\"%s\"}}]}", cases[i].said);
        assert_slice(continued(&p, body), cases[i].expected);
    }
    m[0].completion = false;
    provider_call_fini(&call);
    call = test_encode(&p, MODE_DEFAULT, m, 1);
    assert_slice(continued(&p, "{\"choices\":[{\"message\":{\"content\":\"there\"}}]}"), "there");
}

Test(completion, shares_a_call_in_array_mode_only)
{
    cr_assert(provider_combinable(&m[0], MODE_ARRAY));
    cr_assert_not(provider_combinable(&m[0], MODE_COMBINED));
    cr_assert_not(provider_combinable(&m[0], MODE_CONCURRENT));
    struct err e = {0};
    uint64_t seed = 42;
    cr_assert_eq(
        provider_encode(&openai, MODE_COMBINED, m, 2, TEST_BODY_MAX, test_random_bytes, &seed, &call, &e),
        ERR_INVAL);
}

Test(completion, of_the_mock)
{
    struct provider_outcome o;
    cr_assert_eq(mock_answer(m, 1, &arena, &o), 0);
    assert_slice(o.parts[0].text, " Processed: Once upon a time");
}

Test(completion, unix_sockets_have_the_paths_of_the_default_address)
{
    struct provider p = openai;
    p.base_url = "unix:/run/llama/s.sock";
    call = test_encode(&p, MODE_CONCURRENT, m, 1);
    cr_assert_str_eq(call.url, "http://localhost/v1/completions");
    cr_assert_str_eq(call.socket, "/run/llama/s.sock");
    provider_call_fini(&call);
    p = gemini;
    p.base_url = "unix:/g.sock";
    call = test_encode(&p, MODE_DEFAULT, m, 1);
    cr_assert_str_eq(call.url, "http://localhost/v1beta/models/m:generateContent");
    cr_assert_str_eq(call.socket, "/g.sock");
    provider_call_fini(&call);
    provider_call_fini(&call);
    struct err e = {0};
    uint64_t seed = 42;
    static const char *const bad[] = {"unix:", "unix:run/x", "unix:/", "unix:/a b", "unix:/a?b", "unix:/a#b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        p.base_url = bad[i];
        cr_assert_eq(
            provider_encode(&p, MODE_DEFAULT, m, 1, TEST_BODY_MAX, test_random_bytes, &seed, &call, &e),
            ERR_INVAL, "%s", bad[i]);
        cr_assert(strstr(e.text, "unix:/path"), "%s", e.text);
    }
}
