/* ROOMS: fcgi_app/worker tests/fuzz/front.c tests/fuzz/front_check.c */
/*
 * A worker without memory: every endpoint, from its parsed request to the finished answer, gives the answer
 * it gives with memory, or one that says what is missing (503, 500), or none at all when not even that can be
 * written. The worker around it and the coordinator that it asks are those of tests/fuzz.
 */
#include <stdarg.h>

#include "../fuzz/front_check.h"
#include "base/clock.h"
#include "short.h"
#include "worker/route.h"

void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;
    torture_pause();
    fprintf(stderr, "%s:%d: %s: ", file, line, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    criterion_abort_test();
    abort();
}

const char *fuzz_dir(void)
{
    static const char *dir;
    if (!dir)
        dir = short_dir();
    return dir;
}

struct ask {
    enum method method;
    const char *method_text, *uri, *body;
    enum front_auth auth;
    enum front_reply reply;
    bool async, stream;
    int status; /* with memory */
};

static void hand_in(const struct ask *ask)
{
    struct request *r = &front.x.request;
    buf_clear(&r->body);
    *r = (struct request){.fcgi = r->fcgi,
                          .fd = -1,
                          .accepted_us = clock_mono_us(),
                          .body = r->body,
                          .method = ask->method,
                          .method_text = slice_of(ask->method_text),
                          .uri = slice_of(ask->uri),
                          .remote_addr = SLICE_LITERAL("127.0.0.1"),
                          .host = SLICE_LITERAL("localhost"),
                          .origin = SLICE_LITERAL("https://shown.example")};
    if (ask->auth == FRONT_KEYS)
        r->api_key = SLICE_LITERAL(FRONT_ADMIN_KEY);
    if (ask->async)
        r->prefer = SLICE_LITERAL("respond-async");
    if (ask->body)
        buf_append_text(&r->body, ask->body);
}

/* exchange_run() without libfcgi; what comes piece by piece ends after the first, as if the client had left.
 */
static void run(bool piecewise)
{
    struct exchange *x = &front.x;
    x->id[0] = 0;
    x->prompt_id = x->path = x->query = x->path_id = (struct slice){0};
    x->caller = (struct caller){0};
    response_reset(&x->response, NULL, x->id, false);
    x->response.gone = piecewise;
    auth_cors(x);
    route_run(x);
    exchange_id(x);
}

static bool piecewise(const struct ask *ask)
{
    return ask->method == METHOD_GET || ask->stream;
}

static void check(const struct ask *ask, const struct front_asked *asked)
{
    const struct response *r = &front.x.response;
    bool told = !buf_failed(&r->body) && !buf_failed(&r->headers); /* else response_send() says why not */
    if (!told)
        return;
    /* A worker that cannot look a request up asks the coordinator, which has the last word, and here answers.
     */
    bool answered = asked->submits && r->status == 200;
    cr_assert(answered || r->status == ask->status || r->status == 503 || r->status == 500, "%s %s: %d %s",
              ask->method_text, ask->uri, r->status, r->body.data ? r->body.data : "");
    bool whole = r->status != 200 || !piecewise(ask);
    front_check_response(r->status, buf_slice(&r->headers),
                         r->content_type ? buf_slice(&r->body) : (struct slice){0}, whole);
}

static void exchange(const struct ask *ask)
{
    struct front_asked asked;
    torture_pause();
    front_start();
    front_begin(ask->auth, ask->reply, front_expected(slice_of(ask->uri)));
    hand_in(ask);
    torture_resume();
    run(piecewise(ask));
    torture_pause();
    front_end(&asked);
    check(ask, &asked);
    torture_resume();
    arena_reset(&front.x.arena);
    exchange_fini(&front.x);
    worker_fini(&front.worker);
}

#define QUERY                                                                                                \
    "{\"prompt\":\"Why \\u00e9?\",\"request_id\":\"new\",\"priority\":\"HIGH\",\"username\":\"user\"}"

#define ASK(name, ...)                                                                                       \
    Test(torture_worker, name)                                                                               \
    {                                                                                                        \
        exchange(&(struct ask){__VA_ARGS__});                                                                \
    }

