/* The switchboard: modes, limits, what is refused before a call is made; the mock; shares of usage. */
#include "provider_help.h"

static const struct provider openai = {
    .kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:1/v1", .model = "m", .api_key = "k"};
static const struct provider gemini = {
    .kind = PROVIDER_GEMINI, .base_url = "http://127.0.0.1:1", .model = "m", .api_key = "k"};

static int encode_rc(const struct provider *p, enum provider_mode mode, const struct provider_member *m,
                     size_t n, size_t max, struct err *e)
{
    struct provider_call call, before;
    uint64_t seed = 7;
    memset(&call, 0x5a, sizeof(call));
    before = call;
    *e = (struct err){0};
    int rc = provider_encode(p, mode, m, n, max, test_random_bytes, &seed, &call, e);
    if (rc)
        cr_assert_eq(memcmp(&call, &before, sizeof(call)), 0, "output touched on failure");
    else
        provider_call_fini(&call);
    return rc;
}

Test(provider, modes)
{
    cr_assert_eq(provider_mode_for(PROVIDER_OPENAI, MODE_DEFAULT), MODE_COMBINED);
    cr_assert_eq(provider_mode_for(PROVIDER_GEMINI, MODE_DEFAULT), MODE_COMBINED);
    cr_assert_eq(provider_mode_for(PROVIDER_MODEL_SERVICE, MODE_DEFAULT), MODE_ARRAY);
    cr_assert_eq(provider_mode_for(PROVIDER_MOCK, MODE_DEFAULT), MODE_CONCURRENT);
    cr_assert_eq(provider_mode_for(PROVIDER_GEMINI, MODE_ARRAY), MODE_COMBINED);
    cr_assert_eq(provider_mode_for(PROVIDER_OPENAI, MODE_ARRAY), MODE_ARRAY);
    cr_assert_eq(provider_mode_for(PROVIDER_OPENAI, MODE_CONCURRENT), MODE_CONCURRENT);
}

Test(provider, combinable)
{
    struct provider_member m = test_member("hi");
    cr_assert(provider_combinable(&m, MODE_COMBINED));
    m.extra = slice_of(" {\"top_p\":0.5, \"seed\" : 18446744073709551615}");
    cr_assert(provider_combinable(&m, MODE_COMBINED));
    m.extra = slice_of("{\"top_p\":0.5,\"stop\":[\"}\",\"\\\"]\"]}");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
    m.extra = slice_of("{\"metadata\":{\"stop\":1},\"user\":\"tools\"}");
    cr_assert(provider_combinable(&m, MODE_COMBINED));
    m.extra = slice_of("[1]");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
    m.extra = slice_of("{\"top_p\":");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
    m = test_member("");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
    m = test_member("hi");
    m.messages = slice_of("[]");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
}

Test(provider, refused_before_a_call)
{
    struct provider_member m[2] = {test_member("one"), test_member("two")};
    struct err e;
    struct provider p = openai;
    p.api_key = "a\r\nX-Evil: 1";
    cr_assert_eq(encode_rc(&p, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    cr_assert(strstr(e.text, "API key"), "%s", e.text);
    cr_assert_null(strstr(e.text, "Evil"));
    static const char *const bad[] = {
        "ftp://x/v1",           "http://", "http://a b/v1", "http://a/v1?x=1", "http://a/v1#f",
        "http://a/\r\nHost: b", "a/v1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        p = openai;
        p.base_url = bad[i];
        cr_assert_eq(encode_rc(&p, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL, "%s", bad[i]);
        cr_assert(strstr(e.text, "base_url"), "%s", e.text);
    }
    p = openai;
    p.kind = PROVIDER_MOCK;
    cr_assert_eq(encode_rc(&p, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    cr_assert(strstr(e.text, "mock"), "%s", e.text);
    cr_assert_eq(encode_rc(&openai, MODE_CONCURRENT, m, 2, 9999, &e), ERR_INVAL);
    m[1].messages = slice_of("[{\"role\":\"user\",\"content\":\"x\"}]");
    cr_assert_eq(encode_rc(&openai, MODE_COMBINED, m, 2, 9999, &e), ERR_INVAL);
    m[0].messages = slice_of("{}");
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    cr_assert_eq(encode_rc(&gemini, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    m[0].messages = slice_of("[1,");
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    cr_assert_eq(encode_rc(&gemini, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    m[0] = test_member("x");
    m[0].extra = slice_of("{\"a\\u0062\":1}");
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 9999, &e), ERR_INVAL);
    m[0].extra = slice_of("{\"tools\":[{}]}");
    cr_assert_eq(encode_rc(&gemini, MODE_DEFAULT, m, 1, 9999, &e), ERR_NOT_FOUND);
    cr_assert_eq(strncmp(e.text, "tools: ", 7), 0, "%s", e.text);
}

Test(provider, body_limit)
{
    char text[2001];
    memset(text, '\n', 2000);
    text[2000] = 0;
    struct provider_member m[2] = {test_member(text), test_member("two")};
    struct err e;
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 1999, &e), ERR_LIMIT);
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 3000, &e), ERR_LIMIT); /* escapes double it */
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 1, 4500, &e), 0);
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 2, 4500, &e), ERR_LIMIT);
    cr_assert_eq(encode_rc(&gemini, MODE_DEFAULT, m, 2, 9500, &e), 0);
}

