/*
 * Records of Kafka's topics, see publish.h. No texts of prompts and answers in them: topics are read by many.
 */
#include "coordinator/publish.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "coordinator/refusal.h"
#include "coordinator/status.h"
#include "store/chats.h"
#include "json/write.h"

#define METRICS_US (10 * US_PER_S)
#define TOTALS_MAX 1000 /* names; models are named by callers */

static void begin(struct core *c, struct json_writer *w, const char *type)
{
    char time[CLOCK_RFC3339_SIZE], host[256] = "";
    gethostname(host, sizeof(host) - 1);
    clock_format_rfc3339(c->ports.real_us(c->ports.arg), time);
    buf_clear(&c->scratch);
    json_writer_init(w, &c->scratch);
    json_object_begin(w);
    json_field_cstr(w, "type", type);
    json_field_cstr(w, "time", time);
    json_field_cstr(w, "host", host);
}

static void end(struct core *c, struct json_writer *w, enum sink_topic topic, struct slice key)
{
    json_object_end(w);
    if (!buf_failed(&c->scratch))
        c->ports.publish(c->ports.arg, topic, key, buf_slice(&c->scratch));
}

static void field_ms(struct json_writer *w, const char *key, uint64_t us)
{
    json_key(w, key);
    json_us_as_ms(w, us);
}

static void prompt_fields(struct json_writer *w, const struct core *c, const struct job *j)
{
    const struct wire_submit *s = &j->submit;
    json_field_text(w, "request_id", s->request_id);
    json_field_cstr(w, "batch_id", j->batch ? j->batch->id_text : NULL);
    json_field_cstr(w, "endpoint", endpoint_path(s->endpoint));
    json_field_text(w, "username", s->username);
    json_field_cstr(w, "priority", conf_priority_name(s->priority));
    json_field_cstr(w, "provider", conf_provider_name(c->settings.provider));
    json_field_text(w, "model", s->model.p ? s->model : slice_of(c->settings.model));
}

static void publish_request(struct core *c, const struct job *j, const char *outcome,
                            const struct wire_refusal *r)
{
    struct json_writer w;
    struct chat chat = {0};
    bool answered = !r && j->chat.len && chat_decode(buf_slice(&j->chat), &chat) == 0;
    begin(c, &w, "request");
    prompt_fields(&w, c, j);
    json_field_bool(&w, "async", job_is_async(j));
    json_field_cstr(&w, "outcome", outcome);
    json_field_u64(&w, "status", r ? r->status : 200);
    json_field_text(&w, "error_type", r ? r->error_type : (struct slice){0});
    json_field_text(&w, "error_code", r ? r->error_code : (struct slice){0});
    json_field_text(&w, "finish_reason", chat.finish_reason);
    json_field_u64(&w, "prompt_tokens", j->prompt_tokens);
    json_field_u64(&w, "completion_tokens", j->completion_tokens);
    field_ms(&w, "latency_ms", answered ? chat.latency_us : c->ports.mono_us(c->ports.arg) - j->arrived_us);
    field_ms(&w, "queue_ms", j->timing.queue_us);
    field_ms(&w, "upstream_ms", j->timing.upstream_us);
    json_field_bool(&w, "cached", chat.cached);
    json_field_u64(&w, "retries", j->retries);
    json_field_bool(&w, "rate_limited", j->rate_limited);
    end(c, &w, SINK_REQUESTS, j->submit.request_id);
}

void publish_error(struct core *c, const struct job *j, const struct wire_refusal *r)
{
    struct json_writer w;
    begin(c, &w, "error");
    json_field_cstr(&w, "what", "refusal");
    prompt_fields(&w, c, j);
    json_field_u64(&w, "status", r->status);
    json_field_text(&w, "error_type", r->error_type);
    json_field_text(&w, "error_code", r->error_code);
    json_field_text(&w, "message", r->message);
    end(c, &w, SINK_ERRORS, j->submit.request_id);
}

