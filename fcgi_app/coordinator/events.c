/*
 * The event log of batches and prompts (sink/sink.h): JSON lines for programs, blocks of text for people.
 * Source 2's tags: ENQUEUE, DISPATCH, BATCH_START, LLM_BATCH, BATCH_COMPLETE.
 */
#include "base/clock.h"
#include "base/digits.h"
#include "base/redact.h"
#include "coordinator/call.h"
#include "coordinator/record.h"
#include "json/write.h"

/* Begins an event line in the scratch buffer. */
static void begin(struct core *c, struct json_writer *w, const char *event)
{
    char time[CLOCK_RFC3339_SIZE];
    buf_clear(&c->scratch);
    json_writer_init(w, &c->scratch);
    clock_format_rfc3339(c->ports.real_us(c->ports.arg), time);
    json_object_begin(w);
    json_field_cstr(w, "time", time);
    json_field_cstr(w, "event", event);
}

static void end(struct core *c, struct json_writer *w)
{
    json_object_end(w);
    buf_append_byte(&c->scratch, '\n');
    if (!buf_failed(&c->scratch))
        c->ports.log(c->ports.arg, SINK_EVENTS, buf_slice(&c->scratch));
}

static void field_ms(struct json_writer *w, const char *key, uint64_t us)
{
    json_key(w, key);
    json_us_as_ms(w, us);
}

static void batch_fields(struct json_writer *w, const struct batch *b)
{
    json_field_cstr(w, "batch_id", b->id_text);
    json_field_cstr(w, "priority", conf_priority_name(b->priority));
}

void event_enqueue(struct core *c, const struct job *j)
{
    struct json_writer w;
    begin(c, &w, "ENQUEUE");
    json_field_text(&w, "request_id", j->submit.request_id);
    json_field_cstr(&w, "priority", conf_priority_name(j->submit.priority));
    json_field_u64(&w, "waiting", c->jobs_n[JOB_QUEUED]);
    end(c, &w);
}

void event_dispatch(struct core *c, const struct batch *b, uint64_t now_us)
{
    struct json_writer w;
    begin(c, &w, "DISPATCH");
    batch_fields(&w, b);
    json_field_u64(&w, "n", b->n);
    json_field_cstr(&w, "reason", flush_reason_name(b->reason));
    field_ms(&w, "waited_ms", now_us - b->oldest_us);
    end(c, &w);
}

void event_call_start(struct core *c, const struct call *call)
{
    struct json_writer w;
    begin(c, &w, "BATCH_START");
    batch_fields(&w, call->batch);
    json_field_u64(&w, "n", call->n);
    json_field_cstr(&w, "provider", conf_provider_name(call->provider->provider.kind));
    json_field_cstr(&w, "model", call->provider->provider.model);
    json_field_cstr(&w, "mode", conf_mode_name(call->provider->mode));
    end(c, &w);
}

/* What was sent and what came back, for people: one block a call. */
static void call_block(struct core *c, const struct call *call, const struct provider_response *response,
                       const struct provider_outcome *outcome, const char *time)
{
    /* Of a stream, what its chunks came to. */
    struct slice received = response ? response->body : (struct slice){0};
    if (call->stream && outcome->parts[0].response.p)
        received = outcome->parts[0].response;
    buf_clear(&c->scratch);
    buf_printf(&c->scratch, "==== %s batch %s, %s, %zu prompt%s, %s %s ====\n--- sent ---\n", time,
               call->batch->id_text, conf_priority_name(call->batch->priority), call->n,
               call->n == 1 ? "" : "s", conf_provider_name(call->provider->provider.kind),
               call->provider->provider.model);
    if (call->encoded)
        buf_append_slice(&c->scratch, buf_slice(&call->request.body));
    else
        for (size_t i = 0; i < call->n; i++) {
            buf_append_slice(&c->scratch, call->members[i]->submit.prompt);
            buf_append_byte(&c->scratch, '\n');
        }
    if (response && response->transport == TRANSPORT_COMPLETE) {
        buf_printf(&c->scratch, "\n--- received (HTTP %d) ---\n", response->status);
        buf_append_slice(&c->scratch, received);
    } else if (response)
        buf_printf(&c->scratch, "\n--- no answer: %s ---", response->transport_error);
    else
        buf_append_text(&c->scratch, "--- answered by the embedded mock ---");
    buf_append_text(&c->scratch, "\n\n");
    if (buf_failed(&c->scratch))
        return;
    /* Some providers repeat a key they do not accept. */
    redact_secret(c->scratch.data, c->scratch.len,
                  slice_of(call->caller_key ? call->caller_key : call->provider->key));
    c->ports.log(c->ports.arg, SINK_CALLS, buf_slice(&c->scratch));
}