/* The worst growth of escapes must end in ERR_LIMIT, never in a false "out of memory". */
Test(provider, body_limit_of_control_characters)
{
    enum { N = 4000 };
    char text[N + 1];
    memset(text, 1, N);
    text[N] = 0;
    struct provider_member m[3] = {test_member(text), test_member(text), test_member("x")};
    struct err e;
    for (size_t max = 2 * N + 1; max < 20 * N; max += 997) {
        int rc = encode_rc(&openai, MODE_DEFAULT, m, 3, max, &e);
        cr_assert(rc == 0 || rc == ERR_LIMIT, "%d at %zu", rc, max);
    }
    cr_assert_eq(encode_rc(&openai, MODE_DEFAULT, m, 3, 20 * N, &e), 0);
}

static void constant_bytes(void *arg, void *bytes, size_t n)
{
    memset(bytes, *(int *)arg, n);
}

Test(provider, random_source_that_repeats_itself)
{
    struct provider_member m[2] = {test_member("one"), test_member("two")};
    struct provider_call call;
    struct err e = {0};
    int constants[] = {0, 255};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(
            provider_encode(&openai, MODE_COMBINED, m, 2, 99999, constant_bytes, &constants[i], &call, &e),
            ERR_INVAL);
}

Test(provider, headers_and_fini)
{
    struct provider_member m = test_member("x");
    struct provider p = openai;
    struct provider_call call = test_encode(&p, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.headers, "Content-Type: application/json\nAccept: application/json\n"
                                   "Authorization: Bearer k\n");
    cr_assert_null(call.ids);
    cr_assert_eq(call.mode, MODE_CONCURRENT);
    provider_call_fini(&call);
    provider_call_fini(&call);
    provider_call_fini(NULL);
    p.api_key = "";
    call = test_encode(&p, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.headers, "Content-Type: application/json\nAccept: application/json\n");
    provider_call_fini(&call);
    p = gemini;
    call = test_encode(&p, MODE_DEFAULT, &m, 1);
    cr_assert_str_eq(call.headers, "Content-Type: application/json\nAccept: application/json\n"
                                   "x-goog-api-key: k\n");
    provider_call_fini(&call);
}

Test(provider, estimate)
{
    struct provider_member m = test_member("1234567");
    cr_assert_eq(provider_estimate_tokens(&m), 3 + 100);
    m.system_prompt = slice_of("12");
    cr_assert_eq(provider_estimate_tokens(&m), 3 + 100);
    m.max_tokens = UINT32_MAX;
    cr_assert_eq(provider_estimate_tokens(&m), 3ull + UINT32_MAX);
}