void publish_turned_away(struct core *c, const struct job *j, const struct wire_refusal *r)
{
    publish_request(c, j, "refused", r);
    publish_error(c, j, r);
}

void publish_ended(struct core *c, const struct job *j)
{
    struct wire_refusal r = j->bare;
    if (j->chat.len) {
        publish_request(c, j, "answered", NULL);
    } else if (j->bare.status || (j->refusal.len && wire_refusal_decode(buf_slice(&j->refusal), &r) == 0)) {
        if (slice_is(r.error_code, "CLIENT_GONE"))
            publish_request(c, j, "cancelled", &r);
        else
            publish_turned_away(c, j, &r);
    } else {
        bool late = j->deadline_us <= c->ports.mono_us(c->ports.arg);
        publish_request(c, j, "cancelled",
                        late ? refusal_get(REFUSAL_DEADLINE) : refusal_get(REFUSAL_CLIENT_GONE));
    }
}

void publish_call(struct core *c, const struct call *call, const struct provider_response *response,
                  const struct provider_outcome *o, uint64_t now_us)
{
    struct json_writer w;
    size_t answered = 0;
    for (size_t i = 0; i < call->n; i++)
        answered += o->parts[i].verdict == VERDICT_ANSWERED;
    if (answered == call->n)
        return;
    begin(c, &w, "error");
    json_field_cstr(&w, "what", "call");
    json_field_cstr(&w, "batch_id", call->batch->id_text);
    json_key(&w, "request_ids");
    json_array_begin(&w);
    for (size_t i = 0; i < call->n; i++)
        if (o->parts[i].verdict != VERDICT_ANSWERED)
            json_text(&w, call->members[i]->submit.request_id);
    json_array_end(&w);
    json_field_cstr(&w, "priority", conf_priority_name(call->batch->priority));
    json_field_cstr(&w, "provider", conf_provider_name(call->provider->provider.kind));
    json_field_cstr(&w, "model", call->provider->provider.model);
    json_field_u64(&w, "status",
                   response && response->transport == TRANSPORT_COMPLETE ? (uint64_t)response->status : 0);
    json_field_cstr(&w, "error_type", o->error_type);
    json_field_cstr(&w, "error_code", o->error_code);
    json_field_text(&w, "message", o->message);
    field_ms(&w, "call_ms", now_us - call->sent_us);
    end(c, &w, SINK_ERRORS, slice_of(call->batch->id_text));
}

void publish_metrics(struct core *c, uint64_t now_us)
{
    char key[300], host[256] = "";
    struct json_writer w;
    struct counter *n, *tmp;
    if (now_us < c->metrics_us)
        return;
    c->metrics_us = now_us + METRICS_US;
    begin(c, &w, "metrics");
    status_write(&w, c, now_us);
    json_key(&w, "totals");
    json_object_begin(&w);
    HASH_ITER (hh, c->totals, n, tmp)
        json_field_u64(&w, n->name, n->delta);
    json_object_end(&w);
    gethostname(host, sizeof(host) - 1);
    snprintf(key, sizeof(key), "%s/%ld", host, (long)getpid());
    end(c, &w, SINK_METRICS, slice_of(key));
}

/* A histogram is hundreds of counters, each named by ten digits at its end (store/counters.h). */
static bool is_bucket(const char *name)
{
    const char *last = strrchr(name, '.');
    return last && strspn(last + 1, "0123456789") == 10 && !last[11];
}

void publish_counted(struct core *c, const struct commit_op *op)
{
    struct counter *n, *tmp, *total;
    HASH_ITER (hh, op->counters, n, tmp) {
        HASH_FIND_STR(c->totals, n->name, total);
        if (total)
            total->delta += n->delta;
        else if (!is_bucket(n->name) && HASH_COUNT(c->totals) < TOTALS_MAX)
            counter_add(&c->totals, n->name, n->delta);
    }
}
