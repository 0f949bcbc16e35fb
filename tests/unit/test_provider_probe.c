/* The question to a model server how it is: whom it is asked, and what its answers mean. */
#include "provider_help.h"

static struct provider p;
static struct err fault;

static void setup(void)
{
    p = (struct provider){.kind = PROVIDER_OPENAI,
                          .base_url = "http://127.0.0.1:8080/v1",
                          .model = "stories15m",
                          .api_key = "sk-probe-0123456789"};
    fault = (struct err){0};
}

TestSuite(probe, .init = setup);

static int encode(struct provider_call *ret_call)
{
    struct err e = {0};
    return provider_probe_encode(&p, ret_call, &e);
}

static int decode(int status, const char *body)
{
    struct provider_response r = test_response(status, body);
    fault = (struct err){0};
    int rc = provider_probe_decode(&p, &r, &fault);
    cr_assert_eq(rc, fault.code);
    return rc;
}

Test(probe, is_a_get_that_carries_the_key)
{
    struct provider_call call;
    cr_assert_eq(encode(&call), 0);
    cr_assert_str_eq(call.url, "http://127.0.0.1:8080/v1/models");
    cr_assert(call.is_get);
    cr_assert_eq(call.body.len, 0);
    cr_assert(strstr(call.headers, "Authorization: Bearer sk-probe-0123456789\n"));
    provider_call_fini(&call);
}

Test(probe, of_other_kinds_and_places)
{
    static const struct {
        enum provider_kind kind;
        const char *base_url, *url, *socket;
    } cases[] = {
        {PROVIDER_MODEL_SERVICE, "http://127.0.0.1:8001", "http://127.0.0.1:8001/health", NULL},
        {PROVIDER_MODEL_SERVICE, "", "http://127.0.0.1:8001/health", NULL},
        {PROVIDER_MODEL_SERVICE, NULL, "http://127.0.0.1:8001/health", NULL},
        {PROVIDER_OPENAI, "unix:/run/llama.sock", "http://localhost/v1/models", "/run/llama.sock"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct provider_call call;
        p.kind = cases[i].kind;
        p.base_url = cases[i].base_url;
        cr_assert_eq(encode(&call), 0, "%zu", i);
        cr_assert_str_eq(call.url, cases[i].url);
        cr_assert((call.socket == NULL) == (cases[i].socket == NULL));
        if (call.socket)
            cr_assert_str_eq(call.socket, cases[i].socket);
        provider_call_fini(&call);
    }
}

Test(probe, is_not_asked_of_the_vendors)
{
    static const struct {
        enum provider_kind kind;
        const char *base_url;
    } cases[] = {{PROVIDER_OPENAI, ""},
                 {PROVIDER_OPENAI, NULL},
                 {PROVIDER_OPENAI, "https://api.openai.com/v1"},
                 {PROVIDER_OPENAI, "HTTPS://API.OPENAI.COM/v1"},
                 {PROVIDER_GEMINI, ""},
                 {PROVIDER_GEMINI, "http://127.0.0.1:1"},
                 {PROVIDER_MOCK, ""}};
    struct provider_call call;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        p.kind = cases[i].kind;
        p.base_url = cases[i].base_url;
        cr_assert_eq(encode(&call), ERR_NOT_FOUND, "%zu", i);
    }
    p.kind = PROVIDER_OPENAI;
    p.base_url = "http://a b";
    cr_assert_eq(encode(&call), ERR_INVAL);
}

Test(probe, all_is_well)
{
    static const char *const bodies[] = {
        "{\"object\":\"list\",\"data\":[{\"id\":\"other\"},{\"id\":\"stories15m\"}]}",
        "{\"data\":[{\"id\":\"stories15m:latest\"}]}", /* Ollama */
        "{\"data\":[{\"id\":\"models/stories15m\"}]}",
        "{\"data\":[]}",
        "{\"data\":[{\"name\":\"x\"}]}",
        "[{\"id\":\"x\"}]",
        "{}",
        "OK",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        cr_assert_eq(decode(200, bodies[i]), 0, "%s: %s", bodies[i], fault.text);
    cr_assert_eq(decode(404, "{}"), 0, "a server without that path is there all the same");
    cr_assert_eq(decode(405, ""), 0);
    cr_assert_eq(decode(501, ""), 0);
    cr_assert_eq(decode(429, ""), 0);
    p.model = "";
    cr_assert_eq(decode(200, "{\"data\":[{\"id\":\"other\"}]}"), 0);
}

Test(probe, another_model)
{
    static const char *const bodies[] = {
        "{\"data\":[{\"id\":\"llama3\"},{\"id\":\"gemma\"}]}",
        "{\"data\":[{\"id\":\"llama3\"},{\"id\":\"gemma\"},{\"id\":\"xstories15m\"}]}",
        "{\"data\":[{\"id\":\"llama3\"},{\"id\":\"gemma\"},{\"id\":\"stories15m:7b\"}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        cr_assert_eq(decode(200, bodies[i]), ERR_NOT_FOUND, "%s", bodies[i]);
        cr_assert(strstr(fault.text, "\"stories15m\"") && strstr(fault.text, "llama3, gemma"), "%s",
                  fault.text);
    }
}

Test(probe, many_models_of_long_names_fit_into_a_sentence)
{
    char body[8192] = "{\"data\":[";
    for (int i = 0; i < 20; i++) {
        size_t at = strlen(body);
        snprintf(body + at, sizeof(body) - at, "%s{\"id\":\"%0*d\"}", i ? "," : "", 200, i);
    }
    strcat(body, "]}");
    cr_assert_eq(decode(200, body), ERR_NOT_FOUND);
    cr_assert(strlen(fault.text) < 400, "%zu", strlen(fault.text));
}

Test(probe, what_is_wrong)
{
    static const char loading[] =
        "{\"error\":{\"message\":\"Loading model\",\"type\":\"unavailable_error\",\"code\":503}}";
    cr_assert_eq(decode(503, loading), ERR_AGAIN);
    cr_assert(strstr(fault.text, "loading"));
    cr_assert_eq(decode(500, loading), ERR_IO);
    cr_assert_eq(decode(503, "{\"error\":{\"message\":\"busy\"}}"), ERR_IO);
    cr_assert(strstr(fault.text, "503"));
    cr_assert_eq(decode(502, ""), ERR_IO);
    cr_assert_eq(decode(401, "{}"), ERR_PERM);
    cr_assert_eq(decode(403, "{}"), ERR_PERM);
    cr_assert(strstr(fault.text, "API key"));
    p.kind = PROVIDER_MODEL_SERVICE;
    cr_assert_eq(decode(503, "{\"detail\":\"model is loading\"}"), ERR_AGAIN);
}

Test(probe, nobody_is_there)
{
    struct provider_response r = {.transport = TRANSPORT_NOT_SENT, .transport_error = "Connection refused"};
    cr_assert_eq(provider_probe_decode(&p, &r, &fault), ERR_IO);
    cr_assert(strstr(fault.text, "http://127.0.0.1:8080/v1") && strstr(fault.text, "Connection refused"),
              "%s", fault.text);
    cr_assert_null(strstr(fault.text, "sk-probe"));
    p.kind = PROVIDER_MODEL_SERVICE;
    p.base_url = "";
    cr_assert_eq(provider_probe_decode(&p, &r, &fault), ERR_IO);
    cr_assert(strstr(fault.text, "http://127.0.0.1:8001"), "%s", fault.text);
}