void event_call_end(struct core *c, const struct call *call, const struct provider_response *response,
                    const struct provider_outcome *outcome, uint64_t now_us)
{
    struct json_writer w;
    char time[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(c->ports.real_us(c->ports.arg), time);
    call_block(c, call, response, outcome, time);
    size_t answered = 0;
    for (size_t i = 0; i < call->n; i++)
        answered += outcome->parts[i].verdict == VERDICT_ANSWERED;
    begin(c, &w, "LLM_BATCH");
    batch_fields(&w, call->batch);
    json_field_u64(&w, "n", call->n);
    json_field_u64(&w, "answered", answered);
    field_ms(&w, "call_ms", now_us - call->sent_us);
    json_field_u64(&w, "tokens", outcome->prompt_tokens + outcome->completion_tokens);
    if (response && response->transport == TRANSPORT_COMPLETE)
        json_field_u64(&w, "status", (uint64_t)response->status);
    if (outcome->discarded)
        json_field_text(&w, "discarded", outcome->discard_reason);
    if (answered < call->n && outcome->message.p)
        json_field_text(&w, "error", outcome->message);
    end(c, &w);
}

void event_retry(struct core *c, const struct call *call, uint32_t delay_ms)
{
    struct json_writer w;
    begin(c, &w, "RETRY");
    batch_fields(&w, call->batch);
    json_field_u64(&w, "n", call->n);
    json_field_u64(&w, "attempt", call->failures + 1);
    json_field_u64(&w, "delay_ms", delay_ms);
    end(c, &w);
}

void event_pair(struct core *c, const struct chat *chat)
{
    char time[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE], tokens[DIGITS_SIZE], latency[DIGITS_MS_SIZE];
    clock_format_rfc3339(chat->time_us, time);
    uuid_format(&chat->batch_id, batch);
    char *tokens_end = digits_of(tokens, chat->prompt_tokens + chat->completion_tokens);
    char *latency_end = digits_ms(latency, chat->latency_us);
    struct slice line[] = {SLICE_LITERAL("==== "),
                           slice_of(time),
                           SLICE_LITERAL(" request "),
                           chat->request_id,
                           SLICE_LITERAL(", batch "),
                           slice_of(batch),
                           slice_of(chat->cached ? " (cached), " : ", "),
                           slice_of(conf_priority_name(chat->priority)),
                           SLICE_LITERAL(", "),
                           {tokens, (size_t)(tokens_end - tokens)},
                           SLICE_LITERAL(" tokens, "),
                           {latency, (size_t)(latency_end - latency)},
                           SLICE_LITERAL(" ms ====\n--- prompt ---\n"),
                           chat->prompt,
                           SLICE_LITERAL("\n--- answer ---\n"),
                           chat->text,
                           SLICE_LITERAL("\n\n")};
    buf_clear(&c->scratch);
    for (size_t i = 0; i < ARRAY_LEN(line); i++)
        buf_append_slice(&c->scratch, line[i]);
    if (!buf_failed(&c->scratch))
        c->ports.log(c->ports.arg, SINK_PAIRS, buf_slice(&c->scratch));
}

void event_batch_complete(struct core *c, const struct batch *b, uint64_t now_us)
{
    struct json_writer w;
    begin(c, &w, "BATCH_COMPLETE");
    batch_fields(&w, b);
    json_field_u64(&w, "n", b->n);
    json_field_u64(&w, "answered", b->answered);
    json_field_u64(&w, "failed", b->failed);
    json_field_u64(&w, "calls", b->calls);
    json_field_u64(&w, "tokens", b->tokens);
    json_field_cstr(&w, "reason", flush_reason_name(b->reason));
    field_ms(&w, "waited_ms", b->sealed_us - b->oldest_us);
    field_ms(&w, "total_ms", now_us - b->sealed_us);
    end(c, &w);
}