ASK(query, METHOD_POST, "POST", "/query", "{\"query\":\"Why \\u00e9?\"}", .status = 200)
ASK(query_of_ours, METHOD_POST, "POST", "/v1/query", QUERY, .status = 200)
ASK(query_with_everything, METHOD_POST, "POST", "/v1/query",
    "{\"prompt\":\"Why?\",\"model\":\"m\",\"temperature\":0.5,\"max_tokens\":10,\"system_prompt\":\"Be "
    "brief.\","
    "\"metadata\":{\"a\":[1,2,{\"b\":null}]},\"extra\":{\"top_p\":0.1}}",
    .status = 200)
ASK(query_refused, METHOD_POST, "POST", "/v1/query", QUERY, .reply = FRONT_REFUSES, .status = 429)
ASK(query_lost, METHOD_POST, "POST", "/v1/query", QUERY, .reply = FRONT_DIES, .status = 503)
ASK(query_async, METHOD_POST, "POST", "/v1/query", QUERY, .reply = FRONT_FINISHED, .async = true,
    .status = 202)
ASK(query_with_a_key, METHOD_POST, "POST", "/v1/query", QUERY, .auth = FRONT_KEYS, .status = 200)
ASK(query_that_is_none, METHOD_POST, "POST", "/v1/query", "{\"prompt\":\"Why?\",\"prompt\":\"\"}",
    .status = 400)
ASK(query_again, METHOD_POST, "POST", "/v1/query",
    "{\"prompt\":\"" FRONT_PROMPT "\",\"request_id\":\"done\"}", .status = 200)
ASK(query_that_failed, METHOD_POST, "POST", "/v1/query",
    "{\"prompt\":\"" FRONT_PROMPT "\",\"request_id\":\"failed\"}", .status = 400)
ASK(query_unknown, METHOD_POST, "POST", "/v1/query",
    "{\"prompt\":\"" FRONT_PROMPT "\",\"request_id\":\"unknown\"}", .status = 424)
#define INVOCATION                                                                                           \
    "{\"user_prompt\":\"Why \\u00e9?\",\"system_prompt\":\"Be "                                              \
    "brief.\",\"model\":\"gpt-4o\",\"temperature\":1,"                                                       \
    "\"openai_api_key\":\"sk-tortured\",\"messages\":[{\"type\":\"system\",\"content\":\"a\"},{\"type\":"    \
    "\"ai\","                                                                                                \
    "\"content\":\"b\"}],\"metadata\":{\"a\":1},\"username\":\"user\",\"max_tokens\":5}"
ASK(invoke, METHOD_POST, "POST", "/invoke", INVOCATION, .status = 200)
ASK(invoke_refused, METHOD_POST, "POST", "/invoke", INVOCATION, .reply = FRONT_REFUSES, .status = 429)
ASK(invoke_lost, METHOD_POST, "POST", "/invoke", INVOCATION, .reply = FRONT_DIES, .status = 503)
ASK(invoke_again, METHOD_POST, "POST", "/invoke",
    "{\"user_prompt\":\"" FRONT_PROMPT "\",\"request_id\":\"done\"}", .status = 200)
ASK(invoke_with_a_bad_key, METHOD_POST, "POST", "/invoke",
    "{\"user_prompt\":\"Why?\",\"openai_api_key\":\"pk-\"}", .status = 400)
ASK(invoke_with_a_bad_model, METHOD_POST, "POST", "/invoke", "{\"user_prompt\":\"Why?\",\"model\":\"m\"}",
    .status = 400)
ASK(invoke_with_bad_messages, METHOD_POST, "POST", "/invoke",
    "{\"user_prompt\":\"Why?\",\"messages\":[{\"type\":\"ai\",\"content\":\"b\"},{}]}", .status = 400)
#define QUESTION                                                                                             \
    "\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"Why?\"}]"
#define PARTS                                                                                                \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Why\"},{\"type\":\"text\"," \
    "\"text\":\"\\u00e9?\"}]}]"
