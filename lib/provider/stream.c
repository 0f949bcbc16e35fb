/*
 * A call's events as they come: each becomes a chunk to give on and a piece of the response; see stream.h.
 */
#include "provider/stream.h"

#include <math.h>
#include <stdlib.h>

#include "provider/codec.h"
#include "provider/extra.h"
#include "provider/gather.h"
#include "provider/gemini.h"
#include "provider/outcome.h"
#include "provider/sse.h"
#include "json/read.h"
#include "json/scan.h"

enum state {
    RUNNING,
    DONE,    /* the provider said so */
    FAULTED, /* an event that says what went wrong is kept in fault */
    BROKEN,  /* reason says why nothing more can be understood */
    SHORT_OF_MEMORY
};

struct provider_stream {
    struct provider provider;
    const struct provider_call *call;
    struct sse sse;
    struct gather gather;
    struct gemini_turn turn;
    void (*delta)(void *arg, struct slice chunk);
    void *arg;
    enum state state;
    bool begun; /* bytes came */
    bool heard;
    const char *reason;
    struct buf fault;
};

int provider_stream_open(const struct provider *p, const struct provider_call *call, size_t max_bytes,
                         void (*delta)(void *arg, struct slice chunk), void *arg,
                         struct provider_stream **ret_stream)
{
    struct provider_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    *s = (struct provider_stream){.provider = *p, .call = call, .delta = delta, .arg = arg};
    sse_init(&s->sse, max_bytes);
    gather_init(&s->gather, max_bytes);
    buf_init(&s->fault, max_bytes);
    *ret_stream = s;
    return 0;
}

void provider_stream_free(struct provider_stream *s)
{
    if (!s)
        return;
    sse_fini(&s->sse);
    gather_fini(&s->gather);
    buf_fini(&s->fault);
    free(s);
}

static void broken(struct provider_stream *s, int rc, const char *reason)
{
    s->state = rc == ERR_NOMEM ? SHORT_OF_MEMORY : BROKEN;
    s->reason = rc == ERR_LIMIT ? "it is larger than this server keeps" : reason;
}

static void fault(struct provider_stream *s, struct slice event)
{
    buf_append_slice(&s->fault, event);
    s->state = buf_failed(&s->fault) ? SHORT_OF_MEMORY : FAULTED;
}

static bool is_null(struct slice value)
{
    return slice_is(value, "null");
}

/* What a chunk has in it, seen at once. */
struct contents {
    bool error, choices, usage;
    bool alone; /* choices are there but none in them */
};

static struct contents look_into(struct slice chunk)
{
    struct contents c = {.error = false};
    struct extra_item item;
    for (size_t at = 0; extra_next(chunk, &at, &item);) {
        bool told = !is_null(item.value);
        c.error = c.error || (told && slice_is(item.key, "error"));
        c.usage = c.usage || (told && slice_is(item.key, "usage"));
        if (told && slice_is(item.key, "choices")) {
            c.choices = true;
            c.alone = item.value.p[0] == '[' && extra_inside(item.value).n == 0;
        }
    }
    return c;
}

/* Adds one of OpenAI's chunks and gives it on, unless all it tells is the usage. */
static void take_chunk(struct provider_stream *s, struct slice chunk, const struct contents *c)
{
    int rc = gather_add(&s->gather, chunk);
    if (rc) {
        broken(s, rc, "an event in it is no chunk");
        return;
    }
    if (c->usage && (c->alone || !c->choices))
        return;
    s->heard = true;
    s->delta(s->arg, chunk);
}

/* Servers have words of their own for what went wrong. */
static bool says_error(struct slice event)
{
    cJSON *root;
    struct err ignored;
    struct codec_error error;
    if (json_parse(event, &root, &ignored))
        return false;
    bool is_error = codec_openai.error(root, &error);
    cJSON_Delete(root);
    return is_error;
}

static void take_openai(struct provider_stream *s, struct slice event)
{
    struct contents c = look_into(event);
    if (c.error)
        fault(s, event);
    else if (c.choices || c.usage)
        take_chunk(s, event, &c);
    else if (says_error(event))
        fault(s, event);
}

static void take_gemini(struct provider_stream *s, struct slice event)
{
    struct buf chunk, usage;
    struct contents c = {.choices = true};
    if (extra_get(event, "error").p) {
        fault(s, event);
        return;
    }
    buf_init(&chunk, s->gather.max_bytes);
    buf_init(&usage, s->gather.max_bytes);
    int rc = gemini_turn_chunk(&s->turn, s->call, event, &chunk, &usage);
    if (!rc && (buf_failed(&chunk) || buf_failed(&usage)))
        rc = ERR_NOMEM;
    if (!rc && usage.len)
        rc = gather_set(&s->gather, "usage", buf_slice(&usage));
    if (rc)
        broken(s, rc, "an event in it is no response");
    else if (chunk.len)
        take_chunk(s, buf_slice(&chunk), &c);
    buf_fini(&chunk);
    buf_fini(&usage);
}

static void take_event(void *arg, bool is_error, struct slice data)
{
    struct provider_stream *s = arg;
    struct json_fault unused;
    struct slice event = slice_trim(data);
    if (s->state != RUNNING || !event.n || is_null(event))
        return;
    if (slice_is(event, "[DONE]")) {
        s->state = DONE;
        return;
    }
    int rc = json_scan(event, &unused);
    if (is_error && rc != ERR_NOMEM)
        fault(s, event);
    else if (rc || event.p[0] != '{')
        broken(s, rc, "an event in it is no JSON object");
    else if (s->provider.kind == PROVIDER_GEMINI)
        take_gemini(s, event);
    else
        take_openai(s, event);
}

