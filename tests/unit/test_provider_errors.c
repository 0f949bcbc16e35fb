/* What failing responses come to: verdict, status, code and words, for both codecs; keys never leak. */
#include "provider_help.h"

#define KEY "sk-live-abcdefghijklmnop"

static const struct provider openai = {
    .kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:1/v1", .model = "m", .api_key = KEY};
static const struct provider gemini = {
    .kind = PROVIDER_GEMINI, .base_url = "http://127.0.0.1:1", .model = "m", .api_key = KEY};

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 16 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(errors, .init = setup, .fini = teardown);

static struct provider_outcome fail(const struct provider *p, size_t n, struct provider_response r)
{
    static struct provider_member m[4];
    for (size_t i = 0; i < 4; i++)
        m[i] = test_member("What is AI?");
    struct provider_call call = test_encode(p, MODE_DEFAULT, m, n);
    struct provider_outcome out = test_decode(p, &call, m, r, &arena);
    provider_call_fini(&call);
    for (size_t i = 1; i < n; i++)
        cr_assert_eq(out.parts[i].verdict, out.parts[0].verdict);
    cr_assert(out.message.n > 10 && out.message.n < 800);
    cr_assert_not_null(out.error_type);
    return out;
}

struct expectation {
    const struct provider *p;
    int http;
    const char *body;
    enum verdict alone, several;
    int status;
    const char *code, *type;
    bool retry_helps;
    const char *words; /* in the message */
};

static const struct expectation expectations[] = {
    {&openai, 401,
     "{\"error\":{\"message\":\"bad key\",\"type\":\"invalid_request_error\",\"code\":\"invalid_api_key\"}}",
     VERDICT_FAILED, VERDICT_FAILED, 401, "PROVIDER_AUTH", "provider_error", false, "bad key"},
    {&openai, 403, "{}", VERDICT_FAILED, VERDICT_FAILED, 401, "PROVIDER_AUTH", "provider_error", false,
     "HTTP 403"},
    {&openai, 402, "", VERDICT_FAILED, VERDICT_FAILED, 429, "PROVIDER_RATE_LIMITED", "rate_limit_error",
     false, "credit"},
    {&openai, 404, "{\"error\":\"model 'm' not found\"}", VERDICT_FAILED, VERDICT_FAILED, 400,
     "PROVIDER_REJECTED", "validation_error", false, "model 'm' not found"},
    {&openai, 408, "", VERDICT_FAILED, VERDICT_FAILED, 504, "PROVIDER_TIMEOUT", "timeout_error", true, ""},
    {&openai, 429,
     "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
     VERDICT_FAILED, VERDICT_FAILED, 429, "PROVIDER_RATE_LIMITED", "rate_limit_error", true, "slow"},
    {&openai, 429,
     "{\"error\":{\"message\":\"q\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
     VERDICT_FAILED, VERDICT_FAILED, 429, "PROVIDER_RATE_LIMITED", "rate_limit_error", false, "quota"},
    {&openai, 429, "<html>", VERDICT_FAILED, VERDICT_FAILED, 429, "PROVIDER_RATE_LIMITED", "rate_limit_error",
     true, ""},
    {&openai, 400, "{\"error\":{\"message\":\"f\",\"code\":\"content_filter\",\"innererror\":{}}}",
     VERDICT_FILTERED, VERDICT_FILTERED, 400, "CONTENT_FILTERED", "content_filter", false, ""},
    {&openai, 400, "{\"error\":{\"message\":\"max_tokens is too large\",\"code\":\"invalid_value\"}}",
     VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "too large"},
    {&openai, 400, "{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}", VERDICT_FAILED,
     VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "context"},
    {&openai, 400,
     "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available size\",\"type\":"
     "\"exceed_context_size_error\",\"n_prompt_tokens\":9000,\"n_ctx\":256}}",
     VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "context"},
    {&openai, 500, "{\"error\":{\"code\":500,\"message\":\"m\",\"type\":\"exceed_context_size_error\"}}",
     VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "context"},
    {&openai, 413, "<html>too large</html>", VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED",
     "validation_error", false, "too large"},
    {&openai, 422, "{\"detail\":\"no response_format\"}", VERDICT_FAILED, VERDICT_MISSING, 400,
     "PROVIDER_REJECTED", "validation_error", false, "no response_format"},
    {&openai, 418, "", VERDICT_FAILED, VERDICT_FAILED, 400, "PROVIDER_REJECTED", "validation_error", false,
     "HTTP 418"},
    {&openai, 500, "{\"error\":{\"message\":\"oops\"}}", VERDICT_FAILED, VERDICT_FAILED, 503,
     "PROVIDER_UNAVAILABLE", "provider_error", true, "oops"},
    {&openai, 503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
     VERDICT_FAILED, VERDICT_FAILED, 503, "PROVIDER_LOADING", "provider_error", true, "Loading model"},
    {&openai, 502, "<html>", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false,
     "charged"},
    {&openai, 504, "{\"error\":{\"code\":\"content_filter\"}}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 504,
     "PROVIDER_TIMEOUT", "timeout_error", false, "charged"},
    {&openai, 529, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false, ""},
    {&openai, 301, "", VERDICT_FAILED, VERDICT_FAILED, 502, "BAD_UPSTREAM_ANSWER", "provider_error", false,
     "base_url"},
    {&openai, 307, "", VERDICT_FAILED, VERDICT_FAILED, 502, "BAD_UPSTREAM_ANSWER", "provider_error", false,
     "base_url"},
    {&openai, 303, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false, ""},
    {&openai, 101, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false, ""},
    {&openai, 0, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false, ""},
    {&openai, 999, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, 502, "UPSTREAM_LOST", "provider_error", false, ""},
    {&openai, 204, "", VERDICT_MISSING, VERDICT_MISSING, 502, "BAD_UPSTREAM_ANSWER", "provider_error", false,
     ""},
    {&openai, 200, "<html>hello</html>", VERDICT_MISSING, VERDICT_MISSING, 502, "BAD_UPSTREAM_ANSWER",
     "provider_error", false, "not JSON"},
    {&openai, 200, "{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"content_filter\"}]}",
     VERDICT_FILTERED, VERDICT_FILTERED, 400, "CONTENT_FILTERED", "content_filter", false, ""},
    {&gemini, 400,
     "{\"error\":{\"code\":400,\"message\":\"API key not "
     "valid.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{"
     "\"reason\":\"API_KEY_INVALID\"}]}}",
     VERDICT_FAILED, VERDICT_FAILED, 401, "PROVIDER_AUTH", "provider_error", false, "API key not valid."},
    {&gemini, 400, "[{\"error\":{\"code\":400,\"message\":\"bad field\",\"status\":\"INVALID_ARGUMENT\"}}]",
     VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "bad field"},
    {&gemini, 400,
     "{\"error\":{\"message\":\"The input token count (9) exceeds the maximum number of tokens allowed "
     "(8).\"}}",
     VERDICT_FAILED, VERDICT_MISSING, 400, "PROVIDER_REJECTED", "validation_error", false, "context"},
    {&gemini, 429,
     "{\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[7,null,{"
     "\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}]}]}}",
     VERDICT_FAILED, VERDICT_FAILED, 429, "PROVIDER_RATE_LIMITED", "rate_limit_error", false, "quota"},
    {&gemini, 503, "{\"error\":{\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}", VERDICT_FAILED,
     VERDICT_FAILED, 503, "PROVIDER_UNAVAILABLE", "provider_error", true, "overloaded"},
    {&gemini, 500, "[[[", VERDICT_FAILED, VERDICT_FAILED, 503, "PROVIDER_UNAVAILABLE", "provider_error", true,
     ""},
    {&gemini, 200, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}", VERDICT_FILTERED, VERDICT_FILTERED,
     400, "CONTENT_FILTERED", "content_filter", false, "SAFETY"},
};