ASK(openai_question, METHOD_POST, "POST", "/v1/chat/completions",
    "{\"model\":\"m\",\"user\":\"user\",\"metadata\":{\"a\":1},\"top_p\":0.5," QUESTION "}", .status = 200)
ASK(openai_as_it_stands, METHOD_POST, "POST", "/v1/chat/completions", "{\"seed\":5,\"stop\":null," PARTS "}",
    .status = 200)
ASK(openai_stream, METHOD_POST, "POST", "/v1/chat/completions",
    "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," PARTS "}", .stream = true, .status = 200)
ASK(openai_refused, METHOD_POST, "POST", "/v1/chat/completions", "{" QUESTION "}", .reply = FRONT_REFUSES,
    .status = 429)
ASK(openai_stream_refused, METHOD_POST, "POST", "/v1/chat/completions", "{\"stream\":true," QUESTION "}",
    .reply = FRONT_REFUSES, .status = 429)
ASK(openai_lost, METHOD_POST, "POST", "/v1/chat/completions", "{\"stream\":true," QUESTION "}",
    .reply = FRONT_DIES, .status = 503)
ASK(openai_that_is_none, METHOD_POST, "POST", "/v1/chat/completions", "{\"messages\":[]}", .status = 400)
ASK(openai_text, METHOD_POST, "POST", "/v1/completions", "{\"prompt\":\"Once\"}", .status = 200)
ASK(openai_texts, METHOD_POST, "POST", "/v1/completions",
    "{\"prompt\":[\"Once\",\"Twice\"],\"top_p\":0.5,\"metadata\":{\"a\":1}}", .status = 200)
ASK(openai_texts_lost, METHOD_POST, "POST", "/v1/completions", "{\"prompt\":[\"Once\",\"Twice\"]}",
    .reply = FRONT_DIES, .status = 503)
ASK(openai_models, METHOD_GET, "GET", "/v1/models", NULL, .status = 200)
ASK(openai_model, METHOD_GET, "GET", "/v1/models/mock", NULL, .status = 200)
ASK(openai_model_not_there, METHOD_GET, "GET", "/v1/models/x", NULL, .status = 404)
ASK(chats, METHOD_GET, "GET", "/v1/chat?username=user&limit=5", NULL, .status = 200)
ASK(chats_all, METHOD_GET, "GET", "/v1/chat", NULL, .status = 200)
ASK(chat_deleted, METHOD_DELETE, "DELETE", "/v1/chat/done", NULL, .status = 200)
ASK(request_done, METHOD_GET, "GET", "/v1/requests/done", NULL, .status = 200)
ASK(request_failed, METHOD_GET, "GET", "/v1/requests/failed", NULL, .status = 200)
ASK(request_queued, METHOD_GET, "GET", "/v1/requests/queued?wait=1", NULL, .status = 200)
ASK(settings_read, METHOD_GET, "GET", "/v1/settings", NULL, .status = 200)
ASK(settings_put, METHOD_PUT, "PUT", "/v1/settings", "{\"high_priority\":{\"window_ms\":5}}",
    .auth = FRONT_KEYS, .status = 200)
ASK(analytics, METHOD_GET, "GET", "/v1/analytics?days=7", NULL, .status = 200)
ASK(stats, METHOD_GET, "GET", "/stats", NULL, .status = 200)
ASK(stats_alone, METHOD_GET, "GET", "/stats", NULL, .reply = FRONT_DIES, .status = 200)
ASK(metrics, METHOD_GET, "GET", "/metrics", NULL, .status = 200)
ASK(metrics_with_a_key, METHOD_GET, "GET", "/metrics", NULL, .auth = FRONT_KEYS, .status = 200)
ASK(health, METHOD_GET, "GET", "/health", NULL, .status = 200)
ASK(api_document, METHOD_GET, "GET", "/openapi.json", NULL, .status = 200)
ASK(nothing_there, METHOD_GET, "GET", "/nothing", NULL, .status = 404)
ASK(options, METHOD_OPTIONS, "OPTIONS", "/v1/query", NULL, .status = 204)