void provider_stream_feed(struct provider_stream *s, struct slice bytes)
{
    s->begun = s->begun || bytes.n;
    if (s->state != RUNNING)
        return;
    int rc = sse_feed(&s->sse, bytes, take_event, s);
    if (rc && s->state == RUNNING)
        broken(s, rc, NULL);
}

bool provider_stream_over(const struct provider_stream *s)
{
    return s->state != RUNNING;
}

bool provider_stream_heard(const struct provider_stream *s)
{
    return s->heard;
}

uint64_t provider_stream_tokens(const struct provider_stream *s)
{
    return (s->gather.said + 2) / 3;
}

/* For the one member, which nothing is asked of but that it is verbatim. */
static int decode(struct provider_stream *s, const struct provider *p, const struct provider_response *r,
                  struct arena *arena, struct provider_outcome *ret_outcome)
{
    struct provider_member m = {.verbatim = true, .completion = s->call->completion, .temperature = NAN};
    return provider_decode(p, s->call, &m, r, arena, ret_outcome);
}

/* The response as if it had come in one. */
static int decode_gathered(struct provider_stream *s, struct arena *arena,
                           struct provider_outcome *ret_outcome)
{
    struct buf body;
    struct provider openai = s->provider;
    openai.kind = PROVIDER_OPENAI; /* in whose words it is by now */
    buf_init(&body, 2 * s->gather.max_bytes + 1024);
    gather_write(&s->gather, &body);
    struct provider_response r = {.transport = TRANSPORT_COMPLETE, .status = 200, .body = buf_slice(&body)};
    int rc = buf_failed(&body) ? ERR_NOMEM : decode(s, &openai, &r, arena, ret_outcome);
    buf_fini(&body);
    return rc;
}

static void tell_usage(struct provider_outcome *o, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    o->parts[0].prompt_tokens = o->prompt_tokens = prompt_tokens;
    o->parts[0].completion_tokens = o->completion_tokens = completion_tokens;
}

static void estimate_usage(const struct provider_stream *s, struct provider_outcome *o)
{
    tell_usage(o, s->call->prompt_tokens, provider_stream_tokens(s));
}

/* Heard in part, or not understood: it may have been bought. */
static int lost(struct provider_stream *s, const struct provider_response *response, struct arena *arena,
                struct provider_outcome *ret_outcome)
{
    struct provider_outcome out = {.parts = arena_alloc(arena, sizeof(*out.parts))};
    struct outcome_job job = {&s->provider, 1, true, arena, &out};
    struct codec_error error = {0};
    cJSON *root = NULL;
    struct err ignored;
    int rc = out.parts ? 0 : ERR_NOMEM;
    if (!rc && s->state == FAULTED)
        rc = json_parse(buf_slice(&s->fault), &root, &ignored) == ERR_NOMEM ? ERR_NOMEM : 0;
    if (rc)
        return rc;
    out.parts[0] = (struct provider_part){.verdict = VERDICT_UNKNOWN, .confidence = NAN};
    if (s->state == FAULTED) {
        (void)codec_for(s->provider.kind)->error(root, &error);
        rc = outcome_broken(&job, "The provider's stream ended with an error, and may have been charged",
                            error.message);
    } else if (s->state == SHORT_OF_MEMORY || s->state == BROKEN) {
        const char *why = s->state == BROKEN ? s->reason : "memory ran out";
        const char *sentence =
            arena_printf(arena, "The provider's stream cannot be used, but may have been charged: %s", why);
        rc = sentence ? outcome_broken(&job, sentence, (struct slice){0}) : ERR_NOMEM;
    } else if (response->transport != TRANSPORT_COMPLETE) {
        rc = outcome_transport(&job, response);
        outcome_verdicts(&job, VERDICT_UNKNOWN);
        out.retry_helps = false;
    } else {
        rc = outcome_broken(&job,
                            "The provider's stream ended before its answer did, and may have been charged",
                            (struct slice){0});
    }
    cJSON_Delete(root);
    if (rc)
        return rc;
    estimate_usage(s, &out);
    *ret_outcome = out;
    return 0;
}

/* An error event that came first is an answer like any other. */
static int decode_fault(struct provider_stream *s, struct arena *arena, struct provider_outcome *ret_outcome)
{
    struct provider_response r = {
        .transport = TRANSPORT_COMPLETE, .status = 200, .body = buf_slice(&s->fault)};
    return decode(s, &s->provider, &r, arena, ret_outcome);
}

int provider_stream_end(struct provider_stream *s, const struct provider_response *response,
                        struct arena *arena, struct provider_outcome *ret_outcome)
{
    if (!s->begun)
        return decode(s, &s->provider, response, arena, ret_outcome);
    if (s->state == RUNNING && slice_is(slice_trim(sse_rest(&s->sse)), "[DONE]"))
        s->state = DONE;
    if (s->state == FAULTED && !s->gather.root)
        return decode_fault(s, arena, ret_outcome);
    bool finished = gather_finished(&s->gather);
    bool ended =
        s->state == DONE || (s->state == RUNNING && finished && response->transport == TRANSPORT_COMPLETE);
    if (!ended || !s->gather.root)
        return lost(s, response, arena, ret_outcome);
    struct provider_outcome out;
    int rc = decode_gathered(s, arena, &out);
    if (rc)
        return rc;
    if (out.parts[0].verdict != VERDICT_ANSWERED) {
        broken(s, 0, "its pieces make no answer");
        return lost(s, response, arena, ret_outcome);
    }
    if (!gather_has(&s->gather, "usage"))
        estimate_usage(s, &out);
    *ret_outcome = out;
    return 0;
}
