/* Answers as events; see openai_stream.h. */
#include "worker/openai_stream.h"

#include "base/clock.h"
#include "provider/stream.h"
#include "worker/answer.h"
#include "worker/exchange.h"
#include "worker/json_span.h"
#include "worker/prompt.h"

#define GATHERED_MAX (32 * 1024) /* of pieces that are there at once, before they go out together */
#define REPLAY_CHUNK 16          /* bytes of text in a piece of an answer that is given again, */
#define REPLAY_N     1000        /* or more, so that it is about so many pieces */

struct stream {
    struct exchange *x;
    bool heard; /* a piece went by */
};

/* Where events go; the headers are those of a stream from here on. */
static struct buf *events(struct exchange *x)
{
    static const char type[] = "text/event-stream; charset=utf-8";
    struct response *r = &x->response;
    if (r->content_type != type && !r->begun)
        response_header(r, "X-Accel-Buffering", "no"); /* nginx would gather them */
    r->content_type = type;
    return &r->body;
}

/* A line break between the tokens of a JSON text would end the event. */
static void put_event(struct exchange *x, struct slice json)
{
    struct buf *out = events(x);
    size_t start = out->len;
    buf_append_text(out, "data: ");
    buf_append_slice(out, json);
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    buf_append_text(out, "\n\n");
}

/* False: nobody is there any more, or there is no memory to go on. */
static bool flush(struct exchange *x)
{
    if (!exchange_stream(x))
        x->response.gone = true;
    return !x->response.gone;
}

/* How long the first piece took is all that is known when the headers go out. */
static void tell_time(struct exchange *x)
{
    if (x->response.begun || x->response.body.len)
        return;
    response_header(&x->response, "Server-Timing", "first;dur=%.3f",
                    (double)(clock_mono_us() - x->request.accepted_us) / (double)US_PER_MS);
}

static bool on_delta(void *arg, struct slice chunk, bool more)
{
    struct stream *s = arg;
    s->heard = true;
    tell_time(s->x);
    put_event(s->x, chunk);
    return (more && s->x->response.body.len < GATHERED_MAX) || flush(s->x);
}

static bool on_silence(void *arg)
{
    struct stream *s = arg;
    tell_time(s->x);
    buf_append_text(events(s->x), ": ping\n\n");
    return flush(s->x);
}

static void on_replay(void *arg, struct slice chunk)
{
    struct stream *s = arg;
    if (s->x->response.gone)
        return;
    put_event(s->x, chunk);
    if (s->x->response.body.len >= GATHERED_MAX)
        (void)flush(s->x);
}

/* The members that name the response, as they stand in it. */
static void put_members(struct buf *out, struct slice response)
{
    static const char *const names[] = {"id", "created", "model", "system_fingerprint"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice value = json_member_span(response, names[i]);
        if (value.p)
            buf_printf(out, "\"%s\":%.*s,", names[i], (int)value.n, value.p);
    }
}

/* The chunk without a choice that OpenAI puts at the end. */
static void put_usage(struct exchange *x, const struct chat *c)
{
    bool chat = c->endpoint == ENDPOINT_CHAT_COMPLETIONS;
    struct slice usage = json_member_span(c->response, "usage");
    struct buf chunk;
    buf_init(&chunk, c->response.n + 256);
    buf_append_text(&chunk, "{");
    put_members(&chunk, c->response);
    buf_printf(&chunk, "\"object\":\"%s\",\"choices\":[],\"usage\":",
               chat ? "chat.completion.chunk" : "text_completion");
    if (usage.n && usage.p[0] == '{')
        buf_append_slice(&chunk, usage);
    else
        buf_printf(&chunk, "{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu}",
                   (unsigned long long)c->prompt_tokens, (unsigned long long)c->completion_tokens,
                   (unsigned long long)(c->prompt_tokens + c->completion_tokens));
    buf_append_text(&chunk, "}");
    put_event(x, buf_slice(&chunk));
    x->response.body.failed = x->response.body.failed || buf_failed(&chunk);
    buf_fini(&chunk);
}

/* What went wrong after the headers went out: the body of the error, as an event. */
static void put_error(struct exchange *x)
{
    struct slice body = buf_slice(&x->response.body);
    const char *error = x->response.begun && !x->response.gone ? arena_copy(&x->arena, body) : NULL;
    if (!error)
        return;
    buf_clear(&x->response.body);
    put_event(x, (struct slice){error, body.n});
    (void)flush(x);
}

/* An answer that was there at once, as the stream that it would have been. False: answered with an error. */
static bool replay(struct stream *s, const struct prompt_result *result)
{
    struct exchange *x = s->x;
    if (!x->response.begun)
        answer_headers(x, result);
    size_t chunk = result->chat.response.n / REPLAY_N;
    int rc = result->chat.response.p
                 ? provider_stream_replay(result->chat.response, chunk > REPLAY_CHUNK ? chunk : REPLAY_CHUNK,
                                          on_replay, s)
                 : ERR_CORRUPT;
    if (rc == ERR_NOMEM)
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this answer now.");
    else if (rc)
        problem_respond(x, PROBLEM_INTERNAL, NULL, "The answer of this request cannot be read.");
    return rc == 0;
}

void openai_stream_run(struct exchange *x, struct wire_submit *m, bool include_usage)
{
    struct prompt_result result;
    struct stream s = {.x = x};
    struct prompt_ear ear = {.delta = on_delta, .silence = on_silence, .arg = &s};
    if (!prompt_run_heard(x, m, &ear, &result) || (!s.heard && !replay(&s, &result))) {
        put_error(x);
        return;
    }
    if (include_usage && result.chat.response.p)
        put_usage(x, &result.chat);
    put_event(x, SLICE_LITERAL("[DONE]"));
    (void)flush(x);
}
