/* How sure a model was of its answer: when it is asked for, what it is made of, and a provider that does not
 * say.
 */
#include "provider_help.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(confidence, .init = setup, .fini = teardown);

static struct provider at(const char *base_url, const char *model)
{
    return (struct provider){
        .kind = PROVIDER_OPENAI, .base_url = base_url, .model = model, .api_key = "sk-x"};
}

static struct provider_member sure(const char *prompt)
{
    struct provider_member m = test_member(prompt);
    m.confidence = true;
    return m;
}

/* Whether the body asks for log-probabilities; call.logprobs must say the same. */
static bool asked(const struct provider *p, enum provider_mode mode, const struct provider_member *m,
                  size_t n)
{
    struct provider_call call = test_encode(p, mode, m, n);
    cJSON *root = test_parse(buf_slice(&call.body));
    bool in_body = cJSON_HasObjectItem(root, "logprobs");
    cr_assert_eq(in_body, call.logprobs);
    cr_assert_eq(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "logprobs")), in_body);
    cJSON_Delete(root);
    provider_call_fini(&call);
    return in_body;
}

Test(confidence, is_asked_for_where_the_call_is_ones_own)
{
    struct provider vendor = at("https://api.openai.com/v1", "gpt-4o-mini");
    struct provider local = at("http://127.0.0.1:8080/v1", "o1");
    struct provider_member two[] = {sure("Why?"), sure("How?")}, other = test_member("Why?");
    cr_assert(asked(&vendor, MODE_COMBINED, two, 1));
    cr_assert(asked(&vendor, MODE_CONCURRENT, two, 1));
    cr_assert(asked(&local, MODE_ARRAY, two, 1), "a plain call, whatever the mode");
    cr_assert_not(asked(&vendor, MODE_COMBINED, &other, 1), "nobody wants it");
    cr_assert_not(asked(&vendor, MODE_COMBINED, two, 2), "the tokens are those of several answers");
    cr_assert_not(asked(&vendor, MODE_ARRAY, two, 2));
    two[0].extra = slice_of("{\"logprobs\":false}");
    struct provider_call call = test_encode(&vendor, MODE_COMBINED, two, 1);
    cr_assert_not(call.logprobs, "the member says itself");
    provider_call_fini(&call);
    two[0] = sure("Write a book.");
    two[0].max_tokens = 16384;
    cr_assert(asked(&vendor, MODE_COMBINED, two, 1));
    two[0].max_tokens++;
    cr_assert_not(asked(&vendor, MODE_COMBINED, two, 1), "the response would be too large to read");
    two[0] = sure("Once");
    two[0].completion = true;
    cr_assert_not(asked(&vendor, MODE_COMBINED, two, 1), "another endpoint with another meaning of it");
}

Test(confidence, is_not_asked_of_those_who_refuse)
{
    static const char *const reasoning[] = {"o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5-mini"};
    struct provider_member m = sure("Why?");
    for (size_t i = 0; i < ARRAY_LEN(reasoning); i++) {
        struct provider p = at("https://api.openai.com/v1", reasoning[i]);
        cr_assert_not(asked(&p, MODE_COMBINED, &m, 1), "%s", reasoning[i]);
    }
    m.model = slice_of("o3");
    struct provider p = at("", "gpt-4o");
    cr_assert_not(asked(&p, MODE_COMBINED, &m, 1), "the request's model counts");
    m.model = slice_of("gpt-4o");
    cr_assert(asked(&p, MODE_COMBINED, &m, 1));
    p.logprobs_missing = true;
    cr_assert_not(asked(&p, MODE_COMBINED, &m, 1));
    p.kind = PROVIDER_GEMINI;
    p.logprobs_missing = false;
    m.model = slice_of("gemini-2.0-flash");
    cr_assert_not(asked(&p, MODE_COMBINED, &m, 1));
}

/* llama-server gives 20 alternatives of each token unless it is told how many. */
Test(confidence, local_servers_are_asked_for_one_alternative)
{
    struct provider_member m = sure("Why?");
    struct provider local = at("http://127.0.0.1:8080/v1", "m"), vendor = at("", "m");
    struct provider_call call = test_encode(&local, MODE_COMBINED, &m, 1);
    test_same_json(buf_slice(&call.body),
                   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                   "\"Why?\"}],\"max_tokens\":100,\"logprobs\":true,\"top_logprobs\":1}");
    provider_call_fini(&call);
    call = test_encode(&vendor, MODE_COMBINED, &m, 1);
    assert_holds_not(buf_slice(&call.body), "top_logprobs");
    provider_call_fini(&call);
}