Test(errors, mapping)
{
    for (size_t i = 0; i < ARRAY_LEN(expectations); i++) {
        const struct expectation *x = &expectations[i];
        for (size_t n = 1; n <= 3; n += 2) {
            struct provider_outcome o = fail(x->p, n, test_response(x->http, x->body));
            cr_assert_eq(o.parts[0].verdict, n == 1 ? x->alone : x->several, "%zu: %d %s", i, x->http,
                         x->body);
            cr_assert_eq(o.status, x->status, "%zu: %d", i, o.status);
            cr_assert_str_eq(o.error_code, x->code, "%zu", i);
            cr_assert_str_eq(o.error_type, x->type, "%zu", i);
            cr_assert_eq(o.retry_helps, x->retry_helps, "%zu", i);
            cr_assert_eq(o.rate_limited, x->http == 429, "%zu", i);
            cr_assert_not(o.discarded);
            cr_assert_eq(o.nothing_ran, x->http >= 400 && o.parts[0].verdict == VERDICT_MISSING);
            assert_holds(o.message, x->words);
        }
    }
}

Test(errors, transport)
{
    struct provider_response r = {.transport = TRANSPORT_NOT_SENT, .transport_error = "Connection refused."};
    struct provider_outcome o = fail(&openai, 2, r);
    cr_assert_eq(o.parts[1].verdict, VERDICT_FAILED);
    cr_assert(o.retry_helps);
    cr_assert_eq(o.status, 503);
    cr_assert_str_eq(o.error_code, "PROVIDER_UNAVAILABLE");
    assert_slice(o.message, "The provider could not be reached, and nothing was sent: Connection refused.");
    r.transport = TRANSPORT_LOST;
    r.transport_error = "the body with " KEY " was cut";
    o = fail(&gemini, 2, r);
    cr_assert_eq(o.parts[0].verdict, VERDICT_UNKNOWN);
    cr_assert_not(o.retry_helps);
    cr_assert_eq(o.status, 502);
    cr_assert_str_eq(o.error_code, "UPSTREAM_LOST");
    assert_holds_not(o.message, KEY);
    r.transport_error = NULL;
    o = fail(&openai, 1, r);
    assert_holds(o.message, "charged.");
}