Test(provider, mock)
{
    struct provider_member m[2] = {test_member("What is AI?"), test_member("")};
    struct arena arena;
    struct provider_outcome out;
    arena_init(&arena, 1 << 20);
    cr_assert_eq(mock_answer(m, 2, &arena, &out), 0);
    assert_slice(out.parts[0].text, "Processed: What is AI?");
    assert_slice(out.parts[1].text, "Processed: ");
    assert_slice(out.parts[0].finish_reason, "stop");
    cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
    cr_assert_eq(out.parts[0].prompt_tokens, 3);
    cr_assert_eq(out.parts[0].completion_tokens, 6);
    cr_assert_eq(out.prompt_tokens, 3);
    cr_assert_eq(out.completion_tokens, 9);
    cr_assert(isnan(out.parts[0].confidence));
    arena_fini(&arena);
    arena_init(&arena, 64);
    cr_assert_eq(mock_answer(m, 2, &arena, &out), ERR_NOMEM);
    arena_fini(&arena);
}

Test(usage, exact_shares)
{
    uint64_t shares[4];
    usage_share(10, (uint64_t[]){1, 1, 1}, 3, shares);
    cr_assert(shares[0] == 4 && shares[1] == 3 && shares[2] == 3);
    usage_share(10, (uint64_t[]){0, 0, 0}, 3, shares);
    cr_assert(shares[0] == 4 && shares[1] == 3 && shares[2] == 3);
    usage_share(7, (uint64_t[]){0, 5, 0}, 3, shares);
    cr_assert(shares[0] == 0 && shares[1] == 7 && shares[2] == 0);
    usage_share(100, (uint64_t[]){1, 2, 3, 1}, 4, shares); /* 14.28 28.57 42.85 14.28 */
    cr_assert(shares[0] == 14 && shares[1] == 29 && shares[2] == 43 && shares[3] == 14);
    usage_share(UINT64_MAX, (uint64_t[]){UINT64_MAX, UINT64_MAX}, 2, shares);
    cr_assert(shares[0] == UINT64_MAX / 2 + 1 && shares[1] == UINT64_MAX / 2);
    usage_share(0, (uint64_t[]){3}, 1, shares);
    cr_assert_eq(shares[0], 0);
}

Test(usage, shares_add_up_and_follow_weights)
{
    uint64_t state = 99;
    for (int round = 0; round < 5000; round++) {
        uint64_t weights[17], shares[17], sum = 0, whole = test_random(&state) % 3000;
        size_t n = 1 + test_random(&state) % 17;
        double total = 0;
        for (size_t i = 0; i < n; i++)
            total += (double)(weights[i] = test_random(&state) % (round % 3 ? 5 : 100000));
        usage_share(whole, weights, n, shares);
        for (size_t i = 0; i < n; i++) {
            double exact = total > 0 ? (double)whole * (double)weights[i] / total : (double)whole / (double)n;
            cr_assert(fabs((double)shares[i] - exact) < 1.0 + 1e-6);
            sum += shares[i];
        }
        cr_assert_eq(sum, whole);
    }
}

Test(provider, keys_and_addresses)
{
    static const struct {
        enum provider_kind kind;
        const char *base_url;
        bool needed;
    } cases[] = {
        {PROVIDER_OPENAI, "", true},
        {PROVIDER_OPENAI, "https://api.openai.com/v1", true},
        {PROVIDER_OPENAI, "HTTPS://API.OpenAI.com", true},
        {PROVIDER_OPENAI, "https://api.openai.com:443/v1", true},
        {PROVIDER_OPENAI, "https://api.openai.com.example/v1", false},
        {PROVIDER_OPENAI, "https://api.openai", false},
        {PROVIDER_OPENAI, "http://127.0.0.1:8080/v1", false},
        {PROVIDER_OPENAI, "unix:/run/model.sock", false},
        {PROVIDER_GEMINI, "", true},
        {PROVIDER_GEMINI, "https://generativelanguage.googleapis.com", true},
        {PROVIDER_GEMINI, "http://127.0.0.1:9000", false},
        {PROVIDER_MODEL_SERVICE, "", false},
        {PROVIDER_MOCK, "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(provider_needs_key(cases[i].kind, cases[i].base_url), cases[i].needed, "%s",
                     cases[i].base_url);
    for (enum provider_kind kind = PROVIDER_MOCK; kind <= PROVIDER_MODEL_SERVICE; kind++)
        cr_assert_eq(provider_takes_caller_key(kind), kind == PROVIDER_OPENAI);
}
