/* ROOMS: fcgi_app/worker tests/fuzz/front.c tests/fuzz/front_check.c tests/fuzz/reference.c */
/*
 * What a client's JSON and query strings can do. The first byte says what the rest is: the text of a body
 * (alone, for POST /query, POST /v1/query, POST /invoke, OpenAI's API, PUT /v1/settings) or what follows a
 * path. Bodies go through the strict scan, cJSON and a reference first, which must agree, and then through
 * the endpoint. The second byte says what the coordinator replies; from 'a' on, the request has been on its
 * way for longer than it may wait.
 */
#include <string.h>

#include "base/clock.h"
#include "front_check.h"
#include "reference.h"
#include "worker/route.h"

struct entry {
    enum method method;
    const char *method_text, *path; /* path NULL: the text alone */
    bool body;                      /* the input is the body, else it follows the path */
};

static const struct entry entries[] = {
    {0, NULL, NULL, true},                               /* 0 */
    {METHOD_POST, "POST", "/query", true},               /* 1 */
    {METHOD_POST, "POST", "/v1/query", true},            /* 2 */
    {METHOD_PUT, "PUT", "/v1/settings", true},           /* 3 */
    {METHOD_GET, "GET", "/v1/chat?", false},             /* 4 */
    {METHOD_GET, "GET", "/v1/requests/", false},         /* 5 */
    {METHOD_DELETE, "DELETE", "/v1/chat/", false},       /* 6 */
    {METHOD_GET, "GET", "/v1/analytics?", false},        /* 7 */
    {METHOD_POST, "POST", "/invoke", true},              /* 8 */
    {METHOD_POST, "POST", "/v1/chat/completions", true}, /* 9 */
    {METHOD_POST, "POST", "/v1/completions", true},      /* : */
};

void fuzz_start(void)
{
    front_start();
}

/* The request as request_accept() and request_read_body() would have left it. */
static void hand_in(const struct entry *entry, struct slice input, const char *uri, bool async, bool late)
{
    struct request *r = &front.x.request;
    buf_clear(&r->body);
    *r = (struct request){.fcgi = r->fcgi,
                          .fd = -1,
                          .accepted_us = late ? 0 : clock_mono_us(),
                          .body = r->body,
                          .method = entry->method,
                          .method_text = slice_of(entry->method_text),
                          .uri = slice_of(uri),
                          .remote_addr = SLICE_LITERAL("127.0.0.1"),
                          .host = SLICE_LITERAL("localhost")};
    if (late && strstr(uri, "/completions"))
        r->idempotency_key = SLICE_LITERAL("done");
    else if (async)
        r->prefer = SLICE_LITERAL("respond-async");
    if (!entry->body)
        return;
    r->body_too_large = input.n > FRONT_BODY_MAX;
    if (!r->body_too_large)
        buf_append_slice(&r->body, input);
}

/* exchange_run() without libfcgi. Lists of chats and streams end after the first piece, as if the client had
 * left. */
static void run(bool pieces)
{
    struct exchange *x = &front.x;
    x->id[0] = 0;
    x->prompt_id = x->path = x->query = x->path_id = (struct slice){0};
    x->caller = (struct caller){0};
    response_reset(&x->response, NULL, x->id, false);
    x->response.gone = pieces;
    route_run(x);
    exchange_id(x);
}

static void check(const struct entry *entry, const struct front_asked *asked, bool acceptable)
{
    const struct response *r = &front.x.response;
    struct slice body = r->content_type ? buf_slice(&r->body) : (struct slice){0};
    bool stream = r->content_type && strstr(r->content_type, "event-stream");
    bool cut = r->gone && r->status == 200 && (!entry->body || stream); /* the first piece of a list */
    FUZZ_CHECK(!buf_failed(&r->body) && !buf_failed(&r->headers), "an answer without memory");
    front_check_response(r->status, buf_slice(&r->headers), body, !cut);
    FUZZ_CHECK(r->status != 500 || fuzz_holds(body, SLICE_LITERAL("cannot be read.")), "status 500: %.*s",
               (int)body.n, body.p);
    if (!entry->body || front.x.request.body_too_large)
        return;
    FUZZ_CHECK(acceptable || (r->status == 400 && !asked->submits && !asked->settings),
               "a body that is no JSON is answered with %d", r->status);
    FUZZ_CHECK(!acceptable ||
                   !fuzz_holds(body, SLICE_LITERAL("\"INVALID_JSON\",\"message\":\"The body is not valid")),
               "a body that is JSON is refused as if it were none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_reader in = fuzz_reader_of((struct slice){(const char *)data, size});
    const struct entry *entry = &entries[fuzz_choice(fuzz_u8(&in), ARRAY_LEN(entries))];
    uint8_t choice = fuzz_u8(&in);
    enum front_reply reply = (enum front_reply)fuzz_choice(choice, FRONT_REPLIES);
    struct slice input = fuzz_bytes(&in, SIZE_MAX);
    struct front_asked asked;
    char uri[FRONT_BODY_MAX];
    bool acceptable = entry->body && reference_check(input);
    if (!entry->path)
        return 0;
    /* FastCGI variables are C strings. */
    snprintf(uri, sizeof(uri), "%s%.*s", entry->path, entry->body ? 0 : (int)strnlen(input.p, input.n),
             input.p);
    front_begin(FRONT_KEYLESS, reply, front_expected(slice_of(entry->path)));
    hand_in(entry, input, uri, reply == FRONT_FINISHED, choice >= 'a');
    run(entry->method == METHOD_GET || strstr(entry->path, "/completions"));
    front_end(&asked);
    check(entry, &asked, acceptable);
    arena_reset(&front.x.arena);
    return 0;
}