Test(errors, wrong_types_everywhere)
{
    static const char *const values[] = {"null", "7",   "-1e300", "\"\"",      "\"x\"",
                                         "[]",   "[7]", "{}",     "{\"a\":1}", "true"};
    static const char *const forms[] = {
        "@",
        "[@]",
        "{\"error\":@}",
        "[{\"error\":@}]",
        "{\"message\":@}",
        "{\"detail\":@}",
        "{\"error\":{\"message\":@}}",
        "{\"error\":{\"code\":@}}",
        "{\"error\":{\"type\":@}}",
        "{\"error\":{\"status\":@}}",
        "{\"error\":{\"details\":@}}",
        "{\"error\":{\"details\":[@]}}",
        "{\"error\":{\"details\":[{\"retryDelay\":@}]}}",
        "{\"error\":{\"details\":[{\"violations\":@}]}}",
        "{\"error\":{\"details\":[{\"violations\":[@]}]}}",
        "{\"error\":{\"details\":[{\"violations\":[{\"quotaId\":@}]}]}}",
        "{\"error\":{\"details\":[{\"reason\":@}]}}",
    };
    static const int statuses[] = {200, 400, 429, 500};
    char body[300];
    for (size_t f = 0; f < ARRAY_LEN(forms); f++)
        for (size_t v = 0; v < ARRAY_LEN(values); v++)
            for (size_t s = 0; s < ARRAY_LEN(statuses); s++)
                for (size_t k = 0; k < 2; k++) {
                    const char *at = strchr(forms[f], '@');
                    snprintf(body, sizeof(body), "%.*s%s%s", (int)(at - forms[f]), forms[f], values[v],
                             at + 1);
                    struct provider_outcome o =
                        fail(k ? &gemini : &openai, 1, test_response(statuses[s], body));
                    cr_assert_neq(o.parts[0].verdict, VERDICT_ANSWERED);
                    cr_assert_neq(o.status, 0);
                    arena_reset(&arena);
                }
}