static double confidence_of(const char *logprobs)
{
    struct provider p = at("", "m");
    struct provider_member m = sure("Why?");
    struct provider_call call = test_encode(&p, MODE_COMBINED, &m, 1);
    char body[1024];
    snprintf(body, sizeof(body),
             "{\"choices\":[{\"message\":{\"content\":\"So.\"},\"finish_reason\":\"stop\",\"logprobs\":%s}]}",
             logprobs);
    struct provider_outcome o = test_decode(&p, &call, &m, test_response(200, body), &arena);
    cr_assert_eq(o.parts[0].verdict, VERDICT_ANSWERED, "%s", body);
    double confidence = o.parts[0].confidence;
    provider_call_fini(&call);
    return confidence;
}

Test(confidence, is_the_geometric_mean_or_unknown)
{
    static const char *const unknown[] = {
        "null",
        "{}",
        "{\"content\":null}",
        "{\"content\":[]}",
        "{\"content\":[{}]}",
        "{\"content\":[{\"logprob\":null}]}",
        "{\"content\":[{\"logprob\":\"-1\"}]}",
        "{\"content\":[{\"logprob\":0.5}]}",
        "{\"content\":[{\"logprob\":-0.1},{\"logprob\":-9999.0},{\"logprob\":-0.1}]}",
        "{\"tokens\":[\"So\"],\"token_logprobs\":[-0.5]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        cr_assert(isnan(confidence_of(unknown[i])), "%s", unknown[i]);
    cr_assert_eq(confidence_of("{\"content\":[{\"logprob\":0}]}"), 1);
    cr_assert_float_eq(confidence_of("{\"content\":[{\"logprob\":-0.5},{\"logprob\":-1.5}]}"), exp(-1),
                       1e-12);
    cr_assert_float_eq(
        confidence_of("{\"content\":[{\"logprob\":-0.05,\"top_logprobs\":[{\"logprob\":-3}]}]}"), exp(-0.05),
        1e-12);
}

static struct provider_outcome refused(const struct provider *p, int status, const char *body)
{
    struct provider_member m = sure("Why?");
    struct provider_call call = test_encode(p, MODE_COMBINED, &m, 1);
    struct provider_outcome o = test_decode(p, &call, &m, test_response(status, body), &arena);
    provider_call_fini(&call);
    return o;
}

Test(confidence, a_refusal_of_it_is_none_of_the_prompt)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        {403, "{\"error\":{\"message\":\"You are not allowed to request logprobs from this model.\",\"type\":"
              "\"invalid_request_error\",\"param\":null,\"code\":null}}"},
        {400, "{\"error\":{\"message\":\"`logprobs` is not supported with this model\"}}"},
        {422, "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"logprobs\"]}]}"},
        {400, "Unsupported parameters: logprobs, top_logprobs"},
    };
    struct provider p = at("http://127.0.0.1:8080/v1", "m"), without = p;
    without.logprobs_missing = true;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_outcome o = refused(&p, cases[i].status, cases[i].body);
        cr_assert(o.logprobs_missing && o.nothing_ran, "%s", cases[i].body);
        cr_assert_eq(o.parts[0].verdict, VERDICT_MISSING);
        cr_assert_eq(o.status, 400);
        assert_holds(o.message, "log-probabilities");
        o = refused(&without, cases[i].status, cases[i].body);
        cr_assert_not(o.logprobs_missing, "it was not asked for them");
        cr_assert_eq(o.parts[0].verdict, VERDICT_FAILED);
    }
    static const struct {
        int status;
        const char *body;
    } others[] = {
        {400, "{\"error\":{\"message\":\"no such model\"}}"},
        {401, "{\"error\":{\"message\":\"no logprobs without a key\"}}"},
        {429, "{\"error\":{\"message\":\"too many logprobs\"}}"},
        {500, "{\"error\":{\"message\":\"logprobs\"}}"},
        {400, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct provider_outcome o = refused(&p, others[i].status, others[i].body);
        cr_assert_not(o.logprobs_missing || o.nothing_ran, "%d %s", others[i].status, others[i].body);
        cr_assert_eq(o.parts[0].verdict, VERDICT_FAILED);
    }
}