Test(errors, retry_after)
{
    static const struct {
        const char *value;
        uint32_t ms;
    } cases[] = {{"17", 17000},
                 {"0", 0},
                 {"1.5", 1500},
                 {"0.0001", 1},
                 {"17s", 17000},
                 {"250ms", 250},
                 {"0.2ms", 1},
                 {"", 0},
                 {".", 0},
                 {"s", 0},
                 {"-5", 0},
                 {"+5", 0},
                 {" 5", 0},
                 {"5 ", 0},
                 {"1e3", 0},
                 {"6m0s", 0},
                 {"Fri, 20 Nov 2026 03:29:00 GMT", 0},
                 {"86401", 86400000},
                 {"99999999999999999999999999999999", 86400000},
                 {"1.99999999999999999999999999", 2000},
                 {"99999999999999999999ms", 86400000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_response r = test_response(429, "");
        r.retry_after = slice_of(cases[i].value);
        cr_assert_eq(fail(&openai, 1, r).retry_after_ms, cases[i].ms, "%s", cases[i].value);
    }
    struct provider_response r = test_response(
        429, "[{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":"
             "\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"17.25s\"}]}}]");
    struct provider_outcome o = fail(&gemini, 2, r);
    cr_assert_eq(o.retry_after_ms, 17250);
    cr_assert(o.retry_helps && o.rate_limited);
    r.retry_after = slice_of("20");
    cr_assert_eq(fail(&gemini, 2, r).retry_after_ms, 20000);
}

Test(errors, keys_are_redacted)
{
    char body[4000];
    struct provider_outcome o = fail(
        &openai, 1,
        test_response(
            401, "{\"error\":{\"message\":\"Incorrect: " KEY "," KEY "; other sk-proj-QQQQQQQQQQQQQQQQ and "
                 "AIzaSyQQQQQQQQQQQQQQQQ, but task-force-of-the-year and sk-short stay\\n\\u0007\"}}"));
    assert_holds_not(o.message, KEY);
    assert_holds_not(o.message, "QQQQ");
    assert_holds(o.message, "task-force-of-the-year and sk-short stay");
    assert_holds_not(o.message, "\n");
    assert_holds_not(o.message, "\a");

    /* Wherever the cut falls, no head of the key is left. */
    for (int pad = 300; pad < 420; pad++) {
        snprintf(body, sizeof(body), "{\"error\":{\"message\":\"%0*d" KEY " tail\"}}", pad, 0);
        o = fail(&openai, 1, test_response(400, body));
        assert_holds_not(o.message, "sk-l");
        arena_reset(&arena);
    }
    struct provider p = openai;
    p.api_key = "x7"; /* a key as short as this is still a key */
    o = fail(&p, 1, test_response(400, "{\"error\":{\"message\":\"ax7x7b\"}}"));
    assert_holds(o.message, "a****b");
    p.api_key = "";
    o = fail(&p, 1, test_response(400, "{\"error\":{\"message\":\"fine\"}}"));
    assert_holds(o.message, "fine");
}

Test(errors, long_words_are_cut_at_a_character)
{
    char body[9000] = "{\"error\":{\"message\":\"";
    for (int i = 0; i < 2500; i++)
        strcat(body, "é");
    strcat(body, "\"}}");
    struct provider_outcome o = fail(&openai, 1, test_response(400, body));
    cr_assert_lt(o.message.n, 600);
    cr_assert_eq((unsigned char)o.message.p[o.message.n - 1], 0xa9);
}

Test(errors, out_of_memory)
{
    struct provider_member m[2] = {test_member("one"), test_member("two")};
    struct provider_call call = test_encode(&openai, MODE_COMBINED, m, 2);
    char body[600];
    snprintf(body, sizeof(body),
             "{\"choices\":[{\"message\":{\"content\":\"{\\\"%s\\\":{\\\"echo\\\":\\\"one\\\",\\\"answer\\\":"
             "\\\"1\\\"}"
             "}\"},\"finish_reason\":\"stop\"}]}",
             call.ids[0]);
    int failures = 0, rc = ERR_NOMEM;
    for (size_t max = 0; rc == ERR_NOMEM && max < 1 << 16; max += 16, failures++) {
        struct arena small;
        struct provider_outcome out;
        struct provider_response r = test_response(200, body);
        arena_init(&small, max);
        rc = provider_decode(&openai, &call, m, &r, &small, &out);
        if (!rc) {
            cr_assert_eq(out.parts[0].verdict, VERDICT_ANSWERED);
            cr_assert_eq(out.parts[1].verdict, VERDICT_MISSING);
        }
        arena_fini(&small);
    }
    cr_assert_eq(rc, 0);
    cr_assert_gt(failures, 5);
    provider_call_fini(&call);
}
